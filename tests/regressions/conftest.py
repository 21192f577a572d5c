"""Where the regressions run: on every store, on both event loops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet import Fleet


@pytest.fixture(params=["asyncio-sqlite", "trio-sqlite", "asyncio-file", "trio-memory"])
def setting(request: pytest.FixtureRequest) -> list[str]:
    """Name a loop and a store: each is met by every test, the default store by both loops."""
    return str(request.param).split("-")


@pytest.fixture
def anyio_backend(setting: list[str]) -> str:
    return setting[0]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Give a directory for processes of their own; none outlives the test."""
    with Fleet(tmp_path).closing() as made:
        yield made


@pytest.fixture(params=["asyncio", "trio"])
def loop(request: pytest.FixtureRequest) -> str:
    """Name the event loop of the processes that a test starts."""
    return str(request.param)
