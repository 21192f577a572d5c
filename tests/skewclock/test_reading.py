"""One reading of every clock, and datetimes that say which instant they mean."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import ClockBehind, InvalidInput, Unavailable
from federlib.skewclock import (
    Clock,
    ClockReading,
    HybridLogicalClock,
    SystemClock,
    hlc_timestamp,
    read_clock,
    require_utc,
)
from federlib.testing import ManualClock

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_6429_NS = 2**47 * 1_000_000


def read(clock: Clock, *, tz: str = "UTC") -> ClockReading:
    """Read a clock through a hybrid logical clock that has seen nothing before."""
    return read_clock(HybridLogicalClock(clock), tz=tz)


@given(
    st.integers(0, YEAR_6429_NS - 10**9),
    st.sampled_from(["UTC", "Europe/Stockholm", "Asia/Kathmandu", "America/New_York"]),
)
def test_iso8601_is_the_wall_time_in_the_zone_to_the_microsecond(wall: int, tz: str) -> None:
    reading = read(ManualClock(wall=wall), tz=tz)
    moment = datetime.fromisoformat(reading.iso8601)
    assert reading.wall_unix_nanos == wall
    assert (moment - EPOCH) // timedelta(microseconds=1) == wall // 1_000
    assert moment.utcoffset() == moment.astimezone(ZoneInfo(tz)).utcoffset()
    assert reading.tz == tz


def test_a_reading_carries_each_clock_and_its_name() -> None:
    clock = ManualClock(wall=5_000_000_000, mono=7, boot=9, clock_id="m/b/")
    assert read(clock) == ClockReading(
        wall_unix_nanos=5_000_000_000,
        monotonic_nanos=7,
        hlc_physical_nanos=5_000_000_000,
        hlc_logical=0,
        tz="UTC",
        iso8601="1970-01-01T00:00:05.000000+00:00",
        clock_id="m/b/",
    )


def test_each_reading_is_an_event_of_the_hybrid_logical_clock() -> None:
    clock = ManualClock(wall=5_000_999_999)
    hlc = HybridLogicalClock(clock)
    hlc.observe(hlc_timestamp(5_002_000_000, 7))
    readings = [read_clock(hlc) for _ in range(2)]
    found = [(r.hlc_physical_nanos, r.hlc_logical) for r in readings]
    assert found == [(5_002_000_000, 9), (5_002_000_000, 10)]
    assert [r.wall_unix_nanos for r in readings] == [5_000_999_999] * 2


def test_a_clock_that_was_set_back_too_far_gives_no_reading() -> None:
    clock = ManualClock()
    hlc = HybridLogicalClock(clock)
    read_clock(hlc)
    clock.step_wall(-60)
    with pytest.raises(ClockBehind):
        read_clock(hlc)


def test_the_clock_has_one_name_at_every_reading() -> None:
    clock = SystemClock()
    assert read(clock).clock_id == read(clock).clock_id == clock.clock_id


def test_the_repeated_hour_of_autumn_is_told_apart_by_its_offset() -> None:
    first = ManualClock(wall=require_utc(datetime(2023, 10, 29, 0, 30, tzinfo=UTC)))
    second = ManualClock(wall=require_utc(datetime(2023, 10, 29, 1, 30, tzinfo=UTC)))
    assert read(first, tz="Europe/Stockholm").iso8601 == "2023-10-29T02:30:00.000000+02:00"
    assert read(second, tz="Europe/Stockholm").iso8601 == "2023-10-29T02:30:00.000000+01:00"


def test_a_reading_survives_json() -> None:
    reading = read(SystemClock())
    assert msgspec.json.decode(msgspec.json.encode(reading), type=ClockReading) == reading


@pytest.mark.parametrize(
    "tz",
    [
        pytest.param("", id="empty"),
        pytest.param(".", id="dot"),
        pytest.param("Europe", id="a directory"),
        pytest.param("Evropa/Praha", id="unknown"),
        pytest.param("../../etc/passwd", id="a way out"),
        pytest.param("/etc/passwd", id="absolute"),
        pytest.param("U\0TC", id="NUL"),
        pytest.param("x" * 10_000, id="10 kB"),
        pytest.param("UTC\n", id="newline"),
        pytest.param("\ud800", id="surrogate"),
        pytest.param(None, id="None"),
        pytest.param(3, id="number"),
    ],
)
def test_what_is_no_time_zone_is_refused(tz: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(ManualClock(), tz=tz)  # type: ignore[arg-type]  # hostile on purpose
    assert caught.value.field == "tz"


def test_a_wall_clock_that_leaps_out_of_every_calendar_is_refused() -> None:
    class Leaping(ManualClock):
        def wall_ns(self) -> int:
            self.wall *= 10**6
            return self.wall // 10**6

    with pytest.raises(InvalidInput, match="wall_ns"):
        read(Leaping(), tz="Asia/Kathmandu")


@pytest.mark.parametrize("wall", [YEAR_6429_NS, 2**63 * 40, 10**30])
def test_a_wall_clock_beyond_every_timestamp_gives_no_reading(wall: int) -> None:
    with pytest.raises(Unavailable):
        read(ManualClock(wall=wall))


@given(st.datetimes(timezones=st.timezones()))
def test_an_aware_datetime_is_its_instant_in_whole_microseconds(moment: datetime) -> None:
    in_ns = require_utc(moment)
    assert in_ns % 1_000 == 0
    # Through UTC: inside one zone, Python compares wall times and forgets the repeated hour.
    assert EPOCH + timedelta(microseconds=in_ns // 1_000) == moment.astimezone(UTC)


def test_one_instant_in_two_zones_is_one_number() -> None:
    noon = datetime(2024, 2, 29, 12, 0, 0, 123_456, tzinfo=UTC)
    there = noon.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert require_utc(noon) == require_utc(there) == 1_709_208_000_123_456_000


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2024, 1, 1),
        datetime(2024, 1, 1).replace(fold=1),
        date(2024, 1, 1),
        1_700_000_000,
        math.nan,
        "2024-01-01T00:00:00Z",
        None,
    ],
)
def test_a_naive_datetime_or_anything_else_is_refused(moment: object) -> None:
    with pytest.raises(InvalidInput, match="one with a time zone"):
        require_utc(moment)  # type: ignore[arg-type]  # hostile on purpose
