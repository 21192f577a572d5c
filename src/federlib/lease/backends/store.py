"""Leases on any RecordStore: compare-and-swap decides, clocks only advise.

Source: design §4, lease.
"""

from __future__ import annotations

import secrets  # noqa: TID251 (a shell: transaction ids)
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs

from federlib.errors import OutcomeUnknown
from federlib.lease.backends.mirror import Mirror, Sightings, States, read_moment
from federlib.lease.backends.sweep import Floor, collect_free, raise_floor, read_floor
from federlib.lease.backends.transactions import (
    Asker,
    extend,
    free_record,
    held_record,
    is_same,
    plan_acquire,
    plan_retake,
    replace_lease,
)
from federlib.lease.protocol import (
    Busy,
    Holder,
    Lease,
    LeaseBackend,
    LeaseCapabilities,
    LeaseState,
    NotHeld,
    Released,
)
from federlib.lease.queue import GRANT_GRACE_S, Decision, Grant, Line, Terms, View, decide
from federlib.lease.records import (
    LEASE_PREFIX,
    LeaseRecord,
    decode_lease,
    encode,
    lease_key,
    name_prefix,
    waiter_key,
)
from federlib.lease.settings import check_ttl
from federlib.skewclock import Clock, SkewTolerance
from federlib.storage.keys import unsegment
from federlib.storage.protocol import (
    Committed,
    Conflicted,
    Delete,
    RecordStore,
    Transaction,
)
from federlib.telemetry import SILENT, Telemetry

__all__ = ["StoreLeaseBackend"]

_NS = 1_000_000_000
_FAILOVER_SLACK_S = 0.5
_ATTEMPTS = 16
_UNHEARD = 3
_MAX_REMEMBERED = 10_000
_MIN_RETRY_S = 0.001
_Kept = TypeVar("_Kept")


def _transaction_id() -> str:
    return f"lease.{secrets.token_hex(12)}"


class StoreLeaseBackend(LeaseBackend):
    """Leases kept as records of a store.

    Safe for concurrent tasks of one event loop, and for threads on a store that answers in
    the calling thread.

    The verbs name no transactions. An answer that got lost is looked for in the record: it
    names holder, session and token, and each write checks the record that it replaces, so
    that one that lands late conflicts. That saves the store a receipt for every renewal.

    Args:
        store: Where the records lie.
        clock: The clocks of this process.
        tolerance: For holders on other machines.
        telemetry: Skipped waiters and collected names are logged there.
        grant_grace_s: How long a free lease is left to each waiter in turn; seconds.
        owns_store: Whether `aclose` closes the store; by default it is borrowed.
        transaction_ids: Draws an id that no other transaction has, for what `collect` and
            `raise_floor` write.
    """

    def __init__(
        self,
        store: RecordStore,
        clock: Clock,
        tolerance: SkewTolerance,
        telemetry: Telemetry = SILENT,
        *,
        grant_grace_s: float = GRANT_GRACE_S,
        owns_store: bool = False,
        transaction_ids: Callable[[], str] = _transaction_id,
    ) -> None:
        self._store = store
        self._clock = clock
        self._terms = Terms(tolerance, grant_grace_s)
        self._telemetry = telemetry
        self._ids = transaction_ids
        self._owns_store = owns_store
        self._sightings = Sightings()
        # By thread as well: a mirror is read and kept up to date by one thread.
        self._mirrors: dict[tuple[str, int], list[Mirror]] = {}
        self._written: OrderedDict[str, _Written] = OrderedDict()
        self._freed: OrderedDict[str, tuple[LeaseRecord, int]] = OrderedDict()
        self._floor: Floor | None = None

    @property
    def capabilities(self) -> LeaseCapabilities:
        """What the store makes possible."""
        store = self._store.capabilities
        slack = self._terms.tolerance.tolerance_s if store.multi_host else 0.0
        return LeaseCapabilities(
            fair_queue=True,
            multi_host=store.multi_host,
            survives_restart=store.durable,
            failover_slack_s=_FAILOVER_SLACK_S + slack,
        )

    async def acquire(
        self, name: str, holder: Holder, *, ttl_s: float, queue: bool = False
    ) -> Lease | Busy:
        """Try once; never wait. See `LeaseBackend.acquire`.

        Raises:
            InvalidInput: A name or holder that no key can hold; a ttl out of range.
            CorruptRecord: What is stored under this name cannot be trusted.
            Conflict: The name's last possible token has been granted.
        """
        ttl_ms = check_ttl(ttl_s)
        key = waiter_key(name, holder)
        mirror = self._freshest(name, key) if queue else None
        is_copy = mirror is not None
        patience = _Patience()
        retaken = await self._retake(name, holder, ttl_ms, patience)
        if retaken is not None:
            return retaken
        for _ in range(_ATTEMPTS):
            if mirror is None:
                mirror, is_copy = await self._read(name), False
            floor = await self._known_floor()
            now = read_moment(self._clock)
            view = mirror.view(now, floor=floor.token)
            decision = decide(view, holder, now, self._terms, ttl_ms=ttl_ms, queue=queue)
            # A copy may be behind. A grant on it would conflict; 'wait' must be asked.
            if is_copy and not isinstance(decision, Grant) and not await self._is_still(mirror):
                mirror = None
                continue
            asker = Asker(name=name, holder=holder, ttl_ms=ttl_ms, now=now)
            plan = plan_acquire(decision, asker, view, mirror.lease, mirror.queue, floor.record)
            if plan is None:
                return self._busy(decision, name, view)
            done = await patience.commit(self._store, plan.transaction)
            if isinstance(done, Committed):
                self._report_skipped(decision, asker)
                if plan.lease is None:
                    return self._busy(decision, name, view)
                self._remember(plan.lease, done.revision, is_alone=not view.waiters)
                return plan.lease
            mirror = self._floor = None
        return Busy(name=name, holder=None, expires=None, ahead=0, retry_in_s=_MIN_RETRY_S)

    async def _retake(
        self, name: str, holder: Holder, ttl_ms: int, patience: _Patience
    ) -> Lease | None:
        """Take what we released last without reading it; None if somebody has come since."""
        freed = self._freed.pop(name, None)
        if freed is None:
            return None
        floor = await self._known_floor()
        asker = Asker(name=name, holder=holder, ttl_ms=ttl_ms, now=read_moment(self._clock))
        plan = plan_retake(asker, *freed, floor=floor.record, floor_token=floor.token)
        done = await patience.commit(self._store, plan.transaction)
        if plan.lease is None or isinstance(done, Conflicted):
            self._floor = None
            return None
        self._remember(plan.lease, done.revision, is_alone=True)
        return plan.lease

    async def _is_still(self, mirror: Mirror) -> bool:
        if mirror.is_seen_free:
            return False
        record = await self._store.get(lease_key(mirror.name))
        return record is not None and record == mirror.lease

    def _report_skipped(self, decision: Decision, asker: Asker) -> None:
        if not isinstance(decision, Grant):
            return
        for waiter in decision.skipped:
            if not waiter.belongs_to(asker.holder):
                self._telemetry.log(
                    "info",
                    "lease_waiter_skipped",
                    lease_name=asker.name,
                    holder_id=waiter.record.holder_id,
                    token=decision.token,
                )

    def _busy(self, decision: Decision, name: str, view: View) -> Busy:
        assert isinstance(decision, Line)
        held = view.lease.lease if view.lease is not None else None
        live = held if view.free_since_boot_ns is None else None
        wait_s = (decision.until_boot_ns - self._clock.boot_ns()) / _NS
        return Busy(
            name=name,
            holder=live.holder_id if live is not None else None,
            expires=live.expires_at if live is not None else None,
            ahead=decision.ahead,
            retry_in_s=max(_MIN_RETRY_S, wait_s),
        )

    async def renew(self, lease: Lease) -> Lease | NotHeld:
        """Push the expiry to now + ttl. See `LeaseBackend.renew`."""
        patience = _Patience()
        known = self._known(lease)
        while True:
            found, revision = _found(known) or await self._read_lease(lease.name)
            if not is_same(found, lease):
                self._forget(lease)
                return _not_held(lease, found)
            renewed = extend(lease, acquired_at=found.acquired_at, now=read_moment(self._clock))
            change = replace_lease(renewed.name, revision, held_record(renewed))
            done = await patience.commit(self._store, change)
            if isinstance(done, Committed):
                is_alone = known is not None and known.is_alone
                self._remember(renewed, done.revision, is_alone=is_alone)
                return renewed
            known = None

    async def release(self, lease: Lease) -> Released | NotHeld:
        """Write 'free' and keep the token. See `LeaseBackend.release`."""
        patience = _Patience()
        known = self._known(lease)
        self._forget(lease)
        while True:
            found, revision = _found(known) or await self._read_lease(lease.name)
            if found is None and patience.was_unheard:
                return Released(lease.name, lease.fencing_token)
            if not is_same(found, lease):
                return _not_held(lease, found)
            free = free_record(lease, now=read_moment(self._clock))
            done = await patience.commit(
                self._store, replace_lease(lease.name, revision, encode(free))
            )
            if isinstance(done, Committed):
                if known is not None and known.is_alone:
                    _keep(self._freed, lease.name, (free, done.revision))
                return Released(lease.name, lease.fencing_token)
            known = None

    def _remember(self, lease: Lease, revision: int, *, is_alone: bool) -> None:
        """Keep what we wrote, so that renewing and releasing need not read it first."""
        _keep(self._written, lease.name, _Written(lease, revision, is_alone))

    def _known(self, lease: Lease) -> _Written | None:
        known = self._written.get(lease.name)
        return known if known is not None and is_same(known.lease, lease) else None

    def _forget(self, lease: Lease) -> None:
        if self._known(lease) is not None:
            self._written.pop(lease.name, None)

    async def _read_lease(self, name: str) -> tuple[Lease | None, int]:
        key = lease_key(name)
        record = await self._store.get(key)
        if record is None:
            return None, 0
        return decode_lease(key, record.value).lease, record.revision

    async def withdraw(self, name: str, holder: Holder) -> None:
        """Leave the queue; without effect if the holder does not stand in it."""
        key = waiter_key(name, holder)
        patience = _Patience()
        while await self._store.get(key) is not None:
            await patience.commit(self._store, Transaction((Delete(key),)))

    async def inspect(self, name: str) -> LeaseState:
        """Read, without effect; judged now, by this process's clocks."""
        mirror = await self._read(name)
        return mirror.state(read_moment(self._clock))

    @asynccontextmanager
    async def watch(self, name: str) -> AsyncIterator[AsyncIterator[LeaseState]]:
        """Stream the states of a name: the present one first, then after every change.

        `anext` may be cancelled and called again; nothing is lost. A lease that expires
        is told within about a second, though no record changes.
        """
        mirror = await self._read(name)
        place = (name, threading.get_ident())
        self._mirrors.setdefault(place, []).append(mirror)
        try:
            prefix = name_prefix(name)
            async with self._store.watch(prefix, after=mirror.revision) as subscription:
                yield States(mirror, subscription, self._fill, self._clock)
        finally:
            mirrors = self._mirrors[place]
            mirrors[:] = [other for other in mirrors if other is not mirror]
            if not mirrors:
                del self._mirrors[place]

    async def collect(self, now_ns: int) -> int:
        """Remove names that have been free for 24 h, and places long expired.

        The same transaction raises `lease/~floor` to at least their tokens, so that a name
        that comes back goes on above them.

        Args:
            now_ns: The present; Unix nanoseconds.
        Returns:
            How many names were removed.
        """
        removed = await collect_free(self._store, now_ns, self._ids, self._telemetry)
        self._floor = None
        return removed

    async def aclose(self) -> None:
        """Close the store if it is ours."""
        if self._owns_store:
            await self._store.aclose()

    async def raise_floor(self, token: int) -> None:
        """Make every later grant, on any name, higher than `token`.

        Raises:
            InvalidInput: Not an int64 of 0 or more.
        """
        self._floor = None
        await raise_floor(self._store, token, self._ids)

    async def floor(self) -> int:
        """Return the token that every later grant is above; 0 for none."""
        return (await read_floor(self._store)).token

    async def names(self) -> Sequence[str]:
        """List the names that have a lease record, in byte order."""
        names: list[str] = []
        after: str | None = None
        while True:
            page = await self._store.scan(LEASE_PREFIX, after=after, limit=1)
            if not page.records:
                return names
            part = page.records[0].key.split("/")[1]
            if not part.startswith("~"):
                names.append(unsegment(part))
            # One seek a name: its waiters are stepped over. '0' is the byte after '/'.
            after = f"{LEASE_PREFIX}{part}0"

    def _freshest(self, name: str, key: str) -> Mirror | None:
        # Whoever waits has a watch open, and its mirror saves the scan of a whole queue.
        place = (name, threading.get_ident())
        mirrors = (m for m in self._mirrors.get(place, ()) if m.has_waiter(key))
        return max(mirrors, key=lambda m: m.revision, default=None)

    async def _read(self, name: str) -> Mirror:
        mirror = Mirror(name, self._sightings, self._terms)
        await self._fill(mirror)
        return mirror

    async def _fill(self, mirror: Mirror) -> None:
        prefix = name_prefix(mirror.name)
        page = await self._store.scan(prefix)
        first = page.revision
        records = [*page.records]
        while page.next is not None:
            page = await self._store.scan(prefix, after=page.next)
            records += page.records
        boot_ns = self._clock.boot_ns()
        mirror.clear()
        for record in records:
            mirror.put(record, boot_ns)
        mirror.revision = first

    async def _known_floor(self) -> Floor:
        # Looked at once: another thread may forget it in between.
        floor = self._floor
        if floor is None:
            self._floor = floor = await read_floor(self._store)
        return floor


@attrs.frozen
class _Written:
    """A lease record of our own.

    Attributes:
        lease: As we wrote it.
        revision: Of that write.
        is_alone: Nobody else stood in line when it was granted. Whoever has rivals looks
            at the queue again rather than write what would conflict.
    """

    lease: Lease
    revision: int
    is_alone: bool


def _found(known: _Written | None) -> tuple[Lease | None, int] | None:
    return None if known is None else (known.lease, known.revision)


def _keep(kept: OrderedDict[str, _Kept], name: str, what: _Kept) -> None:
    """Keep something for a name; of too many, the oldest goes. Each step is safe in threads."""
    kept.pop(name, None)
    while len(kept) >= _MAX_REMEMBERED:
        kept.popitem(last=False)
    kept[name] = what


class _Patience:
    """Commits of one verb: an answer that got lost is no answer, up to three times.

    Attributes:
        was_unheard: A commit of this verb may have taken effect without our hearing of it.
    """

    def __init__(self) -> None:
        self._left = _UNHEARD
        self.was_unheard = False

    async def commit(self, store: RecordStore, change: Transaction) -> Committed | Conflicted:
        """Commit; `Conflicted` also says that the outcome is to be read from the record.

        Raises:
            OutcomeUnknown: For the third time.
        """
        try:
            return await store.commit(change)
        except OutcomeUnknown:
            self._left -= 1
            self.was_unheard = True
            if self._left == 0:
                raise
            return Conflicted(())


def _not_held(lease: Lease, found: Lease | None) -> NotHeld:
    return NotHeld(lease.name, lease.fencing_token, None if found is None else found.holder_id)
