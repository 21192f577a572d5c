"""Metrics as data, and the sink that records."""

from __future__ import annotations

import attrs
import pytest

from federlib.telemetry import Metric, RecordingSink

GRANTS = Metric("grants_total", "counter", "Leases granted.", ("name",))
HOLDERS = Metric("holders", "gauge", "Leases held now.")
WAIT = Metric("wait_seconds", "histogram", "Waited for a lease; seconds.")
PAIR = Metric("pair_total", "counter", "Two labels.", ("a", "b"))


def test_a_counter_adds_up_by_its_labels() -> None:
    sink = RecordingSink()
    for name, value in (("x", 1.0), ("y", 5.0), ("x", 2.0)):
        sink.emit(GRANTS, value, {"name": name})
    assert sink.value("grants_total", name="x") == 3
    assert sink.value("grants_total", name="y") == 5


def test_a_gauge_is_set() -> None:
    sink = RecordingSink()
    for value in (3.0, 1.0):
        sink.emit(HOLDERS, value, {})
    assert sink.value("holders") == 1


def test_a_histogram_keeps_its_observations_in_order() -> None:
    sink = RecordingSink()
    for value in (0.5, 0.1, 0.5):
        sink.emit(WAIT, value, {})
    assert sink.observations("wait_seconds") == (0.5, 0.1, 0.5)


def test_the_order_of_labels_does_not_matter() -> None:
    sink = RecordingSink()
    sink.emit(PAIR, 1, {"a": "1", "b": "2"})
    sink.emit(PAIR, 1, {"b": "2", "a": "1"})
    assert sink.value("pair_total", b="2", a="1") == 2


def test_what_was_never_emitted_is_zero() -> None:
    sink = RecordingSink()
    assert sink.value("nothing") == 0
    assert sink.observations("nothing") == ()


def test_a_declared_metric_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        GRANTS.name = "other"  # type: ignore[misc]  # on purpose
