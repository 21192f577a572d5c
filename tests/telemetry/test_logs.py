"""The adapter to structlog, and that nobody pays for it who does not use it."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest
from structlog.testing import capture_logs

from federlib.telemetry import StructlogLogger, Telemetry
from federlib.telemetry.logs import Level


@pytest.mark.parametrize("level", get_args(Level))
def test_each_level_reaches_structlog(level: Level) -> None:
    with capture_logs() as events:
        Telemetry(logger=StructlogLogger()).log(level, "lease_lost", name="x", token=7)
    (event,) = events
    assert event == {
        "event": "lease_lost", "log_level": level, "logger": "federlib", "name": "x", "token": 7,
    }  # fmt: skip


def test_the_logger_can_be_named() -> None:
    with capture_logs() as events:
        StructlogLogger("fleet").log("info", "ready")
    assert events[0]["logger"] == "fleet"


def test_structlog_is_not_imported_before_it_is_used() -> None:
    code = "import sys, federlib.telemetry; print('structlog' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "False"
