"""A world for each regression: on both stores, on both event loops."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from fleet import Fleet
from regressions.world import World, open_world


@pytest.fixture(params=["memory", "sqlite"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[World, None]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/fleet.db"
    async with open_world(url, tmp_path) as opened:
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
