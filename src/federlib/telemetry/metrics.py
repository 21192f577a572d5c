"""Metrics, declared as data beside the code that emits them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import attrs

__all__ = ["Metric", "MetricsSink", "RecordingSink"]


@attrs.frozen
class Metric:
    """One declared metric.

    Attributes:
        name: As the seeds give it, for example `chronowatch_lease_acquire_total`.
        kind: `counter` adds, `gauge` is set, `histogram` observes.
        help: One sentence for people; it names the unit.
        labels: Names of its labels, in order.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


class MetricsSink(Protocol):
    """Where numbers go. Called from any thread; must not block."""

    def emit(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        """Take one number: the addend, the level, or the observation, by `metric.kind`."""
        ...


class RecordingSink:
    """Keeps sums, levels and observations in memory, for tests and small tools."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = {}

    def emit(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        """Take one number."""
        series = self._values.setdefault((metric.name, tuple(sorted(labels.items()))), [])
        if metric.kind == "histogram":
            series.append(value)
        elif metric.kind == "counter":
            series[:] = [(series[0] if series else 0.0) + value]
        else:
            series[:] = [value]

    def value(self, name: str, /, **labels: str) -> float:
        """Return a counter's sum or a gauge's level; 0 where nothing was emitted."""
        series = self._values.get((name, tuple(sorted(labels.items()))), [])
        return series[-1] if series else 0.0

    def observations(self, name: str, /, **labels: str) -> tuple[float, ...]:
        """Return a histogram's observations in the order they came."""
        return tuple(self._values.get((name, tuple(sorted(labels.items()))), ()))
