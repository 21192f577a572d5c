"""The example backend passes the contract: subclassing the ABC is enough."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

from federlib.lease import LeaseBackend
from federlib.testing import ManualClock
from federlib.testing.lease_contract import LeaseBackendContract

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_lease_backend.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("custom_lease_backend", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = _load()


class TestDictLeaseBackend(LeaseBackendContract):
    def setup_method(self) -> None:
        self.clock = ManualClock()

    @asynccontextmanager
    async def backend(self) -> AsyncIterator[LeaseBackend]:
        yield example.DictLeaseBackend(self.clock)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


def test_it_is_shorter_than_eighty_lines() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 80


def test_run_as_a_script_it_shows_one_holder_after_the_other() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], capture_output=True, text=True, check=True, timeout=30
    )
    first, second = done.stdout.splitlines()
    assert "token=1" in first
    assert "Busy(name='report', holder='ada'" in first
    assert "fencing_token=2" in second
