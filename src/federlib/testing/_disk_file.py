"""An open file of a simulated disk."""

from __future__ import annotations

import errno
from collections.abc import Callable

from federlib.errors import InvalidInput
from federlib.testing._disk_faults import Fault
from federlib.testing._disk_gate import Gate, fail
from federlib.testing._disk_nodes import FileNode

__all__ = ["SimulatedFile"]


class SimulatedFile:
    """One open file of a `SimulatedDisk`; a `federlib.storage.disk.DiskFile`."""

    def __init__(
        self, node: FileNode, gate: Gate, *, on_cut: Callable[[FileNode, int], None]
    ) -> None:
        """Open a file; only `SimulatedDisk.open` does."""
        self._node = node
        self._gate = gate
        self._on_cut = on_cut
        self._is_open = True

    def _check_open(self) -> None:
        self._gate.check()
        if not self._is_open:
            raise fail(errno.EBADF, self._node.path)

    def append(self, data: bytes) -> None:
        """Write at the end; nothing of it lasts before `sync`."""

        def append_part(fault: Fault) -> None:
            self._node.append(data[: int(len(data) * fault.part)])

        self._check_open()
        with self._gate.changing("append", self._node.path, bytes(data), on_failure=append_part):
            self._node.append(data)

    def reserve(self, size: int) -> None:
        """Lengthen the file with zeros up to `size` bytes; that does not last before `sync`."""

        def reserve_part(fault: Fault) -> None:
            missing = size - len(self._node.data)
            self._node.reserve(len(self._node.data) + int(missing * fault.part))

        self._check_open()
        with self._gate.changing("reserve", self._node.path, on_failure=reserve_part):
            self._node.reserve(size)

    def write(self, offset: int, data: bytes) -> None:
        """Write over bytes that are there; nothing of it lasts before `sync`.

        Raises:
            InvalidInput: It would reach beyond the end of the file.
        """

        def write_part(fault: Fault) -> None:
            self._node.write(offset, data[: int(len(data) * fault.part)])

        self._check_open()
        last = len(self._node.data) - len(data)
        if not 0 <= offset <= last:
            raise InvalidInput("offset", expected=f"0 to {last}", found=offset)
        with self._gate.changing(
            "write", self._node.path, bytes(data), offset, on_failure=write_part
        ):
            self._node.write(offset, data)

    def read(self, offset: int, size: int) -> bytes:
        """Read as programs see it, synced or not."""
        self._check_open()
        return self._gate.read(self._node.path, bytes(self._node.data[offset : offset + size]))

    def size(self) -> int:
        """Return the size as programs see it; bytes.

        Raises:
            FileNotFoundError: It was removed, or another was put in its place.
        """
        self._check_open()
        if self._node.is_removed:
            raise fail(errno.ENOENT, self._node.path)
        return len(self._node.data)

    def sync(self) -> None:
        """Make data and size last."""

        def forget(_fault: Fault) -> None:
            self._node.fail_sync()

        self._check_open()
        with self._gate.changing("sync", self._node.path, on_failure=forget) as is_done:
            if is_done:
                self._node.sync()

    def truncate(self, size: int) -> None:
        """Cut the file.

        Raises:
            InvalidInput: It would become longer, or the size is negative.
        """
        self._check_open()
        if not 0 <= size <= len(self._node.data):
            raise InvalidInput("size", expected=f"0 to {len(self._node.data)}", found=size)
        with self._gate.changing("truncate", self._node.path):
            self._on_cut(self._node, size)
            self._node.truncate(size)

    def close(self) -> None:
        """Let go of the file; syncs nothing."""
        self._is_open = False
