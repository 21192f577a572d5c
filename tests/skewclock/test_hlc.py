"""`HybridLogicalClock`: the laws at their edges, one refusal after the other."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import ClockBehind, InvalidInput, TimestampTooFarAhead, Unavailable
from federlib.skewclock import (
    Clock,
    HlcCounts,
    HlcTimestamp,
    HybridLogicalClock,
    SystemClock,
    hlc_logical,
    hlc_physical_ns,
    hlc_timestamp,
)
from federlib.telemetry import RecordingSink, Telemetry
from federlib.telemetry.logs import Level, LogValue
from federlib.testing import ManualClock

MS = 1_000_000
NS = 1_000_000_000
WALL = 1_700_000_000 * NS
FULL = 65_535

Parts = tuple[float, int]


def parts(stamp: HlcTimestamp) -> Parts:
    """Show a timestamp as milliseconds after `WALL` and the logical part."""
    return ((hlc_physical_ns(stamp) - WALL) / MS, hlc_logical(stamp))


def at(ms: float, logical: int = 0) -> HlcTimestamp:
    return hlc_timestamp(WALL + round(ms * MS), logical)


class Log:
    """A logger that keeps what it was given."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, LogValue]]] = []

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        self.events.append((event, fields))


class Lab:
    """One clock at `WALL`, its wall clock, and what it told."""

    def __init__(self, max_offset_s: float = 3.0) -> None:
        self.wall = ManualClock(wall=WALL)
        self.sink, self.log = RecordingSink(), Log()
        self.hlc = HybridLogicalClock(
            self.wall, max_offset_s=max_offset_s, telemetry=Telemetry(self.sink, self.log)
        )

    def told(self, kind: str) -> float:
        return self.sink.value("federlib_hlc_incidents_total", kind=kind)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_a_reading_is_the_wall_clocks_millisecond_and_counts_within_it(lab: Lab) -> None:
    lab.wall.wall += 999_999
    assert [parts(lab.hlc.now()) for _ in range(3)] == [(0, 0), (0, 1), (0, 2)]
    lab.wall.wall += 1
    assert [parts(lab.hlc.now()) for _ in range(2)] == [(1, 0), (1, 1)]


# The rows of the paper's receive rule; ours is (0, 5), the wall clock reads `wall`.
@pytest.mark.parametrize(
    ("wall", "remote", "receipt"),
    [
        pytest.param(0, (-9, 70), (0, 6), id="remote in the past: ours counts on"),
        pytest.param(0, (0, 3), (0, 6), id="the same millisecond, ours higher"),
        pytest.param(0, (0, 5), (0, 6), id="equal"),
        pytest.param(0, (0, 40), (0, 41), id="the same millisecond, remote higher"),
        pytest.param(0, (7, 8), (7, 9), id="remote in the future: its counts on"),
        pytest.param(4, (0, 40), (4, 0), id="the wall clock leads both"),
        pytest.param(7, (7, 8), (7, 9), id="the wall clock has caught up with the remote"),
        pytest.param(7, (7, 0), (7, 1), id="to the very timestamp"),
        pytest.param(8, (7, 8), (8, 0), id="and leads"),
        pytest.param(0, (0, FULL), (1, 0), id="the logical part is full: one ms is borrowed"),
        pytest.param(0, (7, FULL), (8, 0), id="that of the remote, too"),
    ],
)
def test_a_receipt_follows_the_rule_of_the_paper(
    lab: Lab, wall: int, remote: tuple[int, int], receipt: Parts
) -> None:
    lab.hlc.observe(at(0, 4))
    lab.wall.wall += wall * MS
    assert parts(lab.hlc.observe(at(*remote))) == receipt
    assert lab.hlc.latest == at(*receipt)
    assert lab.hlc.now() > at(*receipt)


@pytest.mark.parametrize("max_offset_s", [0.0, 0.25, 3.0])
def test_a_remote_at_the_largest_offset_is_taken_in_and_a_millisecond_more_is_not(
    max_offset_s: float,
) -> None:
    lab, offset_ms = Lab(max_offset_s), round(max_offset_s * 1_000)
    assert parts(lab.hlc.observe(at(offset_ms, 7))) == (offset_ms, 8)
    before = lab.hlc.latest
    with pytest.raises(TimestampTooFarAhead) as caught:
        lab.hlc.observe(at(offset_ms + 1))
    assert caught.value.ahead_s == (offset_ms + 1) / 1_000
    assert caught.value.max_offset_s == max_offset_s
    assert lab.hlc.latest == before
    assert lab.hlc.counts == HlcCounts(refused=1)
    assert lab.told("refused") == 1
    assert lab.hlc.now() == before + 1


def test_offsets_are_not_carried_into_the_future_step_by_step(lab: Lab) -> None:
    for ahead_ms in range(100, 3_001, 100):
        lab.hlc.observe(at(ahead_ms))
    with pytest.raises(TimestampTooFarAhead):
        lab.hlc.observe(at(3_100))
    assert parts(lab.hlc.latest) == (3_000, 1)


def test_a_remote_whose_receipt_would_need_a_borrow_beyond_the_offset_is_refused(lab: Lab) -> None:
    with pytest.raises(TimestampTooFarAhead):
        lab.hlc.observe(at(3_000, FULL))
    assert lab.hlc.counts == HlcCounts(refused=1)
    assert parts(lab.hlc.observe(at(3_000, FULL - 1))) == (3_000, FULL)


@pytest.mark.parametrize("remote", [-1, 2**63, 2**80, 1.5, float("nan"), True, None, "1", b"1"])
def test_what_is_no_timestamp_is_refused_and_nothing_changes(lab: Lab, remote: object) -> None:
    before = lab.hlc.now()
    with pytest.raises(InvalidInput, match="remote"):
        lab.hlc.observe(remote)  # type: ignore[arg-type]  # hostile on purpose
    assert lab.hlc.latest == before
    assert lab.hlc.now() == before + 1


def test_a_full_millisecond_borrows_the_next_and_is_counted(lab: Lab) -> None:
    lab.hlc.observe(at(0, FULL - 1))
    assert parts(lab.hlc.now()) == (1, 0)
    assert parts(lab.hlc.now()) == (1, 1)
    assert lab.hlc.counts == HlcCounts(overflows=1)
    assert lab.told("overflow") == 1
    lab.wall.advance(0.001)
    assert parts(lab.hlc.now()) == (1, 2)


def test_a_borrow_beyond_the_largest_offset_is_refused_until_the_clock_moves() -> None:
    lab = Lab(max_offset_s=0)
    lab.hlc.observe(at(0, FULL - 1))
    for step in (lab.hlc.now, lambda: lab.hlc.observe(at(-1))):
        with pytest.raises(ClockBehind) as caught:
            step()
        assert caught.value.wait_s == 0.001
    assert parts(lab.hlc.latest) == (0, FULL)
    assert lab.hlc.counts == HlcCounts(behind=2)
    lab.wall.advance(caught.value.wait_s)
    assert parts(lab.hlc.now()) == (1, 0)


def test_a_wall_clock_set_back_within_the_offset_is_counted_and_time_goes_on(lab: Lab) -> None:
    lab.hlc.now()
    lab.wall.step_wall(-3)
    assert [parts(lab.hlc.now()) for _ in range(3)] == [(0, 1), (0, 2), (0, 3)]
    assert lab.hlc.counts == HlcCounts(set_backs=1)
    assert lab.told("set_back") == 1
    assert lab.log.events == [
        (
            "wall_clock_set_back",
            {"by_s": 3.0, "max_offset_s": 3.0, "hlc": "018bcfe56800-0001"},
        )
    ]


def test_a_wall_clock_set_back_further_stops_the_readings_until_it_has_caught_up(lab: Lab) -> None:
    before = lab.hlc.now()
    lab.wall.step_wall(-10)
    for _ in range(2):  # The second time the clock reads what it read before: no way in there.
        with pytest.raises(ClockBehind) as caught:
            lab.hlc.now()
        assert (caught.value.behind_s, caught.value.wait_s) == (10, 7)
        assert lab.hlc.latest == before
    assert lab.hlc.counts == HlcCounts(behind=2, set_backs=1)
    lab.wall.advance(caught.value.wait_s)
    assert lab.hlc.now() == before + 1
    lab.wall.advance(3.001)
    assert parts(lab.hlc.now()) == (1, 0)


def test_each_step_back_is_counted_and_no_way_forward_is(lab: Lab) -> None:
    for step_s in (0.0, -0.5, -0.002, 2.0, -0.001, 0.0, 60.0, -1.0):
        lab.wall.step_wall(step_s)
        lab.hlc.now()
    assert lab.hlc.counts.set_backs == 4


def test_a_remote_cannot_help_a_clock_that_is_behind(lab: Lab) -> None:
    before = lab.hlc.now()
    lab.wall.step_wall(-10)
    with pytest.raises(ClockBehind):
        lab.hlc.observe(at(-1))
    with pytest.raises(TimestampTooFarAhead):
        lab.hlc.observe(at(1))
    assert lab.hlc.latest == before


def test_a_clock_before_the_epoch_still_keeps_its_bound() -> None:
    wall = ManualClock(wall=-2 * NS)
    hlc = HybridLogicalClock(wall, max_offset_s=3)
    assert [hlc.now(), hlc.now()] == [1, 2]
    wall.step_wall(-2)
    with pytest.raises(ClockBehind):
        hlc.now()


def test_nothing_is_issued_beyond_the_layout() -> None:
    wall = ManualClock(wall=(2**47 - 1) * MS)
    hlc = HybridLogicalClock(wall)
    last = hlc.observe(HlcTimestamp(2**63 - 2))
    assert last == 2**63 - 1
    wall.advance(1)
    for step in (hlc.now, lambda: hlc.observe(last)):
        with pytest.raises(Unavailable, match="63 bits end"):
            step()
    assert hlc.latest == last


@pytest.mark.parametrize("max_offset_s", [-0.001, 3600.1, float("nan"), "3", True, None])
def test_an_offset_that_cannot_be_is_refused(max_offset_s: object) -> None:
    with pytest.raises(InvalidInput, match="0 to 3600 seconds"):
        HybridLogicalClock(ManualClock(), max_offset_s=max_offset_s)  # type: ignore[arg-type]


def test_looking_at_the_latest_changes_nothing(lab: Lab) -> None:
    assert lab.hlc.latest == 0
    stamp = lab.hlc.now()
    assert [lab.hlc.latest, lab.hlc.latest] == [stamp, stamp]
    assert lab.hlc.max_offset_s == 3.0


def test_a_sink_that_reads_the_clock_does_not_lock_itself_out() -> None:
    wall = ManualClock(wall=WALL)
    seen: list[HlcTimestamp] = []

    class Reading:
        def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
            seen.append(hlc.now())

    hlc = HybridLogicalClock(wall, telemetry=Telemetry(logger=Reading()))
    hlc.now()
    wall.step_wall(-1)
    last = hlc.now()
    assert seen == [last + 1]


class Jitter:
    """A wall clock that goes forwards, stands, and jumps back a little: as threads race."""

    clock_id = "jitter/boot-1/"

    def __init__(self, steps: Iterator[int]) -> None:
        self._steps = steps
        self._now = WALL

    def wall_ns(self) -> int:
        self._now += next(self._steps)
        return self._now

    monotonic_ns = boot_ns = wall_ns


def _jittered() -> Clock:
    def steps() -> Iterator[int]:
        while True:
            yield from (0, 300_000, 0, 900_000, -200_000, -2_000_000, 0, 5_000_000)

    return Jitter(steps())


@pytest.mark.parametrize("made", [SystemClock, _jittered], ids=["system", "jittered"])
def test_threads_that_hammer_one_clock_get_distinct_and_rising_timestamps(
    made: Callable[[], Clock],
) -> None:
    hlc = HybridLogicalClock(made())
    found: list[list[int]] = [[] for _ in range(4)]
    ready = threading.Barrier(4)

    def hammer(mine: list[int]) -> None:
        ready.wait()
        mine += (hlc.observe(hlc.latest) if turn % 3 == 0 else hlc.now() for turn in range(10_000))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # The lock is lost in the middle of everything.
    try:
        threads = [threading.Thread(target=hammer, args=(mine,)) for mine in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert all(mine == sorted(mine) for mine in found)
    everything = [stamp for mine in found for stamp in mine]
    assert len(set(everything)) == len(everything) == 40_000
    assert hlc.latest == max(everything)


STEPS = st.one_of(
    st.tuples(st.just("now"), st.just(0)),
    st.tuples(st.just("wall"), st.integers(-4_000 * MS, 4_000 * MS)),
    st.tuples(st.just("wall"), st.integers(0, 2 * MS)),
    st.tuples(st.just("remote"), st.integers(-5, 5) | st.integers(-4_000, 4_000)),
    st.tuples(st.just("full"), st.integers(-1, 1)),
)


@given(st.lists(STEPS, max_size=80), st.sampled_from([0.0, 0.001, 0.5, 3.0]))
def test_whatever_comes_the_clock_is_that_of_the_paper_within_its_bounds(
    steps: list[tuple[str, int]], max_offset_s: float
) -> None:
    """Against a naive pair (l, c) as in the paper; a refusal leaves both as they were."""
    lab, offset_ms = Lab(max_offset_s), round(max_offset_s * 1_000)
    l, c = 0, 0  # noqa: E741 (the paper's names)
    for verb, value in steps:
        pt = lab.wall.wall // MS
        remote: tuple[int, int] | None = None
        if verb == "wall":
            lab.wall.wall += value
            continue
        if verb == "remote":
            remote = (max(l, pt) + value, value % 9)
        elif verb == "full":
            remote = (max(l, pt) + value, FULL)
        highest = max((l, c), remote or (0, 0))
        wanted = (pt, 0) if pt > highest[0] else (highest[0], highest[1] + 1)
        if wanted[1] > FULL:
            wanted = (wanted[0] + 1, 0)
        stamp = None if remote is None else HlcTimestamp((remote[0] << 16) + remote[1])
        try:
            found = lab.hlc.now() if stamp is None else lab.hlc.observe(stamp)
        except (ClockBehind, TimestampTooFarAhead):
            assert wanted[0] - pt > offset_ms
        else:
            assert wanted[0] - pt <= offset_ms
            assert (found >> 16, found & FULL) == wanted
            l, c = wanted  # noqa: E741
            assert l >= pt
        assert lab.hlc.latest == (l << 16) + c
