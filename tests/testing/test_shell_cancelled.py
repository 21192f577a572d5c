"""Cancelled wherever it may wait: no lease is held beyond its ttl, and no place in line blocks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator

import anyio
import pytest
from anyio.abc import TaskGroup

from dag.run_lab import workflow
from federlib.dag import TaskRun
from federlib.lease import Holder
from federlib.lease.records import is_waiter_key, name_prefix
from federlib.testing import VirtualTime
from testing.shell_lab import NAME, Lab, Member, now_s, runs_of

TTL_S = 3.0
CLOSE_S = 5.0
GRACE_S = 0.5


class Stepped:
    """Runs a coroutine, and acts at its n-th wait, just before it waits."""

    def __init__(
        self, work: Coroutine[object, None, None], at: int, act: Callable[[], object]
    ) -> None:
        self.work = work
        self.at = at
        self.act = act
        self.waits = 0

    def __await__(self) -> Generator[object, object, None]:
        work = self.work.__await__()
        answer: object = None
        error: BaseException | None = None
        while True:
            try:
                asked = work.send(answer) if error is None else work.throw(error)
            except StopIteration:
                return
            self.waits += 1
            if self.waits == self.at:
                self.act()
            answer = error = None
            try:
                answer = yield asked
            except BaseException as raised:
                error = raised


Scene = Callable[[Lab, Member], Coroutine[object, None, None]]


async def takes_what_is_free(_lab: Lab, ada: Member) -> None:
    async with ada.hold():
        await anyio.sleep(1.7)


async def waits_in_line(lab: Lab, ada: Member) -> None:
    ben = lab.member("ben", ttl_s=TTL_S)
    async with anyio.create_task_group() as group:

        async def hold_first() -> None:
            async with ben.hold():
                await anyio.sleep(2.3)

        group.start_soon(hold_first)
        await anyio.sleep(0.2)
        async with ada.hold():
            await anyio.sleep(0.5)


async def waits_for_the_dead(lab: Lab, ada: Member) -> None:
    ben = lab.member("ben", ttl_s=TTL_S)
    await ben.leases.acquire(NAME, Holder("ben", "1"), ttl_s=TTL_S)
    async with ada.hold():
        await anyio.sleep(0.5)


async def stands_for_election(_lab: Lab, ada: Member) -> None:
    with anyio.move_on_after(2.5):
        await ada.seat().run()


SCENES: list[Scene] = [
    takes_what_is_free,
    waits_in_line,
    waits_for_the_dead,
    stands_for_election,
]


def slow(member: Member) -> None:
    member.view.slow_s = 0.05


def nothing(_member: Member) -> None:
    pass


def cut(member: Member) -> None:
    member.view.is_cut = True


def lose(member: Member) -> None:
    member.view.lost_answers = 2


def hang(member: Member) -> None:
    member.view.slow_s = 1_000


HARMS: list[Callable[[Member], None]] = [nothing, cut, lose, hang]


def cancelled_at(
    virtual_time: VirtualTime,
    scene: Scene,
    before: Callable[[Member], None],
    harm: Callable[[Member], None],
    at: int,
) -> int:
    """Play a scene whose first process is cancelled at one wait; return how many there were."""

    async def main() -> int:
        lab = Lab()
        ada, cyd = lab.member("ada", ttl_s=TTL_S), lab.member("cyd", ttl_s=TTL_S)
        before(ada)
        cancelled_s: list[float] = []
        with anyio.CancelScope() as scope:

            def act() -> None:
                cancelled_s.append(now_s())
                harm(ada)
                scope.cancel()

            stepped = Stepped(scene(lab, ada), at, act)
            await stepped
        ended_s = now_s()
        if cancelled_s:
            # Shielded work is bounded: the release, or leaving the line, and one sent commit.
            assert ended_s - cancelled_s[0] <= CLOSE_S + 0.1
        is_healthy = harm in {nothing, lose}
        await follow(lab, cyd, is_healthy=is_healthy)
        # Not healthy, it is as if ada had died; in one scene ben has.
        is_at_once = is_healthy and scene is not waits_for_the_dead
        within_s = GRACE_S if is_at_once else TTL_S + GRACE_S
        assert now_s() - ended_s <= within_s + 0.1
        return stepped.waits

    return virtual_time.run(main)


async def follow(lab: Lab, cyd: Member, *, is_healthy: bool) -> None:
    """Take the lease after whoever is gone; with a healthy store it left no trace."""
    if is_healthy:
        page = await lab.store.scan(name_prefix(NAME))
        places = [record.key for record in page.records if is_waiter_key(record.key)]
        assert places == []
    async with cyd.hold() as lease:
        lease.check()


@pytest.mark.parametrize("before", [nothing, slow])
@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("scene", SCENES)
def test_cancelled_at_any_wait_it_blocks_nobody(
    virtual_time: VirtualTime,
    scene: Scene,
    harm: Callable[[Member], None],
    before: Callable[[Member], None],
) -> None:
    waits = cancelled_at(virtual_time, scene, before, nothing, 10**9)
    assert waits >= 8
    for at in range(1, waits + 1):
        try:
            cancelled_at(virtual_time, scene, before, harm, at)
        except Exception as error:
            error.add_note(f"cancelled at wait {at} of {waits}")
            raise


def test_cancelled_at_any_wait_a_leader_hands_over_at_once(virtual_time: VirtualTime) -> None:
    async def one(at: int) -> int:
        lab = Lab()
        ada, ben = lab.member("ada"), lab.member("ben")
        ben_seat = ben.seat()
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                stepped = Stepped(lead_and_be_followed(ada, ben_seat.run, group), at, scope.cancel)
                await stepped
            await anyio.sleep(GRACE_S + 0.2)
            if stepped.waits > 3:
                assert ben_seat.state.role == "leader", f"cancelled at {at}: {ben_seat.state}"
            group.cancel_scope.cancel()
        return stepped.waits

    waits = virtual_time.run(lambda: one(10**9))
    assert waits >= 8
    for at in range(4, waits + 1):
        virtual_time.run(lambda at=at: one(at))  # type: ignore[misc]  # bound here


async def lead_and_be_followed(
    ada: Member,
    follow_up: Callable[[], Coroutine[object, None, None]],
    group: TaskGroup,
) -> None:
    group.start_soon(follow_up)
    await anyio.sleep(0.3)
    with anyio.move_on_after(3):
        await ada.seat().run()


# Runs of tasks.

TASKS = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["d"]}


@pytest.mark.parametrize("harm", [nothing, cut, hang])
def test_cancelled_at_any_wait_a_worker_leaves_a_run_that_others_end(
    virtual_time: VirtualTime, harm: Callable[[Member], None]
) -> None:
    def play_to(at: int) -> int:
        return virtual_time.run(lambda: work_until(at, harm))

    waits = play_to(10**9)
    assert waits >= 8
    for at in range(1, waits + 1):
        try:
            play_to(at)
        except Exception as error:
            error.add_note(f"cancelled at wait {at} of {waits}")
            raise


async def work_until(at: int, harm: Callable[[Member], None]) -> int:
    lab = Lab()
    ada, ben = lab.member("ada", ttl_s=TTL_S), lab.member("ben", ttl_s=TTL_S)
    await runs_of(ben).submit(workflow(TASKS, retries=2), run_id="r")
    cancelled_s: list[float] = []

    async def handle(_task: TaskRun) -> None:
        await anyio.sleep(0.3)

    async def work() -> None:
        await runs_of(ada).work("r", handle, slots=1)

    with anyio.CancelScope() as scope:

        def act() -> None:
            cancelled_s.append(now_s())
            harm(ada)
            scope.cancel()

        stepped = Stepped(work(), at, act)
        await stepped
    if cancelled_s:
        # What is shielded comes one after the other: the worker's word, and two leases.
        assert now_s() - cancelled_s[0] <= 2 * CLOSE_S + 2.1
    ended_s = now_s()
    await runs_of(ben).work("r", handle, slots=2)
    assert (await runs_of(ben).inspect("r")).outcome == "success"
    # A ttl for the seat, one for the claims, and the work itself.
    assert now_s() - ended_s <= 2 * (TTL_S + GRACE_S) + 3
    return stepped.waits
