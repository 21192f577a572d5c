"""The write-ahead log is grown ahead of a process that commits often; SQLite does not mind."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from federlib.storage import Put, Transaction
from federlib.storage.backends.sqlite._log import LOG_BYTES
from storage.store_worker import open_url


def log_bytes(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def commits_in(path: Path) -> int:
    database = sqlite3.connect(path)
    count: int = database.execute("SELECT max(revision) FROM changes").fetchone()[0]
    problems: str = database.execute("PRAGMA integrity_check").fetchone()[0]
    database.close()
    assert problems == "ok"
    return count


@pytest.mark.anyio
async def test_the_64th_commit_grows_the_log_and_a_crash_right_then_loses_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.db"
    store = await open_url(f"sqlite:///{path}")
    for number in range(62):
        await store.commit(Transaction((Put("a", b"%d" % number),)))
    assert log_bytes(path) < LOG_BYTES
    for copy in range(4):
        await store.commit(Transaction((Put("a", b"x"),)))
        # What a machine would find that stopped here.
        place = tmp_path / str(copy)
        place.mkdir()
        for name in ("s.db", "s.db-wal"):
            shutil.copy(tmp_path / name, place / name)
        assert commits_in(place / "s.db") == 64 + copy
    assert log_bytes(path) == LOG_BYTES
    await store.aclose()


@pytest.mark.anyio
async def test_a_log_with_room_is_filled_checkpointed_and_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    store = await open_url(f"sqlite:///{path}")
    for number in range(1_200):
        await store.commit(Transaction((Put(f"k/{number}", bytes(3_000)),)))
    other = await open_url(f"sqlite:///{path}")
    page = await other.scan("k/")
    assert len(page.records) == 1_000
    assert page.revision == 1_201
    await other.aclose()
    await store.aclose()
    assert commits_in(path) == 1_201


@pytest.mark.anyio
async def test_a_disk_without_room_for_the_log_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.db"
    store = await open_url(f"sqlite:///{path}")

    def refuse(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("federlib.storage.backends.sqlite._log.os.write", refuse)
    for _ in range(70):
        await store.commit(Transaction((Put("a", b"x"),)))
    assert log_bytes(path) < LOG_BYTES
    await store.aclose()
