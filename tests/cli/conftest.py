"""Fixtures for tests of whole commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet import Fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Give a directory for federlib processes; none outlives the test."""
    with Fleet(tmp_path).closing() as fleet:
        yield fleet
