"""Runs claims in the event loop: as many tasks at once as there are claims, no more than needed.

A task for every claim would be simpler, and for short tasks most of the time would go into
making and ending them. Hence runners that take one claim after another. What a handler must
not notice is that it shares a runner: one that leaves context variables behind, or cancels
its own task, is the last that its runner ran.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from federlib.dag.records import Claim

__all__ = ["Executor"]

_BREATH_NS = 5_000_000
"""Claims that never wait are run one after another this long before others have a turn."""

_Key = tuple[int, int]


class Executor:
    """Runs claims; each can be stopped.

    Args:
        group: Where the runners live; ending it ends them.
        perform: Does one claim. Returns whether the runner is as it was before.
        failed: Hears of an exception that left `perform`.
        clock_ns: A monotonic clock; nanoseconds.
    """

    def __init__(
        self,
        group: TaskGroup,
        *,
        perform: Callable[[Claim], Awaitable[bool]],
        failed: Callable[[Claim, Exception], None],
        clock_ns: Callable[[], int],
    ) -> None:
        self._group = group
        self._perform = perform
        self._failed = failed
        self._clock_ns = clock_ns
        self._queue: deque[Claim] = deque()
        self._dropped: set[_Key] = set()
        self._scopes: dict[_Key, anyio.CancelScope] = {}
        self._resting: list[anyio.Event] = []
        self._is_summoned = False
        self._context = copy_context()
        self._breath: anyio.Event | None = None
        self._began_ns = clock_ns()

    def start(self, claim: Claim) -> None:
        """Run a claim as soon as the event loop comes to it."""
        self._queue.append(claim)
        self._summon()

    def stop(self, node: int, attempt: int) -> None:
        """Cancel a claim that runs; one that has not begun never will. Unknown ones are none."""
        running = self._scopes.get((node, attempt))
        if running is not None:
            running.cancel()
        elif any((claim.node, claim.attempt) == (node, attempt) for claim in self._queue):
            self._dropped.add((node, attempt))

    def _summon(self) -> None:
        """Have one runner come; on its way in it summons the next one if there is more."""
        if self._is_summoned:
            return
        self._is_summoned = True
        if self._resting:
            self._resting.pop().set()
        else:
            # A copy, because what runs in a context at the same time must not be one object.
            _ = self._context.copy().run(self._group.start_soon, self._run)

    async def _run(self) -> None:
        """Take one claim after another until one leaves something behind."""
        claim: Claim | None = None
        try:
            with anyio.CancelScope() as scope:
                self._is_summoned = False
                is_clean = True
                while is_clean and not scope.cancel_called:
                    claim = self._next()
                    if claim is None:
                        await self._rest()
                        self._began_ns = self._clock_ns()
                        continue
                    is_clean = await self._attempt(claim, scope)
                    while self._clock_ns() - self._began_ns > _BREATH_NS:
                        await self._breathe()
        except Exception as error:
            assert claim is not None
            self._failed(claim, error)
        if self._queue:
            self._summon()

    async def _breathe(self) -> None:
        """Let others have a turn: all runners together, or one would go on after another."""
        if self._breath is not None:
            await self._breath.wait()
            return
        self._breath = breath = anyio.Event()
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            self._breath = None
            self._began_ns = self._clock_ns()
            breath.set()

    def _next(self) -> Claim | None:
        while self._queue:
            claim = self._queue.popleft()
            if not self._dropped or (claim.node, claim.attempt) not in self._dropped:
                if self._queue:
                    self._summon()
                return claim
            self._dropped.remove((claim.node, claim.attempt))
        return None

    async def _rest(self) -> None:
        summons = anyio.Event()
        self._resting.append(summons)
        await summons.wait()
        self._is_summoned = False

    async def _attempt(self, claim: Claim, scope: anyio.CancelScope) -> bool:
        """Do one claim; say whether the runner is as it was before."""
        key = (claim.node, claim.attempt)
        context = copy_context()
        self._scopes[key] = scope
        try:
            is_clean = await self._perform(claim)
        finally:
            del self._scopes[key]
        return is_clean and copy_context() == context
