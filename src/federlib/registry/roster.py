"""Who is there, as one process judges it now; and who may write a member's record.

A member counts as live by the rules of leases (`lease.judge`): exactly by its own boot
clock where the judge shares it, dead with its boot on the same machine, and otherwise by
A2.2's ``last_seen > now - (TTL + SKEW_TOLERANCE)``. A heartbeat from a clock that is far
ahead is not believed for ever: a judge that has watched it unrenewed for the ttl and the
tolerance calls it expired.

Source: A2.2 §2.2 and §2.3, design §4 (whose clock).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import attrs

from federlib.errors import CorruptRecord
from federlib.lease.judge import Claim, Horizon, Moment, horizon
from federlib.registry.records import MemberRecord
from federlib.skewclock import SkewTolerance

__all__ = [
    "HostSummary",
    "Member",
    "Refusal",
    "Roster",
    "Sighted",
    "State",
    "by_host",
    "by_name",
    "is_news",
    "judge",
    "refusal",
    "select",
]

State = Literal["live", "expired", "left"]
"""Of a member: its heartbeats come; they stopped without a word; it said goodbye."""

Refusal = Literal["newer", "taken", "replaced"]

_NS = 1_000_000_000
_MS = 1_000_000


@attrs.frozen
class Member:
    """One member, as judged when it was read.

    Attributes:
        record: What it last said.
        state: ``live``, ``expired`` or ``left``.
        age_s: How long ago that was; seconds, as exactly as the clocks allow.
    """

    record: MemberRecord
    state: State
    age_s: float

    @property
    def worker_id(self) -> str:
        """Who it is."""
        return self.record.worker_id

    @property
    def host_id(self) -> str:
        """On which host."""
        return self.record.host_id

    @property
    def gone_s(self) -> float:
        """How long ago it left, or its ttl ran out; seconds, 0 while it is live."""
        if self.state == "live":
            return 0.0
        ttl_s = self.record.ttl_ms / 1_000
        return self.age_s if self.state == "left" else max(0.0, self.age_s - ttl_s)


@attrs.frozen(kw_only=True)
class HostSummary:
    """The members of one host, taken together.

    Attributes:
        host_id: The host.
        hostname: Its name, as its latest heartbeat has it.
        live: Members that are live.
        expired: Members that fell silent.
        left: Members that said goodbye.
        slots: Of the live ones, summed.
        load: Of the live ones, summed.
        oldest_heartbeat_s: How long the most silent member that has not left has been
            silent; seconds, None where all have left.
    """

    host_id: str
    hostname: str
    live: int
    expired: int
    left: int
    slots: int
    load: float
    oldest_heartbeat_s: float | None


@attrs.frozen(kw_only=True)
class Roster:
    """The registry at one look.

    Attributes:
        members: All of them, whatever their state, by host and number.
        problems: A record that cannot be read is here, and is no member.
    """

    members: tuple[Member, ...]
    problems: tuple[CorruptRecord, ...]

    def by_host(self) -> dict[str, HostSummary]:
        """Take the members of each host together."""
        return by_host(self.members)


@attrs.frozen
class Sighted:
    """A record, and when this process first saw it at its revision.

    Attributes:
        record: As stored.
        revision: Of the record.
        seen_boot_ns: On this process's boot clock.
    """

    record: MemberRecord
    revision: int
    seen_boot_ns: int

    def horizon(self, clock_id: str, tolerance: SkewTolerance) -> Horizon:
        """Say until when it counts as live if no heartbeat follows."""
        record = self.record
        claim = Claim(
            clock_id=record.clock_id,
            renewed_boot_ns=record.boot_ns,
            ttl_ns=record.ttl_ms * _MS,
            expires_at_ns=record.last_seen + record.ttl_ms * _MS,
            seen_boot_ns=self.seen_boot_ns,
        )
        return horizon(claim, clock_id, tolerance)

    def age_ns(self, now: Moment) -> int:
        """Say how old the heartbeat is; nanoseconds, never negative."""
        record = self.record
        if record.clock_id and record.clock_id == now.clock_id:
            return max(0, now.boot_ns - min(record.boot_ns, self.seen_boot_ns))
        # A clock that is ahead hides the age; that we have seen it since then does not lie.
        return max(0, now.wall_ns - record.last_seen, now.boot_ns - self.seen_boot_ns)


def judge(sighted: Sighted, now: Moment, tolerance: SkewTolerance) -> Member:
    """Say how a member stands now."""
    state: State = "live"
    if sighted.record.left_at_ns is not None:
        state = "left"
    elif sighted.horizon(now.clock_id, tolerance).left_ns(now) <= 0:
        state = "expired"
    return Member(sighted.record, state, sighted.age_ns(now) / _NS)


def refusal(found: Member | None, mine: MemberRecord, *, has_joined: bool) -> Refusal | None:
    """Say why a process must not write its heartbeat; None if it may.

    Args:
        found: What stands under its worker id.
        mine: What it would write.
        has_joined: Whether this process has written before.
    Returns:
        ``newer``: a later life of the identity has joined. ``taken``: another live process
        claims this very life, so the identity was copied. ``replaced``: the same, after we
        had joined.
    """
    if found is None or found.record.session == mine.session:
        return None
    if found.record.incarnation != mine.incarnation:
        return "newer" if found.record.incarnation > mine.incarnation else None
    if has_joined:
        return "replaced"
    return "taken" if found.state == "live" else None


def by_name(members: Iterable[Member]) -> tuple[Member, ...]:
    """Order members by host, then by number: ``:2`` before ``:10``."""
    return tuple(sorted(members, key=_place))


def _place(member: Member) -> tuple[str, int]:
    host_id, _, seq = member.worker_id.rpartition(":")
    return host_id, int(seq)


def by_host(members: Iterable[Member]) -> dict[str, HostSummary]:
    """Take the members of each host together, in the order in which hosts appear."""
    hosts: dict[str, list[Member]] = {}
    for member in members:
        hosts.setdefault(member.host_id, []).append(member)
    return {host_id: _summary(host_id, group) for host_id, group in hosts.items()}


def _summary(host_id: str, members: list[Member]) -> HostSummary:
    live = [member for member in members if member.state == "live"]
    expired = [member for member in members if member.state == "expired"]
    return HostSummary(
        host_id=host_id,
        hostname=min(members, key=lambda member: member.age_s).record.hostname,
        live=len(live),
        expired=len(expired),
        left=len(members) - len(live) - len(expired),
        slots=sum(member.record.slots for member in live),
        load=sum(member.record.load for member in live),
        oldest_heartbeat_s=max((member.age_s for member in (*live, *expired)), default=None),
    )


def select(
    members: Iterable[Member],
    *,
    state: State | None,
    kind: str | None,
    labels: Mapping[str, str],
) -> list[Member]:
    """Keep the members of one state and one kind that carry all these labels."""
    return [
        member
        for member in members
        if (state is None or member.state == state)
        and (kind is None or member.record.kind == kind)
        and labels.items() <= member.record.labels.items()
    ]


def is_news(before: Member | None, after: Member | None) -> bool:
    """Say whether two sights of a member differ by more than a heartbeat."""
    return _essence(before) != _essence(after)


def _essence(member: Member | None) -> object:
    if member is None:
        return None
    record = member.record
    return (
        member.state,
        record.incarnation,
        record.session,
        record.started_at_ns,
        record.kind,
        record.labels,
        record.slots,
        record.load,
        record.ttl_ms,
    )
