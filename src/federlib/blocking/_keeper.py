"""`Keeper`: one daemon thread that keeps all leases of a federation renewed."""

from __future__ import annotations

import math
import threading
from typing import Protocol

from federlib._pace import Bell
from federlib.blocking._rota import Rota
from federlib.skewclock import Clock

__all__ = ["Keeper", "Kept"]

_NS = 1_000_000_000


class Kept(Protocol):
    """What the keeper looks after."""

    def __hash__(self) -> int: ...

    def tend(self, due_ns: int) -> int | None:
        """Do what is due; return when to come again on the boot clock, None for never."""
        ...


class Keeper:
    """Tends whatever is given to it, in a thread that starts with the first of them.

    Args:
        clock: Its boot clock says when.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mutex = threading.Lock()
        self._rota: Rota[Kept] = Rota()
        self._away: set[Kept] = set()
        self._bell = Bell()
        # When it wakes by itself, even if what it was to do is gone by then: leases that are
        # held for a moment each come and go without waking it for every one of them.
        self._wakes_ns = math.inf
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def keep(self, item: Kept, due_ns: int) -> None:
        """Tend it from now on, first at `due_ns`."""
        with self._mutex:
            self._rota.put(item, due_ns)
            is_early = due_ns < self._wakes_ns
            self._wakes_ns = min(due_ns, self._wakes_ns)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="federlib-keeper", daemon=True
                )
                self._thread.start()
        if is_early:
            self._bell.ring()

    def drop(self, item: Kept) -> None:
        """Tend it no more."""
        with self._mutex:
            self._rota.drop(item)
            self._away.discard(item)

    def stop(self, patience_s: float) -> None:
        """End the thread, and wait for it at most so long."""
        self._is_stopping = True
        self._bell.ring()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(patience_s)

    def _run(self) -> None:
        while not self._is_stopping:
            with self._mutex:
                due = self._rota.take_due(self._clock.boot_ns())
                self._away.update(item for item, _ in due)
            for item, due_ns in due:
                if self._is_stopping:
                    return
                self._tend(item, due_ns)
            rest_ns = self._choose_rest()
            if rest_ns > 0:
                self._bell.wait(rest_ns / _NS)

    def _choose_rest(self) -> float:
        with self._mutex:
            now_ns = self._clock.boot_ns()
            next_ns = self._rota.next_ns()
            until_ns = math.inf if next_ns is None else next_ns
            is_past = self._wakes_ns <= now_ns
            self._wakes_ns = until_ns if is_past else min(until_ns, self._wakes_ns)
            return self._wakes_ns - now_ns

    def _tend(self, item: Kept, due_ns: int) -> None:
        again_ns = item.tend(due_ns)
        with self._mutex:
            # It may have been dropped meanwhile.
            if item in self._away:
                self._away.discard(item)
                if again_ns is not None:
                    self._rota.put(item, again_ns)
