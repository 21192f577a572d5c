"""The ledger: an append-only file in which each process notes what it does to the world.

It stands outside the store and is asked nothing while a run lasts, so what it counts is what
happened, whatever the store says. One line a write; a process killed between two of them has
left all the earlier ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from federlib.errors import CorruptRecord
from federlib.testing.chaos.records import Note, What

__all__ = ["Ledger", "LedgerReader", "open_append"]


def open_append(path: Path) -> int:
    """Open a file for lines that are added to it; mode 0600 where it is created."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


class Ledger:
    """Adds lines to the ledger, for one process.

    Args:
        path: The file; made if it is not there.
        who: Whose lines these are.
        boot_ns: The true boot clock.
        write: Writes to a file descriptor.
    """

    def __init__(
        self,
        path: Path,
        who: str,
        boot_ns: Callable[[], int],
        *,
        write: Callable[[int, bytes], object] = os.write,
    ) -> None:
        self._write = write
        self.now_ns: Callable[[], int] = boot_ns
        self._who = who
        self._file = open_append(path)

    def note(
        self,
        what: What,
        id: str = "",  # noqa: A002 (the name it has in `Note`)
        *,
        of: str | None = None,
        epoch: int = 0,
        since_ns: int = 0,
        text: str = "",
    ) -> None:
        """Add one line, with the present instant; `of` names another process than our own."""
        note = Note(
            at_ns=self.now_ns(),
            who=self._who if of is None else of,
            what=what,
            id=id,
            epoch=epoch,
            since_ns=since_ns,
            pid=os.getpid(),
            text=text,
        )
        self._write(self._file, msgspec.json.encode(note) + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class LedgerReader:
    """Reads what has come into a ledger since it was last asked.

    Attributes:
        notes: All that was read so far.
    """

    def __init__(self, path: Path) -> None:
        self.notes: list[Note] = []
        self._path = path
        self._offset = 0
        self._decode = msgspec.json.Decoder(Note).decode

    def read(self) -> list[Note]:
        """Return the new lines, as notes.

        Raises:
            CorruptRecord: A line is none.
        """
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        found = [self._read(line) for line in whole.splitlines()]
        self.notes += found
        return found

    def _read(self, line: bytes) -> Note:
        try:
            return self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            where = f"a line of the ledger {self._path.name}"
            raise CorruptRecord(where, expected=f"a note ({error})", found=line) from error
