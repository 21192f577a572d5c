"""A process that never gives its ticket for a SQLite store back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from federlib.storage import Committed, Put, Transaction
from storage.store_processes import start
from storage.store_worker import open_url


@contextmanager
def killing(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.anyio
async def test_a_process_that_sits_on_the_ticket_cannot_hold_up_commits(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await open_url(f"sqlite:///{path}")
    with killing(start("hold_ticket", "-", str(path))) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().startswith("held")
        with anyio.fail_after(4):
            for number in range(10):
                await store.commit(Transaction((Put("a", str(number).encode()),)))
    # The place in the line that was kept all the time is given back.
    with anyio.fail_after(4):
        assert await store.commit(Transaction((Put("a", b"after"),))) == Committed(12)
        assert await store.commit(Transaction((Put("a", b"after"),))) == Committed(13)
    await store.aclose()
