"""`Loop`: the async federation behind a blocking one.

Elections, workers of a run, consumers of commands and entries of the registry have several
things to wait for at once. They run as they are, on an event loop in a thread of its own, on
the same store and under the same identity.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from functools import partial
from typing import TypeVar

from federlib._pace import ThreadPace
from federlib._parts import Setup
from federlib.blocking._caller import Caller
from federlib.blocking._portal import Portal, wait_for
from federlib.federation import Federation, open_federation
from federlib.identity import ClaimedIdentity
from federlib.lease.environment import NamedLeases
from federlib.storage import RecordStore

__all__ = ["Loop"]

_T = TypeVar("_T")


class Loop:
    """Opens the async federation when something first needs it. Thread-safe.

    Args:
        portal: Where it runs.
        store: The store as event loops use it; borrowed.
        leases: The lease backend as event loops use it; None for the store's own.
        identity: Claims who we are, in the calling thread.
        setup: As the blocking federation was built with.
        caller: Says whether verbs may be used.
        pace: Ends the waits when the federation is closed.
        close_timeout_s: Bounds each step of closing; seconds.
    """

    def __init__(
        self,
        portal: Portal,
        store: RecordStore,
        *,
        leases: NamedLeases | None,
        identity: Callable[[], ClaimedIdentity],
        setup: Setup,
        caller: Caller,
        pace: ThreadPace,
        close_timeout_s: float,
    ) -> None:
        self.portal = portal
        self._store = store
        self._leases = leases
        self._identity = identity
        self._setup = setup
        self._caller = caller
        self._pace = pace
        self._close_timeout_s = close_timeout_s
        self._mutex = threading.Lock()
        self._stack = ExitStack()
        self._federation: Federation | None = None

    def _open(self) -> Federation:
        self._caller.check()
        identity = self._identity()
        with self._mutex:
            if self._federation is None:
                opening = partial(
                    open_federation,
                    self._store,
                    leases=self._leases,
                    identity=identity,
                    setup=self._setup,
                    close_timeout_s=self._close_timeout_s,
                )
                self._federation = self._stack.enter_context(self.portal.entered(opening))
            return self._federation

    def run(self, work: Callable[[Federation], Awaitable[_T]]) -> _T:
        """Run a task to its end, or until the federation is closed or Ctrl-C strikes.

        Raises:
            Unavailable: The federation was closed.
        """
        fed = self._open()
        return wait_for(self.portal.start(lambda: work(fed)), self._pace)

    @contextmanager
    def entered(
        self, manager: Callable[[Federation], AbstractAsyncContextManager[_T]]
    ) -> Iterator[_T]:
        """Keep something of the async federation entered during the block."""
        fed = self._open()
        with self.portal.entered(lambda: manager(fed)) as entered:
            yield entered

    def close(self) -> None:
        """Step down from every election, and close the async federation."""
        with self._mutex:
            self._stack.close()
