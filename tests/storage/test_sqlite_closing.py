"""Closing a SQLite store while others begin to watch it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from federlib.errors import InvalidInput, Unavailable
from federlib.storage import RecordStore, open_store

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("turn", range(10))
async def test_a_watch_opened_while_the_store_closes_ends_with_unavailable(
    tmp_path: Path, turn: int
) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/fleet.db")
    refused: list[str] = []

    async def watch(store: RecordStore) -> None:
        try:
            async with store.watch("", after=0) as changes:
                while True:
                    await anext(changes)
        except Unavailable as error:
            refused.append(error.reason)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(watch, store)
            for _ in range(turn):
                await anyio.lowlevel.checkpoint()
            await store.aclose()
    assert len(refused) == 4


@pytest.mark.parametrize(
    "url",
    ["sqlite://u:s3cret@host/x", "sqlite:///?a=s3cret", "sqlite:///x?allow_network_fs=s3cret"],
)
async def test_an_error_about_the_url_never_shows_a_secret(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await open_store(url)
    assert "s3cret" not in str(caught.value)
