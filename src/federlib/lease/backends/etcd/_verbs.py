"""The verbs of leases as transactions of etcd; blocking.

A free lease that nobody waits for is taken by one transaction, on a lease of etcd that is
there already. What one learns where it fails is in the same answer.

Every verb may be repeated, and is, until there is an answer or its time is over.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from federlib.errors import FederlibError, OutcomeUnknown
from federlib.lease.backends.etcd import _wire as lease_wire
from federlib.lease.backends.etcd._claim import (
    Claim,
    Deadline,
    Standing,
    patience_s,
    whole_seconds,
)
from federlib.lease.backends.etcd._memory import Memory, Seen
from federlib.lease.backends.etcd._picture import Picture
from federlib.lease.backends.etcd._records import (
    Floor,
    Grant,
    Held,
    Keys,
    Names,
    check_room,
    encode,
    read_floor,
    read_grant,
)
from federlib.lease.backends.etcd._sessions import Session, Sessions
from federlib.lease.protocol import Busy, Holder, Lease, LeaseState, NotHeld, Released
from federlib.lease.queue import GRANT_GRACE_S, MAX_REMOVED, MAX_WAITERS
from federlib.skewclock import Clock
from federlib.storage.backends.etcd import _wire as wire
from federlib.storage.backends.etcd._client import PATIENCE_S, Ask, Reply
from federlib.storage.backends.etcd._commits import guard, is_same_store, other_store
from federlib.storage.backends.etcd._engine import EtcdEngine
from federlib.storage.backends.etcd._errors import Refusal

__all__ = ["GRACE_NS", "Verbs"]

GRACE_NS = round(GRANT_GRACE_S * 1e9)
EXPIRY_SLACK_NS = 500_000_000
"""etcd looks every 500 ms which leases have run out."""

_NS = 1_000_000_000
_MIN_RETRY_S = 0.05
_ROUNDS = 8
_STEADY_SHARE = 0.25
"""A place so fresh need not be refreshed: who stands there asks again within a third."""

_NOT_FOUND = 5


class _Gone(Exception):  # noqa: N818 (never leaves this module)
    """etcd does not know the lease that a key was to be attached to."""


class _WentBack(Exception):  # noqa: N818 (never leaves this module)
    """The revision of a grant does not lie above the last token: etcd has lost some."""


class Verbs:
    """What is asked of a cluster. Thread-safe; every verb blocks.

    Args:
        engine: Of the store under whose prefix the leases lie.
        clock: Of this process.
    """

    def __init__(self, engine: EtcdEngine, clock: Clock) -> None:
        self.names = Names(engine.place.layout.prefix)
        self._engine = engine
        self._clock = clock
        self._sessions = Sessions(engine.client, clock)
        # Guesses alone: each is compared in the transaction that rests on it.
        self._floor = (0, 0)
        self._grants: Memory[bytes, tuple[int, int]] = Memory()
        self._places: Memory[bytes, int] = Memory()
        self._seen: Memory[bytes, Seen] = Memory()
        self._standings: Memory[bytes, Standing] = Memory()

    def acquire(
        self, name: str, holder: Holder, *, ttl_ms: int, queue: bool
    ) -> tuple[Lease | Busy, Sequence[str]]:
        """Try once; see `LeaseBackend.acquire`. Tells who was skipped, too."""
        self._engine.check_usable()
        keys = self.names.keys(name)
        claim = Claim(keys, holder, keys.place(holder), ttl_ms, whole_seconds(ttl_ms), queue)
        deadline = Deadline(patience_s(ttl_ms, 3))
        skipped: tuple[wire.KeyValue, ...] = ()
        must_stand = False
        for _ in range(_ROUNDS):
            session = self._sessions.get(claim.seconds, claim.place, patience_s=deadline.left_s)
            wait = self._find_wait(claim, deadline, must_stand=must_stand)
            try:
                found = self._try(claim, session, wait, skipped, deadline)
            except _WentBack:
                continue
            except _Gone:
                self._sessions.drop(session)
                if wait is not None:
                    self._sessions.drop(wait)
                continue
            if isinstance(found, Lease):
                return found, [keys.waiter(one.key) for one in skipped]
            skipped, own = (), found.own(claim.place)
            if found.held is not None and found.held.belongs_to(holder):
                again = self._have_again(claim, found, deadline)
                if again is not None:
                    return again, ()
                continue
            self._sessions.settle(claim.place, None)
            ahead = found.ahead_of(claim.place)
            seen = self._note(found)
            if found.held is None and not ahead:
                continue
            is_due = self._clock.boot_ns() >= seen.boot_ns + len(ahead) * GRACE_NS
            if found.held is None and own is not None and is_due:
                skipped = ahead[:MAX_REMOVED]
                continue
            if queue and own is None and not must_stand:
                must_stand = True
                continue
            return self._busy(claim, found, seen, ahead), ()
        return Busy(name=name, holder=None, expires=None, ahead=0, retry_in_s=_MIN_RETRY_S), ()

    def _find_wait(self, claim: Claim, deadline: Deadline, *, must_stand: bool) -> Session | None:
        """Return what its place is to be attached to, if that is to be written now."""
        if not claim.queue:
            return None
        seconds, sessions = claim.wait_seconds, self._sessions
        if claim.place in self._places:
            if sessions.age_s(claim.waiting) < seconds * _STEADY_SHARE:
                return None
        elif not must_stand:
            # Perhaps it is free; then there is nothing to wait for.
            return sessions.find_fresh(seconds, claim.waiting, exact=False)
        return sessions.get(seconds, claim.waiting, patience_s=deadline.left_s, exact=False)

    def _try(
        self,
        claim: Claim,
        session: Session,
        wait: Session | None,
        skipped: Sequence[wire.KeyValue],
        deadline: Deadline,
    ) -> Lease | Picture:
        """Take it if it is free and ours to take; otherwise see how things stand."""
        keys, place, sessions = claim.keys, claim.place, self._sessions
        floor, floor_revision = self._floor
        check_room(floor)
        now_ns = self._clock.wall_ns()
        held = Held(
            holder_id=claim.holder.holder_id,
            session=claim.holder.session,
            ttl_ms=claim.ttl_ms,
            acquired_ns=now_ns,
            renewed_ns=session.sent_wall_ns,
            clock_id=self._clock.clock_id,
            boot_ns=session.sent_boot_ns,
        )
        own = self._places.get(place)
        home = self._engine.place
        compare = [
            # A member of another cluster would grant it a second time.
            *guard(home),
            wire.created_at(keys.held, 0),
            wire.modified_at(self.names.floor, floor_revision),
            *self._compare_line(keys, place, own, skipped),
        ]
        success = [
            wire.read(keys.last),
            lease_wire.put_for(keys.held, encode(held), session.lease_id),
            wire.put(keys.last, encode(Grant(floor=floor, since_ns=now_ns))),
            *(wire.delete(one.key) for one in skipped),
        ]
        if own is not None:
            success.append(wire.delete(place))
        failure = [
            *self._reads(keys),
            wire.read(self.names.floor),
            wire.read(home.layout.meta),
        ]
        if wait is not None:
            failure.insert(0, lease_wire.put_for(place, b"", wait.lease_id))
        answer = self._write("acquire", compare, success, failure, deadline.left_s).answer
        if answer.succeeded:
            revision = answer.header.revision
            before = answer.responses[0].response_range.kvs
            known = read_grant(before[0]).token_at(before[0].mod_revision) if before else 0
            if known >= floor + revision:
                self._give_back(keys, revision, known, floor_revision, deadline)
                raise _WentBack
            self._grants[place] = (floor + revision, revision)
            self._forget_place(claim.place)
            sessions.settle(place, session)
            return held.lease(keys.name, floor + revision)
        ranges = [one.response_range for one in answer.responses[-5:]]
        if not is_same_store(home, ranges[4].kvs):
            raise other_store(home, ranges[4].kvs)
        found = Picture.of(keys, answer.header.revision, *ranges[:3])
        kvs = ranges[3].kvs
        self._floor = (read_floor(kvs[0]), kvs[0].mod_revision) if kvs else (0, 0)
        stands = found.own(place)
        if stands is None:
            self._forget_place(place)
        else:
            self._places[place] = stands.create_revision
            if wait is not None:
                sessions.settle(claim.waiting, wait)
        return found

    def _give_back(
        self, keys: Keys, revision: int, known: int, floor_revision: int, deadline: Deadline
    ) -> None:
        """Undo a grant whose token is not the highest, and raise the floor to what is.

        A cluster that was restored from a backup counts from further back, and so does a
        member of one that has lost its consistency.
        """
        last = Grant(token=known, since_ns=self._clock.wall_ns())
        self._write(
            "giving back",
            [
                wire.modified_at(keys.last, revision),
                wire.modified_at(self.names.floor, floor_revision),
            ],
            [
                wire.delete(keys.held),
                wire.put(keys.last, encode(last)),
                wire.put(self.names.floor, encode(Floor(token=known))),
            ],
            [],
            deadline.left_s,
        )

    @staticmethod
    def _compare_line(
        keys: Keys, place: bytes, own: int | None, skipped: Sequence[wire.KeyValue]
    ) -> list[wire.JsonObject]:
        """Compare: nobody stands ahead, but those who are skipped as they are."""
        if own is None:
            return [wire.created_at(keys.wait, 0, keys.wait_end)]
        mine = wire.created_at(place, own)
        if skipped:
            # Whoever came since stands further back.
            return [mine, *(wire.modified_at(one.key, one.mod_revision) for one in skipped)]
        return [mine, lease_wire.created_after(keys.wait, keys.wait_end, own - 1)]

    @staticmethod
    def _reads(keys: Keys) -> list[wire.JsonObject]:
        line = lease_wire.read_line(keys.wait, keys.wait_end, limit=MAX_WAITERS + MAX_REMOVED)
        return [wire.read(keys.held), wire.read(keys.last), line]

    def _have_again(self, claim: Claim, found: Picture, deadline: Deadline) -> Lease | None:
        """Renew what its session has already; None where it was lost meanwhile."""
        assert found.held is not None
        lease = msgspec.structs.replace(
            found.held.lease(claim.keys.name, found.token), ttl_ms=claim.ttl_ms
        )
        self._grants[claim.place] = (found.token, found.grant_revision)
        again = self._renew(lease, deadline)
        return again if isinstance(again, Lease) else None

    def _busy(
        self, claim: Claim, found: Picture, seen: Seen, ahead: tuple[wire.KeyValue, ...]
    ) -> Busy:
        left_ns = seen.boot_ns - self._clock.boot_ns()
        held = found.held
        if held is not None:
            left_ns += held.ttl_ms * 1_000_000 + EXPIRY_SLACK_NS
        else:
            left_ns += max(1, len(ahead)) * GRACE_NS
        retry_s = max(_MIN_RETRY_S, left_ns / _NS)
        if claim.queue:
            retry_s = min(retry_s, claim.wait_ms / 3_000)
            if len(ahead) >= MAX_WAITERS:
                self.withdraw(claim.keys.name, claim.holder)
            else:
                self._standings[claim.place] = Standing(
                    claim.keys,
                    found.revision,
                    frozenset(one.key for one in ahead),
                    None if held is not None else seen.boot_ns,
                )
        return Busy(
            name=claim.keys.name,
            holder=None if held is None else held.holder_id,
            expires=None if held is None else held.lease("", 0).expires_at,
            ahead=len(ahead),
            retry_in_s=retry_s,
        )

    def _note(self, found: Picture) -> Seen:
        """Remember since when a name has been as it is, by our boot clock."""
        before = self._seen.get(found.keys.now)
        if before is not None and before.is_still(found):
            return before
        seen = self._seen[found.keys.now] = Seen(
            found.revision, found.held_revision, self._clock.boot_ns()
        )
        return seen

    def saw_free(self, keys: Keys, revision: int) -> None:
        """Hear that a name became free at a revision of etcd."""
        self._seen[keys.now] = Seen(revision, 0, self._clock.boot_ns())

    def standing(self, name: str, holder: Holder) -> Standing | None:
        """Say how a waiter stood when it last asked; None where it does not stand."""
        return self._standings.get(self.names.keys(name).place(holder))

    def renew(self, lease: Lease) -> Lease | NotHeld:
        """Push the expiry to now + ttl; see `LeaseBackend.renew`."""
        self._engine.check_usable()
        return self._renew(lease, Deadline(patience_s(lease.ttl_ms, 4)))

    def _renew(self, lease: Lease, deadline: Deadline) -> Lease | NotHeld:
        keys, holder = self.names.keys(lease.name), Holder(lease.holder_id, lease.session)
        place, seconds = keys.place(holder), whole_seconds(lease.ttl_ms)
        granted = self._find_grant(keys, place, lease, deadline)
        if isinstance(granted, NotHeld):
            return granted
        for _ in range(_ROUNDS):
            session = self._sessions.get(seconds, place, patience_s=deadline.left_s)
            held = Held(
                holder_id=lease.holder_id,
                session=lease.session,
                ttl_ms=lease.ttl_ms,
                acquired_ns=lease.acquired_at,
                renewed_ns=session.sent_wall_ns,
                clock_id=self._clock.clock_id,
                boot_ns=session.sent_boot_ns,
            )
            try:
                # Nobody was granted it since, nor was it given back: it may even have run out.
                answer = self._write(
                    "renewal",
                    [*guard(self._engine.place), wire.modified_at(keys.last, granted)],
                    [
                        lease_wire.put_for(keys.held, encode(held), session.lease_id),
                        wire.delete(place),
                    ],
                    self._reads(keys),
                    deadline.left_s,
                ).answer
            except _Gone:
                self._sessions.drop(session)
                continue
            if answer.succeeded:
                self._sessions.settle(place, session)
                self._forget_place(place)
                return held.lease(lease.name, lease.fencing_token)
            return self._lost(self._picture(keys, answer), place, lease)
        raise OutcomeUnknown("renewal", transaction_id=None, reason="etcd forgets its leases")

    def release(self, lease: Lease) -> Released | NotHeld:
        """Free it; see `LeaseBackend.release`."""
        self._engine.check_usable()
        keys = self.names.keys(lease.name)
        place = keys.place(Holder(lease.holder_id, lease.session))
        deadline = Deadline(patience_s(lease.ttl_ms, 4))
        granted = self._find_grant(keys, place, lease, deadline)
        if isinstance(granted, NotHeld):
            return granted
        freed = Grant(token=lease.fencing_token, since_ns=self._clock.wall_ns())
        reply = self._write(
            "release",
            [*guard(self._engine.place), wire.modified_at(keys.last, granted)],
            [wire.delete(keys.held), wire.put(keys.last, encode(freed))],
            self._reads(keys),
            deadline.left_s,
        )
        found = None if reply.answer.succeeded else self._picture(keys, reply.answer)
        # Asked twice, the first answer got lost: it is we who freed it.
        is_ours = found is None or (
            reply.is_late
            and found.grant is not None
            and found.grant.is_released
            and found.token == lease.fencing_token
        )
        if found is not None and not is_ours:
            return self._lost(found, place, lease)
        self._forget_hold(place)
        return Released(lease.name, lease.fencing_token)

    def _find_grant(
        self, keys: Keys, place: bytes, lease: Lease, deadline: Deadline
    ) -> int | NotHeld:
        """Find the revision at which a lease was granted."""
        known = self._grants.get(place)
        if known is not None and known[0] == lease.fencing_token:
            return known[1]
        found = self._look(keys, deadline.left_s)
        holder = Holder(lease.holder_id, lease.session)
        is_ours = (
            found.grant is not None
            and not found.grant.is_released
            and found.token == lease.fencing_token
            and (found.held is None or found.held.belongs_to(holder))
        )
        if not is_ours:
            return _not_held(found, lease)
        self._grants[place] = (found.token, found.grant_revision)
        return found.grant_revision

    def _lost(self, found: Picture, place: bytes, lease: Lease) -> NotHeld:
        self._forget_hold(place)
        return _not_held(found, lease)

    def _forget_hold(self, place: bytes) -> None:
        self._grants.pop(place)
        self._sessions.settle(place, None)

    def _forget_place(self, place: bytes) -> None:
        self._places.pop(place)
        self._standings.pop(place)
        self._sessions.settle(place + b"\0", None)

    def withdraw(self, name: str, holder: Holder) -> None:
        """Leave the queue."""
        self._engine.check_usable()
        place = self.names.keys(name).place(holder)
        self._write("withdrawal", [], [wire.delete(place)], [], PATIENCE_S)
        self._forget_place(place)

    def inspect(self, name: str) -> LeaseState:
        """Read a name."""
        self._engine.check_usable()
        keys = self.names.keys(name)
        found = self._look(keys, PATIENCE_S)
        held, token = found.held, found.token
        return LeaseState(
            name=name,
            fencing_token=token,
            lease=None if held is None else held.lease(name, token),
            is_live=held is not None,
            waiters=tuple(keys.waiter(one.key) for one in found.places),
        )

    def _look(self, keys: Keys, seconds: float) -> Picture:
        body = wire.txn([], self._reads(keys), [])
        decode = wire.txn_reader(success=3, failure=0)
        ask = Ask(path=wire.TXN, body=body, decode=decode, what="read")
        return self._picture(keys, self._engine.client.ask(ask, patience_s=seconds).answer)

    @staticmethod
    def _picture(keys: Keys, answer: wire.TxnAnswer) -> Picture:
        held, last, line = (one.response_range for one in answer.responses[-3:])
        return Picture.of(keys, answer.header.revision, held, last, line)

    def _write(
        self,
        what: str,
        compare: Sequence[wire.JsonObject],
        success: Sequence[wire.JsonObject],
        failure: Sequence[wire.JsonObject],
        seconds: float,
    ) -> Reply[wire.TxnAnswer]:
        """Send a transaction that may be repeated.

        Raises:
            _Gone: What it attaches a key to is no more; nothing happened.
        """
        ask = Ask(
            path=wire.TXN,
            body=wire.txn(compare, success, failure),
            decode=wire.txn_reader(success=len(success), failure=len(failure)),
            safety="repeatable",
            what=what,
        )
        try:
            return self._engine.client.ask(ask, patience_s=seconds)
        except FederlibError as error:
            cause = error.__cause__
            if isinstance(cause, Refusal) and cause.code == _NOT_FOUND:
                raise _Gone from error
            raise


def _not_held(found: Picture, lease: Lease) -> NotHeld:
    holder = None if found.held is None else found.held.holder_id
    return NotHeld(lease.name, lease.fencing_token, holder)
