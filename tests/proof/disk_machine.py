"""Any row of commits, openings, faults, kills and power cuts, against what a store may hold."""

from __future__ import annotations

import random
from typing import ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from federlib.storage import Absent, Check, Delete, Put, Transaction, Write
from federlib.testing import Fault, SimulatedDisk, swarm_choice
from proof.store_model import Store
from proof.witness import OpenStore, Witness

__all__ = ["run_machine"]

KEYS = ("a", "a/b", "b", "é")
keys = st.sampled_from(KEYS)
# Around a sector, because that is where tears lie.
values = st.sampled_from((0, 1, 50, 450, 512, 1_200, 3_000)).map(lambda size: b"\xa5" * size)
writes: st.SearchStrategy[Write] = st.builds(Put, keys, values) | st.builds(Delete, keys)
checks: st.SearchStrategy[Check] = st.builds(Absent, keys)
transactions = st.builds(
    Transaction,
    st.lists(writes, max_size=4, unique_by=lambda write: write.key).map(tuple),
    st.lists(checks, max_size=1).map(tuple),
    st.none() | st.integers(0, 3).map("t{}".format),
)
faults = st.builds(
    Fault,
    st.integers(1, 12),
    st.sampled_from(("no_space", "io_error")),
    times=st.sampled_from((1, 2, 1_000)),
    part=st.floats(0, 0.99),
)


class CrashingStore(RuleBasedStateMachine):
    """A store on a disk that may do anything that the protocol allows."""

    open_store: ClassVar[OpenStore]

    def __init__(self) -> None:
        super().__init__()
        self.witness = Witness(type(self).open_store)
        self.disk = SimulatedDisk()
        self.store: Store | None = self.witness.open(self.disk)
        self.used: dict[str, Transaction] = {}

    @precondition(lambda self: self.store is not None)
    @rule(transaction=transactions)
    def commit(self, transaction: Transaction) -> None:
        # One id, one transaction: for another one the answer would be InvalidInput.
        if transaction.id is not None:
            transaction = self.used.setdefault(transaction.id, transaction)
        assert self.store is not None
        self.witness.commit(self.store, transaction)

    @rule(fault=faults)
    def fail_soon(self, fault: Fault) -> None:
        at = self.disk.operations + fault.at
        self.disk.faults = (Fault(at, fault.kind, times=fault.times, part=fault.part),)

    @rule()
    def heal(self) -> None:
        self.disk.faults = ()

    @rule()
    def open_again(self) -> None:
        if self.store is not None:
            self.store.close(1.0)
        self.store = self.witness.open(self.disk)

    @rule()
    def kill(self) -> None:
        self._go_on_with(self.disk.kill())

    @rule(rng=st.randoms(use_true_random=False), names_in_order=st.booleans())
    def cut_power(self, rng: random.Random, names_in_order: bool) -> None:
        self._go_on_with(self.disk.cut_power(swarm_choice(rng), names_in_order=names_in_order))

    def _go_on_with(self, disk: SimulatedDisk) -> None:
        self.disk.end_process()
        self.disk = disk
        self.store = self.witness.open(disk)

    def teardown(self) -> None:
        self._go_on_with(self.disk.kill())
        assert self.store is not None
        self.store.close(1.0)


def run_machine(open_store: OpenStore, *, examples: int, steps: int, shrinks: bool = True) -> None:
    """Search for a row of steps after which the store holds what it must not."""

    class Machine(CrashingStore):
        pass

    Machine.open_store = staticmethod(open_store)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink) if shrinks else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
