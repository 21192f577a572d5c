"""Where processes die: every write of a run, or some of them, drawn by a seed."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from copy import copy

import attrs

from dag.run_lab import workflow
from data_sets import workflow_file
from federlib.dag import Policy, TaskSpec, Workflow, load_workflow
from federlib.dag.plan import Plan
from federlib.storage import Record
from federlib.storage.backends._embedded.table import Table
from federlib.storage.backends.memory import MemoryStore
from federlib.testing.virtual_time import Backend, LoopClock, run_virtually
from proof.crash_sweep import CASTS, RUN_ID, Case, Ending, play
from proof.mortal import KILLS, Fault, How, Member, Terms, Watched
from proof.run_book import RunBook

__all__ = ["Sweep", "flow", "workshop"]

_CLOCK = LoopClock()
_TTL_S = 2.0
_TASKS = {
    "a": [],
    "b": ["a"],
    "c": ["a"],
    "d": ["b", "c"],
    "e": ["d"],
    "f": [],
    "g": ["f", "d"],
    "h": ["f"],
    "i": ["g", "h"],
    "j": ["e"],
    "k": ["j", "i"],
}


def workshop(*, policy: Policy | None = None, fails_for_good: bool = False) -> Case:
    """Return a small run with everything in it: joins, retries, snapshots that cut the log."""
    return Case(
        workflow=workflow(_TASKS, retries=2),
        terms=Terms(clock=_CLOCK, ttl_s=_TTL_S, snapshot_every=12, slots=3),
        failing={"d": 3 if fails_for_good else 1, "h": 2},
        policy=policy or Policy(backoff_s=0.3),
        submits=True,
    )


def flow(name: str, *, slots: int) -> Case:
    """Return a shared workflow, some of whose tasks fail at first.

    Args:
        name: Of its file.
        slots: How many tasks a process takes: so many that the writes are a few hundred.
    """
    rows = load_workflow(workflow_file(name), time_scale=0).tasks
    return Case(
        workflow=Workflow("", tuple(TaskSpec(id=t.id, needs=t.needs, retries=1) for t in rows)),
        terms=Terms(
            clock=_CLOCK, ttl_s=_TTL_S, snapshot_every=max(60, len(rows) // 2), slots=slots
        ),
        failing={t.id: 1 for t in rows if zlib.crc32(t.id.encode()) % 101 == 0},
    )


@attrs.define
class Tally:
    """What a sweep looked at."""

    points: Counter[How] = attrs.field(factory=Counter)
    again: int = 0
    refused: int = 0
    stale: int = 0
    slowest_takeover_s: float = 0.0

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {how}" for how, count in sorted(self.points.items()))
        return (
            f"{self.points.total()} crash points ({kinds}); {self.again} tasks done again, "
            f"{self.refused} late commits and {self.stale} late finishes refused, "
            f"slowest takeover {self.slowest_takeover_s:.2f} s"
        )


class Sweep:
    """Kills one process of a fleet at its writes, each time in a run of its own.

    Args:
        case: The run.
        cast: Of `CASTS`; the first process is the victim.
        backend: Under which event loop.
        seed: For what is drawn, and for trio's order.

    Attributes:
        tally: What was looked at.
    """

    def __init__(self, case: Case, cast: str, backend: Backend, *, seed: int = 1) -> None:
        self.case = case
        self.cast = cast
        self.backend: Backend = backend
        self.seed = seed
        self.tally = Tally()
        self.plan: Plan = case.plan()
        self._whole: Ending | None = None
        # Once it is there; each run begins with a copy.
        self._submitted: list[tuple[Sequence[Record], int]] = []

    def recast(self, cast: str) -> Sweep:
        """Return the same for another fleet; the plan is not made again."""
        other = copy(self)
        other.cast, other.tally, other._whole = cast, Tally(), None
        return other

    def count(self) -> Ending:
        """Let the run go undisturbed; it says how many writes there are."""
        if self._whole is None:
            self._whole = self._play({})
            assert (self._whole.deaths, self._whole.refused) == ([], 0)
        return self._whole

    def every(self, hows: Iterable[How]) -> None:
        """Go through all writes of the victim."""
        whole = self.count()
        for at in range(1, whole.writes[0] + 1):
            for how in hows:
                self.point(Fault(at, how), whole)

    def some(self, count: int, hows: Sequence[How], *, second: bool = False) -> None:
        """Draw some writes of the victim; with `second`, its follower dies too."""
        whole, rng = self.count(), random.Random(self.seed)
        for _ in range(count):
            fault = Fault(rng.randint(1, whole.writes[0]), rng.choice(hows))
            other = Fault(rng.randint(1, whole.writes[0]), rng.choice(KILLS)) if second else None
            self.point(fault, whole, other)

    def point(self, fault: Fault, whole: Ending | None = None, other: Fault | None = None) -> None:
        """Let the victim die at one write, or lose its answer, and judge the run."""
        faults = {0: fault} if other is None else {0: fault, 1: other}
        try:
            ending = self._play(faults)
            self._judge(ending, fault, whole)
        except Exception as error:
            error.add_note(f"{self.cast}, {faults}, {self.backend}, seed {self.seed}")
            raise
        self.tally.points[fault.how] += 1
        self.tally.again += ending.again
        self.tally.refused += ending.refused
        self.tally.stale += ending.stale
        slowest_s = max(ending.takeover_s.values(), default=0.0)
        self.tally.slowest_takeover_s = max(self.tally.slowest_takeover_s, slowest_s)

    def _judge(self, ending: Ending, fault: Fault, whole: Ending | None) -> None:
        if fault.how in KILLS:
            assert 0 in ending.deaths, f"it never comes to write {fault.at}: {ending.writes}"
            if 0 in ending.takeover_s and len(ending.deaths) == 1:
                # The lease, the grace of the first in line, and our own looking.
                assert ending.takeover_s[0] <= _TTL_S + 0.75, f"a slow takeover: {ending}"
        elif whole is not None and not any(p.role == "cancels" for p in CASTS[self.cast]):
            # Resumed, a run has new leaders too, and a lost answer decides how many.
            assert ending.epochs == whole.epochs, f"a leader gave up without a death: {ending}"

    def _play(self, faults: dict[int, Fault]) -> Ending:
        async def main() -> Ending:
            store = MemoryStore(_CLOCK)
            if not self.case.submits:
                if not self._submitted:
                    self._submitted.append(await self._submit())
                records, revision = self._submitted[0]
                store._table = Table(records, revision=revision)
            return await play(self.case, CASTS[self.cast], store, self.plan, faults)

        return run_virtually(main, self.backend, seed=self.seed)

    async def _submit(self) -> tuple[Sequence[Record], int]:
        store = MemoryStore(_CLOCK)
        watched = Watched(store, RunBook(RUN_ID, self.plan))
        member = Member(("s", 1), watched, self.case.terms, fault=None, kill=lambda: None)
        await member.runs.submit(self.case.workflow, run_id=RUN_ID, policy=self.case.policy)
        return store._table.records(), store._table.revision
