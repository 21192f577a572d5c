"""`Telemetry`: silent by default, and never in the way of the work."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from federlib.telemetry import SILENT, Logger, Metric, MetricsSink, RecordingSink, Telemetry
from federlib.telemetry.logs import Level, LogValue

GRANTS = Metric("grants_total", "counter", "Leases granted.", ("name",))


class _List:
    """A logger that keeps what it was given."""

    def __init__(self) -> None:
        self.events: list[tuple[Level, str, dict[str, LogValue]]] = []

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        self.events.append((level, event, fields))


class _Broken:
    """A host's sink and logger with a bug."""

    def emit(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        raise RuntimeError("sink")

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        raise RuntimeError("logger")


class _Stopping:
    def emit(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        raise KeyboardInterrupt


def test_numbers_reach_the_sink_with_one_as_the_default() -> None:
    sink = RecordingSink()
    telemetry = Telemetry(metrics=sink)
    telemetry.emit(GRANTS, name="x")
    telemetry.emit(GRANTS, 2.5, name="x")
    assert sink.value("grants_total", name="x") == 3.5


def test_events_reach_the_logger_with_their_fields() -> None:
    logger = _List()
    Telemetry(logger=logger).log("warning", "lease_lost", name="x", token=7, level="high", event=1)
    fields = {"name": "x", "token": 7, "level": "high", "event": 1}
    assert logger.events == [("warning", "lease_lost", fields)]


def test_silence_is_the_default() -> None:
    SILENT.emit(GRANTS, name="x")
    SILENT.log("error", "lease_lost", name="x")
    assert Telemetry() == SILENT
    assert SILENT.dropped == 0


def test_a_broken_sink_is_counted_and_does_not_stop_the_work() -> None:
    broken = _Broken()
    telemetry = Telemetry(metrics=broken, logger=broken)
    telemetry.emit(GRANTS, name="x")
    telemetry.log("info", "lease_acquired")
    assert telemetry.dropped == 2


def test_an_interrupt_is_no_bug_of_a_sink() -> None:
    telemetry = Telemetry(metrics=_Stopping())
    with pytest.raises(KeyboardInterrupt):
        telemetry.emit(GRANTS, name="x")
    assert telemetry.dropped == 0


@pytest.mark.parametrize("labels", [{}, {"other": "x"}, {"name": "x", "more": "y"}])
def test_labels_that_were_not_declared_are_our_own_bug(labels: dict[str, str]) -> None:
    with pytest.raises(AssertionError):
        Telemetry().emit(GRANTS, 1.0, **labels)


def test_two_telemetries_never_meet() -> None:
    one, other = Telemetry(metrics=_Broken()), Telemetry(metrics=_Broken())
    one.emit(GRANTS, name="x")
    assert (one.dropped, other.dropped) == (1, 0)


def test_the_parts_fit_their_protocols() -> None:
    sink: MetricsSink = RecordingSink()
    logger: Logger = _List()
    assert Telemetry(sink, logger).metrics is sink


def test_a_stamped_telemetry_adds_a_timestamp_and_emits_through_the_first() -> None:
    sink, logger = RecordingSink(), _List()
    stamped = Telemetry(sink, logger).stamped(iter(["t1", "t2", None]).__next__)
    stamped.log("info", "one", name="x")
    stamped.log("info", "two", hlc="forged")
    stamped.log("info", "three")
    stamped.emit(GRANTS, 2, name="x")
    assert [fields for _, _, fields in logger.events] == [
        {"name": "x", "hlc": "t1"},
        {"hlc": "t2"},
        {"hlc": None},
    ]
    assert sink.value("grants_total", name="x") == 2


def test_a_stamped_telemetry_is_as_silent_as_the_first_and_draws_nothing() -> None:
    drawn: list[str] = []

    def draw() -> str:
        drawn.append("t")
        return "t"

    telemetry = Telemetry()
    stamped = telemetry.stamped(draw)
    stamped.log("info", "one")
    stamped.emit(GRANTS, name="x")
    assert drawn == []
    telemetry.logger = logger = _List()
    stamped.log("info", "two")
    assert (len(drawn), len(logger.events)) == (1, 1)


def test_what_a_stamped_telemetry_drops_is_counted_where_the_host_looks() -> None:
    telemetry = Telemetry(_Broken(), _Broken())
    stamped = telemetry.stamped(lambda: "t")
    stamped.emit(GRANTS, name="x")
    stamped.log("info", "one")
    assert telemetry.dropped == 2
