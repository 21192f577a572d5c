"""ChronoWatch Core: readings of clocks, and the fields of a lease."""

from __future__ import annotations

from datetime import datetime
from typing import get_type_hints

import msgspec

from federlib.lease.protocol import Lease
from federlib.skewclock import ClockReading, SystemClock, read_clock, require_utc

INT64 = range(-(2**63), 2**63)


def test_clock_reading_has_the_fields_of_the_entity() -> None:
    """Доменные сущности: `ClockReading`, with the field names given there."""
    assert set(ClockReading.__struct_fields__) >= {
        "wall_unix_nanos",
        "monotonic_nanos",
        "hlc_physical_nanos",
        "hlc_logical",
        "tz",
        "clock_id",
    }


def test_clock_reading_has_the_fields_and_types_of_now_response() -> None:
    """API контракты, `NowResponse`: int64 and string fields, by name."""
    assert get_type_hints(ClockReading) == {
        "wall_unix_nanos": int,
        "monotonic_nanos": int,
        "tz": str,
        "iso8601": str,
        "clock_id": str,
        "hlc_physical_nanos": int,
        "hlc_logical": int,
    }
    reading = msgspec.to_builtins(read_clock(SystemClock()))
    assert all(value in INT64 for value in reading.values() if isinstance(value, int))


def test_the_example_test_of_now_holds() -> None:
    """Тестирование: `wall_unix_nanos` is there and positive, and `iso8601` has a T."""
    told = msgspec.json.decode(msgspec.json.encode(read_clock(SystemClock())))
    assert told["wall_unix_nanos"] > 0
    assert "T" in told["iso8601"]


def test_now_is_given_in_the_configured_zone() -> None:
    """Конфигурация: `CHRONO_TZ=Europe/Stockholm`; the wall time stays one instant."""
    reading = read_clock(SystemClock(), tz="Europe/Stockholm")
    moment = datetime.fromisoformat(reading.iso8601)
    assert moment.utcoffset() is not None
    assert require_utc(moment) == reading.wall_unix_nanos // 1_000 * 1_000
    assert reading.tz == "Europe/Stockholm"


def test_wall_time_and_monotonic_time_are_both_exposed() -> None:
    """Согласованное время: `wall_time` and `monotonic_time` are exposed."""
    clock = SystemClock()
    first, second = read_clock(clock), read_clock(clock)
    assert second.monotonic_nanos >= first.monotonic_nanos
    assert first.wall_unix_nanos > 1_600_000_000 * 10**9


def test_lease_has_the_fields_of_the_entity() -> None:
    """Доменные сущности: `Lease`, with the field names given there."""
    hints = get_type_hints(Lease)
    assert {name: hints[name] for name in ("name", "holder_id")} == dict.fromkeys(
        ("name", "holder_id"), str
    )
    numbers = ("fencing_token", "ttl_ms", "acquired_at", "renewed_at")
    assert {name: hints[name] for name in numbers} == dict.fromkeys(numbers, int)
