"""Kills at every store write of a leader and of a worker, on every shared workflow.

Issue: nothing lost, no accepted duplicate, no wrong state. A sample by default; all of it with
`FEDERLIB_SOAK=1`. Run with -s to see what was looked at.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import anyio
import attrs
import pytest

from federlib.dag import Policy
from federlib.skewclock import SystemClock
from federlib.storage import open_store
from federlib.telemetry import SILENT
from federlib.testing.virtual_time import Backend
from proof.crash_points import Sweep, flow, workshop
from proof.crash_sweep import CASTS, Case, Ending, play
from proof.dag_bugs import BUGS
from proof.looked import looked_at_crashes
from proof.mortal import FAULTS, KILLS, Fault, How

IS_SOAK = bool(os.environ.get("FEDERLIB_SOAK"))
ALL: Sequence[How] = (*KILLS, *FAULTS)
BACKENDS: Sequence[Backend] = ("asyncio", "trio")

# The slots: so many that a run has a few hundred writes.
FLOWS = {
    "srasearch-50a": 25,
    "nfcore-atacseq": 30,
    "cycles-10l-1c-9p": 120,
    "1000genome-22ch-250k": 200,
    "bwa-large": 300,
    "seismology-1100p": 300,
    "epigenomics-ilmn-6seq-50k": 300,
    "montage-dss-15d": 500,
}


def looked_at(sweep: Sweep, *, least: int) -> None:
    """Tell what was looked at; it was not too little."""
    print(f"\n{len(sweep.plan.ids)} tasks, {sweep.cast}, {sweep.backend}: {sweep.tally}")
    looked_at_crashes(sum(sweep.tally.points[how] for how in KILLS), of="kills at a write of a run")
    assert sweep.tally.points.total() >= least


def sweep_writes(sweep: Sweep, hows: Sequence[How], *, share: float = 1.0) -> None:
    """Look at all writes, or by chance at about a share of them."""
    if IS_SOAK or share == 1:
        sweep.every(hows)
    else:
        sweep.some(round(sweep.count().writes[0] * len(hows) * share), hows)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cast", ["leads and works", "leads and works alone", "is born again"])
def test_who_leads_and_works_may_die_at_any_write(cast: str, backend: Backend) -> None:
    sweep = Sweep(workshop(), cast, backend)
    hows = ALL if cast == "leads and works" or IS_SOAK else KILLS
    sweep_writes(sweep, hows, share=0.5 if backend == "asyncio" else 0.25)
    looked_at(sweep, least=20)
    assert sweep.tally.again > 0
    assert sweep.tally.refused > 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("on_failover", ["adopt", "rerun"])
def test_who_only_leads_may_die_at_any_write(on_failover: str, backend: Backend) -> None:
    policy = Policy(on_failover=on_failover, backoff_s=0.3)  # type: ignore[arg-type]
    sweep = Sweep(workshop(policy=policy), "leads", backend)
    share = 0.5 if (on_failover, backend) == ("adopt", "asyncio") else 0.25
    sweep_writes(sweep, ALL, share=share)
    looked_at(sweep, least=30)
    assert sweep.tally.refused > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_only_works_may_die_at_any_write(backend: Backend) -> None:
    sweep = Sweep(workshop(), "works", backend)
    sweep_writes(sweep, ALL, share=0.5)
    looked_at(sweep, least=15)
    assert sweep.tally.again > 0
    assert sweep.tally.stale > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_so_may_a_leader_that_is_asked_to_cancel_and_resume(backend: Backend) -> None:
    sweep = Sweep(workshop(fails_for_good=True), "is asked", backend)
    sweep_writes(sweep, ALL, share=0.5 if backend == "asyncio" else 0.2)
    looked_at(sweep, least=30)


@pytest.mark.parametrize("backend", BACKENDS)
def test_so_may_whoever_asks_for_it(backend: Backend) -> None:
    sweep = Sweep(workshop(fails_for_good=True), "asks", backend)
    sweep_writes(sweep, ALL)
    looked_at(sweep, least=4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_leader_and_its_follower_may_both_die(backend: Backend) -> None:
    sweep = Sweep(workshop(), "is followed by one that dies", backend)
    sweep.some(2_000 if IS_SOAK else 60, KILLS, second=True)
    looked_at(sweep, least=60)


@pytest.mark.parametrize("name", FLOWS)
def test_on_every_shared_workflow_anybody_may_die_at_any_write(name: str) -> None:
    case = flow(name, slots=FLOWS[name])
    first = Sweep(case, "", BACKENDS[list(FLOWS).index(name) % 2], seed=len(name))
    # Who only leads writes what who leads and works does, and is swept on the small plan above.
    for cast in ("leads and works", "leads", "works") if IS_SOAK else ("leads and works", "works"):
        sweep = first.recast(cast)
        if IS_SOAK:
            sweep.every(KILLS)
            sweep.some(50, FAULTS)
        else:
            sweep.some(max(2, 1_500 // len(case.workflow.tasks)), (*KILLS, *ALL))
        looked_at(sweep, least=2)


def test_on_the_63337_tasks_of_debian_too() -> None:
    case = flow("debian12-install", slots=1_000)
    # All end at the same instants: fewer and larger writes.
    case = attrs.evolve(case, durations_s=(0.4,), one_in=30)
    first = Sweep(case, "", "asyncio")
    # Counting alone would take as long as a point: a run has more writes than these.
    points = range(5, 200, 15) if IS_SOAK else (115,)
    for cast in ("leads and works", "works") if IS_SOAK else ("leads and works",):
        sweep = first.recast(cast)
        for at in points:
            sweep.point(Fault(at, KILLS[at % 2]))
        looked_at(sweep, least=1)


# Stores of this machine, in its own time: the follower's clock is ahead of the lease.


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", ["sqlite", "file"])
async def test_on_stores_of_files_too(scheme: str, tmp_path: Path) -> None:
    case = workshop()
    # So long that a slow machine loses none: to the follower it has run out in any case.
    terms = attrs.evolve(case.terms, clock=SystemClock(), ttl_s=6)
    case = attrs.evolve(case, terms=terms, durations_s=(0.0, 0.01), policy=Policy(backoff_s=0.01))
    whole = await on_files(case, f"{scheme}:///{tmp_path}/whole", {})
    points = range(1, whole.writes[0], 1 if IS_SOAK else max(1, whole.writes[0] // 5))
    for at in points:
        for how in KILLS:
            ending = await on_files(case, f"{scheme}:///{tmp_path}/{how}-{at}", {0: Fault(at, how)})
            # Time is not ours here: the last few writes may not come.
            assert ending.deaths == [0] or at > whole.writes[0] // 2
    print(f"\n{scheme}: {2 * len(points)} crash points of {2 * whole.writes[0]}")
    looked_at_crashes(2 * len(points), of="kills at a write of a run")


async def on_files(case: Case, url: str, faults: dict[int, Fault]) -> Ending:
    store = await open_store(url.replace(" ", "-"), clock=SystemClock(), telemetry=SILENT)
    try:
        with anyio.fail_after(60):
            return await play(case, CASTS["is late"], store, case.plan(), faults)
    finally:
        await store.aclose()


# The sweep itself


@pytest.mark.parametrize("name", BUGS)
def test_the_sweep_finds_a_planted_mistake(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bug = BUGS[name]
    bug.plant(monkeypatch)
    sweep = Sweep(workshop(), bug.cast, "asyncio")
    if bug.needs_death:
        sweep.count()
    with pytest.raises(AssertionError):
        sweep.every(ALL)


def test_the_same_seed_takes_the_same_course() -> None:
    for backend in BACKENDS:
        runs = [Sweep(workshop(), "leads and works", backend, seed=7).count() for _ in range(2)]
        assert runs[0] == runs[1]
