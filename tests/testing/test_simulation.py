"""The simulator: time, chance, tasks that wait, processes that die, a network that fails."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Coroutine
from typing import Any

import pytest

from federlib.errors import InvalidInput, OutcomeUnknown, StoreFull, Unavailable
from federlib.storage import Absent, Batch, Committed, Conflicted, Progress, Put, Transaction
from federlib.testing.sim import (
    SECOND_NS,
    Future,
    Link,
    Network,
    Node,
    SimulatedClock,
    SimulatedStore,
    Simulation,
    Spread,
    Table,
)

MS = 1_000_000
Run = Coroutine[Future[object], None, object]


class World:
    """A simulation, its network and store, and nodes that do what they are told."""

    def __init__(self, seed: int = 1) -> None:
        self.sim = Simulation(seed, keep_trace=True)
        self.network = Network(self.sim, Link(delay=Spread((MS, 2 * MS))))
        self.store = SimulatedStore(self.sim, self.network)
        self.heard: list[object] = []

    def node(self, program: Any, name: str = "n", **clock: int) -> Node:
        node = Node(self.sim, name, program, SimulatedClock(self.sim, f"machine-{name}", **clock))
        node.start()
        return node

    def seconds(self) -> float:
        return self.sim.now_ns / SECOND_NS


# Time and chance.


def test_time_is_that_of_the_next_event_and_nothing_waits() -> None:
    with Simulation(1) as sim:
        seen: list[tuple[int, str]] = []
        for delay, word in ((5, "c"), (1, "a"), (3, "b")):
            sim.after(delay, lambda word: seen.append((sim.now_ns, word)), word)
        sim.run(until_ns=100)
        assert seen == [(1, "a"), (3, "b"), (5, "c")]
        assert (sim.now_ns, sim.ran) == (100, 3)


def test_events_behind_the_end_stay_in_the_queue() -> None:
    with Simulation(1) as sim:
        seen: list[int] = []
        for delay in (10, 20, 21):
            sim.after(delay, seen.append, delay)
        sim.run(until_ns=20)
        assert (seen, sim.now_ns) == ([10, 20], 20)
        sim.run()
        assert (seen, sim.now_ns) == ([10, 20, 21], 21)


def test_a_bound_of_events_and_stop_end_a_run_that_would_not_end() -> None:
    with Simulation(1) as sim:

        def again(number: int) -> None:
            if number == 7:
                sim.stop()
            sim.after(1, again, number + 1)

        sim.after(1, again, 0)
        sim.run(max_events=5)
        assert (sim.ran, sim.now_ns) == (5, 5)
        sim.run(until_ns=1_000)
        assert (sim.ran, sim.now_ns) == (8, 8)


def test_events_of_one_instant_are_met_in_every_order() -> None:
    orders = set()
    for seed in range(60):
        with Simulation(seed) as sim:
            seen: list[str] = []
            for word in "abc":
                sim.after(1, seen.append, word)
            sim.run()
            orders.add("".join(seen))
    assert len(orders) == 6


def test_a_stream_of_chance_is_moved_by_nothing_but_its_own_draws() -> None:
    one, other = Simulation(3), Simulation(3)
    one.rng("disk").random()
    assert one.rng("net").getrandbits(64) == other.rng("net").getrandbits(64)
    assert one.rng("a").getrandbits(64) != one.rng("b").getrandbits(64)
    assert Simulation(4).rng("net").getrandbits(64) != Simulation(3).rng("net").getrandbits(64)


@pytest.mark.parametrize("seed", [1.0, "1", None, True, float("nan")])
def test_a_seed_that_is_no_integer_is_refused(seed: Any) -> None:
    with pytest.raises(InvalidInput, match="seed"):
        Simulation(seed)


PROGRAM = """
import sys
from testing.test_simulation import play
print(play(int(sys.argv[1])))
"""


def play(seed: int) -> str:
    """Let a few nodes quarrel over a faulty store; return the hash of what happened."""
    world = World(seed)
    world.network.default.loss_ppm = 50_000
    world.network.default.repeat_ppm = 50_000
    world.store.faults.lost_answer_ppm = 100_000

    async def quarrel(node: Node) -> None:
        client = world.store.client(node)
        for number in range(20):
            try:
                change = Put("k", f"{node.name} {number}".encode())
                await client.commit(Transaction((change,)))
            except (OutcomeUnknown, Unavailable):
                world.sim.note("unheard", node.name, number)
            await node.pace.sleep(0.25)

    with world.sim:
        for name in ("a", "b", "c"):
            world.node(quarrel, name)
        world.sim.run(until_ns=300 * SECOND_NS)
        return world.sim.trace.digest


def test_the_same_seed_gives_the_same_trace_in_every_process() -> None:
    found = {play(11), play(11)}
    for salt in ("0", "1", "random"):
        child = subprocess.run(
            [sys.executable, "-c", PROGRAM, "11"],
            env={"PYTHONHASHSEED": salt, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(child.stdout.strip())
    assert len(found) == 1
    assert play(12) not in found


def test_a_trace_kept_or_not_has_the_same_hash() -> None:
    hashes = set()
    for keep in (True, False):
        sim = Simulation(1, keep_trace=keep)
        for number in range(5_000):
            sim.note("event", number)
        hashes.add(sim.trace.digest)
        assert len(sim.trace.events) == (5_000 if keep else 0)
    assert len(hashes) == 1


# Tasks.


def test_a_sleep_takes_as_long_as_the_process_s_own_clock_says() -> None:
    world = World()

    async def sleeper(node: Node) -> None:
        await node.pace.sleep(10)
        world.heard.append((node.name, world.seconds()))

    world.node(sleeper, "right")
    world.node(sleeper, "fast", drift_ppm=250_000)
    world.node(sleeper, "slow", drift_ppm=-500_000)
    world.sim.run()
    assert world.heard == [("fast", 8.0), ("right", 10.0), ("slow", 20.0)]


@pytest.mark.parametrize("set_to", [700, 0, 1_000_000])
def test_a_run_collects_garbage_rarely_and_leaves_the_collector_as_it_was(set_to: int) -> None:
    seen: list[int] = []
    before = gc.get_threshold()
    try:
        gc.set_threshold(set_to)
        with Simulation(1) as sim:
            sim.after(1, lambda _: seen.append(gc.get_threshold()[0]), None)
            sim.after(2, lambda _: 1 / 0, None)
            with pytest.raises(ZeroDivisionError):
                sim.run()
        assert gc.get_threshold()[0] == set_to
    finally:
        gc.set_threshold(*before)
    assert seen == [50_000 if set_to == 700 else set_to]


@pytest.mark.parametrize(
    ("ppm", "wakes_at_s"),
    [(0, 60), (1_000_000, 35), (-500_000, 110), (-1_000_000, 70)],
    ids=["right", "twice as fast", "half as fast", "stands still for ten seconds"],
)
def test_a_long_sleep_follows_its_clock_and_is_looked_at_only_when_that_changes(
    ppm: int, wakes_at_s: int
) -> None:
    world = World()
    with world.sim as sim:

        async def live(node: Node) -> None:
            await node.pace.sleep(60)
            world.heard.append(world.seconds())

        node = world.node(live)
        sim.after(10 * SECOND_NS, node.clock.drift, ppm)
        if ppm == -1_000_000:
            sim.after(20 * SECOND_NS, node.clock.drift, 0)
        sim.run(until_ns=200 * SECOND_NS)
    assert world.heard == [pytest.approx(wakes_at_s, abs=1e-8)]
    assert sim.ran <= 8


def test_an_alarm_of_an_earlier_life_does_not_ring_when_the_clock_changes() -> None:
    world = World()
    with world.sim as sim:

        async def live(node: Node) -> None:
            await node.pace.sleep(60)
            world.heard.append((node.life, world.seconds()))

        node = world.node(live)
        sim.run(until_ns=10 * SECOND_NS)
        node.kill()
        node.clock.reboot()
        node.start()
        ran = sim.ran
        node.clock.drift(1_000_000)
        # Its boot clock began anew: by that, the old alarm would be due much later.
        sim.run(until_ns=2_000 * SECOND_NS)
    assert world.heard == [(2, 40)]
    assert sim.ran - ran == 4


def test_a_limit_skips_the_rest_of_its_block_and_only_that() -> None:
    world = World()

    async def program(node: Node) -> None:
        with node.pace.limit(5) as outer:
            with node.pace.limit(1) as inner:
                await node.pace.sleep(100)
            world.heard.append((inner.cancelled_caught, world.seconds()))
            await node.pace.sleep(100)
        world.heard.append((outer.cancelled_caught, inner.cancelled_caught, world.seconds()))
        with node.pace.limit(3) as kept:
            await node.pace.sleep(1)
        await node.pace.sleep(10)
        world.heard.append((kept.cancelled_caught, world.seconds()))

    world.node(program)
    world.sim.run()
    assert world.heard == [(True, 1.0), (True, True, 5.0), (False, 16.0)]


def test_an_outer_limit_that_runs_out_in_a_shielded_block_waits_for_its_end() -> None:
    world = World()

    async def program(node: Node) -> None:
        with node.pace.limit(1) as outer:
            with node.pace.limit(5, shield=True) as shield:
                await node.pace.sleep(3)
                world.heard.append(world.seconds())
            await node.pace.sleep(100)
        world.heard.append((outer.cancelled_caught, shield.cancelled_caught, world.seconds()))

    world.node(program)
    world.sim.run()
    assert world.heard == [3.0, (True, False, 3.0)]


def test_a_lock_lets_in_one_after_the_other_in_the_order_of_their_coming() -> None:
    world = World()

    async def program(node: Node) -> None:
        lock = node.pace.lock()

        async def worker(number: int) -> None:
            await node.pace.sleep(0.1 * number)
            with node.pace.limit(0.75 if number == 1 else None):
                async with lock:
                    world.heard.append(number)
                    await node.pace.sleep(1)

        for number in range(4):
            node.spawn(f"w{number}", worker(number))

    world.node(program)
    world.sim.run()
    assert world.heard == [0, 2, 3], "the second gave up and was passed over"
    assert world.seconds() == 3.0


def test_what_one_task_waits_for_may_be_an_error() -> None:
    world = World()
    future: Future[int] = Future()

    async def program(node: Node) -> None:
        try:
            await future
        except Unavailable as error:
            world.heard.append(str(error))

    world.node(program)
    world.sim.after(5, future.fail, Unavailable("it", "was away"))
    world.sim.after(6, future.set, 3)
    world.sim.run()
    assert len(world.heard) == 1


def test_an_error_that_nobody_catches_ends_the_simulation() -> None:
    world = World()

    async def program(_node: Node) -> None:
        raise ValueError("a defect")

    world.node(program)
    with pytest.raises(ValueError, match="a defect"):
        world.sim.run()


# Processes.


def test_a_killed_process_does_nothing_more_and_comes_back_with_another_life() -> None:
    world = World()

    async def program(node: Node) -> None:
        try:
            while True:
                await node.pace.sleep(1)
                world.heard.append((node.life, world.seconds()))
        finally:
            with node.pace.limit(1, shield=True):
                await node.pace.sleep(0.1)
                world.heard.append("its last words are heard by nobody")

    node = world.node(program)
    world.sim.after(2_500 * MS, lambda _: node.kill(), None)
    world.sim.after(5_000 * MS, lambda _: node.start(), None)
    world.sim.run(until_ns=7_500 * MS)
    world.sim.close()
    assert world.heard == [(1, 1.0), (1, 2.0), (2, 6.0), (2, 7.0)]
    assert [event[1] for event in world.sim.trace.events] == [
        "commit",
        "start",
        "kill",
        "start",
        "kill",
    ]


def test_a_stopped_process_finds_everything_late() -> None:
    world = World()

    async def program(node: Node) -> None:
        for _ in range(3):
            await node.pace.sleep(1)
            world.heard.append(world.seconds())

    node = world.node(program)
    world.sim.after(1_500 * MS, lambda _: node.stop(), None)
    world.sim.after(9_000 * MS, lambda _: node.go_on(), None)
    world.sim.run()
    assert world.heard == [1.0, 9.0, 10.0]


def test_a_process_killed_while_it_is_stopped_stays_dead() -> None:
    world = World()

    async def program(node: Node) -> None:
        await node.pace.sleep(1)
        world.heard.append("alive")

    node = world.node(program)
    node.stop()
    world.sim.after(2_000 * MS, lambda _: node.kill(), None)
    world.sim.after(3_000 * MS, lambda _: node.go_on(), None)
    world.sim.run()
    assert world.heard == []


def test_a_slow_process_takes_its_time_for_each_thing() -> None:
    world = World()

    async def program(node: Node) -> None:
        for _ in range(3):
            await node.pace.sleep(1)
        world.heard.append(world.seconds())

    world.node(program).slow(100 * MS)
    world.sim.run()
    assert 3.1 < world.seconds() < 4.0
    assert len(world.heard) == 1


def test_the_clocks_of_a_machine_step_drift_sleep_and_boot() -> None:
    with Simulation(1) as sim:
        clock = SimulatedClock(sim, "m", offset_ns=5)
        wall, boot, name = clock.wall_ns(), clock.boot_ns(), clock.clock_id
        sim.run(until_ns=100)
        assert (clock.wall_ns() - wall, clock.boot_ns() - boot) == (100, 100)
        clock.step_wall(-1_000)
        clock.drift(1_000_000)
        sim.run(until_ns=200)
        assert (clock.wall_ns() - wall, clock.boot_ns() - boot) == (-700, 300)
        clock.suspended(50)
        assert clock.boot_ns() - clock.monotonic_ns() == 50
        clock.drift(-1_000_000)
        sim.run(until_ns=300)
        assert clock.boot_ns() - boot == 300, "frozen"
        assert clock.until(clock.boot_ns() + 1) > 10**9 * SECOND_NS - 1
        shown = clock.wall_ns()
        clock.reboot()
        assert clock.wall_ns() == shown
        assert clock.clock_id != name
        with pytest.raises(InvalidInput):
            clock.drift(-1_000_001)


# The network.


def send_many(network: Network, count: int = 1_000) -> list[int]:
    arrived: list[int] = []
    for number in range(count):
        network.send("a", "b", arrived.append, number)
    return arrived


def test_messages_arrive_within_their_bounds_and_overtake() -> None:
    with Simulation(1) as sim:
        arrived = send_many(Network(sim, Link(delay=Spread((10, 20)))))
        sim.run()
        assert 10 <= sim.now_ns <= 20
        assert sorted(arrived) == list(range(1_000))
        assert arrived != sorted(arrived)


def test_messages_are_lost_and_repeated_as_often_as_was_said() -> None:
    with Simulation(1) as sim:
        network = Network(sim, Link(loss_ppm=200_000, repeat_ppm=100_000))
        arrived = send_many(network, 10_000)
        sim.run()
        assert 7_700 < len(set(arrived)) < 8_300
        assert network.lost == 10_000 - len(set(arrived))
        assert 600 < len(arrived) - len(set(arrived)) < 1_000


def test_a_cut_has_a_direction_until_it_heals() -> None:
    with Simulation(1) as sim:
        network = Network(sim)
        heard: list[str] = []
        network.cut(["a"], ["b"])
        assert not network.send("a", "b", heard.append, "ab")
        assert network.send("b", "a", heard.append, "ba")
        network.part(["a"], ["c", "a"])
        assert not network.send("c", "a", heard.append, "ca")
        assert network.send("b", "c", heard.append, "bc")
        network.heal()
        assert network.send("a", "b", heard.append, "ab again")
        sim.run()
        assert sorted(heard) == ["ab again", "ba", "bc"]


def test_a_narrow_link_makes_messages_wait_in_line() -> None:
    with Simulation(1) as sim:
        network = Network(sim, Link(delay=Table((5,)), bytes_per_s=1_000))
        for _ in range(10):
            network.send("a", "b", lambda _: None, None, size=100)
        sim.run()
        assert sim.now_ns == SECOND_NS + 5


@pytest.mark.parametrize("bounds", [(2, 1), (-1, 1)])
def test_a_delay_that_cannot_be_is_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(InvalidInput, match="delay"):
        Spread(bounds)


# The store.


def run_with_store(world: World, program: Any, *, seconds: int = 60) -> list[object]:
    world.node(program)
    with world.sim:
        world.sim.run(until_ns=seconds * SECOND_NS)
    return world.heard


def test_a_store_commits_checks_reads_and_remembers() -> None:
    world = World()

    async def program(node: Node) -> None:
        store = world.store.client(node)
        made = await store.commit(Transaction((Put("a/1", b"x"),), (Absent("a/1"),), "t1"))
        assert isinstance(made, Committed)
        assert await store.commit(Transaction((Put("a/1", b"x"),), (Absent("a/1"),), "t1")) == made
        again = await store.commit(Transaction((Put("a/1", b"y"),), (Absent("a/1"),)))
        assert isinstance(again, Conflicted)
        assert await store.outcome("t1") == made
        record = await store.get("a/1")
        assert record is not None
        page = await store.scan("a/")
        assert [r.key for r in page.records] == ["a/1"]
        with pytest.raises(InvalidInput):
            await store.get("")
        world.heard.append(record.value)

    assert run_with_store(world, program) == [b"x"]


def test_a_lost_answer_leaves_the_caller_in_doubt_and_the_commit_in_place() -> None:
    world = World()
    world.store.faults.lost_answer_ppm = 1_000_000

    async def program(node: Node) -> None:
        store = world.store.client(node)
        with pytest.raises(OutcomeUnknown):
            await store.commit(Transaction((Put("k", b"x"),)))
        world.heard.append((await store.get("k") is not None, round(world.seconds())))

    assert run_with_store(world, program) == [(True, 5)]


@pytest.mark.parametrize(
    ("identity", "is_receipt_kept", "takes_effect"),
    [
        ("x", True, 1),
        ("x", False, 2),  # So it is its receipt that refuses it, nothing else.
        (None, False, 1),
    ],
)
def test_a_commit_that_comes_again_takes_effect_once(
    identity: str | None, is_receipt_kept: bool, takes_effect: int
) -> None:
    world = World()
    world.network.default.repeat_ppm = 1_000_000
    before = world.store.revision

    async def write(node: Node) -> None:
        await world.store.client(node).commit(Transaction((Put("k", b"1"),), id=identity))

    world.node(write)
    while world.store.revision == before:
        world.sim.run(max_events=1)
    if not is_receipt_kept:
        world.store._table._receipts.clear()
    world.sim.run(until_ns=SECOND_NS)
    assert world.store.revision - before == takes_effect


def test_a_slow_commit_takes_effect_after_its_caller_gave_up() -> None:
    world = World()

    async def program(node: Node) -> None:
        store = world.store.client(node)
        world.store.faults.slow_ppm, world.store.faults.slow_ns = 1_000_000, 8 * SECOND_NS
        with pytest.raises(OutcomeUnknown):
            await store.commit(Transaction((Put("k", b"x"),)))
        world.store.faults.slow_ppm = 0
        world.heard.append(await store.get("k"))
        await node.pace.sleep(5)
        world.heard.append(await store.get("k") is not None)

    assert run_with_store(world, program) == [None, True]


def test_a_store_that_refuses_or_is_full_has_done_nothing() -> None:
    world = World()

    async def program(node: Node) -> None:
        store = world.store.client(node)
        world.store.faults.unavailable_ppm = 1_000_000
        with pytest.raises(Unavailable):
            await store.commit(Transaction((Put("k", b"x"),)))
        world.store.faults.unavailable_ppm, world.store.faults.is_full = 0, True
        with pytest.raises(StoreFull):
            await store.commit(Transaction((Put("k", b"x"),)))
        world.heard.append(await store.get("k"))
        world.store.faults.is_full, world.store.faults.is_down = False, True
        with pytest.raises(Unavailable):
            await store.get("k")
        world.heard.append(round(world.seconds()))

    assert run_with_store(world, program) == [None, 5]


def test_a_watch_tells_what_is_under_its_prefix_in_order_and_when_it_is_quiet() -> None:
    world = World()

    async def writer(node: Node) -> None:
        store = world.store.client(node)
        for number in range(30):
            await store.commit(Transaction((Put(f"a/{number:02}", b""), Put("b", b""))))

    async def watcher(node: Node) -> None:
        store = world.store.client(node)
        async with store.watch("a/", after=0) as changes:
            while True:
                item = await anext(changes)
                world.heard.append(item)
                if isinstance(item, Progress) and len(world.heard) > 30:
                    return

    world.node(watcher, "w")
    world.node(writer, "p")
    world.sim.run(until_ns=60 * SECOND_NS)
    batches = [item for item in world.heard if isinstance(item, Batch)]
    assert [event.key for batch in batches for event in batch.events] == [
        f"a/{number:02}" for number in range(30)
    ]
    assert [batch.revision for batch in batches] == sorted({batch.revision for batch in batches})
    assert isinstance(world.heard[-1], Progress)


def test_a_watch_whose_connection_breaks_says_so() -> None:
    world = World()

    async def writer(node: Node) -> None:
        await node.pace.sleep(1)
        await world.store.client(node).commit(Transaction((Put("a", b""),)))

    async def watcher(node: Node) -> None:
        async with world.store.client(node).watch("a", after=1) as changes:
            world.network.cut(["store"], ["w"])
            with pytest.raises(Unavailable):
                while True:
                    world.heard.append(type(await anext(changes)).__name__)

    world.node(watcher, "w")
    world.node(writer, "p")
    world.sim.run(until_ns=60 * SECOND_NS)
    assert set(world.heard) == {"Progress"}
