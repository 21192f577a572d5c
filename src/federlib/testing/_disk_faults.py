"""What can go wrong on a simulated disk, as data."""

from __future__ import annotations

from typing import Literal, get_args

import attrs

from federlib.errors import InvalidInput

__all__ = ["DiskOperation", "Fault", "FaultKind", "OperationKind", "ProcessEnded"]

OperationKind = Literal[
    "append",
    "reserve",
    "write",
    "truncate",
    "sync",
    "create",
    "make_directory",
    "rename",
    "remove",
    "sync_directory",
    "read",
]
"""What is done to a disk; all but `read` change it or make a change last."""

FaultKind = Literal["stop", "stop_after", "no_space", "io_error", "lost_sync", "flipped_bit"]
"""What goes wrong; see `Fault`."""


class ProcessEnded(BaseException):
    """The simulated process ended here; nothing that it does afterwards has an effect.

    Like a kill it passes by `except Exception`. The disk raises it from then on; look at
    what is left with `SimulatedDisk.cut_power` or `SimulatedDisk.kill`.
    """


@attrs.frozen
class DiskOperation:
    """One operation on its way.

    Attributes:
        number: Counts from 1; reads are not counted.
        kind: What is done.
        path: The file or directory; of a rename, the source.
        data: What is appended or written; else empty.
        offset: Where it is written.
    """

    number: int
    kind: OperationKind
    path: str
    data: bytes = b""
    offset: int = 0


def _check_at(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if value < 1:
        raise InvalidInput(attribute.name, expected="1 or more", found=value)


def _check_kind(_instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if value not in get_args(FaultKind):
        raise InvalidInput(attribute.name, expected=f"one of {get_args(FaultKind)}", found=value)


def _check_of(instance: Fault, attribute: attrs.Attribute[str | None], value: str | None) -> None:
    if instance.kind == "flipped_bit" and value != "read":
        raise InvalidInput(attribute.name, expected="read, which alone returns bits", found=value)
    if value is not None and value not in get_args(OperationKind):
        raise InvalidInput(
            attribute.name, expected=f"None or one of {get_args(OperationKind)}", found=value
        )


def _check_part(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 <= value < 1:
        raise InvalidInput(attribute.name, expected="0 or more, below 1", found=value)


@attrs.frozen
class Fault:
    """One thing that goes wrong, as data.

    * `stop`, `stop_after`: the process ends before or after the operation: `ProcessEnded`.
    * `no_space`, `io_error`: `OSError` with ENOSPC or EIO; a part is written.
      A sync of a file that fails forgets what it had to write: a later one says 'done' and
      lies. One of a directory may be tried again, because a file system keeps its names in
      a journal and does not go on without it.
    * `lost_sync`: a sync says 'done' and does nothing.
    * `flipped_bit`: a read returns one wrong bit.

    Attributes:
        at: At which operation, from 1.
        kind: What goes wrong.
        of: Count only operations of this kind; None for all that are no reads.
        times: At how many operations in a row.
        part: How much is appended, reserved or written all the same, or where in what is
            read the wrong bit lies; a share, below 1.
    """

    at: int = attrs.field(validator=_check_at)
    kind: FaultKind = attrs.field(validator=_check_kind)
    of: OperationKind | None = attrs.field(default=None, validator=_check_of)
    times: int = attrs.field(default=1, validator=_check_at)
    part: float = attrs.field(default=0.5, validator=_check_part)
