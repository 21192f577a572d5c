"""A disk for tests: it counts what is done to it, fails on demand, and can lose power.

    disk = SimulatedDisk(faults=[Fault(3, "no_space")])
    ...                                                    # run a driver on it
    left = disk.cut_power(swarm_choice(random.Random(7)))  # a disk as a crash may leave it
    for choose in every_choice(limit=500):                 # or every disk that it may leave
        check(disk.cut_power(choose))

What is not synced may be lost in any subset: sectors of 512 bytes, sizes, and each change of
names. In place of lost data lie zeros, what was there before, or what another file left.

Does not promise: locks, permissions, links, renaming of directories, or speed with large files.
Hazards: a sector is the smallest thing that tears, except where data is written for the first
time; what lasts is never damaged.
"""

from __future__ import annotations

import copy
import errno
from collections import Counter
from collections.abc import Callable, Iterable
from threading import RLock

import attrs

from federlib.errors import InvalidInput
from federlib.testing._choices import Choose, RandomSource, every_choice, swarm_choice
from federlib.testing._disk_faults import (
    DiskOperation,
    Fault,
    FaultKind,
    OperationKind,
    ProcessEnded,
)
from federlib.testing._disk_file import SimulatedFile
from federlib.testing._disk_gate import Gate, fail
from federlib.testing._disk_nodes import SECTOR_BYTES, DirectoryNode, FileNode, Node, PowerCut

__all__ = [
    "Choose",
    "DiskOperation",
    "Fault",
    "FaultKind",
    "OperationKind",
    "ProcessEnded",
    "RandomSource",
    "SimulatedDisk",
    "SimulatedFile",
    "every_choice",
    "swarm_choice",
]

_GARBAGE = b"\xa5" * SECTOR_BYTES


@attrs.define
class _Tree:
    """What lies on a disk, whoever looks at it.

    Attributes:
        root: The topmost directory.
        changes: How many changes of names there were.
        changes_lasting: The last one that a sync has made last.
        left_behind: What lay last in a sector of that index of a file that is gone.
        lock: Held during each operation.
    """

    root: DirectoryNode = attrs.field(factory=DirectoryNode)
    changes: int = 0
    changes_lasting: int = 0
    left_behind: dict[int, bytes] = attrs.field(factory=dict)
    lock: RLock = attrs.field(factory=RLock)


class SimulatedDisk:
    """A `federlib.storage.disk.Disk` in memory. Thread-safe."""

    def __init__(
        self,
        *,
        faults: Iterable[Fault] = (),
        on_operation: Callable[[DiskOperation], None] | None = None,
    ) -> None:
        """Make an empty disk.

        Args:
            faults: What will go wrong.
            on_operation: Called before each operation that is no read, in the thread that
                does it: the place to `cut_power` and look, while the program goes on.
        """
        self._tree = _Tree()
        self._gate = Gate(faults, on_operation, self._tree.lock)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What will go wrong; may be set at any time."""
        return self._gate.faults

    @faults.setter
    def faults(self, faults: Iterable[Fault]) -> None:
        self._gate.faults = tuple(faults)

    @property
    def on_operation(self) -> Callable[[DiskOperation], None] | None:
        """What is called before each operation that is no read; may be set at any time."""
        return self._gate.on_operation

    @on_operation.setter
    def on_operation(self, on_operation: Callable[[DiskOperation], None] | None) -> None:
        self._gate.on_operation = on_operation

    @property
    def operations(self) -> int:
        """How many operations there were; reads are not counted."""
        return self._gate.operations

    @property
    def counts(self) -> Counter[OperationKind]:
        """How many operations there were of each kind."""
        return Counter(self._gate.counts)

    @property
    def doubts(self) -> int:
        """How many sectors, sizes and names the loss of power puts in question just now."""
        with self._gate.lock:
            return self._tree.root.doubts

    def cut_power(self, choose: Choose, *, names_in_order: bool = False) -> SimulatedDisk:
        """Return a disk as the loss of power at this instant may leave it.

        This disk stays as it is, so one instant can be looked at many times.

        Args:
            choose: Decides every doubt: `swarm_choice`, `every_choice`, or the draws of a
                property test.
            names_in_order: Changes of names last in the order in which they were made, as
                on a file system with a journal; else in any subset.
        """
        with self._gate.lock:
            left = SimulatedDisk()
            behind = left._tree.left_behind = dict(self._tree.left_behind)
            is_kept = self._in_order(choose) if names_in_order else lambda _n: choose(2) == 0
            cut = PowerCut(choose, is_kept, lambda i: behind.get(i, _GARBAGE))
            left._tree.root = cut.directory(self._tree.root)
            return left

    def _in_order(self, choose: Choose) -> Callable[[int], bool]:
        later = sorted({n for n in self._tree.root.numbers() if n > self._tree.changes_lasting})
        last = [self._tree.changes_lasting, *later][-1 - choose(len(later) + 1)]
        return lambda number: number <= last

    def kill(self) -> SimulatedDisk:
        """Return the disk as the end of the process alone leaves it: all is there, unsynced.

        A copy, so this disk stays as it is; see `share` for a process that is survived.
        """
        with self._gate.lock:
            left, tree = SimulatedDisk(), self._tree
            left._tree.root = copy.deepcopy(tree.root)
            left._tree.changes, left._tree.changes_lasting = tree.changes, tree.changes_lasting
            left._tree.left_behind = dict(tree.left_behind)
            return left

    def share(self) -> SimulatedDisk:
        """Return this very disk for another process, with faults, counts and end of its own."""
        other = SimulatedDisk()
        other._tree = self._tree
        other._gate = Gate((), None, self._tree.lock)
        return other

    def contents(self) -> dict[str, bytes]:
        """Return every file as programs see it, by its path; a directory ends with `/`."""
        with self._gate.lock:
            return dict(sorted(self._tree.root.walk("")))

    def end_process(self) -> None:
        """Let every later operation raise `ProcessEnded`."""
        self._gate.end()

    def open(self, path: str, *, create: bool = False) -> SimulatedFile:
        """Open a file for reading and appending."""
        with self._gate.lock:
            self._gate.check()
            parent, name = self._parent(path)
            if create and name not in parent.names:
                with self._gate.changing("create", path):
                    self._change(parent, {name: FileNode()})
            node = self._file(path)
            node.path = path
            return SimulatedFile(node, self._gate, on_cut=self._leave_behind)

    def list(self, directory: str) -> list[str]:
        """Return the names in a directory, sorted."""
        with self._gate.lock:
            self._gate.check()
            return sorted(self._directory(directory).names)

    def make_directory(self, path: str) -> None:
        """Make one directory; one that is there stays as it is."""
        with self._gate.lock:
            self._gate.check()
            if not path:
                return
            parent, name = self._parent(path)
            if name not in parent.names:
                with self._gate.changing("make_directory", path):
                    self._change(parent, {name: DirectoryNode()})
            elif isinstance(parent.names[name], FileNode):
                raise fail(errno.EEXIST, path)

    def rename(self, source: str, target: str) -> None:
        """Give a file another name."""
        with self._gate.changing("rename", source):
            old_parent, old_name = self._parent(source)
            new_parent, new_name = self._parent(target)
            node, replaced = self._file(source), new_parent.names.get(new_name)
            if isinstance(replaced, DirectoryNode):
                raise fail(errno.EISDIR, target)
            if replaced is node:
                return
            if replaced is not None:
                self._leave_behind(replaced)
                replaced.is_removed = True
            node.path = target
            if old_parent is new_parent:
                self._change(new_parent, {old_name: None, new_name: node})
                return
            # Two directories are two places on the disk: one half of it may last alone.
            self._change(new_parent, {new_name: node})
            old_parent.change(self._tree.changes, {old_name: None})

    def remove(self, path: str) -> None:
        """Remove a file."""
        with self._gate.changing("remove", path):
            parent, name = self._parent(path)
            node = self._file(path)
            self._leave_behind(node)
            node.is_removed = True
            self._change(parent, {name: None})

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory last."""
        with self._gate.lock:
            self._gate.check()
            directory = self._directory(path)
            with self._gate.changing("sync_directory", path) as is_done:
                if is_done:
                    directory.sync()
                    self._tree.changes_lasting = self._tree.changes

    def _look_up(self, path: str) -> Node:
        node: Node = self._tree.root
        for name in path.split("/") if path else ():
            if isinstance(node, FileNode):
                raise fail(errno.ENOTDIR, path)
            if name not in node.names:
                raise fail(errno.ENOENT, path)
            node = node.names[name]
        return node

    def _directory(self, path: str) -> DirectoryNode:
        node = self._look_up(path)
        if isinstance(node, FileNode):
            raise fail(errno.ENOTDIR, path)
        return node

    def _file(self, path: str) -> FileNode:
        node = self._look_up(path)
        if isinstance(node, DirectoryNode):
            raise fail(errno.EISDIR, path)
        return node

    def _parent(self, path: str) -> tuple[DirectoryNode, str]:
        if not path or {"", ".", ".."} & set(path.split("/")):
            raise InvalidInput("path", expected="a relative path of plain names", found=path)
        parent, _, name = path.rpartition("/")
        return self._directory(parent), name

    def _change(self, directory: DirectoryNode, names: dict[str, Node | None]) -> None:
        self._tree.changes += 1
        directory.change(self._tree.changes, names)

    def _leave_behind(self, node: FileNode, size: int = 0) -> None:
        # Kept by place: that is where in the next file an old record looks most at home.
        first = size // SECTOR_BYTES
        self._tree.left_behind.update((i, d) for i, d in node.sectors().items() if i >= first)
