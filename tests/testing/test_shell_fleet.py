"""Real shells on both event loops, in the simulator's world and under its schedules."""

from __future__ import annotations

from collections import Counter

import anyio
import attrs
import pytest

from federlib.errors import InvalidInput, Unavailable
from federlib.lease import HeldLease, StoreLeaseBackend, hold
from federlib.skewclock import SkewTolerance
from federlib.storage import Batch, Committed, Put, Transaction
from federlib.testing import VirtualTime
from federlib.testing.disk import ProcessEnded
from federlib.testing.shells import (
    SMALL,
    LoopStore,
    Process,
    ShellFleet,
    ShellProgram,
    ShellSite,
    play_shells,
)
from federlib.testing.sim import PRESETS, SECOND_NS, Fault, Schedule

# How many reigns a preset makes at least: its faults do what they are there for.
LEAST_REIGNS = {
    "leader_kill": 4,
    "lease_expiry_takeover": 4,
    "stale_epoch_replay": 3,
    "delayed_commands": 3,
    "partition_minority": 3,
    "partition_asymmetric": 3,
    "clock_skew_10x": 2,
    "gc_pause": 4,
    "disk_full": 2,
    "flapping": 2,
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_fleet_of_shells_survives(virtual_time: VirtualTime, name: str) -> None:
    played = play_shells(1, PRESETS[name], backend=virtual_time.backend)
    assert played.violations == ()
    assert played.reigns >= LEAST_REIGNS[name]
    assert played.applied >= 20


def test_there_is_a_test_for_every_preset() -> None:
    assert LEAST_REIGNS.keys() == PRESETS.keys()


@pytest.mark.parametrize("_turn", range(4))  # each with a seed of its own
def test_a_fleet_of_shells_survives_whatever_is_drawn(
    virtual_time: VirtualTime, _turn: int
) -> None:
    # A named schedule as often as a drawn one, so that those see fresh seeds too.
    names: list[Schedule | None] = [*PRESETS.values(), *[None] * len(PRESETS)]
    schedule = names[virtual_time.seed % len(names)]
    played = play_shells(virtual_time.seed, schedule, backend=virtual_time.backend)
    assert played.violations == (), played.schedule.to_json()


def test_the_same_seed_is_the_same_story(virtual_time: VirtualTime) -> None:
    first, second, third = (
        play_shells(seed, PRESETS["leader_kill"], backend=virtual_time.backend, safety_s=12)
        for seed in (7, 7, 8)
    )
    assert first == second
    assert third != first


def test_without_faults_one_leads_and_everything_is_done(virtual_time: VirtualTime) -> None:
    async def main() -> ShellFleet:
        async with ShellFleet(1, attrs.evolve(SMALL, resign_percent=0)) as fleet:
            await anyio.sleep(30)
        return fleet

    fleet = virtual_time.run(main)
    assert fleet.violations == []
    assert len(fleet.ledger.reigns) == 1
    assert fleet.ledger.issued_count >= 55
    assert Counter(fleet.ledger.calls.values()).keys() == {1}
    assert len(fleet.ledger.calls) >= fleet.ledger.issued_count - 2


def test_a_leader_that_was_stopped_wakes_up_deposed(virtual_time: VirtualTime) -> None:
    async def main() -> tuple[bool, bool, bool]:
        async with ShellFleet(1, attrs.evolve(SMALL, resign_percent=0)) as fleet:
            await anyio.sleep(5)
            leader = fleet.leader
            assert isinstance(leader, Process)
            held = fleet.held[leader.name]
            leader.stop()
            await anyio.sleep(6)
            before = held.lost
            assert fleet.leader is not leader
            leader.go_on()
            at_once = held.lost
            await anyio.sleep(1)
            assert fleet.violations == []
            return before, at_once, leader.name in fleet.held

    # Of the six seconds it saw none; then all of them.
    assert virtual_time.run(main) == (False, True, False)


# Sites of one's own.


class Clerk:
    """Counts in a record, holding a lease; a program as somebody else would write one."""

    def __init__(self, site: ShellSite) -> None:
        self.site = site
        self.counted: list[tuple[int, str]] = []
        self.ghosts: list[str] = []

    async def work(self, process: Process) -> None:
        store = self.site.client(process)
        leases = StoreLeaseBackend(store, process.clock, SkewTolerance(1))
        while True:
            try:
                async with hold(
                    leases, "job", holder_id=process.name, clock=process.clock, ttl_s=2
                ) as lease:
                    await self.count(process, store, lease)
            except (Unavailable, ExceptionGroup):
                await anyio.sleep(0.1)
            finally:
                if not process.is_up:
                    self.ghosts.append(process.name)

    async def count(self, process: Process, store: LoopStore, lease: HeldLease) -> None:
        for turn in range(10):
            await anyio.sleep(0.5)
            lease.check()
            name = f"count/{process.name}/{process.life}/{lease.token}/{turn}"
            done = await store.commit(Transaction((Put(name, b""),)))
            assert isinstance(done, Committed)
            self.counted.append((lease.token, process.name))


def test_programs_of_ones_own_run_in_it_and_die_in_it(virtual_time: VirtualTime) -> None:
    batches: list[Batch] = []

    async def main() -> Clerk:
        async with ShellSite(3, hear=batches.append) as site:
            clerk = Clerk(site)
            for name in ("ada", "ben"):
                site.add(name, clerk.work, offset_ms=100, drift_ppm=100)
            kills = tuple(
                Fault(at_ms=at_ms, kind="kill", who=who, for_ms=1_500)
                for at_ms, who in ((4_200, "ada"), (9_300, "ben"), (17_300, "ada"))
            )
            Schedule(faults=kills).arm(site)
            await anyio.sleep(40)
            assert site.sim.now_ns == 40 * SECOND_NS
        return clerk

    clerk = virtual_time.run(main)
    tokens = [token for token, _ in clerk.counted]
    assert tokens == sorted(tokens)
    assert {name for _, name in clerk.counted} == {"ada", "ben"}
    assert len(clerk.counted) >= 40
    assert clerk.ghosts[:3] == ["ada", "ben", "ada"]
    assert any(event.key.startswith("count/ada/3/") for b in batches for event in b.events)


def run_alone(virtual_time: VirtualTime, program: ShellProgram, seconds: float) -> ShellSite:
    async def main() -> ShellSite:
        async with ShellSite(1) as site:
            site.add("ada", program)
            await anyio.sleep(seconds)
        return site

    return virtual_time.run(main)


def test_a_program_that_falls_takes_the_test_with_it(virtual_time: VirtualTime) -> None:
    async def program(process: Process) -> None:
        await anyio.sleep(1)
        raise LookupError(process.name)

    with pytest.raises((LookupError, ExceptionGroup)) as caught:
        run_alone(virtual_time, program, 5)
    assert "ada" in repr(caught.value)


def test_a_program_that_returns_is_a_process_that_is_down(virtual_time: VirtualTime) -> None:
    lives: list[int] = []

    async def program(process: Process) -> None:
        lives.append(process.life)

    async def main() -> None:
        async with ShellSite(1) as site:
            process = site.add("ada", program)
            await anyio.sleep(1)
            assert not process.is_up
            process.start()
            await anyio.sleep(1)

    virtual_time.run(main)
    assert lives == [1, 2]


def test_the_dead_reach_nobody_even_shielded(virtual_time: VirtualTime) -> None:
    tried: list[str] = []

    async def main() -> None:
        async def program(process: Process) -> None:
            store = site.client(process)
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    try:
                        await store.commit(Transaction((Put("last/words", b""),)))
                    except ProcessEnded:
                        tried.append("commit")
                        async with store.watch("last/", after=0):
                            tried.append("watch")

        async with ShellSite(1) as site:
            process = site.add("ada", program)
            await anyio.sleep(1)
            process.kill()
            await anyio.sleep(1)
            assert site.store.look("last/words") is None

    virtual_time.run(main)
    assert tried == ["commit"]


def test_who_dies_over_a_request_hears_no_answer_of_it(virtual_time: VirtualTime) -> None:
    heard: list[object] = []

    async def main() -> bool:
        async def program(process: Process) -> None:
            store = site.client(process)
            # Sent, a commit is shielded: only death ends this wait.
            heard.append(await store.commit(Transaction((Put("a", b"1"),))))

        async with ShellSite(1) as site:
            site.store.faults.slow_ppm, site.store.faults.slow_ns = 1_000_000, SECOND_NS
            process = site.add("ada", program)
            await anyio.sleep(0.5)
            process.kill()
            await anyio.sleep(5)
            return site.store.look("a") is not None

    assert virtual_time.run(main)
    assert heard == []


def test_who_is_stopped_neither_sends_nor_hears_nor_sees_time_pass(
    virtual_time: VirtualTime,
) -> None:
    seen: list[tuple[float, float]] = []

    async def main() -> None:
        async def program(process: Process) -> None:
            store, began_ns = site.client(process), process.clock.boot_ns()
            for number in range(3):
                await anyio.sleep(1)
                await store.commit(Transaction((Put(f"n/{number}", b""),)))
                own_s = (process.clock.boot_ns() - began_ns) / SECOND_NS
                seen.append((anyio.current_time() - began_s, own_s))

        async with ShellSite(1) as site:
            began_s = anyio.current_time()
            process = site.add("ada", program)
            await anyio.sleep(1.5)
            process.stop()
            held_ns = process.clock.boot_ns()
            process.clock.drift(500_000)
            await anyio.sleep(8.5)
            assert (process.is_stopped, process.clock.boot_ns()) == (True, held_ns)
            assert site.store.look("n/1") is None
            process.go_on()
            await anyio.sleep(5)

    virtual_time.run(main)
    assert [round(true_s) for true_s, _ in seen] == [1, 10, 11]
    # From its stop on the clock ran half as fast again; it was seen when it was read again.
    assert [round(own_s, 1) for _, own_s in seen] == [1.0, 14.3, 15.8]


def test_a_subscription_that_breaks_goes_on_where_it_was(virtual_time: VirtualTime) -> None:
    heard: list[str] = []
    breaks: list[str] = []

    async def main() -> None:
        async def write(process: Process) -> None:
            store = site.client(process)
            for number in range(40):
                await store.commit(Transaction((Put(f"n/{number:02}", b""),)))
                await anyio.sleep(0.5)

        async def read(process: Process) -> None:
            store = site.client(process)
            async with store.watch("n/", after=0) as changes:
                while True:
                    try:
                        item = await anext(changes)
                    except Unavailable as error:
                        breaks.append(str(error))
                        await anyio.sleep(0.2)
                        continue
                    if isinstance(item, Batch):
                        heard.extend(event.key for event in item.events)

        async with ShellSite(1) as site:
            site.add("ada", write)
            site.add("ben", read)
            cuts = (Fault(at_ms=5_000, kind="isolate", who="ben", for_ms=9_000),)
            Schedule(faults=cuts).arm(site)
            await anyio.sleep(40)

    virtual_time.run(main)
    assert breaks
    assert heard == [f"n/{number:02}" for number in range(40)]


def test_the_loops_time_cannot_be_moved_by_hand(virtual_time: VirtualTime) -> None:
    async def main() -> None:
        async with ShellSite(1) as site:
            site.run(5)

    with pytest.raises(InvalidInput, match="until_ns"):
        virtual_time.run(main)


def test_a_site_takes_each_name_once_and_only_while_it_is_entered(
    virtual_time: VirtualTime,
) -> None:
    async def idle(_process: Process) -> None:
        await anyio.sleep_forever()

    async def main() -> None:
        site = ShellSite(1)
        with pytest.raises(InvalidInput, match="entered"):
            site.add("ada", idle)
        async with site:
            ada = site.add("ada", idle)
            with pytest.raises(InvalidInput, match="name"):
                site.add("ada", idle)
            assert site.nodes == {"ada": ada}

    virtual_time.run(main)
