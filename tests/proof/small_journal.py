"""A file store so small that a few commits make it use all of its ways."""

from __future__ import annotations

from collections.abc import Callable

from federlib.storage.backends.file._engine import FileEngine
from federlib.storage.backends.file._load import Tuning
from federlib.storage.backends.file._turn import Alone, Turn
from federlib.testing import SimulatedDisk

__all__ = ["SMALL", "at_once", "open_small"]

# Small, so that a few commits fill segments, make states due and let history go.
SMALL = Tuning(
    segment_bytes=2_000,
    reserve_bytes=1_024,
    state_bytes=3_000,
    history_revisions=4,
    history_bytes=4_000,
    history_least=2,
    record_files=3,
)


def at_once(work: Callable[[], None]) -> None:
    """Do in the same thread what is done aside: one seed, one row of operations."""
    work()


def open_small(disk: SimulatedDisk, turn: Turn | None = None) -> FileEngine:
    return FileEngine(
        disk, turn or Alone(), where="store", new_store_id="store-1", tuning=SMALL, aside=at_once
    )
