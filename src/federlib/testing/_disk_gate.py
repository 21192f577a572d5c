"""Where everything that is done to a simulated disk passes: counted, watched, made to fail."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import RLock

from federlib.testing._disk_faults import DiskOperation, Fault, OperationKind, ProcessEnded

__all__ = ["Gate", "fail"]

_FAILING = {"no_space": errno.ENOSPC, "io_error": errno.EIO}


def fail(number: int, path: str) -> OSError:
    """Make the error that the operating system would raise."""
    return OSError(number, os.strerror(number), path)


class Gate:
    """Lets one operation through at a time.

    Attributes:
        faults: What will go wrong.
        on_operation: Called before each operation that is no read.
        counts: How many operations there were of each kind.
        lock: Of the disk; held during each operation.
    """

    def __init__(
        self,
        faults: Iterable[Fault],
        on_operation: Callable[[DiskOperation], None] | None,
        lock: RLock,
    ) -> None:
        self.faults: tuple[Fault, ...] = tuple(faults)
        self.on_operation = on_operation
        self.counts: Counter[OperationKind] = Counter()
        self.lock = lock
        self._is_ended = False

    @property
    def operations(self) -> int:
        """How many operations there were that are no reads."""
        return self.counts.total() - self.counts["read"]

    def end(self) -> None:
        """Let nothing through any more."""
        self._is_ended = True

    def check(self) -> None:
        """Raise unless the process still lives."""
        if self._is_ended:
            raise ProcessEnded

    @contextmanager
    def changing(
        self,
        kind: OperationKind,
        path: str,
        data: bytes = b"",
        offset: int = 0,
        *,
        on_failure: Callable[[Fault], None] = lambda _fault: None,
    ) -> Iterator[bool]:
        """Count an operation that changes something, and do what goes wrong around it.

        Yields False where the operation shall do nothing and say 'done'.
        """
        with self.lock:
            self.check()
            if self.on_operation is not None:
                self.on_operation(DiskOperation(self.operations + 1, kind, path, data, offset))
            fault = self._count(kind)
            if fault is not None:
                if fault.kind == "stop":
                    self.end()
                elif fault.kind in _FAILING:
                    on_failure(fault)
                    raise fail(_FAILING[fault.kind], path)
            self.check()
            yield fault is None or fault.kind != "lost_sync"
            if fault is not None and fault.kind == "stop_after":
                self.end()
            self.check()

    def read(self, path: str, data: bytes) -> bytes:
        """Count a read, and return what comes of it."""
        with self.lock:
            self.check()
            fault = self._count("read")
            if fault is not None and fault.kind in _FAILING:
                raise fail(_FAILING[fault.kind], path)
            if fault is None or fault.kind != "flipped_bit" or not data:
                return data
            position = int(len(data) * fault.part)
            return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]

    def _count(self, kind: OperationKind) -> Fault | None:
        self.counts[kind] += 1
        return next((fault for fault in self.faults if self._is_due(fault, kind)), None)

    def _is_due(self, fault: Fault, kind: OperationKind) -> bool:
        if fault.of not in {None, kind} or (fault.of is None and kind == "read"):
            return False
        number = self.operations if fault.of is None else self.counts[kind]
        return fault.at <= number < fault.at + fault.times
