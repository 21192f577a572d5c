"""The store backend against a model that knows no clocks, and queues that must not starve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import TypeVar

import anyio
import attrs
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from federlib.lease import Busy, Holder, Lease, NotHeld, Released, StoreLeaseBackend
from federlib.lease.holding import deadline_ns
from federlib.lease.records import is_waiter_key, name_prefix, queue_key
from federlib.skewclock import Clock, SkewTolerance
from federlib.storage.backends.memory import MemoryStore
from federlib.testing import ManualClock, SkewedClock

T = TypeVar("T")
S = 1_000_000_000
TTL_S = 6.0
WHO = st.integers(0, 4)


@attrs.define
class Process:
    """One process: its clock, its backend, and the lease that it believes in."""

    holder: Holder
    clock: Clock
    backend: StoreLeaseBackend
    lease: Lease | None = None
    deadline: int = 0

    def believes(self) -> bool:
        return self.lease is not None and self.clock.boot_ns() < self.deadline


class LeaseMachine(RuleBasedStateMachine):
    """Five processes: two share a clock, one is within the tolerance, two are 10 x beyond it."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.portal = self.stack.enter_context(start_blocking_portal())
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        clocks: list[Clock] = [
            self.clock,
            self.clock,
            SkewedClock(self.clock, offset_s=2.9, clock_id="near/b/"),
            SkewedClock(self.clock, offset_s=30, clock_id="fast/b/"),
            SkewedClock(self.clock, offset_s=-30, clock_id="slow/b/"),
        ]
        self.processes = [
            Process(Holder(f"w{n}", "1"), c, StoreLeaseBackend(self.store, c, SkewTolerance(3)))
            for n, c in enumerate(clocks)
        ]
        # The model: who was granted last, under which token, and whether it is still so.
        self.token = 0
        self.floor = 0
        self.owner: Holder | None = None
        self.accepted: list[int] = []

    def teardown(self) -> None:
        self.stack.close()

    def run_in_loop(self, verb: Callable[[], Awaitable[T]]) -> T:
        return self.portal.call(verb)

    @rule(who=WHO, queue=st.booleans())
    def acquire(self, who: int, queue: bool) -> None:
        process = self.processes[who]
        sent = process.clock.boot_ns()
        others = [p for p in self.processes if p is not process and p.believes()]
        answer = self.run_in_loop(
            lambda: process.backend.acquire("n", process.holder, ttl_s=TTL_S, queue=queue)
        )
        if isinstance(answer, Busy):
            assert self.owner != process.holder
            return
        if self.owner == process.holder:
            assert answer.fencing_token == self.token
        else:
            assert answer.fencing_token == max(self.token, self.floor) + 1
            # Within the tolerance nobody follows one who may still act. (One whom a wild
            # clock has robbed in between may believe for a while, and is refused.)
            if who in {0, 1, 2}:
                owners = [p for p in others if p.holder == self.owner]
                assert not [p for p in owners if p in self.processes[:3]]
        self.token, self.owner = answer.fencing_token, process.holder
        process.lease, process.deadline = answer, deadline_ns(sent, answer.ttl_ms)

    @rule(who=WHO)
    def renew(self, who: int) -> None:
        process = self.processes[who]
        if process.lease is None:
            return
        lease, sent = process.lease, process.clock.boot_ns()
        answer = self.run_in_loop(lambda: process.backend.renew(lease))
        if self.is_current(process):
            assert isinstance(answer, Lease)
            assert answer.fencing_token == lease.fencing_token
            process.lease, process.deadline = answer, deadline_ns(sent, answer.ttl_ms)
        else:
            assert isinstance(answer, NotHeld)
            process.lease = None

    @rule(who=WHO)
    def release(self, who: int) -> None:
        process = self.processes[who]
        if process.lease is None:
            return
        lease = process.lease
        answer = self.run_in_loop(lambda: process.backend.release(lease))
        assert isinstance(answer, Released) is self.is_current(process)
        if isinstance(answer, Released):
            self.owner = None
        process.lease = None

    def is_current(self, process: Process) -> bool:
        assert process.lease is not None
        return self.owner == process.holder and process.lease.fencing_token == self.token

    @rule(who=WHO)
    def withdraw(self, who: int) -> None:
        process = self.processes[who]
        self.run_in_loop(lambda: process.backend.withdraw("n", process.holder))

    @rule(who=WHO)
    def write_to_the_resource(self, who: int) -> None:
        """Present a token, as one that believes does; the resource keeps a high-water mark."""
        process = self.processes[who]
        if process.believes() and process.lease is not None:
            token = process.lease.fencing_token
            if not self.accepted or token >= self.accepted[-1]:
                self.accepted.append(token)

    @rule(seconds=st.sampled_from([0.1, 0.5, 0.7, 2.0, 6.0, 9.0, 40.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-60.0, 60.0]))
    def step_wall(self, seconds: float) -> None:
        self.clock.step_wall(seconds)
        # A stepped wall clock breaks rule (c)'s premise: forget what rests on it.
        for process in self.processes[2:]:
            process.lease = None
        self.clock.advance(10)

    @rule(who=WHO, more=st.integers(0, 3))
    def raise_floor(self, who: int, more: int) -> None:
        self.floor = max(self.floor, self.token + more)
        self.run_in_loop(lambda: self.processes[who].backend.raise_floor(self.floor))

    @rule(who=WHO)
    def collect(self, who: int) -> None:
        later = self.clock.wall_ns() + 2 * 86_400 * S
        removed = self.run_in_loop(lambda: self.processes[who].backend.collect(later))
        assert removed == 0 or self.owner is None

    @invariant()
    def whoever_waits_is_announced(self) -> None:
        page = self.run_in_loop(lambda: self.store.scan(name_prefix("n")))
        keys = {record.key for record in page.records}
        assert queue_key("n") in keys or not any(map(is_waiter_key, keys))

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        state = self.run_in_loop(lambda: self.processes[0].backend.inspect("n"))
        held = None if state.lease is None else Holder(state.lease.holder_id, state.lease.session)
        assert held == self.owner
        assert state.fencing_token in {self.token, 0}
        assert self.accepted == sorted(self.accepted)

    @invariant()
    def at_most_one_of_those_who_believe_has_the_highest_token(self) -> None:
        tokens = [p.lease.fencing_token for p in self.processes if p.lease is not None]
        assert len(tokens) == len(set(tokens))


TestLeaseMachine = LeaseMachine.TestCase
TestLeaseMachine.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    size=st.integers(1, 8),
    dead=st.sets(st.integers(0, 7)),
    hold_s=st.sampled_from([0.0, 0.3, 2.5]),
    dies=st.booleans(),
)
def test_every_living_waiter_is_served_in_its_turn(
    size: int, dead: set[int], hold_s: float, dies: bool
) -> None:
    anyio.run(_serve_all, size, frozenset(dead), hold_s, dies)


async def _serve_all(size: int, dead: frozenset[int], hold_s: float, dies: bool) -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    backends = [StoreLeaseBackend(store, clock, SkewTolerance()) for _ in range(size + 1)]
    first = await backends[size].acquire("n", Holder("first", "1"), ttl_s=TTL_S)
    assert isinstance(first, Lease)
    due: dict[int, int] = {}
    for n in range(size):
        busy = await backends[n].acquire("n", Holder(f"w{n}", "1"), ttl_s=TTL_S, queue=True)
        assert isinstance(busy, Busy)
        due[n] = clock.boot_ns() + round(busy.retry_in_s * S)
    alive = [n for n in range(size) if n not in dead]
    present: Lease | None = first
    frees_at = None if dies else clock.boot_ns() + round(hold_s * S)
    order: list[int] = []
    for _ in range(5_000):
        if len(order) == len(alive):
            break
        if frees_at is not None and clock.boot_ns() >= frees_at and present is not None:
            await backends[size].release(present)
            present = frees_at = None
            # A release is heard by all; each looks again.
            due.update((n, clock.boot_ns()) for n in alive if n not in order)
        for n in [n for n in alive if n not in order and clock.boot_ns() >= due[n]]:
            holder = Holder(f"w{n}", "1")
            answer = await backends[n].acquire("n", holder, ttl_s=TTL_S, queue=True)
            if isinstance(answer, Lease):
                order.append(n)
                present, frees_at = answer, clock.boot_ns() + round(hold_s * S)
            else:
                due[n] = clock.boot_ns() + round(answer.retry_in_s * S)
        clock.advance(0.05)
    assert order == alive
