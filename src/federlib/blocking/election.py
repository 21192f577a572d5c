"""`Seat`: a place in an election, for threads.

Source: design §5, leadership.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError, Future

from federlib._pace import ThreadPace
from federlib.blocking._portal import Portal, wait_for
from federlib.errors import Fenced
from federlib.leadership import Elector, LeaderState

__all__ = ["Seat"]


class Seat:
    """One process's seat in an election: leader, follower or observer. Thread-safe.

    Made by `Federation.elect`; leaving that `with` steps down.
    """

    def __init__(self, elector: Elector, portal: Portal, pace: ThreadPace) -> None:
        """Wrap an elector that runs in the portal's loop."""
        self._elector = elector
        self._portal = portal
        self._pace = pace
        self._mutex = threading.Lock()
        self._awaited: set[Future[LeaderState]] = set()
        self._is_over = False

    @property
    def name(self) -> str:
        """The election."""
        return self._elector.name

    @property
    def holder_id(self) -> str:
        """Who we are."""
        return self._elector.holder_id

    @property
    def state(self) -> LeaderState:
        """The present state; for decisions with effects use `check`."""
        return self._elector.state

    def check(self, epoch: int | None = None) -> int:
        """Return our epoch if we lead at this instant; call it before each effect.

        Args:
            epoch: The reign in which the effect was decided: one that was lost and has come
                back under another epoch is refused, too.
        Raises:
            NotLeader: We do not lead.
            LeaseLost: We led, and the lease's deadline has passed; or this is a fork.
            Fenced: We lead under another epoch.
        """
        present = self._elector.check()
        if epoch is not None and epoch != present:
            raise Fenced(
                f"election {self.name!r}", reason=f"decided in epoch {epoch}, now it is {present}"
            )
        return present

    def changes(self) -> Iterator[LeaderState]:
        """Stream states: the present one first, then each change, in order.

        It ends when the seat is left. One that falls more than 64 changes behind misses the
        oldest of them; the newest is never missed.

        Raises:
            Unavailable: The federation was closed.
        """

        async def listen() -> AsyncIterator[LeaderState]:
            return self._elector.changes()

        listener = self._portal.call(listen)
        while (state := self._next(listener)) is not None:
            yield state

    def _next(self, listener: AsyncIterator[LeaderState]) -> LeaderState | None:
        async def listen() -> LeaderState:
            return await anext(listener)

        with self._mutex:
            if self._is_over:
                return None
            future = self._portal.start(listen)
            self._awaited.add(future)
        try:
            return wait_for(future, self._pace)
        except CancelledError:
            # The seat was left, in another thread.
            return None
        finally:
            with self._mutex:
                self._awaited.discard(future)

    def leave(self) -> None:
        """End every stream of changes; the `with` of `Federation.elect` does it."""
        with self._mutex:
            self._is_over = True
            awaited = list(self._awaited)
        for future in awaited:
            future.cancel()

    def lead(self, work: Callable[[int], object]) -> None:
        """Run `work(epoch)` whenever we lead; return when it returns.

        It is not interrupted when leadership is lost. Have it call `check(epoch)` before
        each effect: the `Fenced` that comes out of it then ends this reign, and it is run
        again, with the new epoch, when leadership comes back. Its other exceptions come out
        unchanged, and so does a `Fenced` while that reign lasts.
        """
        for state in self.changes():
            if state.role != "leader":
                continue
            try:
                work(state.epoch)
            except Fenced:
                if self._leads(state.epoch):
                    raise
                continue
            return

    def _leads(self, epoch: int) -> bool:
        try:
            return self.check() == epoch
        except Fenced:
            return False

    def resign(self) -> None:
        """Step down, if we lead, and stand at the end of the queue again."""

        async def resign() -> None:
            self._elector.resign()

        self._portal.call(resign)
