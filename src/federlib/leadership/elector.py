"""`Elector`: takes part in one election, and tells what became of it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from weakref import WeakKeyDictionary

import anyio
import anyio.lowlevel

from federlib._tasks import open_task_group
from federlib.errors import LeaseLost, NotLeader, OutcomeUnknown, StaleToken, Unavailable
from federlib.leadership.election import (
    Event,
    Granted,
    LeaderState,
    Lost,
    Reached,
    Unreachable,
    next_state,
)
from federlib.lease import HeldLease, LeaseBackend
from federlib.skewclock import Clock
from federlib.telemetry import SILENT, Metric, Telemetry

__all__ = ["Elector"]

LEADER_CHANGES = Metric(
    "federlib_leader_changes_total",
    "counter",
    "Changes of this process's role in an election.",
    ("name", "role"),
)
LEADER_EPOCH = Metric(
    "federlib_leader_epoch", "gauge", "Highest epoch heard of in an election.", ("name",)
)

_BACKOFF_S = (0.1, 2.0)
_KEPT_CHANGES = 64

Hold = Callable[[str], AbstractAsyncContextManager[HeldLease]]

Admit = Callable[[int], Awaitable[None]]
"""Makes every lower epoch be refused from now on, for example `FenceGuard.admit`."""


class Elector:
    """One process's seat in an election: leader, follower or observer.

    The epoch is the fencing token of the lease that the leader holds. While the backend is
    away, followers become observers and the leader stays until its lease's deadline, which
    lies before the instant at which a rival may take over. Roles return by themselves.

    Not thread-safe; belongs to one event loop.

    Args:
        name: The election, and the name of its lease.
        backend: Where the lease is.
        hold: Holds the lease of a name, waiting in its queue for as long as it takes.
        holder_id: Who we are.
        clock: For `LeaderState.since_ns`.
        admit: Raises the fence of the election to a new epoch. Awaited before anybody hears
            that we lead, so that what the old leader still tries is refused from then on.
        telemetry: Where changes are told.
    """

    def __init__(
        self,
        name: str,
        *,
        backend: LeaseBackend,
        hold: Hold,
        holder_id: str,
        clock: Clock,
        admit: Admit | None = None,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self.name = name
        self.holder_id = holder_id
        self._backend = backend
        self._hold = hold
        self._clock = clock
        self._admit = admit
        self._telemetry = telemetry
        self._state = LeaderState(name=name, since_ns=clock.wall_ns())
        # In order: a set would be gone through in the order of addresses.
        self._listeners: WeakKeyDictionary[_Listener, None] = WeakKeyDictionary()
        self._lease: HeldLease | None = None
        self._resigned = anyio.Event()

    @property
    def state(self) -> LeaderState:
        """The present state; for decisions with effects use `check`."""
        return self._state

    def check(self) -> int:
        """Return our epoch if we lead at this instant; call it before each effect.

        Raises:
            NotLeader: We do not lead.
            LeaseLost: We led, and the lease's deadline has passed.
        """
        lease = self._lease
        if lease is None:
            raise NotLeader(self.name, role=self._state.role, leader=self._state.leader)
        lease.check()
        return lease.token

    def changes(self) -> AsyncIterator[LeaderState]:
        """Stream states: the present one first, then each change, in order; it never ends.

        A consumer that falls more than 64 changes behind misses the oldest of them; the
        newest is never missed. Leaving the loop early needs no closing.
        """
        listener = _Listener(self._state)
        self._listeners[listener] = None
        return listener

    async def lead(self, work: Callable[[int], Awaitable[None]]) -> None:
        """Run `work(epoch)` whenever we lead; return when it returns.

        It is cancelled when leadership is lost and starts again, with the new epoch, when
        it comes back. Its own exception comes out unchanged.
        """
        outcome: list[BaseException | None] = []

        async def reign(epoch: int, scope: anyio.CancelScope, ended: anyio.Event) -> None:
            try:
                with scope:
                    # Lost again before it began: not even its first step is to happen.
                    await anyio.lowlevel.checkpoint_if_cancelled()
                    await work(epoch)
                    outcome.append(None)
            except Exception as error:
                outcome.append(error)
            finally:
                ended.set()
            if outcome:
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            epoch, scope, ended = 0, anyio.CancelScope(), anyio.Event()
            ended.set()
            async for state in self.changes():
                if state.role == "leader" and state.epoch == epoch:
                    continue
                scope.cancel()
                await ended.wait()
                epoch = 0
                if state.role == "leader":
                    epoch, scope, ended = state.epoch, anyio.CancelScope(), anyio.Event()
                    group.start_soon(reign, epoch, scope, ended)
        if outcome and outcome[0] is not None:
            raise outcome[0]

    def resign(self) -> None:
        """Step down, if we lead, and stand at the end of the queue again."""
        self._resigned.set()

    async def run(self) -> None:
        """Take part until cancelled; then step down."""
        backoff_s = _BACKOFF_S[0]
        while True:
            led = False
            try:
                async with open_task_group() as group:
                    group.start_soon(self._observe)
                    led = await self._stand()
                    group.cancel_scope.cancel()
            except (Unavailable, OutcomeUnknown) as error:
                self._move(Unreachable(str(error)))
            if led:
                backoff_s = _BACKOFF_S[0]
            else:
                await anyio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, _BACKOFF_S[1])

    async def _stand(self) -> bool:
        """Hold the lease once, from waiting for it to its end; say whether we led."""
        try:
            async with self._hold(self.name) as lease:
                if self._admit is not None:
                    await self._admit(lease.token)
                await self._reign(lease)
        except LeaseLost as lost:
            self._move(Lost(lost.reason))
        except StaleToken as stale:
            # The fence is ahead of our lease, as after a restored backup: each grant is
            # higher than the last, so trying again closes the gap.
            self._telemetry.log("error", "leader_below_fence", name=self.name, reason=str(stale))
            return False
        return True

    async def _reign(self, lease: HeldLease) -> None:
        self._lease = lease
        self._resigned = anyio.Event()
        try:
            self._move(Granted(lease.token, self.holder_id))
            await self._resigned.wait()
        finally:
            self._lease = None
            # Told before the lease is released, which takes long while the store is away.
            self._move(Lost(self._why_it_ended(lease)))

    def _why_it_ended(self, lease: HeldLease) -> str:
        try:
            lease.check()
        except LeaseLost as lost:
            return lost.reason
        return "resigned" if self._resigned.is_set() else "stopped"

    async def _observe(self) -> None:
        """Follow who leads; while we do not, a store that is away makes us an observer."""
        while True:
            try:
                async with self._backend.watch(self.name) as states:
                    async for seen in states:
                        live = seen.lease if seen.lease is not None and seen.is_live else None
                        leader = live.holder_id if live is not None else None
                        self._move(Reached(leader, seen.fencing_token))
            except (Unavailable, OutcomeUnknown) as error:
                # The leader's own keeper judges its lease; only a follower gives up here.
                if self._lease is None:
                    self._move(Unreachable(str(error)))
                await anyio.sleep(_BACKOFF_S[0])

    def _move(self, event: Event) -> None:
        before, self._state = (
            self._state,
            next_state(self._state, event, now_ns=self._clock.wall_ns()),
        )
        if self._state == before:
            return
        self._telemetry.emit(LEADER_EPOCH, self._state.epoch, name=self.name)
        if self._state.role != before.role:
            self._telemetry.emit(LEADER_CHANGES, name=self.name, role=self._state.role)
            self._telemetry.log(
                "info",
                "leader_role_changed",
                name=self.name,
                role=self._state.role,
                epoch=self._state.epoch,
                holder_id=self.holder_id,
                reason=self._state.reason,
            )
        for listener in tuple(self._listeners):
            listener.put(self._state)


class _Listener:
    """One consumer of the changes; forgotten with its last reference."""

    def __init__(self, first: LeaderState) -> None:
        self._states = deque([first], maxlen=_KEPT_CHANGES)
        self._ready = anyio.Event()

    def put(self, state: LeaderState) -> None:
        self._states.append(state)
        self._ready.set()

    def __aiter__(self) -> _Listener:
        return self

    async def __anext__(self) -> LeaderState:
        while not self._states:
            self._ready = anyio.Event()
            await self._ready.wait()
        await anyio.lowlevel.checkpoint()
        return self._states.popleft()
