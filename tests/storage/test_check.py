"""`Checkable`: what a check of each embedded store finds, and that it repairs nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from federlib.storage import Checkable, Delete, Put, RecordStore, Transaction, open_store
from federlib.storage.backends.file._record_files import encode_record, file_name_of
from federlib.storage.protocol import Record
from storage.store_processes import URLS

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RecordStore]:
    store = await open_store(url)
    try:
        yield store
    finally:
        await store.aclose()


async def fill(store: RecordStore) -> None:
    for number in range(20):
        await store.commit(Transaction((Put(f"k/{number % 5}", b"%d" % number),), id=f"t{number}"))
    await store.commit(Transaction((Delete("k/4"), Put("A/ß", bytes(1000)))))


async def problems(url: str) -> list[str]:
    async with opened(url) as store:
        assert isinstance(store, Checkable)
        return [f"{one.what}: {one.expected}; {one.found}" for one in await store.check()]


@pytest.mark.parametrize("driver", URLS)
async def test_a_store_in_use_is_whole(tmp_path: Path, driver: str) -> None:
    async with opened(URLS[driver].format(tmp_path)) as store:
        assert isinstance(store, Checkable)
        assert list(await store.check()) == []
        await fill(store)
        assert list(await store.check()) == []
    assert await problems(URLS[driver].format(tmp_path)) == []


STATEMENTS = {
    "a value": ("UPDATE records SET value = x'00' WHERE key = 'k/1'", "record k/1: revision"),
    "a revision": ("UPDATE records SET revision = 3 WHERE key = 'k/1'", "record k/1: revision"),
    "a later revision": ("UPDATE records SET revision = 99 WHERE key = 'k/1'", "up to revision 22"),
    "a birth": ("UPDATE records SET created = 0 WHERE key = 'k/1'", "record k/1: created"),
    "a lost record": ("DELETE FROM records WHERE key = 'k/1'", "record k/1: revision 18"),
    "a dead record": ("INSERT INTO records VALUES ('k/4', x'', 6, 6)", "last change deleted it"),
    "a foreign record": ("INSERT INTO records VALUES ('b', x'', 6, 6)", "none of this key"),
    "an illegal key": ("INSERT INTO records VALUES ('../b', x'', 6, 6)", "a legal key"),
    "a type": ("UPDATE records SET value = 7 WHERE key = 'k/1'", "str, int, int, int"),
    "a change": ("UPDATE changes SET payload = x'c1' WHERE revision = 21", "change 21: "),
    "a lost change": ("DELETE FROM changes WHERE revision = 9", "change 9: a row; none"),
    "a receipt": ("UPDATE receipts SET revision = 99 WHERE id = 't3'", "receipt t3: "),
    "a digest": ("UPDATE receipts SET digest = x'00' WHERE id = 't3'", "receipt t3: a digest"),
    "no changes": ("DELETE FROM changes", "table changes: at least one row"),
}


@pytest.mark.parametrize(("statement", "expected"), STATEMENTS.values(), ids=STATEMENTS.keys())
async def test_damage_in_a_sqlite_store_is_found_and_left(
    tmp_path: Path, statement: str, expected: str
) -> None:
    path = tmp_path / "store.db"
    async with opened(f"sqlite:///{path}") as store:
        await fill(store)
        with sqlite3.connect(path) as other:
            other.execute(statement)
        other.close()
        assert isinstance(store, Checkable)
        for _ in range(2):
            assert expected in str(
                [f"{p.what}: {p.expected}; {p.found}" for p in await store.check()]
            )


def flip(name: str, place: int = -1) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray((path / name).read_bytes())
        content[place] ^= 4
        (path / name).write_bytes(content)

    return damage


def remove(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).unlink()


def add(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        (path / name).write_bytes(content)

    return damage


OLD = encode_record(Record("k/1", b"6", 8, 3))
DAMAGE = {
    "a value": (flip("records/k+1"), "records/k+1: the file of a record"),
    "a head": (flip("records/k+1", 3), "records/k+1: "),
    "a name": (add("records/k+7", OLD), "the name k+1; k+7"),
    "an old file": (add("records/k+1", OLD), "records/k+1: revision 18"),
    "a dead record": (add("records/k+4", encode_record(Record("k/4", b"", 6, 6))), "was deleted"),
    "a later one": (add("records/k+1", encode_record(Record("k/1", b"", 99, 3))), "revision 99"),
    "a lost file": (remove("records/k+1"), "records/k+1: revision 18, 2 bytes; no file"),
    "a foreign file": (add("records/notes.txt", b"hello"), "records/notes.txt: the file of"),
    "a foreign log": (add("journal/1.log", b"hello"), "journal/1.log: a segment or a state"),
    "a damaged state": (
        add("journal/00000000000000000001.state", b"federlib state 1\nx"),
        "journal/00000000000000000001.state: ",
    ),
    "a commit": (flip("journal/00000000000000000001.log", 300), "the commit of revision"),
}


@pytest.mark.parametrize(("damage", "expected"), DAMAGE.values(), ids=DAMAGE.keys())
async def test_damage_in_a_file_store_is_found_and_left(
    tmp_path: Path, damage: Callable[[Path], None], expected: str
) -> None:
    path = tmp_path / "store"
    url = f"file:///{path}"
    async with opened(url) as store:
        await fill(store)
    async with opened(url) as store:
        assert isinstance(store, Checkable)
        assert list(await store.check()) == []
        damage(path)
        for _ in range(2):
            assert expected in str(
                [f"{p.what}: {p.expected}; {p.found}" for p in await store.check()]
            )


KEYS = ["a", "A", "a/b", "a+b", "a%2fb", "a.b", ".a", "..a", "é", "É", "k" * 512, "K" * 512,
        "=new", "=revision", "con", "a b", "~", "é" * 256]  # fmt: skip


def test_no_two_keys_share_a_file_and_none_leaves_the_directory() -> None:
    names = [file_name_of(key) for key in KEYS]
    assert len({name.lower() for name in names}) == len(KEYS)
    for name in names:
        assert name.isascii()
        assert len(name) <= 200
        assert "/" not in name
        assert not name.startswith((".", "="))
        assert name == name.lower()
