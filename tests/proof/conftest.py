"""Fixtures for proofs with real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet import Fleet
from proof.looked import NAME, taken


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Give a directory for federlib processes; none outlives the test."""
    with Fleet(tmp_path).closing() as fleet:
        yield fleet


@pytest.fixture(autouse=True)
def counted(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Have the crash points that a test looks at told with its report."""
    taken()
    yield
    for kind, number in taken().items():
        record_property(NAME, [kind, number])
