"""Watches that break, skip and repeat: who follows one misses nothing and does nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from itertools import count, pairwise
from pathlib import Path

import anyio
import pytest

from dag.run_lab import workflow
from federlib.dag import Policy, TaskRun
from federlib.errors import Unavailable
from federlib.fencing import Command, CommandConsumer, issue
from federlib.fencing.consumer import ActuationStatus
from federlib.registry import Change
from federlib.testing import LoopClock, VirtualTime
from federlib.testing.store_view import StoreView
from registry.worlds import World as RegistryWorld
from testing.shell_lab import Lab, Member, now_s, play, runs_of

SCOPE = "fleet"


async def trouble(view: StoreView, *, until_s: float) -> None:
    """Break a view's watches in every way, again and again, at odd times."""
    view.repeats = True
    turns: Iterator[int] = count()
    while now_s() < until_s:
        await anyio.sleep(0.37)
        match next(turns) % 4:
            case 0:
                view.break_watches()
            case 1:
                view.miss()
            case 2:
                view.refusals = 2
                view.break_watches()
            case _:
                view.is_cut = True
                await anyio.sleep(0.9)
                view.is_cut = False


async def within(seconds: float, *works: Callable[[], Coroutine[object, None, object]]) -> None:
    """Run these beside one another for so long."""
    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as group:
            for work in works:
                group.start_soon(work)


def test_a_consumer_takes_each_command_once_and_in_order(virtual_time: VirtualTime) -> None:
    issued: list[str] = []
    applied: list[str] = []

    async def scene(lab: Lab) -> None:
        view = StoreView(lab.store)
        numbers = count(1)

        def token() -> str:
            return f"{next(numbers):08x}"

        async def act(command: Command) -> ActuationStatus:
            applied.append(command.command_id)
            return "applied"

        consumer = CommandConsumer(view, SCOPE, act, consumer_id="c", clock=lab.clock, token=token)

        async def lead() -> None:
            while now_s() < 60:
                answer = await issue(
                    lab.store, SCOPE, "act", epoch=1, issuer="l", clock=lab.clock, token=token
                )
                assert isinstance(answer, Command)
                issued.append(answer.command_id)
                await anyio.sleep(0.23)

        await within(80, consumer.run, lead, lambda: trouble(view, until_s=70))
        assert view.requests < 5_000

    play(virtual_time, scene)
    assert len(issued) > 200
    assert applied == issued


def test_a_consumer_waits_shortly_again_after_it_was_served(virtual_time: VirtualTime) -> None:
    async def scene(lab: Lab) -> None:
        view = StoreView(lab.store)

        async def act(_command: Command) -> ActuationStatus:
            return "applied"

        member = Member("c", view)
        consumer = CommandConsumer(
            view, SCOPE, act, consumer_id="c", clock=lab.clock, telemetry=member.telemetry
        )
        asked: list[int] = []

        async def interrupt() -> None:
            for _ in range(8):
                await anyio.sleep(50)
                view.is_cut = True
                view.is_cut = False
                await anyio.sleep(0.5)
                asked.append(view.requests)

        await within(500, consumer.run, interrupt)
        # Each short interruption is over within half a second, the last like the first.
        gained = [later - sooner for sooner, later in pairwise(asked)]
        assert len(set(gained)) == 1
        assert gained[0] >= 3

    play(virtual_time, scene)


def test_a_waiter_hears_of_a_release_whatever_became_of_its_watch(
    virtual_time: VirtualTime,
) -> None:
    async def scene(lab: Lab) -> None:
        ada, ben = lab.member("ada", ttl_s=60), lab.member("ben", ttl_s=60)
        late_s: list[float] = []
        released_s: list[float] = []

        async def wait() -> None:
            for turn in range(20):
                await anyio.sleep(2.5)
                async with ben.hold():
                    late_s.append(now_s() - released_s[turn])

        async def keep() -> None:
            for turn in range(20):
                async with ada.hold():
                    await anyio.sleep(7 + turn / 7)
                    (ben.view.break_watches, ben.view.miss)[turn % 2]()
                    await anyio.sleep(1.1)
                    released_s.append(now_s())
                await anyio.sleep(2)

        await within(1_000, wait, keep)
        assert len(late_s) == 20
        # A watch that breaks is opened again after a pause of a fraction of a second.
        assert max(late_s) <= 0.01

    play(virtual_time, scene)


def test_a_follower_knows_the_leader_again(virtual_time: VirtualTime) -> None:
    async def scene(lab: Lab) -> None:
        ada, ben, cyd = (lab.member(who) for who in ("ada", "ben", "cyd"))
        seats = {member.who: member.seat() for member in (ada, ben, cyd)}

        async def watch_over() -> None:
            for turn in range(30):
                await anyio.sleep(5)
                (cyd.view.break_watches, cyd.view.miss)[turn % 2]()
                leaders = [who for who, seat in seats.items() if seat.state.role == "leader"]
                assert len(leaders) == 1
                if leaders != ["cyd"]:
                    seats[leaders[0]].resign()
                    await anyio.sleep(1)
                state = seats["cyd"].state
                now = [who for who, seat in seats.items() if seat.state.role == "leader"]
                assert [state.leader] == now
                assert state.epoch == seats[now[0]].check()

        await within(400, *(seat.run for seat in seats.values()), watch_over)

    play(virtual_time, scene)


# The registry.


@pytest.mark.parametrize("gap", ["break_watches", "miss"])
def test_who_watches_the_registry_hears_of_each_change_once(
    virtual_time: VirtualTime, tmp_path: Path, gap: str
) -> None:
    heard: list[tuple[str, str]] = []

    async def main() -> None:
        world = RegistryWorld(tmp_path / virtual_time.backend, LoopClock())
        members = [world.process(host=f"h{number}", ttl_s=6) for number in range(4)]
        watcher = world.process(host="w")
        view = StoreView(world.store)
        watcher.registry._reader.store = view
        view.repeats = True

        async def look() -> None:
            async with watcher.registry.watch() as changes:
                while True:
                    try:
                        take(await anext(changes))
                    except Unavailable:
                        await anyio.sleep(0.1)

        def take(change: Change) -> None:
            heard.append((change.member.worker_id, change.member.state))

        async def come_and_go() -> None:
            for member in members:
                async with member.registry.join(kind="worker"):
                    await anyio.sleep(2.9)
                    getattr(view, gap)()
                    await anyio.sleep(10)
                await anyio.sleep(0.3)
            await anyio.sleep(3)

        async def then_stop() -> None:
            await come_and_go()
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(look)
            group.start_soon(then_stop)
        assert now_s() >= 50

    virtual_time.run(main)
    assert len(heard) == 8
    assert Counter(state for _, state in heard) == {"live": 4, "left": 4}
    assert len({who for who, _ in heard}) == 4


def test_a_member_beats_every_third_of_its_ttl_and_says_goodbye_in_bounded_time(
    virtual_time: VirtualTime, tmp_path: Path
) -> None:
    async def main() -> None:
        world = RegistryWorld(tmp_path / virtual_time.backend, LoopClock())
        process = world.process(ttl_s=15)
        view = StoreView(world.store)
        process.registry._reader.store = view
        async with process.registry.join():
            await anyio.sleep(2_000)
            # A twentieth earlier by chance, and never later.
            assert view.commits == pytest.approx(2_000 / (5 * 0.95), abs=3)
            view.slow_s = 10_000
        assert now_s() == pytest.approx(2_005, abs=0.1)

    virtual_time.run(main)


# Runs of tasks.


def test_a_run_ends_whatever_its_watches_do(virtual_time: VirtualTime) -> None:
    done: Counter[str] = Counter()
    tasks = {f"t{n}": [f"t{n // 2}"] if n else [] for n in range(40)}

    async def scene(lab: Lab) -> None:
        members = [lab.member(who, ttl_s=2) for who in ("ada", "ben", "cyd")]
        runs = {member.who: runs_of(member) for member in members}
        await runs["ada"].submit(workflow(tasks, retries=3), run_id="r", policy=Policy())

        async def handle(task: TaskRun) -> None:
            await anyio.sleep(0.4)
            done[task.task_id] += 1

        async with anyio.create_task_group() as group:
            for member in members:
                group.start_soon(lambda who=member.who: runs[who].work("r", handle, slots=2))  # type: ignore[misc]  # bound here
                group.start_soon(lambda view=member.view: trouble(view, until_s=15))  # type: ignore[misc]  # bound here
        state = await runs_of(lab.member("dan")).inspect("r")
        assert state.outcome == "success"
        assert len(list(state.accepted())) == len(tasks)
        assert now_s() < 120

    play(virtual_time, scene)
    assert done.keys() == tasks.keys()
