"""`Stamps`: a clock that cannot tell is never in the way."""

from __future__ import annotations

import pytest

from federlib.errors import TimestampTooFarAhead
from federlib.skewclock import (
    UNSTAMPED,
    HlcTimestamp,
    HybridLogicalClock,
    Stamps,
    hlc_text,
    hlc_timestamp,
)
from federlib.telemetry import Telemetry
from federlib.telemetry.logs import Level, LogValue
from federlib.testing import ManualClock


class Log:
    """A logger that keeps what it was given."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, LogValue]]] = []

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        self.events.append((event, fields))


def test_a_stamp_is_the_clocks_next_timestamp() -> None:
    hlc = HybridLogicalClock(ManualClock())
    stamps = Stamps(hlc)
    first = stamps.now()
    assert first == hlc.latest
    assert stamps.text() == hlc_text(HlcTimestamp(hlc.latest))
    assert stamps.now() == hlc.latest == (first or 0) + 2


def test_a_clock_that_is_behind_gives_no_stamp_and_no_error() -> None:
    wall = ManualClock()
    stamps = Stamps(HybridLogicalClock(wall))
    stamps.now()
    wall.step_wall(-60)
    assert stamps.now() is None
    assert stamps.text() is None
    wall.step_wall(60)
    assert stamps.now() is not None


def test_what_is_observed_comes_before_the_next_stamp() -> None:
    wall = ManualClock()
    log = Log()
    stamps = Stamps(HybridLogicalClock(wall), Telemetry(logger=log))
    remote = hlc_timestamp(wall.wall + 10**9, 5)
    stamps.observe(remote, of="command c1")
    assert (stamps.now() or 0) > remote
    assert log.events == []


@pytest.mark.parametrize("remote", [2**63 - 1, -5, "text"])
def test_what_is_refused_is_logged_counted_and_without_effect(remote: object) -> None:
    log, hlc = Log(), HybridLogicalClock(ManualClock())
    before = hlc.now()
    Stamps(hlc, Telemetry(logger=log)).observe(remote, of="command c1")  # type: ignore[arg-type]
    [(event, fields)] = log.events
    assert (event, fields["of"]) == ("hlc_not_observed", "command c1")
    assert hlc.latest == before
    assert hlc.counts.refused == (remote == 2**63 - 1)


def test_the_log_says_what_the_error_would_have_said() -> None:
    log, wall = Log(), ManualClock()
    hlc = HybridLogicalClock(wall)
    remote = hlc_timestamp(wall.wall + 60 * 10**9)
    with pytest.raises(TimestampTooFarAhead) as caught:
        hlc.observe(remote)
    Stamps(hlc, Telemetry(logger=log)).observe(remote, of="x")
    assert log.events[0][1]["reason"] == str(caught.value)


def test_a_record_without_a_stamp_changes_nothing() -> None:
    hlc = HybridLogicalClock(ManualClock())
    Stamps(hlc).observe(None, of="command c1")
    assert hlc.latest == 0


def test_without_a_clock_nothing_is_stamped() -> None:
    UNSTAMPED.observe(hlc_timestamp(1), of="command c1")
    assert UNSTAMPED.now() is None
    assert UNSTAMPED.text() is None
