"""A world for each regression: on every store, on both event loops."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from fleet import Fleet
from regressions.world import World, open_world


@pytest.fixture(params=["asyncio-sqlite", "trio-sqlite", "asyncio-file", "trio-memory"])
def setting(request: pytest.FixtureRequest) -> list[str]:
    """Name a loop and a store: each is met by every test, the default store by both loops."""
    return str(request.param).split("-")


@pytest.fixture
def anyio_backend(setting: list[str]) -> str:
    return setting[0]


@pytest.fixture
async def world(setting: list[str], tmp_path: Path) -> AsyncGenerator[World, None]:
    urls = {
        "memory": "memory://",
        "sqlite": f"sqlite:///{tmp_path}/fleet.db",
        "file": f"file:///{tmp_path}/fleet",
    }
    async with open_world(urls[setting[1]], tmp_path) as opened:
        yield opened


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Give a directory for processes of their own; none outlives the test."""
    with Fleet(tmp_path).closing() as made:
        yield made


@pytest.fixture(params=["asyncio", "trio"])
def loop(request: pytest.FixtureRequest) -> str:
    """Name the event loop of the processes that a test starts."""
    return str(request.param)
