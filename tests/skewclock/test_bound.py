"""The bound over restarts: nothing is issued twice, whatever the wall clock says by then."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import ClockBehind, CorruptRecord, InvalidInput, StoreDenied, Unavailable
from federlib.skewclock import (
    BoundStore,
    FileBound,
    HlcCounts,
    HlcTimestamp,
    HybridLogicalClock,
    SystemClock,
    hlc_physical_ns,
    hlc_timestamp,
    keep_bound,
)
from federlib.telemetry import Telemetry
from federlib.telemetry.logs import Level, LogValue
from federlib.testing import ManualClock

MS = 1_000_000
NS = 1_000_000_000
WALL = 1_700_000_000 * NS


class Shelf:
    """A bound store in memory, which may fail and which counts."""

    def __init__(self, bound_ns: int | None = None) -> None:
        self.bound_ns = bound_ns
        self.saves = 0
        self.is_broken = False

    def load(self) -> int | None:
        return self.bound_ns

    def save(self, bound_ns: int) -> None:
        if self.is_broken:
            raise Unavailable("shelf", "it is broken")
        self.saves += 1
        self.bound_ns = bound_ns


def after_wall_s(shelf: Shelf) -> float:
    assert shelf.bound_ns is not None
    return (shelf.bound_ns - WALL) / NS


def test_a_first_clock_puts_the_bound_ahead_before_it_issues_anything() -> None:
    shelf, wall = Shelf(), ManualClock(wall=WALL)
    hlc = HybridLogicalClock(wall, bound=shelf, bound_ahead_s=1)
    assert (after_wall_s(shelf), shelf.saves) == (1, 1)
    assert hlc.now() == hlc_timestamp(WALL)


def test_without_renewal_the_clock_goes_up_to_its_bound_and_never_past_it() -> None:
    shelf, wall = Shelf(), ManualClock(wall=WALL)
    hlc = HybridLogicalClock(wall, bound=shelf, bound_ahead_s=1)
    wall.advance(0.999)
    last = hlc.now()
    wall.advance(0.001)
    for step in (hlc.now, lambda: hlc.observe(last)):
        with pytest.raises(Unavailable, match="has reached its stored bound"):
            step()
    assert hlc.latest == last
    assert hlc.counts == HlcCounts(behind=2)
    hlc.renew_bound()
    assert (after_wall_s(shelf), shelf.saves) == (2, 2)
    assert hlc.now() == hlc_timestamp(wall.wall)


def test_the_bound_is_renewed_once_half_of_it_is_used_up() -> None:
    shelf, wall = Shelf(), ManualClock(wall=WALL)
    hlc = HybridLogicalClock(wall, bound=shelf, bound_ahead_s=1)
    for _ in range(100):
        wall.advance(0.1)
        hlc.renew_bound()
        hlc.now()
    assert 19 <= shelf.saves <= 21


def test_a_borrow_does_not_cross_the_bound_either() -> None:
    shelf, wall = Shelf(), ManualClock(wall=WALL)
    hlc = HybridLogicalClock(wall, bound=shelf, bound_ahead_s=1)
    hlc.observe(hlc_timestamp(WALL + 999 * MS, 65_534))
    with pytest.raises(Unavailable, match="stored bound"):
        hlc.now()
    assert hlc.counts.overflows == 0


def test_a_remote_beyond_the_bound_is_taken_in_after_the_next_renewal() -> None:
    shelf, wall = Shelf(), ManualClock(wall=WALL)
    hlc = HybridLogicalClock(wall, bound=shelf, bound_ahead_s=1)
    remote = hlc_timestamp(WALL + 2 * NS)
    with pytest.raises(Unavailable, match="stored bound"):
        hlc.observe(remote)
    assert hlc.latest == 0
    hlc.renew_bound()
    assert after_wall_s(shelf) == 3
    assert hlc.observe(remote) == remote + 1


@pytest.mark.parametrize("away_s", [0.0, 0.4, 5.0])
@pytest.mark.parametrize("set_back_s", [0.0, 0.5, 2.0])
def test_a_restart_goes_on_above_whatever_may_have_been_issued(
    away_s: float, set_back_s: float
) -> None:
    shelf, wall = Shelf(), ManualClock(wall=WALL)
    first = HybridLogicalClock(wall, bound=shelf, bound_ahead_s=1)
    wall.advance(0.999)
    last = first.now()
    wall.advance(away_s)
    wall.step_wall(-set_back_s)
    second = HybridLogicalClock(wall, bound=shelf, bound_ahead_s=1)
    found = second.now()
    assert found > last
    assert hlc_physical_ns(found) - wall.wall <= 3 * NS


def test_a_restart_far_in_the_past_waits_and_leaves_the_bound_alone() -> None:
    shelf, wall = Shelf(), ManualClock(wall=WALL)
    HybridLogicalClock(wall, bound=shelf, bound_ahead_s=1).now()
    wall.step_wall(-3_600)
    second = HybridLogicalClock(wall, bound=shelf, bound_ahead_s=1)
    for _ in range(3):
        second.renew_bound()
        with pytest.raises(ClockBehind) as caught:
            second.now()
    assert caught.value.wait_s == 3_598
    assert (after_wall_s(shelf), shelf.saves) == (1, 1)
    wall.advance(caught.value.wait_s)
    second.renew_bound()
    assert hlc_physical_ns(second.now()) == WALL + NS


def test_under_a_right_clock_no_restart_has_to_wait() -> None:
    shelf, wall = Shelf(), ManualClock(wall=WALL)
    for _ in range(50):
        assert HybridLogicalClock(wall, bound=shelf).now() > 0
        wall.advance(1.5)  # The default puts the bound half of the offset ahead.


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("advance"), st.floats(0, 2)),
            st.tuples(st.just("set"), st.floats(-8, 8)),
            st.tuples(st.just("now"), st.just(0.0)),
            st.tuples(st.just("renew"), st.just(0.0)),
            st.tuples(st.just("crash"), st.just(0.0)),
            st.tuples(st.just("break"), st.just(0.0)),
            st.tuples(st.just("mend"), st.just(0.0)),
        ),
        max_size=60,
    )
)
def test_over_any_number_of_lives_no_timestamp_is_issued_twice(
    steps: list[tuple[str, float]],
) -> None:
    shelf, wall = Shelf(), ManualClock(wall=WALL)
    hlc = HybridLogicalClock(wall, bound=shelf)
    last = HlcTimestamp(0)
    for verb, value in steps:
        try:
            match verb:
                case "advance":
                    wall.advance(value)
                case "set":
                    wall.step_wall(value)
                case "renew":
                    hlc.renew_bound()
                case "crash":
                    hlc = HybridLogicalClock(wall, bound=shelf)
                case "now":
                    found = hlc.now()
                    assert found > last
                    assert hlc_physical_ns(found) < (shelf.bound_ns or 0)
                    last = found
                case _:
                    shelf.is_broken = verb == "break"
        except Unavailable:
            pass


@pytest.mark.parametrize("ahead_s", [0, 0.001, -1, 3.01, float("inf"), float("nan"), True, "1"])
def test_a_bound_that_is_no_use_is_refused(ahead_s: object) -> None:
    with pytest.raises(InvalidInput, match="bound_ahead_s"):
        HybridLogicalClock(
            ManualClock(),
            bound=Shelf(),
            bound_ahead_s=ahead_s,  # type: ignore[arg-type]  # hostile on purpose
        )


def test_without_a_bound_there_is_nothing_to_renew() -> None:
    hlc = HybridLogicalClock(ManualClock())
    hlc.renew_bound()
    assert hlc.bound_ahead_s is None
    assert hlc.now() > 0


def test_readings_go_on_while_the_bound_is_being_written() -> None:
    wall = ManualClock(wall=WALL)
    writing, written = threading.Event(), threading.Event()

    class Slow(Shelf):
        def save(self, bound_ns: int) -> None:
            if self.saves:
                writing.set()
                assert written.wait(10)
            super().save(bound_ns)

    hlc = HybridLogicalClock(wall, bound=Slow(), bound_ahead_s=1)
    wall.advance(0.6)
    renewing = threading.Thread(target=hlc.renew_bound)
    renewing.start()
    assert writing.wait(10)
    stamp = hlc.now()
    written.set()
    renewing.join()
    assert hlc.now() == stamp + 1


# --- the file -------------------------------------------------------------------------------


def test_a_file_holds_the_bound_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "clock.json"
    bound: BoundStore = FileBound(path)
    assert bound.load() is None
    bound.save(5)
    bound.save(7)
    assert FileBound(str(path)).load() == 7
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["clock.json"]


def test_the_file_and_its_name_are_on_the_disk_before_save_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        order.append("dir" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        order.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    FileBound(tmp_path / "clock.json").save(7)
    assert order == ["file", "rename", "dir"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b'{"v":1}', b'{"bound_ns":"7","v":1}', b'{"bound_ns":-1,"v":1}',
     b'{"bound_ns":7,"v":2}', b'{"bound_ns":9223372036854775808,"v":1}', b" " * 10_000,
     b'{"bound_ns":7,"more":1,"v":1}'],
)  # fmt: skip
def test_a_file_that_cannot_be_trusted_is_named_and_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "clock.json"
    path.write_bytes(content)
    with pytest.raises(CorruptRecord, match=r"clock\.json"):
        HybridLogicalClock(ManualClock(), bound=FileBound(path))
    assert path.read_bytes() == content


@pytest.mark.parametrize("path", ["", "  ", "a\0b", 3, None, b"clock"])
def test_what_is_no_path_is_refused(path: object) -> None:
    with pytest.raises(InvalidInput, match="path"):
        FileBound(path)  # type: ignore[arg-type]  # hostile on purpose


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_said_to_be_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreDenied, match="clock bound file"):
        HybridLogicalClock(ManualClock(), bound=FileBound(tmp_path / "clock.json"))


LIFE = """
import sys
from federlib.skewclock import FileBound, HybridLogicalClock, SystemClock
from federlib.testing import SkewedClock
clock = SkewedClock(SystemClock(), offset_s=float(sys.argv[2]))
hlc = HybridLogicalClock(clock, bound=FileBound(sys.argv[1]), bound_ahead_s=0.2)
while True:
    try:
        hlc.renew_bound()
        print(hlc.now(), flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
"""


def test_lives_that_are_killed_under_a_clock_that_goes_back_issue_nothing_twice(
    tmp_path: Path,
) -> None:
    last, refused = 0, 0
    for life, offset_s in enumerate((0.0, -0.5, -1.0, -1.5, -3_600.0)):
        with subprocess.Popen(
            [sys.executable, "-c", LIFE, str(tmp_path / "clock.json"), str(offset_s)],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(300 + 200 * life)]
            process.send_signal(signal.SIGKILL)
            # What was issued after we looked counts too; a line cut short does not.
            lines += process.stdout.read().splitlines(keepends=True)
        whole = [line.strip() for line in lines if line.endswith("\n")]
        issued = [int(line) for line in whole if line.isdigit()]
        refused += len(whole) - len(issued)
        assert issued == sorted(set(issued))
        if offset_s > -3_600:
            assert issued[0] > last
            last = issued[-1]
        else:
            assert issued == []
    assert refused > 0


# --- the keeper -----------------------------------------------------------------------------


class Log:
    """A logger that tells when something was logged."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        self.events.append(event)


@pytest.mark.anyio
async def test_a_kept_bound_is_always_ahead() -> None:
    shelf = Shelf()
    hlc = HybridLogicalClock(SystemClock(), max_offset_s=1, bound=shelf, bound_ahead_s=0.2)
    async with anyio.create_task_group() as group:
        group.start_soon(keep_bound, hlc)
        with anyio.fail_after(20):
            while shelf.saves < 4:
                assert hlc.now() > 0
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_keeper_goes_on_when_the_bound_can_be_written_again() -> None:
    shelf, log = Shelf(), Log()
    hlc = HybridLogicalClock(SystemClock(), max_offset_s=1, bound=shelf, bound_ahead_s=0.02)
    shelf.is_broken = True
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: keep_bound(hlc, telemetry=Telemetry(logger=log)))
        with anyio.fail_after(20):
            while not log.events:
                await anyio.sleep(0.01)
            shelf.is_broken = False
            while shelf.saves < 3:
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert set(log.events) == {"hlc_bound_not_renewed"}


@pytest.mark.anyio
async def test_a_keeper_outlives_a_bound_whose_directory_was_replaced(tmp_path: Path) -> None:
    place, log = tmp_path / "clock", Log()
    hlc = HybridLogicalClock(
        SystemClock(), max_offset_s=1, bound=FileBound(place / "bound"), bound_ahead_s=0.02
    )
    place.rename(tmp_path / "away")
    place.write_bytes(b"")
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: keep_bound(hlc, telemetry=Telemetry(logger=log)))
        with anyio.fail_after(20):
            while not log.events:
                await anyio.sleep(0.01)
            place.unlink()
            while not (place / "bound").exists():
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert set(log.events) == {"hlc_bound_not_renewed"}


@pytest.mark.anyio
async def test_a_clock_without_a_bound_needs_no_keeper() -> None:
    with anyio.fail_after(5):
        await keep_bound(HybridLogicalClock(ManualClock()))
