"""What lies on a simulated disk, and what the loss of power may leave of it.

Every doubt is put to a `Choose`, and what the program hoped for is always option 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from federlib.testing._choices import Choose

__all__ = ["SECTOR_BYTES", "DirectoryNode", "FileNode", "Node", "PowerCut"]

SECTOR_BYTES = 512
"""What a disk writes whole or not at all, the least that any disk has; bytes."""

# A header of a record in a journal is longer than this: a tear there leaves half of it.
_TEAR_BYTES = 8


@attrs.define
class _Sector:
    """A sector of which nobody knows what lasts.

    Attributes:
        first: The first byte in it that was changed.
        last: The end of what was changed in it; not above `first` where the file was cut.
        grown: The first byte in it that was appended.
        versions: What it held before, the oldest first; each a whole sector.
    """

    first: int = SECTOR_BYTES
    last: int = 0
    grown: int = SECTOR_BYTES
    versions: list[bytes] = attrs.field(factory=list)

    def options(self, new: bytes, garbage: bytes) -> list[bytes]:
        """Return what it may hold after the loss of power, the newest first."""
        old, middle = self.versions[0], (self.first + self.last) // 2
        if self.last <= self.first:
            # What is cut off is not written over; only the sector of the cut gets zeros.
            return _distinct(new, old) if self.first else [old]
        header = min(self.first + _TEAR_BYTES, SECTOR_BYTES)
        return _distinct(
            new,
            *self.versions,
            new[:header] + old[header:],
            new[:middle] + old[middle:],
            old[:middle] + new[middle:],
            old[: self.grown] + garbage[self.grown :],
        )


def _distinct(*options: bytes) -> list[bytes]:
    return list(dict.fromkeys(options))


class FileNode:
    """The data of one file: as programs see it, and what of it is in doubt.

    Attributes:
        path: Where it was opened or moved to last.
        is_removed: It has no name any more.
        data: As programs see it.
    """

    def __init__(self, data: bytes = b"") -> None:
        """Begin with data that lasts."""
        self.path = ""
        self.is_removed = False
        self.data: bytearray = bytearray(data)
        self._sizes = [len(data)]
        self._doubtful: dict[int, _Sector] = {}
        self._dirty: set[int] = set()

    @property
    def doubts(self) -> int:
        """How many sectors and sizes are in doubt."""
        return len(self._doubtful) + len(self._sizes) - 1

    def sector(self, index: int) -> bytes:
        """Return one sector as programs see it, with zeros behind the end."""
        start = index * SECTOR_BYTES
        return bytes(self.data[start : start + SECTOR_BYTES]).ljust(SECTOR_BYTES, b"\0")

    def sectors(self) -> dict[int, bytes]:
        """Return all sectors as programs see them."""
        return {i: self.sector(i) for i in range(_count_sectors(len(self.data)))}

    def append(self, data: bytes) -> None:
        """Grow; nothing of it lasts yet."""
        start = len(self.data)
        for index, found in self._touch(start, start + len(data)):
            found.grown = min(found.grown, max(0, start - index * SECTOR_BYTES))
        self._grow(data)

    def reserve(self, size: int) -> None:
        """Grow with zeros. What another file left is never seen in reserved space."""
        start = len(self.data)
        # Zeros or the end of the file: only the size is in doubt, but where a cut is, too.
        if self._doubtful and start < size:
            self._touch(start, min(size, (max(self._doubtful) + 1) * SECTOR_BYTES))
        self._grow(bytes(max(0, size - start)))

    def write(self, offset: int, data: bytes) -> None:
        """Write over what is there; nothing of it lasts yet."""
        self._touch(offset, offset + len(data))
        self.data[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        """Shrink; that does not last yet."""
        self._touch(size, len(self.data), is_cut=True)
        del self.data[size:]
        self._add_size(size)

    def _grow(self, data: bytes) -> None:
        start, end = len(self.data), len(self.data) + len(data)
        self.data += data
        # The size may last without the data, and in steps: the kernel writes when it likes.
        for size in [*range((start // SECTOR_BYTES + 1) * SECTOR_BYTES, end, SECTOR_BYTES), end]:
            self._add_size(size)

    def _add_size(self, size: int) -> None:
        if size in self._sizes:
            self._sizes.remove(size)
        self._sizes.append(size)

    def _touch(self, start: int, end: int, *, is_cut: bool = False) -> list[tuple[int, _Sector]]:
        touched = []
        indexes = range(start // SECTOR_BYTES, _count_sectors(end)) if start < end else ()
        for index in indexes:
            found = self._doubtful.setdefault(index, _Sector())
            found.first = min(found.first, max(0, start - index * SECTOR_BYTES))
            if not is_cut:
                found.last = max(found.last, min(SECTOR_BYTES, end - index * SECTOR_BYTES))
            found.versions.append(self.sector(index))
            self._dirty.add(index)
            touched.append((index, found))
        return touched

    def sync(self) -> None:
        """Make everything last that is still marked as not yet written."""
        for index in self._dirty:
            del self._doubtful[index]
        self._dirty.clear()
        self._sizes = [len(self.data)]

    def fail_sync(self) -> None:
        """Forget what had to be written: a later sync has nothing to do, and says 'done'.

        Source: Rebello et al. 2020, Can applications recover from fsync failures?
        """
        self._dirty.clear()

    def survivor(self, choose: Choose, garbage: Callable[[int], bytes]) -> FileNode:
        """Return what the loss of power leaves; `garbage` is what lay in a sector before."""
        size = self._sizes[-1 - choose(len(self._sizes))]
        data = bytearray(self.data[:size].ljust(size, b"\0"))
        for index in sorted(self._doubtful):
            start = index * SECTOR_BYTES
            if start < size:
                options = self._doubtful[index].options(self.sector(index), garbage(index))
                chosen = options[choose(len(options))]
                data[start:size] = (chosen + data[start + SECTOR_BYTES :])[: size - start]
        return FileNode(bytes(data))


def _count_sectors(size: int) -> int:
    return -(-size // SECTOR_BYTES)


@attrs.define
class _Change:
    """A change of names in one directory that happens as a whole or not at all.

    Attributes:
        number: Its place in the order of all changes on the disk.
        names: What each name stands for from then on; None for a name that is gone.
    """

    number: int
    names: dict[str, Node | None]


class DirectoryNode:
    """The names in one directory: as programs see them, and what of them lasts."""

    def __init__(self, names: dict[str, Node] | None = None) -> None:
        """Begin with names that last."""
        self.names: dict[str, Node] = dict(names or {})
        self._lasting = dict(self.names)
        self._changes: list[_Change] = []

    @property
    def doubts(self) -> int:
        """How much is in doubt here and below."""
        return len(self._changes) + sum(node.doubts for node in self._all_nodes())

    def change(self, number: int, names: dict[str, Node | None]) -> None:
        """Change names; that does not last yet."""
        _apply(names, self.names)
        self._changes.append(_Change(number, names))

    def sync(self) -> None:
        """Make all changes of names last."""
        self._lasting = dict(self.names)
        self._changes.clear()

    def walk(self, path: str) -> Iterator[tuple[str, bytes]]:
        """Return all paths below with their data, as programs see them."""
        for name, node in self.names.items():
            if isinstance(node, FileNode):
                yield path + name, bytes(node.data)
            else:
                yield f"{path}{name}/", b""
                yield from node.walk(f"{path}{name}/")

    def numbers(self) -> Iterator[int]:
        """Return the numbers of the changes in doubt, of directories below too."""
        yield from (change.number for change in self._changes)
        for node in self._all_nodes():
            if isinstance(node, DirectoryNode):
                yield from node.numbers()

    def _all_nodes(self) -> list[Node]:
        known = [*self._lasting.values(), *self.names.values()]
        known += [node for c in self._changes for node in c.names.values() if node is not None]
        return list({id(node): node for node in known}.values())

    def survivors(self, is_kept: Callable[[int], bool]) -> dict[str, Node]:
        """Return what the names stand for after the loss of power, in order of the names."""
        names = dict(self._lasting)
        for change in self._changes:
            if is_kept(change.number):
                _apply(change.names, names)
        return dict(sorted(names.items()))


Node = FileNode | DirectoryNode


def _apply(changed: dict[str, Node | None], names: dict[str, Node]) -> None:
    for name, node in changed.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


@attrs.define
class PowerCut:
    """One loss of power: goes through the tree once and builds what is left.

    Attributes:
        choose: Decides every doubt.
        is_kept: Says whether a change of names lasted, by its number.
        garbage: What lay in a sector of that index before.
    """

    choose: Choose
    is_kept: Callable[[int], bool]
    garbage: Callable[[int], bytes]
    _done: dict[int, Node] = attrs.field(init=False, factory=dict)

    def directory(self, node: DirectoryNode) -> DirectoryNode:
        """Return what is left of a directory and of all below."""
        names = node.survivors(self.is_kept)
        return DirectoryNode({name: self._survivor(child) for name, child in names.items()})

    def _survivor(self, node: Node) -> Node:
        # One file may be left under two names, and is still one file.
        if id(node) not in self._done:
            self._done[id(node)] = (
                self.directory(node)
                if isinstance(node, DirectoryNode)
                else node.survivor(self.choose, self.garbage)
            )
        return self._done[id(node)]
