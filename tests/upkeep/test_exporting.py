"""Exports and imports of whole stores."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import msgspec
import pytest

from federlib.errors import Conflict, CorruptRecord, InvalidInput, Unavailable
from federlib.lease.moving import HEADROOM
from federlib.lease.records import FLOOR_KEY
from federlib.skewclock import SystemClock
from federlib.storage import Page
from federlib.storage.backends.memory import MemoryStore
from federlib.storage.filling import MARK_KEY
from federlib.testing import ManualClock
from federlib.upkeep import check_store, copy_store, export_store, import_store
from upkeep.stores import KINDS, opened, populate, records_of
from upkeep.test_copying import memory, put

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", KINDS)
async def test_an_import_is_what_a_copy_would_have_been(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "x.jsonl"
    async with opened(kind, tmp_path, "old") as old, opened(kind, tmp_path, "new") as new:
        await populate(old, tmp_path)
        before = await records_of(old)
        told = await export_store(old, file)
        assert await records_of(old) == before
        assert (told.store_id, told.records) == (old.store_id, len(before))
        copied, twin = await import_store(file, new), memory()
        assert (copied.source_id, copied.revision) == (old.store_id, told.revision)
        assert (copied.freed, copied.waiters) == (1, 1)
        await copy_store(old, twin, live=True)
        found, expected = await records_of(new), await records_of(twin)
        assert found.keys() == expected.keys()
        assert {k: r.value for k, r in found.items() if "/held/" not in k and "/free/" not in k
                } == {k: r.value for k, r in expected.items()
                      if "/held/" not in k and "/free/" not in k}  # fmt: skip
        assert (await check_store(new)).problems == ()


async def test_the_same_store_is_the_same_file(tmp_path: Path) -> None:
    store, clock = memory(), ManualClock(1_738_324_800_000_000_000)
    await put(store, "b", "a")
    one, two = io.BytesIO(), io.BytesIO()
    await export_store(store, one, clock=clock)
    await export_store(store, two, clock=clock)
    assert one.getvalue() == two.getvalue()
    header = msgspec.json.decode(one.getvalue().splitlines()[0])
    assert header == {"federlib": "store export", "v": 1, "store_id": store.store_id,
                      "revision": 3, "at": "2025-01-31T12:00:00Z"}  # fmt: skip


async def test_an_exported_file_is_private_and_replaces_the_last_one(tmp_path: Path) -> None:
    file, store = tmp_path / "x.jsonl", memory()
    file.write_text("older")
    file.chmod(0o644)
    await export_store(store, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    assert len(file.read_text().splitlines()) == 2


class Away(MemoryStore):
    """Cannot be read beyond its first page."""

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        if after is not None:
            raise Unavailable("store", "cut off")
        return await super().scan(prefix, after=after, limit=1)


async def test_an_export_that_fails_leaves_the_last_one(tmp_path: Path) -> None:
    file, store = tmp_path / "x.jsonl", Away(SystemClock())
    await put(store, "a", "b")
    file.write_text("older")
    with pytest.raises(Unavailable, match="cut off"):
        await export_store(store, file)
    assert file.read_text() == "older"
    assert list(tmp_path.iterdir()) == [file]


async def test_places_that_hold_no_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(CorruptRecord, match="a regular file"):
        await export_store(memory(), tmp_path / "d")
    with pytest.raises(Unavailable, match="none/x"):
        await export_store(memory(), tmp_path / "none/x")
    with pytest.raises(CorruptRecord, match="a regular file"):
        await import_store(tmp_path / "d", memory())
    with pytest.raises(InvalidInput, match="expected a file"):
        await import_store(tmp_path / "none", memory())
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


async def test_an_export_replaces_no_pipe_no_link_and_no_database(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(CorruptRecord, match="expected a regular file, found 'a FIFO'"):
        await export_store(memory(), tmp_path / "pipe")
    with pytest.raises(CorruptRecord, match="found 'a symbolic link'"):
        await export_store(memory(), tmp_path / "link")
    async with opened("sqlite", tmp_path, "old") as store:
        (database,) = tmp_path.glob("old*.db")
        before = await records_of(store)
        with pytest.raises(InvalidInput, match="no database"):
            await export_store(store, database)
        assert await records_of(store) == before
        # The refusal itself must not cost the process the locks that SQLite took.
        held = Path("/proc/locks")
        if held.exists():
            inode = str(database.stat().st_ino)
            assert any(line.split()[5].endswith(f":{inode}") for line in
                       held.read_text().splitlines() if line.split()[1] == "POSIX")  # fmt: skip
    for nameless in (Path(), Path("/"), tmp_path / ".."):
        with pytest.raises(InvalidInput, match="expected the name of a file"):
            await export_store(memory(), nameless)
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()


async def test_nothing_is_written_unless_all_of_the_file_is_valid(tmp_path: Path) -> None:
    old, file = memory(), io.BytesIO()
    await put(old, *(f"k/{n:04}" for n in range(3_000)))
    await export_store(old, file)
    whole = file.getvalue()
    for bad in (
        whole[:-1],
        whole[: len(whole) // 2],
        whole + b"x",
        whole.replace(b"2999", b"299x"),
    ):
        new = memory()
        with pytest.raises(CorruptRecord, match="the export, line "):
            await import_store(io.BytesIO(bad), new)
        assert await records_of(new) == {}
        assert (await new.scan("")).revision == 1
    await import_store(io.BytesIO(whole), new)
    assert len(await records_of(new)) == 3_001


async def test_a_huge_line_is_not_read_to_its_end() -> None:
    class Endless(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert 0 < size < 2**21
            return b"x" * size

    with pytest.raises(CorruptRecord, match="line 1: expected at most 1048576 bytes"):
        await import_store(Endless(), memory())


async def test_an_import_raises_the_floor_and_needs_an_empty_store() -> None:
    file, new = io.BytesIO(), memory()
    await export_store(memory(), file)
    file.seek(0)
    assert (await import_store(file, new)).floor == HEADROOM
    file.seek(0)
    with pytest.raises(Conflict, match=f"expected no record in it, found {FLOOR_KEY}"):
        await import_store(file, new)
    file.seek(0)
    assert (await import_store(file, memory(), floor=9_000_000)).floor == 9_000_000


async def test_a_lease_in_it_that_cannot_be_read_is_refused_before_anything_is_written() -> None:
    old, file, new = memory(), io.BytesIO(), memory()
    await put(old, "lease/a/lease")
    await export_store(old, file)
    file.seek(0)
    with pytest.raises(CorruptRecord, match="lease/a/lease"):
        await import_store(file, new)
    assert await records_of(new) == {}


async def test_an_unfinished_store_is_not_exported() -> None:
    store, file = memory(), io.BytesIO()
    await put(store, MARK_KEY)
    with pytest.raises(CorruptRecord, match="a whole store"):
        await export_store(store, file)
    assert file.getvalue() == b""
