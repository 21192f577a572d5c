"""Files that are not what they should be, directories that refuse, and disks that are full."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from federlib.errors import (
    CorruptRecord,
    InvalidInput,
    StoreFull,
    Unavailable,
)
from federlib.storage import Absent, Committed, Delete, Put, Transaction
from federlib.storage.backends.sqlite import SqliteStore
from federlib.storage.protocol import Subscription
from storage.store_processes import finish, start
from storage.store_worker import open_url


async def make_store(path: Path, *, records: int = 50) -> str:
    store = await open_url(f"sqlite:///{path}")
    for number in range(records):
        await store.commit(Transaction((Put(f"a/{number}", b"x" * 2_000),)))
    await store.aclose()
    return store.store_id


def write_nothing(path: Path) -> None:
    path.write_bytes(b"")


def write_text(path: Path) -> None:
    path.write_text("once upon a time " * 500)


def write_one_byte(path: Path) -> None:
    path.write_bytes(b"S")


def write_zeros(path: Path) -> None:
    path.write_bytes(bytes(8192))


def write_header_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def write_half_a_page_less(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2048])


def write_pages_less(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 4096 * 5])


def write_zeros_in_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 4] = bytes(4096 * 3)
    path.write_bytes(content)


def write_noise_in_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 * 2 : 4096 * 4] = bytes(range(256)) * 32
    path.write_bytes(content)


def write_foreign_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE records (key TEXT)")
    connection.close()


def write_foreign_wal_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE other (key TEXT)")
    connection.close()


def alter(statement: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute(statement)
        connection.close()

    return change


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (write_text, "cannot read"),
        (write_one_byte, "only 1 bytes"),
        (write_zeros, "cannot read"),
        (write_header_only, ""),
        (write_half_a_page_less, ""),
        (write_pages_less, ""),
        (write_zeros_in_the_middle, ""),
        (write_noise_in_the_middle, ""),
        (write_foreign_database, "another program"),
        (write_foreign_wal_database, "another program"),
        (alter("PRAGMA user_version = 7"), "newer version"),
        (alter("PRAGMA application_id = 7"), "another program"),
        (alter("DROP TABLE receipts"), ""),
        (alter("DROP TABLE changes"), ""),
        (alter("DELETE FROM changes"), ""),
        (alter("DELETE FROM records WHERE key = 'meta/store'"), "nothing"),
        (alter("UPDATE records SET value = '{}' WHERE key = 'meta/store'"), "store_id"),
        (alter("UPDATE records SET value = x'ff' WHERE key = 'meta/store'"), ""),
        (
            alter(
                """UPDATE records SET value = '{"store_id":"a","format":9}'
                WHERE key = 'meta/store'"""
            ),
            "newer version",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
async def test_a_damaged_or_foreign_file_is_refused_and_left_as_it_is(
    tmp_path: Path, damage: Callable[[Path], None], found: str
) -> None:
    path = tmp_path / "store.db"
    await make_store(path)
    damage(path)
    before = path.read_bytes()
    with pytest.raises(CorruptRecord) as caught:
        await open_url(f"sqlite:///{path}")
    assert found in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.anyio
async def test_an_empty_file_becomes_a_new_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    store = await open_url(f"sqlite:///{path}")
    assert await store.commit(Transaction((Put("a", b""),))) == Committed(2)
    await store.aclose()


@pytest.mark.anyio
async def test_a_store_whose_records_have_no_rowid_is_one_as_well(tmp_path: Path) -> None:
    """As they were made before: what matters is names and columns."""
    path = tmp_path / "store.db"
    store_id = await make_store(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE records RENAME TO newer")
        connection.execute(
            "CREATE TABLE records (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL, "
            "revision INTEGER NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID"
        )
        connection.execute("INSERT INTO records SELECT * FROM newer")
        connection.execute("DROP TABLE newer")
    store = await open_url(f"sqlite:///{path}")
    assert store.store_id == store_id
    done = await store.commit(Transaction((Put("a/7", b"y"), Delete("a/8"), Put("b", b"z"))))
    assert isinstance(done, Committed)
    found = {record.key: record.value for record in (await store.scan("")).records}
    assert len(found) == 51
    assert (found["a/7"], found["b"]) == (b"y", b"z")
    assert await store.check() == []
    await store.aclose()


@pytest.mark.anyio
async def test_an_emptied_database_beside_its_log_is_not_made_new(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await open_url(f"sqlite:///{path}")
    await store.commit(Transaction((Put("a", b"x"),)))
    shutil.copy(f"{path}-wal", tmp_path / "log")
    await store.aclose()
    path.write_bytes(b"")
    shutil.copy(tmp_path / "log", f"{path}-wal")
    with pytest.raises(CorruptRecord, match="log with content"):
        await open_url(f"sqlite:///{path}")
    path.unlink()
    with pytest.raises(CorruptRecord, match="log with content"):
        await open_url(f"sqlite:///{path}")


async def each_verb(store: SqliteStore, subscription: Subscription) -> None:
    """Every verb says that the store is not the one that was opened."""
    with pytest.raises(CorruptRecord):
        await store.get("a")
    with pytest.raises(CorruptRecord):
        await store.scan("")
    with pytest.raises(CorruptRecord):
        await store.commit(Transaction((Put("b", b""),)))
    with pytest.raises(CorruptRecord):
        await store.outcome("some-id")
    with pytest.raises(CorruptRecord), anyio.fail_after(5):
        while True:
            await anext(subscription)


@pytest.mark.anyio
@pytest.mark.parametrize("replace", [False, True])
async def test_a_live_client_notices_that_its_file_was_deleted_or_replaced(
    tmp_path: Path, *, replace: bool
) -> None:
    path, other = tmp_path / "store.db", tmp_path / "other.db"
    await make_store(other, records=1)
    store = await open_url(f"sqlite:///{path}")
    await store.commit(Transaction((Put("a", b"x"),)))
    async with store.watch("", after=2) as subscription:
        if replace:
            other.replace(path)
        else:
            path.unlink()
        await each_verb(store, subscription)
    await store.aclose()


@pytest.mark.anyio
async def test_a_live_client_notices_another_store_id_inside_its_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await open_url(f"sqlite:///{path}")
    alter("""UPDATE records SET value = '{"store_id":"other","format":1}'""")(path)
    with pytest.raises(CorruptRecord, match="other"):
        await store.commit(Transaction((Put("a", b""),)))
    assert await store.get("a") is None
    await store.aclose()


@pytest.mark.anyio
async def test_a_damaged_change_row_is_named_and_the_records_can_still_be_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    await make_store(path, records=5)
    alter("UPDATE changes SET payload = x'c1' WHERE revision = 3")(path)
    store = await open_url(f"sqlite:///{path}")
    async with store.watch("", after=0) as subscription:
        with pytest.raises(CorruptRecord, match="change 3"):
            await anext(subscription)
    assert await store.get("a/4") is not None
    await store.aclose()


@pytest.mark.anyio
async def test_files_and_new_directories_are_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deeper" / "store.db"
    store = await open_url(f"sqlite:///{path}")
    await store.commit(Transaction((Put("a", b""),)))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(
        ["store.db", "store.db-wal", "store.db-shm", "store.db.turn", "store.db.main"], 0o600
    )
    await store.aclose()


def nobodys_directory(mode: int) -> Path:
    # Not pytest's directory, which only its owner may enter.
    directory = Path(tempfile.mkdtemp())
    directory.chmod(mode)
    return directory


@pytest.mark.parametrize("is_there", [False, True], ids=["create", "open"])
def test_without_permission_to_write_the_store_is_denied(*, is_there: bool) -> None:
    directory = nobodys_directory(0o755)
    path = directory / "store.db"
    try:
        if is_there:
            anyio.run(make_store, path)
            for file in directory.iterdir():
                file.chmod(0o444)
        directory.chmod(0o555)
        said = finish(start("be_nobody", f"sqlite:///{path}"))
        assert said[0].startswith("StoreDenied"), said
        assert "check the owner and mode" in said[0]
    finally:
        directory.chmod(0o755)
        shutil.rmtree(directory)


@pytest.mark.anyio
@pytest.mark.parametrize("tail", ["file/store.db", "directory", "x" * 300])
async def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path, tail: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    with pytest.raises((InvalidInput, Unavailable)) as caught:
        await open_url(f"sqlite:///{tmp_path}/{tail}")
    assert str(tmp_path) in str(caught.value)


@pytest.mark.anyio
async def test_a_relative_path_in_a_directory_that_is_gone_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(Unavailable, match=r"store\.db"):
        await open_url("sqlite:///store.db")


@pytest.mark.anyio
async def test_a_full_database_loses_nothing_and_goes_on_when_there_is_space(
    tmp_path: Path,
) -> None:
    store = await open_url(f"sqlite:///{tmp_path}/store.db")
    writer = store._engine._writer
    assert writer is not None
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages + 60}")
    kept = 0
    with pytest.raises(StoreFull, match="full"):
        for _ in range(100):
            await store.commit(Transaction((Put(f"a/{kept:03}", bytes(10_000)),)))
            kept += 1
    assert 0 < kept < 100
    assert len((await store.scan("a/")).records) == kept
    with pytest.raises(StoreFull):
        await store.commit(Transaction((Put("b", bytes(100_000)),)))
    writer.execute("PRAGMA max_page_count = 1000000")
    check = Absent(f"a/{kept:03}")
    outcome = await store.commit(Transaction((Put(check.key, bytes(10_000)),), (check,)))
    assert outcome == Committed(kept + 2)
    await store.aclose()


@pytest.mark.skipif(os.name != "posix", reason="needs RLIMIT_FSIZE")
def test_a_failed_write_of_a_commit_is_of_unknown_outcome_and_can_be_asked_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    assert finish(start("fail_to_write", f"sqlite:///{path}", str(path))) == [
        "unknown lost",
        "kept",
    ]


@pytest.mark.anyio
async def test_another_program_that_holds_the_lock_makes_it_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await open_url(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await store.commit(Transaction((Put("a", b"lost"),)))
    other.execute("ROLLBACK")
    other.close()
    assert await store.get("a") is None
    assert await store.commit(Transaction((Put("a", b""),))) == Committed(2)
    await store.aclose()
