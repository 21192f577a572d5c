"""The lock under a claim, where somebody meddles with its file."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from federlib.errors import Unavailable
from federlib.identity._process_lock import ProcessLock, holder_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "worker-0.lock"


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_file_replaced_between_opening_and_locking_is_locked_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, replaced = fcntl.flock, list[Path]()

    def replacing(descriptor: int, operation: int) -> None:
        if not replaced:
            replaced.append(path.rename(path.with_name("elsewhere")))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", replacing)
    lock = ProcessLock.attempt(path)
    assert lock is not None
    assert lock.is_in_place()
    assert ProcessLock.attempt(path) is None
    lock.release()


def test_a_file_replaced_again_and_again_is_given_up_without_a_leak(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, before = fcntl.flock, open_files()

    def removing(descriptor: int, operation: int) -> None:
        path.unlink(missing_ok=True)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removing)
    with pytest.raises(Unavailable, match="again and again"):
        ProcessLock.attempt(path)
    assert open_files() == before


def test_a_file_system_without_locks_is_unavailable_and_nothing_leaks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_files()

    def refusing(_descriptor: int, operation: int) -> None:
        if operation != fcntl.LOCK_UN:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refusing)
    with pytest.raises(Unavailable, match=str(path)):
        ProcessLock.attempt(path)
    assert open_files() == before


def test_a_refused_attempt_leaves_the_holder_alone_and_nothing_open(path: Path) -> None:
    lock = ProcessLock.attempt(path)
    assert lock is not None
    before = open_files()
    assert ProcessLock.attempt(path) is None
    assert open_files() == before
    assert lock.is_in_place()
    lock.release()
    lock.release()
    assert not lock.is_in_place()


def test_the_holder_is_known_only_after_it_has_marked_the_file(path: Path) -> None:
    assert holder_of(path) is None
    lock = ProcessLock.attempt(path)
    assert lock is not None
    assert not lock.is_marked()
    assert holder_of(path) is None
    lock.mark()
    assert lock.is_marked()
    assert holder_of(path) == os.getpid()
    lock.release()


def test_a_directory_that_vanished_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="gone"):
        ProcessLock.attempt(tmp_path / "gone" / "worker-0.lock")
