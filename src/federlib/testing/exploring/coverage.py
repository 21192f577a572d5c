"""`Coverage`: what was explored, as numbers that add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from federlib.testing.sim.faults import KINDS

__all__ = ["Coverage", "Finding"]

_MOST_FINDINGS = 100


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A seed that showed what must not be.

    Attributes:
        seed: The seed.
        world: Which world it is.
        violations: What must not be and was, in words.
        replay: The command that plays it again.
    """

    seed: int
    world: str
    violations: tuple[str, ...]
    replay: str


class Coverage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was explored.

    Attributes:
        v: Version of this format.
        worlds: How many seeds of each world.
        begun: How often each kind of fault has begun.
        events: How many ran.
        commits: How many stores have seen.
        leaders: How many there were.
        done: Commands that were acted on, and tasks that succeeded.
        operations: Calls that were kept, and checked as a history.
        histories: How many histories those are.
        undecided: Keys of histories that were too much for the checker.
        failover_ms: The longest time without a leader; milliseconds.
        violations: Seeds that showed what must not be.
        findings: The first hundred of those.
    """

    v: Literal[1] = 1
    worlds: dict[str, int] = {}
    begun: dict[str, int] = {}
    events: int = 0
    commits: int = 0
    leaders: int = 0
    done: int = 0
    operations: int = 0
    histories: int = 0
    undecided: int = 0
    failover_ms: int = 0
    violations: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def seeds(self) -> int:
        """How many were played."""
        return sum(self.worlds.values())

    @property
    def missing(self) -> tuple[str, ...]:
        """Kinds of faults that never began."""
        return tuple(kind for kind in KINDS if not self.begun.get(kind))

    @classmethod
    def sum(cls, some: Iterable[Coverage]) -> Coverage:
        """Add up what was explored apart."""
        parts = list(some)
        findings = tuple(finding for part in parts for finding in part.findings)
        return cls(
            worlds=_added(part.worlds for part in parts),
            begun=_added(part.begun for part in parts),
            events=sum(part.events for part in parts),
            commits=sum(part.commits for part in parts),
            leaders=sum(part.leaders for part in parts),
            done=sum(part.done for part in parts),
            operations=sum(part.operations for part in parts),
            histories=sum(part.histories for part in parts),
            undecided=sum(part.undecided for part in parts),
            failover_ms=max((part.failover_ms for part in parts), default=0),
            violations=sum(part.violations for part in parts),
            findings=findings[:_MOST_FINDINGS],
        )

    def lines(self) -> list[str]:
        """Tell it to people."""
        kinds = [f"{kind} {self.begun.get(kind, 0):,}" for kind in KINDS]
        met = len(kinds) - len(self.missing)
        checked = f"{self.operations:,} calls checked, {self.undecided:,} keys undecided"
        return [
            f"seeds         {self.seeds:,}: {_told(self.worlds)}",
            f"events        {self.events:,}",
            f"commits       {self.commits:,}",
            f"leaders       {self.leaders:,}",
            f"acts          {self.done:,} commands and tasks",
            f"histories     {self.histories:,}: {checked}",
            f"leaderless    {self.failover_ms / 1e3:.1f} s at most",
            f"faults begun  {sum(self.begun.values()):,}, of {met} of {len(kinds)} kinds",
            *(f"              {', '.join(kinds[at : at + 4])}" for at in range(0, len(kinds), 4)),
            f"violations    {self.violations:,}",
        ]


def _added(some: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in some:
        total.update(one)
    return dict(sorted(total.items()))


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
