"""The sweep finds what it is meant to find: a store that is right passes, each mistake fails."""

from __future__ import annotations

from functools import partial

import pytest

from federlib.testing import Fault, SimulatedDisk
from proof.disk_machine import run_machine
from proof.disk_sweep import Sweep
from proof.tiny_store import BUGS, TinyStore
from proof.workloads import short


def sweep_everything(sweep: Sweep) -> None:
    """Look at crashes, then at crashes after each operation that fails."""
    disk = SimulatedDisk()
    sweep.run(disk, short())
    for at in range(1, disk.operations + 1):
        faulty = SimulatedDisk(faults=[Fault(at, "io_error")])
        sweep.run(faulty, short(), at=range(at, at + 8))


def test_a_store_that_is_right_passes() -> None:
    sweep = Sweep(TinyStore, limit=40, deep_every=3)
    sweep_everything(sweep)
    assert sweep.tally.checked > 1_000
    assert sweep.tally.second > 500


@pytest.mark.parametrize("bug", BUGS)
def test_each_mistake_is_found(bug: str) -> None:
    with pytest.raises(AssertionError, match="opened again: found"):
        sweep_everything(Sweep(partial(TinyStore, bug=bug), limit=40, deep_every=3))


def test_a_store_on_a_disk_that_lies_is_found_out() -> None:
    for lie in (
        Fault(1, "lost_sync", of="sync", times=1_000),
        Fault(1, "lost_sync", of="sync_directory", times=1_000),
    ):
        with pytest.raises(AssertionError, match="opened again: found"):
            Sweep(TinyStore, limit=40).run(SimulatedDisk(faults=[lie]), short())


def test_any_row_of_steps_leaves_a_right_store_right() -> None:
    run_machine(TinyStore, examples=100, steps=20)


def test_a_mistake_is_found_by_a_row_of_steps_too() -> None:
    with pytest.raises(AssertionError, match="opened again: found"):
        run_machine(
            partial(TinyStore, bug="commit is not synced"), examples=200, steps=20, shrinks=False
        )
