"""Directories that are not what they should be, torn ends, full disks, and live clients."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from federlib.errors import CorruptRecord
from federlib.storage import Absent, Committed, Delete, Put, Transaction
from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.storage.backends.file import open_engine
from federlib.storage.backends.file._engine import FileEngine
from federlib.storage.backends.file._load import Tuning
from federlib.storage.backends.file._shared_turn import SharedTurn
from federlib.storage.backends.file._turn import Alone
from federlib.storage.disk import SystemDisk
from federlib.testing import SimulatedDisk

# Some commits a segment, some segments a state.
SMALL = Tuning(
    segment_bytes=600,
    reserve_bytes=512,
    state_bytes=1_000,
    history_revisions=8,
    history_least=4,
)


@contextmanager
def engine_at(path: Path, *, tuning: Tuning | None = None) -> Iterator[FileEngine]:
    engine = FileEngine(
        SystemDisk(path),
        SharedTurn(path),
        where=f"file store {path}",
        new_store_id="some-store",
        tuning=tuning,
        aside=lambda work: work(),
    )
    try:
        yield engine
    finally:
        engine.close(1)


def commit(engine: FileEngine, transaction: Transaction) -> int:
    done = engine.commit(Attempt(transaction, now_ns=1))
    assert isinstance(done, Committed)
    return done.revision


def make_small(path: Path, *, commits: int = 40) -> dict[str, bytes]:
    """Make a store of several segments before and behind a state; return what it holds."""
    for tuning, first in ((SMALL, 0), (attrs.evolve(SMALL, state_bytes=10**9), commits)):
        with engine_at(path, tuning=tuning) as engine:
            for number in range(first, first + commits):
                put = Put(f"k/{number % 7}", b"%d" % number * 5)
                commit(engine, Transaction((put, Delete(f"k/{number % 3}x")), id=f"t{number}"))
            held = contents(engine)
    return held


def contents(engine: FileEngine) -> dict[str, bytes]:
    return {record.key: record.value for record in engine.scan("", None, 1_000).records}


def logs_of(path: Path) -> list[Path]:
    return sorted((path / "journal").glob("*.log"))


def state_of(path: Path) -> Path:
    (state,) = (path / "journal").glob("*.state")
    return state


def snapshot(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name not in {"head", "writers.turn"}
    }


def test_every_flipped_bit_is_found_or_was_never_confirmed(tmp_path: Path) -> None:
    """Only the last commit looks like a torn one when it is damaged: then it is cut."""
    path = tmp_path / "store"
    with engine_at(path) as engine:
        before: dict[str, bytes] = {}
        for number in range(3):
            before = contents(engine)
            commit(engine, Transaction((Put(f"k/{number}", b"value"),)))
        whole = contents(engine)
        last = engine._memory.loaded.journal.segments[-1].starts[-1]
        end = engine._memory.loaded.journal.segments[-1].end
    log = logs_of(path)[0]
    sound = log.read_bytes()
    for place in range(end + 40):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        log.write_bytes(damaged)
        # As it is after a kill: the record files say nothing of the last commits.
        shutil.rmtree(path / "records")
        if place < last:
            with pytest.raises(CorruptRecord), engine_at(path):
                raise AssertionError(f"opened with byte {place} damaged")
            assert log.read_bytes() == damaged
        else:
            with engine_at(path) as engine:
                assert contents(engine) == (before if place < end else whole), place
                assert engine.cut_bytes > 0
                assert engine.check() == []


@pytest.mark.parametrize("which", ["segment", "state"])
def test_every_damaged_byte_behind_a_state_and_of_it_is_found(tmp_path: Path, which: str) -> None:
    path = tmp_path / "store"
    make_small(path)
    victim = logs_of(path)[1] if which == "segment" else state_of(path)
    assert victim != logs_of(path)[-1]
    sound = victim.read_bytes()
    for place in range(len(sound)):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        victim.write_bytes(damaged)
        with pytest.raises(CorruptRecord, match=victim.name), engine_at(path):
            raise AssertionError(f"opened with byte {place} damaged")
    assert victim.read_bytes() == damaged


def disk_with(files: dict[str, bytes]) -> SimulatedDisk:
    disk = SimulatedDisk()
    disk.make_directory("journal")
    for name, content in files.items():
        disk.open(name, create=True).append(content)
    return disk


def engine_on(disk: SimulatedDisk) -> FileEngine:
    return FileEngine(
        disk, Alone(), where="store", new_store_id="some-store", aside=lambda work: None
    )


def test_a_journal_cut_anywhere_opens_to_a_whole_commit_before_it() -> None:
    disk = SimulatedDisk()
    engine = engine_on(disk)
    held: list[tuple[int, dict[str, bytes]]] = []
    for number in range(4):
        commit(engine, Transaction((Put(f"k/{number}", b"v" * number),)))
        held.append((engine._memory.loaded.journal.segments[-1].end, contents(engine)))
    name = "journal/00000000000000000001.log"
    sound = disk.contents()[name]
    for size in range(held[0][0], held[-1][0] + 1):
        for tail in (b"", bytes(30), b"\xff" * 30):
            engine = engine_on(disk_with({name: sound[:size] + tail}))
            assert contents(engine) == [what for end, what in held if end <= size][-1]
            assert commit(engine, Transaction((Put("next", b""),), (Absent("next"),))) > 1
            assert engine.check() == []


def remove_state(path: Path) -> None:
    state_of(path).unlink()


def remove_first_log(path: Path) -> None:
    logs_of(path)[0].unlink()


def remove_middle_log(path: Path) -> None:
    logs_of(path)[-2].unlink()


def remove_last_log(path: Path) -> None:
    logs_of(path)[-1].unlink()


def remove_logs(path: Path) -> None:
    for log in logs_of(path):
        log.unlink()


def remove_journal(path: Path) -> None:
    shutil.rmtree(path / "journal")


def cut_last_commit(path: Path) -> None:
    log = logs_of(path)[-1]
    log.write_bytes(log.read_bytes().rstrip(b"\0")[:-10])


def empty_last_log(path: Path) -> None:
    logs_of(path)[-1].write_bytes(b"")


def empty_first_log(path: Path) -> None:
    logs_of(path)[0].write_bytes(b"")


def write_text(path: Path) -> None:
    logs_of(path)[-1].write_text("once upon a time " * 500)


def write_newer_format(path: Path) -> None:
    log = logs_of(path)[-1]
    log.write_bytes(log.read_bytes().replace(b"journal 1\n", b"journal 2\n"))


def be_a_pipe(path: Path) -> None:
    logs_of(path)[-1].unlink()
    os.mkfifo(path / "journal" / "00000000000000009999.log")


def be_a_directory(path: Path) -> None:
    log = logs_of(path)[-1]
    log.unlink()
    log.mkdir()


def be_a_link(path: Path) -> None:
    log = logs_of(path)[-1]
    log.rename(path / "elsewhere")
    log.symlink_to(path / "elsewhere")


def link_journal(path: Path) -> None:
    (path / "journal").rename(path / "elsewhere")
    (path / "journal").symlink_to(path / "elsewhere")


def pipe_head(path: Path) -> None:
    (path / "journal" / "head").unlink()
    os.mkfifo(path / "journal" / "head")


def mix_stores(path: Path) -> None:
    other = path.with_name("other")
    with engine_at(other) as engine:
        commit(engine, Transaction((Put("a", b""),)))
    log = logs_of(path)[-1]
    log.write_bytes(logs_of(other)[0].read_bytes().replace(b"some-store", b"othr-store"))


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (remove_state, "the commits from revision 1 on"),
        (remove_middle_log, "damaged"),
        (remove_last_log, "which the record files follow"),
        (remove_logs, "states only"),
        (remove_journal, "record files without a journal"),
        (cut_last_commit, "which the record files follow"),
        (empty_last_log, "something else"),
        (empty_first_log, "something else"),
        (write_text, "something else"),
        (write_newer_format, "newer version"),
        (be_a_pipe, ""),
        (be_a_directory, ""),
        (be_a_link, ""),
        (link_journal, ""),
        (pipe_head, "not a regular file"),
        (mix_stores, ""),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_damaged_store_is_refused_and_left_as_it_is(
    tmp_path: Path, damage: Callable[[Path], None], found: str
) -> None:
    path = tmp_path / "store"
    make_small(path)
    damage(path)
    before = snapshot(path)
    with pytest.raises(CorruptRecord) as caught:
        open_engine(f"file:///{path}")
    assert found in str(caught.value)
    assert str(path) in str(caught.value)
    assert snapshot(path) == before


def test_history_that_is_gone_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "store"
    held = make_small(path)
    remove_first_log(path)
    with engine_at(path) as engine:
        assert contents(engine) == held
        assert engine.read_changes(1, 10) is None
        assert engine.check() == []
