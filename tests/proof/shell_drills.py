"""The tests of shells in virtual time as drills: one a seed, on both event loops in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from federlib.testing import VirtualTime
from federlib.testing.shells import play_shells
from federlib.testing.sim import PRESETS
from testing import test_shell_cancelled as cancelled
from testing import test_shell_watches as watches
from testing import test_shells_in_virtual_time as shells

__all__ = ["drill"]

Drill = Callable[[VirtualTime], object]

_DRILLS: Sequence[Drill] = (
    shells.test_it_renews_every_third_of_its_ttl_for_a_day,
    shells.test_cut_off_it_gives_up_at_its_deadline_and_its_rival_follows_after_the_ttl,
    shells.test_a_hanging_store_does_not_keep_it_from_seeing_its_deadline,
    shells.test_retries_come_with_pauses_that_grow_to_a_tenth_of_the_ttl,
    shells.test_a_waiter_asks_a_store_that_is_away_with_pauses_of_two_seconds_at_most,
    shells.test_a_hanging_release_is_given_up,
    shells.test_cancelled_with_a_store_that_hangs_it_ends_in_seconds,
    shells.test_a_wait_that_is_over_leaves_nothing_behind,
    shells.test_a_seat_comes_back_after_a_loss_and_after_an_outage,
    shells.test_a_seat_without_a_store_asks_in_bounded_pauses_and_lets_time_pass,
    shells.test_who_resigns_hands_over_at_once,
    shells.test_work_starts_and_ends_with_each_reign,
    watches.test_a_consumer_takes_each_command_once_and_in_order,
    watches.test_a_consumer_waits_shortly_again_after_it_was_served,
    watches.test_a_waiter_hears_of_a_release_whatever_became_of_its_watch,
    watches.test_a_follower_knows_the_leader_again,
    watches.test_a_run_ends_whatever_its_watches_do,
    *(
        partial(
            cancelled.test_cancelled_at_any_wait_it_blocks_nobody,
            scene=scene,
            harm=cancelled.nothing,
            before=cancelled.nothing,
        )
        for scene in cancelled.SCENES
    ),
    cancelled.test_cancelled_at_any_wait_a_leader_hands_over_at_once,
)


def drill(seed: int) -> Sequence[str]:
    """Do one drill, or play a fleet of shells; say what must not have been."""
    turn, number = divmod(seed, len(_DRILLS) + 1)
    time = VirtualTime("trio" if turn % 2 else "asyncio", seed)
    if number == 0:
        presets = [None, *PRESETS.values()]
        return play_shells(seed, presets[turn % len(presets)], backend=time.backend).violations
    one = _DRILLS[number - 1]
    try:
        one(time)
    except BaseException as error:
        # Whatever comes out of it, a death too, is not what the test says.
        return (f"{_name(one)}: {type(error).__name__}: {error}",)
    return ()


def _name(one: Drill) -> str:
    inner = one.func if isinstance(one, partial) else one
    return str(getattr(inner, "__name__", inner)).removeprefix("test_")
