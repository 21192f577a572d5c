"""What can be said of a SQLite store before it is opened."""

from __future__ import annotations

import os
import sqlite3

import anyio.to_thread

from federlib.skewclock import Clock
from federlib.storage.backends._embedded.examining import DiskStore, examine_disk_store
from federlib.storage.backends._embedded.url import FileUrl, locate, parse_file_url
from federlib.storage.examining import Examined, Finding

__all__ = ["examine"]

_OLDEST = (3, 24, 0)
"""`ON CONFLICT DO UPDATE`, which the driver's statements use."""

_MENDED = (3, 51, 3)
"""The 'WAL-reset bug': no reason to be warned, for nobody saw it outside a laboratory for years.

Source: SQLite, `wal.html`, section on the bug.
"""


async def examine(url: str, clock: Clock, *, may_write: bool) -> Examined:  # noqa: ARG001 (one machine)
    """Look at the place of a SQLite store.

    Raises:
        InvalidInput: The URL is malformed.
        Unavailable: The working directory is gone.
    """
    place = parse_file_url(url, "sqlite", what="file")
    store = await anyio.to_thread.run_sync(_look, place, abandon_on_cancel=True)
    measured = f"SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < _MENDED:
        measured += "; 3.51.3 mended a rare race of commits with checkpoints: prefer that or newer"
    is_old = sqlite3.sqlite_version_info < _OLDEST
    engine = Finding(
        name="engine",
        verdict="fail" if is_old else "ok",
        measured=measured,
        fix="use a Python with SQLite 3.24 or newer" if is_old else "",
    )
    return await examine_disk_store(store, engine, may_write=may_write)


def _look(place: FileUrl) -> DiskStore:
    # What a network file system means is told beside the rest.
    path = locate(FileUrl(place.path, allow_network_fs=True), "sqlite")
    beside = ("-wal", "-shm", ".turn", ".main")
    is_empty = path.is_file() and not path.stat().st_size
    return DiskStore(
        path=path,
        is_there=os.path.lexists(path) and not is_empty,
        files=(path, *(path.with_name(path.name + end) for end in beside)),
        kinds=("file", "sqlite"),
        trial=path.parent,
        allow_network_fs=place.allow_network_fs,
    )
