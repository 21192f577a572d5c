"""`Telemetry`: the one object that components emit through."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from federlib.telemetry.logs import Level, Logger, LogValue
from federlib.telemetry.metrics import Metric, MetricsSink

__all__ = ["SILENT", "Telemetry"]


@attrs.define
class Telemetry:
    """Metrics and logs of one federation; both silent by default.

    Attributes:
        metrics: Where numbers go, or None.
        logger: Where events go, or None.
        dropped: How often a sink raised and its error was swallowed.
    """

    metrics: MetricsSink | None = None
    logger: Logger | None = None
    dropped: int = attrs.field(default=0, init=False)

    def emit(self, metric: Metric, value: float = 1.0, /, **labels: str) -> None:
        """Send one number; the labels must be those that `metric` declares."""
        # As declared, mostly in that order too: then no set is made.
        is_declared = tuple(labels) == metric.labels or labels.keys() == set(metric.labels)
        assert is_declared, (metric.name, labels)
        if self.metrics is None:
            return
        try:
            self.metrics.emit(metric, value, labels)
        except Exception:
            self.dropped += 1

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        """Send one event."""
        if self.logger is None:
            return
        try:
            self.logger.log(level, event, **fields)
        except Exception:
            self.dropped += 1

    def stamped(self, stamp: Callable[[], str | None]) -> Telemetry:
        """Return a telemetry that emits through this one, with `hlc` in every event.

        Args:
            stamp: Gives the timestamp as text, or None; called only where there is a logger.
        """
        return Telemetry(_Through(self), _Stamping(self, stamp))


@attrs.frozen
class _Through:
    telemetry: Telemetry

    def emit(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        self.telemetry.emit(metric, value, **labels)


@attrs.frozen
class _Stamping:
    telemetry: Telemetry
    stamp: Callable[[], str | None]

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        if self.telemetry.logger is not None:
            self.telemetry.log(level, event, **{**fields, "hlc": self.stamp()})


SILENT = Telemetry()
"""Emits nothing. Shared, and holds no state that anyone could see."""
