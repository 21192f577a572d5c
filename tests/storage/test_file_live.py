"""A file store in use: who else is there, what goes away under it, and what fails."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import Popen

import anyio
import pytest

from federlib.errors import (
    CorruptRecord,
    InvalidInput,
    OutcomeUnknown,
    StoreFull,
    Unavailable,
)
from federlib.skewclock import SystemClock
from federlib.storage import Batch, Committed, NotSeen, Progress, Put, Subscription, Transaction
from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.storage.backends.file import FileStore, open_engine, open_store, parse_url
from federlib.storage.backends.file import _engine as _file_engine
from federlib.storage.backends.file._engine import FileEngine
from federlib.storage.backends.file._load import Tuning
from federlib.storage.backends.file._shared_turn import SharedTurn
from federlib.storage.backends.file._turn import Alone
from federlib.storage.disk import SystemDisk
from federlib.telemetry import SILENT
from federlib.testing import Fault, SimulatedDisk
from storage.store_processes import finish, start

SMALL = Tuning(
    segment_bytes=2_000, state_bytes=4_000, history_revisions=20, history_least=10, record_files=5
)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[FileStore]:
    store = await open_store(f"file:///{path}", SystemClock(), SILENT)
    try:
        yield store
    finally:
        await store.aclose()


@contextmanager
def engine_at(path: Path, tuning: Tuning | None = None) -> Iterator[FileEngine]:
    engine = FileEngine(
        SystemDisk(path), SharedTurn(path), where="store", new_store_id="some-store", tuning=tuning
    )
    try:
        yield engine
    finally:
        engine.close(5)


def put(engine: FileEngine, key: str, value: bytes = b"", name: str | None = None) -> int:
    done = engine.commit(Attempt(Transaction((Put(key, value),), id=name), now_ns=1))
    assert isinstance(done, Committed)
    return done.revision


def remove_all(path: Path) -> None:
    shutil.rmtree(path)


def remove_journal(path: Path) -> None:
    shutil.rmtree(path / "journal")


def remove_logs(path: Path) -> None:
    for log in (path / "journal").glob("*.log"):
        log.unlink()


def remove_head(path: Path) -> None:
    (path / "journal" / "head").unlink()


def spoil_head(path: Path) -> None:
    (path / "journal" / "head").write_bytes(b"x" * 12)


def take_head_back(path: Path) -> None:
    turn = SharedTurn(path)
    turn.publish(1)
    turn.close()


def replace_all(path: Path) -> None:
    shutil.rmtree(path)
    path.with_name("other").rename(path)


def replace_journal(path: Path) -> None:
    shutil.rmtree(path / "journal")
    (path.with_name("other") / "journal").rename(path / "journal")


def replace_log(path: Path) -> None:
    name = "journal/00000000000000000001.log"
    (path.with_name("other") / name).replace(path / name)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "change",
    [
        remove_all,
        remove_journal,
        remove_logs,
        remove_head,
        spoil_head,
        take_head_back,
        replace_all,
        replace_journal,
        replace_log,
    ],
)
async def test_a_live_client_notices_that_its_store_was_deleted_or_replaced(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "store"
    async with opened(tmp_path / "other") as other:
        await other.commit(Transaction((Put("a", b"y"),)))
    store = await open_store(f"file:///{path}", SystemClock(), SILENT)
    await store.commit(Transaction((Put("a", b"x"),)))
    async with store.watch("", after=2) as subscription:
        assert await anext(subscription) == Progress(2)
        with anyio.fail_after(10):
            # Or a file would appear in a directory that is just being removed.
            while not (path / "records" / "=revision").exists():
                await anyio.sleep(0.005)
        # Two changes of a directory in one tick of its clock are one to whoever looks between.
        await anyio.sleep(0.05)
        await store.get("a")
        change(path)
        await each_verb(store, subscription)
    await store.aclose()


async def each_verb(store: FileStore, subscription: Subscription) -> None:
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


def test_another_stores_content_under_the_same_name_is_noticed_before_a_commit(
    tmp_path: Path,
) -> None:
    name = "journal/00000000000000000001.log"
    with engine_at(tmp_path / "store") as engine, open_other(tmp_path / "other") as other:
        put(engine, "a")
        put(other, "a")
        content = (tmp_path / "other" / name).read_bytes()
        with (tmp_path / "store" / name).open("r+b") as log:
            log.write(content)
        with pytest.raises(CorruptRecord, match=other.store_id):
            put(engine, "b")


@contextmanager
def open_other(path: Path) -> Iterator[FileEngine]:
    engine = open_engine(f"file:///{path}")
    yield engine
    engine.close(1)


@contextmanager
def holder(path: Path, part: float) -> Iterator[Popen[str]]:
    """Run a process that has the turn and has written a part of a commit."""
    with start("hold_turn", f"file:///{path}", str(part)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.99, 1.0])
def test_what_a_killed_holder_wrote_is_seen_by_nobody_before_it_is_durable(
    tmp_path: Path, part: float
) -> None:
    """Its fork lives on, and does not keep the turn."""
    path = tmp_path / "store"
    with engine_at(path) as engine:
        put(engine, "a")
        with holder(path, part) as process:
            assert engine.get("by/holder") is None
            assert engine.read_revision() == 2
            process.kill()
            process.wait()
            assert engine.get("by/holder") is None
            # Whoever has the turn next makes it durable, or cuts it.
            assert put(engine, "b") == (4 if part == 1.0 else 3)
            record = engine.get("by/holder")
            assert (record is not None) == (part == 1.0)
            assert engine.check() == []


def test_who_opens_after_a_killed_holder_finds_the_old_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "store"
    for part, found in ((0.0, 1), (0.7, 1), (1.0, 2)):
        with holder(path, part):
            pass
        with engine_at(path) as engine:
            assert engine.read_revision() == found
            assert (engine.cut_bytes > 0) == (part == 0.7)


def test_a_stopped_holder_holds_up_writers_who_are_told_and_not_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_file_engine, "_PATIENCE_S", 0.01)
    path = tmp_path / "store"
    with engine_at(path) as engine:
        put(engine, "a")
        with holder(path, 0.0):
            with pytest.raises(Unavailable, match="nothing was sent"):
                put(engine, "b")
            assert engine.get("a") is not None
            with pytest.raises(Unavailable), engine_at(path):
                raise AssertionError("opened")
        monkeypatch.undo()
        assert put(engine, "b") == 3


def test_a_client_that_slept_while_its_segments_were_removed_catches_up(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with engine_at(path, SMALL) as writer, engine_at(path, SMALL) as sleeper:
        for number in range(300):
            put(writer, f"k/{number % 9}", b"%d" % number, name=f"t{number}")
        assert not (path / "journal" / "00000000000000000001.log").exists()
        assert sleeper.scan("", None, 1_000) == writer.scan("", None, 1_000)
        assert sleeper.outcome("t5") == Committed(7)
        assert sleeper.read_changes(1, 10) is None
        assert put(sleeper, "k/1") == 302
        assert writer.read_revision() == 302
        assert sleeper.check() == writer.check() == []


def test_history_and_receipts_outlive_segments_states_and_openings(tmp_path: Path) -> None:
    path = tmp_path / "store"
    for turn in range(4):
        with engine_at(path, SMALL) as engine:
            for number in range(60):
                put(engine, f"k/{number % 9}", name=f"t{turn}/{number}")
            head = engine.read_revision()
            batches = engine.read_changes(head - 10, 100)
            assert batches is not None
            assert [batch.revision for batch in batches] == list(range(head - 9, head + 1))
    with engine_at(path, SMALL) as engine:
        for turn in range(4):
            for number in range(60):
                found = engine.outcome(f"t{turn}/{number}")
                assert found == Committed(2 + 60 * turn + number)
        assert put(engine, "k/3", name="t0/3") == 5
        assert len(list((path / "journal").glob("*.log"))) < 8
        assert len(list((path / "journal").glob("*.state"))) == 1


def test_what_falls_due_while_the_tidying_thread_is_at_work_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Semaphore(0)
    with engine_at(tmp_path / "store", SMALL) as engine:

        def run(**_fields: object) -> None:
            begun.set()
            go_on.wait(20)
            ended.release()

        monkeypatch.setattr(engine._tidier, "run", run)
        first = engine._segment
        while engine._segment == first:
            put(engine, "k")
        assert begun.wait(20)
        second = engine._segment
        while engine._segment == second:
            put(engine, "k")
        # No commit comes any more: the thread itself must find that it is due again.
        go_on.set()
        assert ended.acquire(timeout=20)
        assert ended.acquire(timeout=20), "the second segment was forgotten"
        assert engine._tidied == engine._segment


def test_a_failed_sync_is_of_unknown_outcome_and_settled_by_the_next_commit() -> None:
    disk = SimulatedDisk()
    engine = FileEngine(disk, Alone(), where="store", new_store_id="id", aside=lambda _work: None)
    put(engine, "a")
    disk.faults = (Fault(disk.counts["sync"] + 1, "io_error", of="sync"),)
    with pytest.raises(OutcomeUnknown) as caught:
        put(engine, "b", name="one")
    assert caught.value.transaction_id == "one"
    # What may not be durable is not shown.
    assert engine.get("b") is None
    assert engine.outcome("one") == NotSeen()
    assert put(engine, "c") == 4
    assert engine.outcome("one") == Committed(3)
    assert put(engine, "b", name="one") == 3


def test_a_disk_that_refuses_to_write_keeps_what_was_there() -> None:
    disk = SimulatedDisk()
    engine = FileEngine(disk, Alone(), where="store", new_store_id="id", aside=lambda _work: None)
    put(engine, "a")
    disk.faults = (Fault(disk.counts["write"] + 1, "no_space", of="write", part=0.9),)
    with pytest.raises(StoreFull):
        put(engine, "b", name="one")
    assert engine.get("b") is None
    assert put(engine, "b", name="one") == 3
    assert engine.check() == []


@pytest.mark.skipif(os.name != "posix", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_loses_nothing_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    said = finish(start("run_full", f"file:///{tmp_path}/store"))
    assert said == ["full after 5"]


@pytest.mark.anyio
async def test_files_and_new_directories_are_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "store"
    with engine_at(path, SMALL) as engine:
        for number in range(60):
            put(engine, f"k/{number % 5}", bytes(200))
    for place in [path.parent, path, *path.rglob("*")]:
        expected = 0o700 if place.is_dir() else 0o600
        assert stat.S_IMODE(place.stat().st_mode) == expected, place
    assert len(list(path.rglob("*"))) > 10


@pytest.mark.parametrize("is_there", [False, True], ids=["create", "open"])
def test_without_permission_to_write_the_store_is_denied(*, is_there: bool) -> None:
    # Not pytest's directory, which only its owner may enter.
    directory = Path(tempfile.mkdtemp())
    url = f"file:///{directory}/store"
    try:
        if is_there:
            open_engine(url).close(5)
            for place in (directory / "store").rglob("*"):
                place.chmod(0o555 if place.is_dir() else 0o444)
            (directory / "store").chmod(0o555)
        directory.chmod(0o555)
        said = finish(start("be_nobody", url))
        assert said[0].startswith("StoreDenied"), said
        assert "check the owner and mode" in said[0]
    finally:
        for place in [directory, *directory.rglob("*")]:
            if place.is_dir():
                place.chmod(0o755)
        shutil.rmtree(directory)


@pytest.mark.anyio
async def test_a_directory_of_somebody_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(CorruptRecord, match=r"photo\.jpg"):
        await open_store(f"file:///{tmp_path}", SystemClock(), SILENT)
    assert os.listdir(tmp_path) == ["photo.jpg"]


@pytest.mark.anyio
@pytest.mark.parametrize("tail", ["file", "file/store", "x" * 300])
async def test_a_path_that_cannot_be_a_directory_is_refused(tmp_path: Path, tail: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((InvalidInput, Unavailable)) as caught:
        await open_store(f"file:///{tmp_path}/{tail}", SystemClock(), SILENT)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "url", ["file:///", "file://store", "file:///a/", "file:///a?mode=ro", "sqlite:///a"]
)
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        parse_url(url)


def test_a_commit_takes_as_many_steps_with_many_records_as_with_few() -> None:
    engine = FileEngine(
        SimulatedDisk(), Alone(), where="store", new_store_id="id", aside=lambda _work: None
    )

    def count_steps(key: str) -> int:
        steps = 0

        def count(_frame: object, _event: str, _argument: object) -> None:
            nonlocal steps
            steps += 1

        sys.setprofile(count)
        try:
            put(engine, key, b"value")
        finally:
            sys.setprofile(None)
        return steps

    for number in range(50):
        put(engine, f"k/{number:06}")
    few = [count_steps("k/000025"), count_steps("new/1")]
    for number in range(50, 20_000, 64):
        puts = tuple(Put(f"k/{n:06}", b"") for n in range(number, number + 64))
        engine.commit(Attempt(Transaction(puts), now_ns=1))
    assert [count_steps("k/000025"), count_steps("new/2")] == few


def test_watching_an_idle_store_costs_less_than_one_percent_of_a_core(tmp_path: Path) -> None:
    async def idle() -> float:
        async with (
            opened(tmp_path / "store") as store,
            store.watch("a/", after=1) as first,
            store.watch("b/", after=1) as second,
        ):
            for subscription in (first, second):
                assert await anext(subscription) == Progress(1)
            await anyio.sleep(0.3)
            begin = time.process_time()
            await anyio.sleep(3)
            return (time.process_time() - begin) / 3

    assert anyio.run(idle) < 0.01


@pytest.mark.anyio
async def test_closing_while_commits_and_watches_go_on_ends_them_all(tmp_path: Path) -> None:
    store = await open_store(f"file:///{tmp_path}/store", SystemClock(), SILENT)
    ends: list[str] = []
    done = 0

    async def write(lane: int) -> None:
        nonlocal done
        try:
            while True:
                await store.commit(Transaction((Put(f"k/{lane}", b""),)))
                done += 1
        except Unavailable as error:
            ends.append(error.reason)

    async def watch() -> None:
        try:
            async with store.watch("", after=1) as changes:
                while True:
                    await anext(changes)
        except Unavailable as error:
            ends.append(error.reason)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for lane in range(4):
                tasks.start_soon(write, lane)
            tasks.start_soon(watch)
            while done < 20:
                await anyio.sleep(0.001)
            await store.aclose()
    assert len(ends) == 5
    async with opened(tmp_path / "store") as again, again.watch("", after=1) as changes:
        seen = 0
        while seen < done:
            seen += isinstance(await anext(changes), Batch)
