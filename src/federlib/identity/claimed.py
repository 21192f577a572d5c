"""`ClaimedIdentity`: one life of a worker, as long as this process holds its lock."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from federlib.errors import Fenced
from federlib.identity._process_lock import ProcessLock
from federlib.identity.records import WorkerIdentity

__all__ = ["ClaimedIdentity"]


class ClaimedIdentity:
    """An identity that this process has, and no other.

    Made by `IdentityStore.claim`. Leaving the `with` releases it. Forgetting the object does
    not: the identity then stays taken until the process ends, since its text may still be
    in use. Thread-safe.

    Attributes:
        identity: Host and number.
        incarnation: Which life of it this is; higher at every claim, across crashes.
        claims: Counts from 1 whatever this life claims; all who use the identity share it, so
            that no two claims get one number.
    """

    __slots__ = ("_lock", "_pid", "_released", "claims", "identity", "incarnation")

    def __init__(self, identity: WorkerIdentity, incarnation: int, lock: ProcessLock) -> None:
        self.identity: WorkerIdentity = identity
        self.incarnation: int = incarnation
        self.claims: Iterator[int] = itertools.count(1)
        self._lock = lock
        self._pid = os.getpid()
        self._released = False

    @property
    def worker_id(self) -> str:
        """The text form ``host_uuid:worker_seq``: the key in registries and leases."""
        return str(self.identity)

    @property
    def host_id(self) -> str:
        """The host's UUID, by which workers are grouped."""
        return self.identity.host_id

    def check(self) -> None:
        """Return if this process still has the identity; costs two `stat` calls.

        Raises:
            Fenced: It was released, a fork separated us from the process that has it, or
                its lock file was removed or replaced, so that another may have it too.
        """
        if self._pid != os.getpid():
            reason = f"process {self._pid} claimed it, and this is a fork of that process"
        elif self._released:
            reason = "it was released"
        elif not self._lock.is_in_place():
            reason = "its lock file was removed or replaced"
        else:
            return
        raise Fenced(f"worker identity {self.worker_id}", reason=reason)

    def release(self) -> None:
        """Let another process have it; a second call, or one in a forked child, does nothing."""
        if self._pid == os.getpid():
            self._released = True
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<ClaimedIdentity {self.worker_id} incarnation {self.incarnation}>"
