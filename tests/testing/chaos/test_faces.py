"""Clocks that are wrong on purpose, as values."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from federlib.skewclock import ClockId
from federlib.testing import ManualClock
from federlib.testing.chaos.faces import Face, FacedClock

SECOND = 1_000_000_000


def test_a_true_face_shows_the_truth_under_a_name_of_its_own() -> None:
    base = ManualClock()
    clock = FacedClock(base, Face.true("machine-n1", base))
    base.advance(3)
    assert (clock.boot_ns(), clock.wall_ns()) == (base.boot_ns(), base.wall_ns())
    assert clock.monotonic_ns() == clock.boot_ns()
    assert clock.clock_id == "machine-n1/boot-1/"


def test_a_step_moves_the_wall_alone_and_back_again() -> None:
    base = ManualClock()
    face = Face.true("m", base)
    clock = FacedClock(base, face.stepped(-30 * SECOND))
    assert clock.wall_ns() == base.wall_ns() - 30 * SECOND
    assert clock.boot_ns() == base.boot_ns()
    assert face.stepped(-30 * SECOND).stepped(30 * SECOND) == face


def test_a_clock_that_drifts_or_stands_still_does_not_jump() -> None:
    base = ManualClock()
    clock = FacedClock(base, Face.true("m", base))
    first = clock.boot_ns()
    clock.face = clock.face.drifting(500_000, base.boot_ns())
    base.advance(2)
    assert clock.boot_ns() == first + 3 * SECOND
    clock.face = clock.face.drifting(-5_000_000, base.boot_ns())
    base.advance(100)
    assert clock.boot_ns() == first + 3 * SECOND
    clock.face = clock.face.drifting(0, base.boot_ns())
    base.advance(1)
    assert clock.boot_ns() == first + 4 * SECOND


def test_after_a_boot_the_wall_goes_on_and_rivals_know_the_old_boot_is_over() -> None:
    base = ManualClock()
    before = FacedClock(base, Face.true("m", base))
    after = FacedClock(base, before.face.rebooted(base.boot_ns()))
    assert after.wall_ns() == before.wall_ns()
    assert after.boot_ns() == SECOND
    assert ClockId(after.clock_id).is_other_boot_of(ClockId(before.clock_id))


@given(st.lists(st.tuples(st.integers(-2_000_000, 2_000_000), st.integers(0, 5))))
def test_the_boot_clock_never_goes_back_whatever_its_rate(turns: list[tuple[int, int]]) -> None:
    base = ManualClock()
    clock = FacedClock(base, Face.true("m", base))
    last = clock.boot_ns()
    for ppm, seconds in turns:
        made_at = base.boot_ns()
        base.advance(0.25)  # It takes a while until a new face comes.
        assert clock.boot_ns() >= last
        last = clock.boot_ns()
        clock.face = clock.face.drifting(ppm, made_at)
        base.advance(seconds)
        assert clock.boot_ns() >= last
        last = clock.boot_ns()


def test_a_face_is_the_same_after_it_was_sent() -> None:
    face = Face.true("m", ManualClock()).stepped(5).drifting(7, 2_000 * SECOND)
    assert msgspec.json.decode(msgspec.json.encode(face), type=Face) == face
