"""Metrics and logs, silent unless the host asks for them.

    telemetry = Telemetry(logger=StructlogLogger())
    async with federlib.connect(url, telemetry=telemetry) as fed: ...

Does not promise: delivery. A sink that raises is the host's bug; the error is swallowed
and counted, because telemetry must never stop the work that it describes.
"""

from __future__ import annotations

from federlib.telemetry.logs import Logger, StructlogLogger
from federlib.telemetry.metrics import Metric, MetricsSink, RecordingSink
from federlib.telemetry.sink import SILENT, Telemetry

__all__ = [
    "SILENT",
    "Logger",
    "Metric",
    "MetricsSink",
    "RecordingSink",
    "StructlogLogger",
    "Telemetry",
]
