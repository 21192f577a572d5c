"""`file://` on a disk that loses power, fills up, fails and lies.

Whatever a crash leaves, the store opens to what it held before or after the commit on its way;
what was confirmed is there, and so are receipts, history and the store's id.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from itertools import count
from typing import Literal

import attrs
import pytest

from federlib.errors import CorruptRecord, Unavailable
from federlib.storage import Transaction
from federlib.storage.backends.file._engine import FileEngine
from federlib.storage.backends.file._segments import Journal
from federlib.storage.backends.file._turn import Alone
from federlib.testing import Fault, ProcessEnded, SimulatedDisk, swarm_choice
from proof.disk_machine import run_machine
from proof.disk_sweep import PROBE, Sweep, lose_all
from proof.looked import looked_at_crashes
from proof.small_journal import at_once, open_small
from proof.store_model import Expected, Found, observe
from proof.witness import Witness, attempt, matching
from proof.workloads import mixed, short

IS_SOAK = bool(os.environ.get("FEDERLIB_SOAK"))


def open_large(disk: SimulatedDisk) -> FileEngine:
    return FileEngine(disk, Alone(), where="store", new_store_id="store-1", aside=at_once)


def looked_at(sweep: Sweep, *, least: int) -> None:
    """Tell what was looked at, for whoever runs this with -s; it was not too little.

    Together the tests of this file look at more than 10,000 crashes.
    """
    print(sweep.tally)
    looked_at_crashes(sweep.tally.crashes, of="disks that a crash left")
    assert sweep.tally.crashes >= least


@pytest.mark.parametrize(
    ("open_store", "limit", "least"),
    # Large reserves are many sectors in doubt, and slow.
    [(open_small, 250, 1_000), (open_large, 8, 250)],
)
def test_a_power_cut_or_kill_anywhere_leaves_the_old_or_the_new(
    open_store: Callable[[SimulatedDisk], FileEngine], limit: int, least: int
) -> None:
    sweep = Sweep(open_store, limit=limit * 5 if IS_SOAK else limit, deep_every=8)
    sweep.run(SimulatedDisk(), short())
    looked_at(sweep, least=least)


@pytest.mark.parametrize("seed", range(10 if IS_SOAK else 1))
def test_so_does_one_in_a_long_row_of_commits(seed: int) -> None:
    sweep = Sweep(open_small, seed=seed, limit=60 if IS_SOAK else 12, deep_every=30)
    disk = SimulatedDisk()
    sweep.run(disk, mixed(seed, length=60 if IS_SOAK else 30))
    assert disk.counts["remove"] > 0
    looked_at(sweep, least=2_500)


FAULTS = [
    Fault(1, "no_space", part=0.7),
    Fault(1, "io_error", part=0.0),
    Fault(1, "no_space", times=10_000),
    Fault(1, "io_error", times=3, part=0.99),
]


@pytest.mark.parametrize("fault", FAULTS, ids=["full once", "fails once", "stays full", "fails"])
def test_an_error_at_any_operation_leaves_the_old_or_the_new(fault: Fault) -> None:
    steps = [*short(), *mixed(7, length=5)]
    disk = SimulatedDisk()
    Sweep(open_small).run(disk, steps, at=())
    sweep = Sweep(open_small, limit=20 if IS_SOAK else 3, deep_every=50)
    for at in range(1, disk.operations + 1):
        faulty = SimulatedDisk(faults=[attrs.evolve(fault, at=at)])
        sweep.run(faulty, steps, at=range(at, at + 3))
    looked_at(sweep, least=1_500)


@pytest.mark.parametrize("kind", ["stop", "stop_after"])
def test_who_lives_on_beside_a_killed_writer_shows_only_what_lasts(
    kind: Literal["stop", "stop_after"],
) -> None:
    steps = [step for step in mixed(3, length=12) if isinstance(step, Transaction)]
    for at in count(1):
        disk = SimulatedDisk()
        turn = Alone()
        witness = Witness(open_small)
        open_small(disk).close(1.0)
        writer, survivor = open_small(disk, turn), open_small(disk.share(), turn)
        disk.faults = (Fault(disk.operations + at, kind),)
        try:
            for step in steps:
                witness.commit(writer, step)
        except ProcessEnded:
            goes_on_after_the_other(disk, survivor, witness)
        else:
            break
    assert at > 40


def goes_on_after_the_other(disk: SimulatedDisk, store: FileEngine, witness: Witness) -> None:
    held = matching(observe(store, witness.ids), witness.possible)
    lasts_in(disk, held)
    # Its turn comes: what the other wrote and did not live to confirm may now be found.
    answer = store.commit(attempt(PROBE))
    told = [one.after(PROBE) for one in witness.possible if one.answer(PROBE) == answer]
    lasts_in(disk, matching(observe(store, {*witness.ids, "probe"}), told))


def lasts_in(disk: SimulatedDisk, held: list[Expected]) -> None:
    """Check that at least this is found after any loss of power."""
    for choose in (lose_all, *(swarm_choice(random.Random(seed)) for seed in range(3))):
        found = observe(open_small(disk.cut_power(choose)), ())
        assert found.revision >= held[0].revision
        for record in held[0].records.values():
            assert record in found.records or found.revision > held[0].revision


def after_short(*, but: int = 0) -> SimulatedDisk:
    """Return a disk with the store that the short row of commits leaves, but the last ones."""
    disk = SimulatedDisk()
    Sweep(open_small).run(disk, short()[: len(short()) - but], at=())
    return disk.kill()


def opened_with(disk: SimulatedDisk, fault: Fault) -> Found | None:
    """Open a copy of it, with one fault; None where the store refuses to open."""
    wrong = disk.kill()
    wrong.faults = (fault,)
    try:
        return observe(open_small(wrong), ())
    except (Unavailable, CorruptRecord):
        wrong.faults = ()
        # It has changed nothing: whoever opens it next finds everything.
        assert observe(open_small(wrong), ()) == observe(open_small(disk.kill()), ())
        return None


def reads_of_an_opening(disk: SimulatedDisk) -> range:
    trial = disk.kill()
    open_small(trial)
    return range(1, trial.counts["read"] + 1)


def test_a_read_that_fails_while_it_is_opened_is_said_or_not_needed() -> None:
    disk = after_short()
    whole = observe(open_small(disk.kill()), ())
    found = [
        opened_with(disk, Fault(at, "io_error", of="read")) for at in reads_of_an_opening(disk)
    ]
    assert all(one in (None, whole) for one in found)
    assert None in found


@pytest.mark.parametrize("part", [0.0, 0.03, 0.3, 0.6, 0.99])
def test_a_wrong_bit_is_never_taken_for_data(part: float) -> None:
    disk = after_short()
    whole = observe(open_small(disk.kill()), ())
    for at in reads_of_an_opening(disk):
        found = opened_with(disk, Fault(at, "flipped_bit", of="read", part=part))
        assert found in (None, whole)


def test_a_bit_that_rots_anywhere_in_the_journal_is_never_taken_for_data() -> None:
    disk = after_short()
    whole = observe(open_small(disk.kill()), ())
    without_last = observe(open_small(after_short(but=1)), ())
    journal = {p: d for p, d in disk.contents().items() if p.startswith("journal/") and d}
    refused = 0
    for path, data in journal.items():
        for at in range(0, len(data), 1 if IS_SOAK else 11):
            rotten = disk.kill()
            rotten.open(path).write(at, bytes([data[at] ^ 0x10]))
            try:
                found = observe(open_small(rotten), ())
            except CorruptRecord:
                refused += 1
                continue
            # In the very last commit it cannot be told from what a crash has torn.
            assert found in (whole, without_last)
    assert refused > 100


@pytest.mark.parametrize(
    "lie",
    [
        Fault(1, "lost_sync", of="sync", times=100_000),
        Fault(1, "lost_sync", of="sync_directory", times=100_000),
    ],
    ids=["sync", "sync_directory"],
)
def test_the_sweep_finds_a_driver_that_forgets_to_sync(lie: Fault) -> None:
    with pytest.raises(AssertionError, match=r"opened again: found|CorruptRecord"):
        Sweep(open_small).run(SimulatedDisk(faults=[lie]), mixed(0, length=40))


def test_the_sweep_finds_an_opening_that_only_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    def settle(self: Journal) -> None:
        self._cut_torn_end(self._segments[-1])
        self._segments[-1].file.sync()
        self._disk.sync_directory("journal")

    # After a sync that failed, the next one has nothing to do: only writing anew helps.
    monkeypatch.setattr(Journal, "settle", settle)
    with pytest.raises(AssertionError, match="opened again: found"):
        for at in range(15, 40):
            faulty = SimulatedDisk(faults=[attrs.evolve(FAULTS[3], at=at)])
            Sweep(open_small, limit=3).run(faulty, short(), at=range(at, at + 3))


def test_any_row_of_commits_crashes_and_errors_leaves_a_right_store() -> None:
    run_machine(open_small, examples=2_000 if IS_SOAK else 150, steps=40)
