"""What can be said of a store on a disk before it is opened: its file system, space and files."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import anyio
import anyio.to_thread
import attrs

from federlib.storage.backends._embedded.exclusion import LockKind, NoProof, prove_exclusion
from federlib.storage.backends._embedded.filesystem import (
    NETWORK_FILESYSTEMS,
    Mount,
    find_mount,
    read_mountinfo,
)
from federlib.storage.examining import Examined, Finding, Verdict

__all__ = [
    "DiskStore",
    "Seen",
    "examine_disk_store",
    "examine_files",
    "examine_locks",
    "examine_mount",
    "examine_space",
    "judge_locks",
    "judge_space",
    "see",
]

_MEMORY_FILESYSTEMS = {"tmpfs", "ramfs"}
_MIB = 1024 * 1024
# One transaction is at most 1 MiB; logs and segments of some tens of MiB lie beside it.
_NO_SPACE_BYTES, _LITTLE_SPACE_BYTES = 16 * _MIB, 256 * _MIB
_FEW_FILES = 1_000
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@attrs.frozen(kw_only=True)
class DiskStore:
    """What a driver says of a store on a disk.

    Attributes:
        path: Of the store; absolute and resolved.
        is_there: Whether there is a store.
        files: What belongs to it; some may not exist.
        kinds: Which locks the driver leans on.
        trial: The directory in which they are tried.
        allow_network_fs: As the URL says.
    """

    path: Path
    is_there: bool
    files: tuple[Path, ...]
    kinds: tuple[LockKind, ...]
    trial: Path
    allow_network_fs: bool


async def examine_disk_store(store: DiskStore, engine: Finding, *, may_write: bool) -> Examined:
    """Look at the place of a store, which need not exist."""
    # A file system that hangs must not hold up the event loop.
    (mount, is_refused), space, files = await anyio.to_thread.run_sync(
        _look, store, abandon_on_cancel=True
    )
    locks = await examine_locks(store.trial, store.kinds, may_write=may_write)
    findings = (engine, mount, space, files, locks)
    state: Literal["there", "missing", "away"] = "there" if store.is_there else "missing"
    return Examined(findings=findings, store="away" if is_refused else state)


def _look(store: DiskStore) -> tuple[tuple[Finding, bool], Finding, Finding]:
    mount = examine_mount(store.path, allow_network_fs=store.allow_network_fs)
    space = examine_space(_nearest(store.path))
    return mount, space, examine_files(see(store.files), user=_user())


def _nearest(path: Path) -> Path:
    """Return the nearest directory above a path, or itself, that exists."""
    return next((one for one in (path, *path.parents) if one.exists()), Path("/"))


def _user() -> int | None:
    return os.geteuid() if sys.platform != "win32" else None


@attrs.frozen
class Seen:
    """One file or directory.

    Attributes:
        path: Which.
        mode: As `st_mode`.
        owner: The user id.
    """

    path: Path
    mode: int
    owner: int


def see(paths: Iterable[Path]) -> list[Seen]:
    """Look at those of some paths that exist."""
    seen = []
    for path in paths:
        try:
            found = path.lstat()
        except OSError:
            continue
        seen.append(Seen(path, found.st_mode, found.st_uid))
    return seen


def examine_files(seen: Iterable[Seen], *, user: int | None) -> Finding:
    """Say whether files are ours, and nobody else's to read; `user` None where there are none."""
    name = "files"
    problems: list[str] = []
    fixes: list[str] = []
    files = list(seen)
    for one in files:
        wanted = 0o700 if stat.S_ISDIR(one.mode) else 0o600
        if one.mode & _OTHERS:
            problems.append(f"{one.path} has mode {stat.S_IMODE(one.mode):04o}")
            fixes.append(f"chmod {wanted:o} {shlex.quote(str(one.path))}")
        if user is not None and one.owner != user:
            problems.append(f"{one.path} belongs to user {one.owner}, and this is user {user}")
            fixes.append(f"run as user {one.owner}, or chown -R the store to the user that runs it")
    if problems:
        # The same advice for each of several files is given once.
        measured, fix = "; ".join(problems), "; ".join(dict.fromkeys(fixes))
        return Finding(name=name, verdict="warn", measured=measured, fix=fix)
    if not files:
        return Finding(name=name, verdict="skip", measured="there are none yet")
    measured = f"{len(files)} of this user's, private (modes 0600 and 0700)"
    return Finding(name=name, verdict="ok", measured=measured)


def examine_mount(
    path: Path, *, allow_network_fs: bool, mountinfo: str | None = None
) -> tuple[Finding, bool]:
    """Say what file system an absolute path lies on, and whether a driver refuses it."""
    mount = find_mount(read_mountinfo() if mountinfo is None else mountinfo, str(path))
    if mount is None:
        said = "the system does not say which it is"
        return Finding(name="file system", verdict="skip", measured=said), False
    measured = f"{mount.kind} mounted at {mount.point}"
    if mount.kind in NETWORK_FILESYSTEMS:
        return _network(mount, measured, allow_network_fs=allow_network_fs)
    if mount.kind in _MEMORY_FILESYSTEMS:
        measured += ": it is gone when the machine restarts"
        fix = "move the store to a disk, unless it may be lost"
        return Finding(name="file system", verdict="warn", measured=measured, fix=fix), False
    return Finding(name="file system", verdict="ok", measured=measured), False


def _network(mount: Mount, measured: str, *, allow_network_fs: bool) -> tuple[Finding, bool]:
    fix = f"move the store from {mount.point} to a local disk, or use PostgreSQL or etcd"
    verdict: Verdict = "warn" if allow_network_fs else "fail"
    measured += ", a network file system" + (": allowed by the URL" if allow_network_fs else "")
    found = Finding(name="file system", verdict=verdict, measured=measured, fix=fix)
    return found, not allow_network_fs


def examine_space(place: Path) -> Finding:
    """Say how much may still be written on the file system of an existing path."""
    if sys.platform == "win32":  # pragma: no cover (Windows)
        return Finding(name="disk space", verdict="skip", measured="not asked for on Windows")
    try:
        found = os.statvfs(place)
    except OSError as error:
        said = f"{place}: {error.strerror}"
        return Finding(name="disk space", verdict="skip", measured=said)
    return judge_space(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def judge_space(free_bytes: int, free_files: int | None) -> Finding:
    """Judge free bytes and, where the file system counts them, free files."""
    measured = f"{free_bytes / (1024 * _MIB):,.1f} GiB free"
    if free_bytes < 1024 * _MIB:
        measured = f"{free_bytes / _MIB:,.0f} MiB free"
    if free_files is not None and free_files < _FEW_FILES:
        measured += f", room for {free_files} more files"
    is_full = free_bytes < _NO_SPACE_BYTES or free_files == 0
    is_little = free_bytes < _LITTLE_SPACE_BYTES or (free_files or _FEW_FILES) < _FEW_FILES
    return Finding(
        name="disk space",
        verdict="fail" if is_full else "warn" if is_little else "ok",
        measured=measured,
        fix="free some space" if is_full or is_little else "",
        numbers={"free_bytes": free_bytes},
    )


async def examine_locks(place: Path, kinds: tuple[LockKind, ...], *, may_write: bool) -> Finding:
    """Say whether locks exclude another process in a directory."""
    name = "file locks"
    if not may_write or not await anyio.Path(place).is_dir():
        reason = f"there is no directory {place}" if may_write else "it would take a file"
        return Finding(name=name, verdict="skip", measured=f"not tried: {reason}")
    try:
        gap = await prove_exclusion(place, kinds)
    except NoProof as error:
        fix = f"let this user write in {place}, on a local disk"
        if not error.is_of_place:
            fix = f"see why {sys.executable} cannot be started here, and ask again"
        return Finding(
            name=name,
            verdict="fail" if error.is_of_place else "warn",
            measured=f"not proven: {error}",
            fix=fix,
        )
    return judge_locks(gap, kinds)


def judge_locks(gap: str | None, kinds: tuple[LockKind, ...]) -> Finding:
    """Judge what `prove_exclusion` returned."""
    if gap is not None:
        return Finding(
            name="file locks",
            verdict="fail",
            measured=f"they do not exclude: {gap}",
            fix="move the store to a local disk: on this file system it will be torn",
        )
    words = {"file": "a file", "directory": "a directory", "sqlite": "SQLite's own in WAL mode"}
    which = " and ".join(words[kind] for kind in kinds)
    measured = f"a second process was kept out until the first was killed ({which})"
    return Finding(name="file locks", verdict="ok", measured=measured)
