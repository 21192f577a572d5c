"""ChronoWatch Core: readings of clocks, and the fields of a lease."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal, get_type_hints

import anyio
import msgspec
import pytest

import federlib
from federlib.fencing import Command
from federlib.identity import IdentityStore
from federlib.lease.protocol import Lease
from federlib.skewclock import (
    ClockReading,
    HybridLogicalClock,
    LamportClock,
    SystemClock,
    read_clock,
    require_utc,
)
from federlib.telemetry import Telemetry
from federlib.telemetry.logs import Level, LogValue
from federlib.testing import ManualClock, SkewedClock

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
    reading = msgspec.to_builtins(read_clock(HybridLogicalClock(SystemClock())))
    assert all(value in INT64 for value in reading.values() if isinstance(value, int))


def test_the_example_test_of_now_holds() -> None:
    """Тестирование: `wall_unix_nanos` is there and positive, and `iso8601` has a T."""
    told = msgspec.json.decode(msgspec.json.encode(read_clock(HybridLogicalClock(SystemClock()))))
    assert told["wall_unix_nanos"] > 0
    assert "T" in told["iso8601"]


def test_now_is_given_in_the_configured_zone() -> None:
    """Конфигурация: `CHRONO_TZ=Europe/Stockholm`; the wall time stays one instant."""
    reading = read_clock(HybridLogicalClock(SystemClock()), tz="Europe/Stockholm")
    moment = datetime.fromisoformat(reading.iso8601)
    assert moment.utcoffset() is not None
    assert require_utc(moment) == reading.wall_unix_nanos // 1_000 * 1_000
    assert reading.tz == "Europe/Stockholm"


def test_wall_time_and_monotonic_time_are_both_exposed() -> None:
    """Согласованное время: `wall_time` and `monotonic_time` are exposed."""
    clock = HybridLogicalClock(SystemClock())
    first, second = read_clock(clock), read_clock(clock)
    assert second.monotonic_nanos >= first.monotonic_nanos
    assert first.wall_unix_nanos > 1_600_000_000 * 10**9


def test_lamport_clocks_order_by_cause() -> None:
    """Согласованное время: logical clocks (Lamport) for causal order."""
    sender, receiver = LamportClock(100), LamportClock()
    sent = sender.now()
    assert receiver.observe(sent) > sent
    assert sender.observe(receiver.now()) > receiver.latest


def test_hybrid_logical_clocks_order_by_cause_whatever_the_wall_clocks_say() -> None:
    """Согласованное время: Hybrid Logical Clock for causal order."""
    wall = ManualClock()
    slow = HybridLogicalClock(SkewedClock(wall, offset_s=-2))
    fast = HybridLogicalClock(SkewedClock(wall, offset_s=0.5))
    asked = fast.now()
    heard = slow.observe(asked)
    answered = slow.now()
    assert slow.clock.wall_ns() < fast.clock.wall_ns()
    assert asked < heard < answered < fast.observe(answered)


def test_now_tells_the_full_hybrid_time_not_the_wall_clock_and_zero() -> None:
    """Дорожная карта: the full HLC, physical and logical, in `hlc_*` of the reading."""
    wall = ManualClock()
    ahead, behind = HybridLogicalClock(SkewedClock(wall, offset_s=1)), HybridLogicalClock(wall)
    behind.observe(ahead.now())
    reading = read_clock(behind)
    assert reading.hlc_physical_nanos == reading.wall_unix_nanos + 10**9
    assert reading.hlc_logical == 2


@pytest.mark.anyio
async def test_commands_outcomes_and_log_entries_carry_hybrid_time(tmp_path: Path) -> None:
    """Time svc, HLC: what crosses processes is stamped, and the stamps follow the cause."""
    events: list[Mapping[str, LogValue]] = []

    class Log:
        def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
            events.append(fields)

    async def scale(command: Command) -> Literal["applied"]:
        return "applied"

    async with (
        federlib.connect(
            "memory://", telemetry=Telemetry(logger=Log()), identity=IdentityStore(tmp_path)
        ) as fed,
        fed.elect("boss") as seat,
        anyio.create_task_group() as group,
    ):
        async for state in seat.changes():
            if state.role == "leader":
                break
        group.start_soon(fed.commands.consume, "boss", scale)
        command = await fed.commands.issue("scale", {"n": 3}, gate=seat)
        assert isinstance(command, Command)
        outcome = await fed.commands.outcome(command, wait_s=10)
        assert outcome is not None
        assert command.hlc is not None
        assert outcome.hlc is not None
        assert command.hlc < outcome.hlc < fed.hlc.latest
        group.cancel_scope.cancel()
    stamps = [fields["hlc"] for fields in events]
    assert stamps
    assert stamps == sorted(set(stamps), key=str)


def test_lease_has_the_fields_of_the_entity() -> None:
    """Доменные сущности: `Lease`, with the field names given there."""
    hints = get_type_hints(Lease)
    assert {name: hints[name] for name in ("name", "holder_id")} == dict.fromkeys(
        ("name", "holder_id"), str
    )
    numbers = ("fencing_token", "ttl_ms", "acquired_at", "renewed_at")
    assert {name: hints[name] for name in numbers} == dict.fromkeys(numbers, int)
