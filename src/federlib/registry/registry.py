"""`Registry`: join it, and ask it who is there.

Source: A2.2 §2.3, design §5.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from types import MappingProxyType

from federlib.errors import CorruptRecord, InvalidInput
from federlib.identity import ClaimedIdentity
from federlib.lease.backends.mirror import read_moment
from federlib.lease.settings import DEFAULT_TTL_S, check_ttl
from federlib.registry.entry import Facts
from federlib.registry.membership import Membership
from federlib.registry.reading import Reader
from federlib.registry.records import (
    REGISTRY_PREFIX,
    check_kind,
    check_labels,
    check_slots,
    host_prefix,
)
from federlib.registry.roster import (
    HostSummary,
    Member,
    Roster,
    State,
    by_name,
    select,
)
from federlib.registry.watching import Changes
from federlib.skewclock import Clock, SkewTolerance
from federlib.storage.limits import MAX_WRITES
from federlib.storage.protocol import (
    AtRevision,
    Committed,
    Delete,
    Record,
    RecordStore,
    Transaction,
)
from federlib.telemetry import SILENT, Metric, Telemetry

__all__ = ["KEEP_S", "Registry"]

KEEP_S = 86_400.0
"""How long an entry outlives its worker before `collect` removes it; seconds."""

MEMBERS = Metric(
    "federlib_registry_members", "gauge", "Members at the last look, by state.", ("state",)
)

_NO_LABELS: Mapping[str, str] = MappingProxyType({})
_STATES: tuple[State, ...] = ("live", "expired", "left")


class Registry:
    """Which workers there are, on which hosts, and which of them are live.

    It advises: a worker that is stopped for longer than its ttl is expired here and wakes
    up all the same. What must not happen twice is guarded by leases and their tokens.

    For the tasks of one event loop. Nothing is read or written before the first call.

    Args:
        store: Where the records lie.
        identity: Claims this process's identity, or returns it if it is still ours.
        clock: The clocks of this process.
        tolerance: For members on other machines.
        jitter: Draws a number from 0 to 1; spreads heartbeats.
        session: Names this process; no other has the same.
        ttl_s: Of memberships where none is given; seconds.
        version: The release that members tell; for people.
        telemetry: Where events and numbers go.
    """

    def __init__(
        self,
        store: RecordStore,
        *,
        identity: Callable[[], Awaitable[ClaimedIdentity]],
        clock: Clock,
        tolerance: SkewTolerance,
        jitter: Callable[[], float],
        session: str,
        ttl_s: float = DEFAULT_TTL_S,
        version: str = "",
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._reader = Reader(store, clock, tolerance, telemetry)
        self._identity = identity
        self._jitter = jitter
        self._session = session
        self._ttl_s = ttl_s
        self._version = version
        self._telemetry = telemetry
        self._roll: list[Membership] = []

    def join(
        self,
        *,
        kind: str = "worker",
        labels: Mapping[str, str] = _NO_LABELS,
        slots: int = 1,
        ttl_s: float | None = None,
    ) -> Membership:
        """Be in the registry for as long as the body runs.

            async with fed.registry.join(kind="worker", labels={"zone": "b"}, slots=8):
                await work()

        A heartbeat is sent every third of the ttl. While the store is away it is tried
        again and the body goes on; the entry may expire meanwhile. Once the identity is
        not this process's any more, the body is cancelled and the `with` raises `Fenced`.

        Args:
            kind: What this process does; any name.
            labels: What others may find it by; at most 32.
            slots: How much it can do at once; summed by host.
            ttl_s: How long it counts as live without a heartbeat; seconds.
        Raises:
            InvalidInput: An argument is out of range.
            Conflict: This process is in the registry already: an identity has one entry.
            IdentityTaken: Another live process is this very life of the identity.
            Fenced: A later life of the identity has joined.
            StoreReplaced, Unavailable: The identity cannot be claimed; as `identity` raises.
        """
        facts = Facts(
            kind=check_kind(kind),
            labels=check_labels(labels),
            slots=check_slots(slots),
            ttl_ms=check_ttl(self._ttl_s if ttl_s is None else ttl_s),
            session=self._session,
            pid=os.getpid(),
            hostname=self._hostname,
            version=self._version,
        )
        return Membership(
            facts,
            reader=self._reader,
            identity=self._identity,
            roll=self._roll,
            jitter=self._jitter,
            telemetry=self._telemetry,
        )

    async def inspect(self, *, host_id: str | None = None) -> Roster:
        """Read all members, or those of one host, whatever their state; without effect.

        A record that cannot be read is among the roster's problems; the others are told.

        Raises:
            InvalidInput: Not a host id.
            Unavailable: The store cannot be reached.
        """
        prefix = REGISTRY_PREFIX if host_id is None else host_prefix(host_id)
        problems: list[CorruptRecord] = []
        records, _ = await self._reader.scan(prefix)
        now = read_moment(self._reader.clock)
        sighted = (self._reader.sight(record, problems) for record in records)
        members = [self._reader.judge(one, now) for one in sighted if one is not None]
        if host_id is None:
            for state in _STATES:
                count = sum(member.state == state for member in members)
                self._telemetry.emit(MEMBERS, count, state=state)
        return Roster(members=by_name(members), problems=tuple(problems))

    async def members(
        self,
        *,
        state: State | None = "live",
        kind: str | None = None,
        host_id: str | None = None,
        labels: Mapping[str, str] = _NO_LABELS,
    ) -> list[Member]:
        """Find members, by host and number; the live ones unless asked otherwise.

        Args:
            state: ``live``, ``expired`` or ``left``; None for all.
            kind: Only of this kind.
            host_id: Only of this host.
            labels: Only those that carry all of these.
        Raises:
            InvalidInput: Not a state, or not a host id.
            Unavailable: The store cannot be reached.
        """
        if state is not None and state not in _STATES:
            raise InvalidInput("state", expected=f"one of {', '.join(_STATES)}", found=state)
        roster = await self.inspect(host_id=host_id)
        return select(roster.members, state=state, kind=kind, labels=labels)

    async def by_host(self) -> dict[str, HostSummary]:
        """Take the members of each host together; keyed by host id.

        Raises:
            Unavailable: The store cannot be reached.
        """
        return (await self.inspect()).by_host()

    async def find(self, worker_id: str) -> Member | None:
        """Read one member, whatever its state; None if it never joined.

        Raises:
            InvalidInput: Not a worker id.
            CorruptRecord: Its record cannot be read.
            Unavailable: The store cannot be reached.
        """
        found = await self._reader.find(worker_id)
        return None if found is None else found[1]

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[Changes]:
        """Stream what becomes different: the members that are there first, then each change.

            async with fed.registry.watch() as changes:
                async for change in changes:
                    print(change.member.worker_id, change.member.state)

        A heartbeat that says nothing new is no change. An expiry is told within about a
        second, though no record changes.

        Raises:
            Unavailable: The store cannot be reached.
        """
        first, revision = await self._reader.scan(REGISTRY_PREFIX)
        async with self._reader.store.watch(REGISTRY_PREFIX, after=revision) as subscription:
            yield Changes(subscription, self._reader, first)

    async def collect(self, *, older_than_s: float = KEEP_S) -> int:
        """Remove members that have not been live for long; return how many.

        One that comes back meanwhile stays. What cannot be read is left as it is.

        Args:
            older_than_s: How long ago they left, or their ttl ran out; seconds.
        Raises:
            InvalidInput: `older_than_s` is not a number from 0.
            Unavailable: The store cannot be reached.
            OutcomeUnknown: It is not known whether the last ones were removed; repeat it.
        """
        # NaN compares false with everything, and so is refused here.
        if type(older_than_s) not in {int, float} or not older_than_s >= 0:
            raise InvalidInput("older_than_s", expected="0 or more seconds", found=older_than_s)
        records, _ = await self._reader.scan(REGISTRY_PREFIX)
        litter = [record for record in records if self._is_litter(record, older_than_s)]
        removed = 0
        for start in range(0, len(litter), MAX_WRITES):
            removed += await self._remove(litter[start : start + MAX_WRITES])
        if removed:
            self._telemetry.log("info", "registry_members_collected", members=removed)
        return removed

    async def _remove(self, records: list[Record]) -> int:
        writes = tuple(Delete(record.key) for record in records)
        checks = tuple(AtRevision(record.key, record.revision) for record in records)
        done = await self._reader.store.commit(Transaction(writes, checks))
        if isinstance(done, Committed):
            return len(records)
        changed = {mismatch.key for mismatch in done.failed}
        rest = [record for record in records if record.key not in changed]
        return await self._remove(rest) if rest else 0

    def _is_litter(self, record: Record, older_than_s: float) -> bool:
        sighted = self._reader.sight(record)
        if sighted is None:
            return False
        member = self._reader.judge(sighted)
        return member.state != "live" and member.gone_s >= older_than_s

    @cached_property
    def _hostname(self) -> str:
        # A name that is not UTF-8 comes with lone surrogates, which no record can hold.
        return socket.gethostname().encode(errors="replace").decode()[:256]
