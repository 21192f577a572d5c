"""Where logs lie, and that no name leads elsewhere."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.cli.exec import list_attempts, log_path, read_log
from federlib.cli.exec.logs import make_private_dir
from federlib.errors import InvalidInput

ROOT = Path("/var/logs")


def put(root: Path, task: str, attempt: int, content: bytes) -> Path:
    path = log_path(root, "r", task, attempt)
    make_private_dir(path.parent)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("run", "task", "expected"),
    [
        ("r1", "build", "r1/build.1.log"),
        ("a/b", "../../etc/passwd", "a%2Fb/%2E.%2F..%2Fetc%2Fpasswd.1.log"),
        ("..", ".", "%2E./%2E.1.log"),
        ("~x", "naïve 日本", "%7Ex/naïve 日本.1.log"),
    ],
)
def test_names_stay_readable_and_below_the_root(run: str, task: str, expected: str) -> None:
    assert log_path(ROOT, run, task, 1) == ROOT / expected


@pytest.mark.parametrize(
    "bad", ["", "a\0b", "a\nb", "e\u0301", "x" * 5000 + "\0", "x" * 5000 + "\ud800"]
)
def test_names_that_can_never_be_legal_are_refused(bad: str) -> None:
    with pytest.raises(InvalidInput):
        log_path(ROOT, bad, "t", 1)
    with pytest.raises(InvalidInput):
        log_path(ROOT, "r", bad, 1)


@pytest.mark.parametrize("attempt", [-1, 10**10])
def test_an_attempt_out_of_range_is_refused(attempt: int) -> None:
    with pytest.raises(InvalidInput, match="attempt"):
        log_path(ROOT, "r", "t", attempt)


names = (
    st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=400)
    .map(lambda text: unicodedata.normalize("NFC", text))
    .filter(lambda text: not any(unicodedata.category(c) == "Cc" for c in text))
)


@given(names, names, st.integers(0, 10**10 - 1))
def test_every_name_is_one_short_file_below_the_root(run: str, task: str, attempt: int) -> None:
    path = log_path(ROOT, run, task, attempt)
    assert path.parent.parent == ROOT
    assert Path(os.path.normpath(path)) == path
    assert all(len(part.encode()) < 200 for part in path.parts)


@given(names, names)
def test_two_tasks_never_share_a_log(one: str, other: str) -> None:
    same = log_path(ROOT, "r", one, 1) == log_path(ROOT, "r", other, 1)
    assert same == (one == other)


def test_a_long_name_is_not_the_hash_of_another() -> None:
    long = log_path(ROOT, "r", "x" * 300, 1).name.removesuffix(".1.log")
    assert long.startswith("~")
    assert log_path(ROOT, "r", long, 1).name.startswith("%7E")
    log_path(ROOT, "r", "y" * 10_000, 1)


def test_the_latest_attempt_is_read_unless_another_is_named(tmp_path: Path) -> None:
    for attempt in (1, 2, 10):
        put(tmp_path, "t", attempt, b"attempt %d" % attempt)
    put(tmp_path, "t.11", 1, b"another task")
    put(tmp_path, "t2", 99, b"another task")
    assert list_attempts(tmp_path, "r", "t") == (1, 2, 10)
    latest = read_log(tmp_path, "r", "t")
    assert latest is not None
    assert (latest.attempt, latest.content) == (10, b"attempt 10")
    first = read_log(tmp_path, "r", "t", 1)
    assert first is not None
    assert first.content == b"attempt 1"


def test_a_log_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_log(tmp_path, "r", "t") is None
    assert read_log(tmp_path, "r", "t", 3) is None
    assert list_attempts(tmp_path, "r", "t") == ()


@pytest.mark.parametrize(
    ("offset", "max_bytes", "content"),
    [(0, 4, b"0123"), (7, 100, b"789"), (-2, 100, b"89"), (-100, 3, b"012"), (50, 9, b"")],
)
def test_a_part_can_be_read(tmp_path: Path, offset: int, max_bytes: int, content: bytes) -> None:
    put(tmp_path, "t", 1, b"0123456789")
    part = read_log(tmp_path, "r", "t", offset=offset, max_bytes=max_bytes)
    assert part is not None
    assert (part.content, part.size_bytes) == (content, 10)


def test_a_link_or_a_pipe_in_the_place_of_a_log_is_not_read(tmp_path: Path) -> None:
    path = put(tmp_path, "t", 1, b"")
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="symbolic links"):
        read_log(tmp_path, "r", "t")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InvalidInput, match="a regular file"):
        read_log(tmp_path, "r", "t")


def test_private_directories_are_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        make_private_dir(tmp_path / "a" / "b")
        make_private_dir(tmp_path / "a" / "b")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
