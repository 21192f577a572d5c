"""`Membership`: one process's entry, kept fresh by heartbeats while its body runs.

Source: A2.2 §2.3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Literal, Self

import anyio
import anyio.lowlevel
import attrs
from anyio import CancelScope
from anyio.abc import TaskGroup

from federlib._tasks import leave_scope
from federlib.errors import (
    Conflict,
    FederlibError,
    Fenced,
    IdentityTaken,
    InvalidInput,
    OutcomeUnknown,
    Unavailable,
)
from federlib.identity import ClaimedIdentity
from federlib.registry.records import (
    MemberRecord,
    check_load,
    decode_member,
    encode_member,
    member_key,
)
from federlib.registry.roster import Member, Refusal, refusal
from federlib.skewclock import Clock
from federlib.storage.protocol import (
    Absent,
    AtRevision,
    Committed,
    Put,
    Record,
    RecordStore,
    Transaction,
)
from federlib.telemetry import Metric, Telemetry
from federlib.telemetry.logs import Level

__all__ = ["CLOSE_TIMEOUT_S", "HEARTBEATS", "Facts", "Membership"]

CLOSE_TIMEOUT_S = 5.0
"""How long saying goodbye may take; seconds."""

HEARTBEATS = Metric(
    "federlib_registry_heartbeats_total",
    "counter",
    "Heartbeats of this process: sent, failed (and tried again) or refused.",
    ("result",),
)

_BEATS_PER_TTL = 3
_JITTER = 0.1
_FIRST_PAUSE_S = 0.05
_TRY_S = 5.0
_NS = 1_000_000_000
_MAX_INSTANT = 2**63 - 1


@attrs.frozen(kw_only=True)
class Facts:
    """What a membership says of its process, the same in every heartbeat."""

    kind: str
    labels: dict[str, str]
    slots: int
    ttl_ms: int
    session: str
    pid: int
    hostname: str
    version: str


class Membership:
    """One process's entry in the registry; an async context manager that keeps it fresh.

    Made by `Registry.join`. Entering writes the first heartbeat, leaving marks the entry
    as left. A store that is away ends nothing: the heartbeat is tried again until it comes
    back, and the entry expires meanwhile. Only when the identity is not this process's any
    more is the body cancelled, and the `with` raises `Fenced`.

    `report` may be called from any thread; everything else belongs to the task that entered.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        store: RecordStore,
        identity: Callable[[], Awaitable[ClaimedIdentity]],
        judge: Callable[[Record, MemberRecord], Member],
        roll: list[Membership],
        clock: Clock,
        jitter: Callable[[], float],
        telemetry: Telemetry,
    ) -> None:
        self._facts = facts
        self._store = store
        self._identity = identity
        self._judge = judge
        self._roll = roll
        self._clock = clock
        self._jitter = jitter
        self._telemetry = telemetry
        self._state: Literal["new", "joined", "ended"] = "new"
        self._me: ClaimedIdentity | None = None
        self._load = 0.0
        self._started_ns = 0
        self._sent_ns = 0
        self._is_away = False
        self._was_heard = False
        # Whether a record of ours may stand in the store: true as soon as one was sent.
        self._may_stand = False
        # The record as we know it; `_is_known` is false where it has to be looked at first.
        self._revision: int | None = None
        self._is_known = False
        self._lost: Exception | None = None
        self._group: TaskGroup | None = None
        self._body = CancelScope()

    @property
    def kind(self) -> str:
        """What this process does."""
        return self._facts.kind

    @property
    def worker_id(self) -> str:
        """Under which id this process is in the registry."""
        return self._claimed.worker_id

    @property
    def incarnation(self) -> int:
        """Which life of that identity this is."""
        return self._claimed.incarnation

    def report(self, *, load: float) -> None:
        """Say how much of the slots is in use; it goes with the next heartbeat.

        Raises:
            InvalidInput: Not a finite number from 0.
        """
        self._load = check_load(load)

    async def __aenter__(self) -> Self:
        """Claim the identity, and write the first heartbeat if the store lets us.

        Raises:
            Conflict: This process is in the registry already.
            IdentityTaken: Another live process is this very life of the identity: its
                files were copied.
            Fenced: A later life of the identity has joined.
            InvalidInput: It was entered before.
        """
        if self._state != "new":
            raise InvalidInput("membership", expected="entered once", found=self._state)
        if self._roll:
            raise Conflict(
                "the registry",
                expected="one entry of this process",
                actual=f"a {self._roll[0].kind!r} that has joined already",
                hint="an identity has one entry; tell more by its labels",
            )
        self._roll.append(self)
        try:
            self._me = await self._identity()
            self._started_ns = self._wall_ns()
            await self._try_to_beat()
        except BaseException:
            await self._end()
            raise
        group = anyio.create_task_group()
        await group.__aenter__()
        self._group = group
        self._state = "joined"
        self._body.__enter__()
        group.start_soon(self._keep)
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        """Stop the heartbeats and say goodbye, shielded, within `CLOSE_TIMEOUT_S`.

        The body's own exception goes on as it is. A cancellation from outside wins over
        the loss of the identity.

        Raises:
            Fenced, IdentityTaken: The identity is not this process's, or not any more.
        """
        left = leave_scope(self._body, error)
        try:
            await self._stop()
        finally:
            await self._end()
        if left is not None and left is error:
            return False
        if left is not None:
            raise left
        if self._lost is not None:
            # Trio's scopes swallow any Cancelled: ask whether an outer one is meant too.
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise self._lost
        return error is not None

    async def _stop(self) -> None:
        group = self._group
        assert group is not None
        # The group never sees the body's exception, or it would wrap it.
        group.cancel_scope.shield = True
        group.cancel_scope.cancel()
        await group.__aexit__(None, None, None)

    async def _keep(self) -> None:
        """Send a heartbeat every third of the ttl, until we are not allowed to."""
        try:
            while True:
                await self._sleep_until(self._sent_ns + self._interval_ns())
                await self._beat_until_heard()
        except Exception as error:
            # A fault of our own, too, comes out as it is and not in a group.
            self._lost = error
            self._body.cancel()

    async def _beat_until_heard(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not await self._try_to_beat():
            # Of many processes that lost their store, each comes back at its own time.
            await anyio.sleep(pause_s * (1 - _JITTER * self._jitter()))
            pause_s = min(2 * pause_s, self._ttl_s / _BEATS_PER_TTL)

    async def _try_to_beat(self) -> bool:
        """Send one heartbeat; say whether it was heard.

        Raises:
            Fenced, IdentityTaken: We may not.
        """
        self._sent_ns = self._clock.boot_ns()
        try:
            # Whoever hangs in one attempt should make another.
            with anyio.move_on_after(_TRY_S) as attempt:
                self._me = await self._identity()
                await self._write(left=False)
            if attempt.cancelled_caught:
                raise Unavailable("the registry", f"no answer within {_TRY_S:g} s")
        except (Fenced, IdentityTaken) as error:
            self._telemetry.emit(HEARTBEATS, result="refused")
            self._log("error", "registry_fenced", reason=str(error))
            raise
        except FederlibError as error:
            self._telemetry.emit(HEARTBEATS, result="failed")
            if not self._is_away:
                self._log("warning", "registry_heartbeat_failed", reason=str(error))
            self._is_away = True
            return False
        self._telemetry.emit(HEARTBEATS, result="sent")
        if not self._was_heard:
            self._log("info", "registry_joined", kind=self._facts.kind)
        self._was_heard = True
        if self._is_away:
            self._log("info", "registry_heartbeat_resumed")
        self._is_away = False
        return True

    async def _write(self, *, left: bool) -> None:
        """Write our record over whatever stands there, if we may.

        Without a transaction id: what stands there tells what became of a lost answer.
        """
        key = member_key(self.worker_id)
        while True:
            if not self._is_known:
                self._revision = await self._look(key)
            put = Put(key, encode_member(self._record(left=left)))
            check = Absent(key) if self._revision is None else AtRevision(key, self._revision)
            stood, self._may_stand, self._is_known = self._may_stand, True, False
            done = await self._store.commit(Transaction((put,), (check,)))
            if isinstance(done, Committed):
                self._revision, self._is_known = done.revision, True
                return
            self._may_stand = stood

    async def _look(self, key: str) -> int | None:
        """Read our own record; return its revision, or None where there is none."""
        record = await self._store.get(key)
        if record is None:
            return None
        found = self._judge(record, decode_member(key, record.value))
        why = refusal(found, self._record(left=False), has_joined=self._may_stand)
        if why is not None:
            raise self._refused(why, found.record)
        return record.revision

    def _refused(self, why: Refusal, found: MemberRecord) -> Fenced | IdentityTaken:
        who = f"process {found.pid} on {found.hostname}"
        if why == "taken":
            return IdentityTaken(
                f"worker identity {self.worker_id}",
                expected=f"incarnation {self.incarnation} to be this process",
                actual=f"{who}, which is live under the same incarnation",
                hint="the identity directory was copied: give each machine its own",
            )
        reason = (
            f"incarnation {found.incarnation} ({who}) has joined the registry after "
            f"incarnation {self.incarnation}"
            if why == "newer"
            else f"{who} has joined the registry under the same incarnation"
        )
        return Fenced(f"worker identity {self.worker_id}", reason=reason)

    def _record(self, *, left: bool) -> MemberRecord:
        facts, now_ns = self._facts, self._wall_ns()
        return MemberRecord(
            worker_id=self.worker_id,
            host_id=self._claimed.host_id,
            incarnation=self.incarnation,
            session=facts.session,
            kind=facts.kind,
            labels=facts.labels,
            slots=facts.slots,
            load=0.0 if left else self._load,
            pid=facts.pid,
            hostname=facts.hostname,
            version=facts.version,
            started_at_ns=self._started_ns,
            last_seen=now_ns,
            clock_id=self._clock.clock_id,
            boot_ns=max(0, self._clock.boot_ns()),
            ttl_ms=facts.ttl_ms,
            left_at_ns=now_ns if left else None,
        )

    async def _end(self) -> None:
        self._state = "ended"
        self._roll.remove(self)
        if not self._may_stand or self._lost is not None:
            return
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            if await self._say_goodbye():
                self._log("info", "registry_left")
                return
        # Then it expires.
        self._log("warning", "registry_leave_failed")

    async def _say_goodbye(self) -> bool:
        """Mark the entry as left; say whether it worked."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._write(left=True)
                return True
            except (Unavailable, OutcomeUnknown):
                await anyio.sleep(pause_s)
                pause_s *= 2
            except FederlibError:
                # A newer life stands there already, or what nobody can read.
                return False

    @property
    def _claimed(self) -> ClaimedIdentity:
        if self._me is None:
            raise InvalidInput("membership", expected="entered", found="one that was not")
        return self._me

    @property
    def _ttl_s(self) -> float:
        return self._facts.ttl_ms / 1_000

    def _interval_ns(self) -> int:
        # Never later than a third of the ttl, and a little earlier by chance, so that
        # workers that started together do not go on together.
        share = (1 - _JITTER * self._jitter()) / _BEATS_PER_TTL
        return round(self._facts.ttl_ms * 1_000_000 * share)

    def _wall_ns(self) -> int:
        # A clock gone mad must not write a record that nobody can read again.
        return min(max(self._clock.wall_ns(), 0), _MAX_INSTANT)

    async def _sleep_until(self, boot_ns: int) -> None:
        await anyio.sleep(max(0, boot_ns - self._clock.boot_ns()) / _NS)

    def _log(self, level: Level, event: str, **more: str) -> None:
        self._telemetry.log(
            level, event, worker_id=self.worker_id, incarnation=self.incarnation, **more
        )
