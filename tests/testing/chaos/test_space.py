"""A disk that is full, for one process alone; so each case is a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from pathlib import Path
import anyio
from federlib.errors import OutcomeUnknown, StoreFull
from federlib.storage import Put, Transaction, open_store
from federlib.testing.chaos.space import Space

async def main(url, note):
    space, file = Space(), os.open(note, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    store = await open_store(url)
    await store.commit(Transaction((Put("a", b"1"),)))
    space.fill(is_full=True)
    try:
        await store.commit(Transaction((Put("b", b"2"),), id="full"))
    except (StoreFull, OutcomeUnknown):
        space.write(file, b"refused\\n")
    space.write(file, b"a line\\n")
    assert (await store.get("a")).value == b"1"
    space.fill(is_full=False)
    await store.commit(Transaction((Put("b", b"3"),)))
    assert (await store.get("b")).value == b"3"
    assert not await store.check()
    await store.aclose()

anyio.run(main, *sys.argv[1:])
"""


@pytest.mark.parametrize("scheme", ["sqlite", "file"])
def test_nothing_is_written_while_it_is_full_but_what_is_noted(scheme: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"{scheme}:///{tmp_path}/store", str(tmp_path / "notes")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "notes").read_text() == "refused\na line\n"
