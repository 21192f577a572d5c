"""What can be said of a store in plain files before it is opened."""

from __future__ import annotations

import anyio.to_thread

from federlib.skewclock import Clock
from federlib.storage.backends._embedded.examining import DiskStore, examine_disk_store
from federlib.storage.backends._embedded.url import FileUrl, locate, parse_file_url
from federlib.storage.backends.file._journal_files import DIRECTORY, HEAD
from federlib.storage.examining import Examined, Finding

__all__ = ["examine"]


async def examine(url: str, clock: Clock, *, may_write: bool) -> Examined:  # noqa: ARG001 (one machine)
    """Look at the place of a store in plain files.

    Raises:
        InvalidInput: The URL is malformed.
        Unavailable: The working directory is gone.
    """
    place = parse_file_url(url, "file", what="directory")
    store = await anyio.to_thread.run_sync(_look, place, abandon_on_cancel=True)
    engine = Finding(name="engine", verdict="ok", measured="plain files, no library of others")
    return await examine_disk_store(store, engine, may_write=may_write)


def _look(place: FileUrl) -> DiskStore:
    # What a network file system means is told beside the rest.
    root = locate(FileUrl(place.path, allow_network_fs=True), "file")
    journal, run = root / DIRECTORY, root / "run"
    segments = sorted(journal.glob("*.log"))
    return DiskStore(
        path=root,
        is_there=bool(segments),
        files=(journal, root / "records", run, journal / HEAD, *segments),
        kinds=("file", "directory"),
        trial=run if run.is_dir() else root.parent,
        allow_network_fs=place.allow_network_fs,
    )
