"""`HeldLease`: a lease kept renewed, that knows by itself when it is lost.

The holder's deadline rests on its own boot clock: the instant before the last successful
request left, plus 0.9 ttl. Rivals wait for the whole ttl, so a holder that obeys its
deadline is gone before anybody may follow; the tenth between is for clocks of unequal rate.

Source: design §4, holder's deadline and `hold`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

import anyio
import anyio.lowlevel
from anyio import CancelScope
from anyio.abc import TaskGroup

from federlib._tasks import leave_scope
from federlib.errors import FederlibError, InvalidInput, LeaseLost, OutcomeUnknown, Unavailable
from federlib.lease.protocol import Lease, LeaseBackend, NotHeld
from federlib.skewclock import Clock
from federlib.telemetry import Metric, Telemetry

__all__ = [
    "BLOCKED",
    "CLOSE_TIMEOUT_S",
    "DEADLINE_SHARE",
    "HELD",
    "HeldLease",
    "OnLoss",
    "deadline_ns",
]

OnLoss = Literal["cancel", "mark"]

DEADLINE_SHARE = 0.9
"""The holder stops this far into the ttl."""

CLOSE_TIMEOUT_S = 5.0
"""How long a release, or leaving the queue, may take; seconds."""

_RENEW_SHARE = 3
_SLICES = 10
_MIN_SLICE_NS = 1_000_000
_NS = 1_000_000_000

HELD = Metric(
    "chronowatch_lease_held_gauge", "gauge", "1 while this process holds the lease.", ("name",)
)
BLOCKED = Metric(
    "federlib_event_loop_blocked_total",
    "counter",
    "Wake-ups of a lease's keeper that came late by a third of its ttl or more.",
)


def deadline_ns(sent_boot_ns: int, ttl_ms: int) -> int:
    """Return when a holder must stop, if a request that left at `sent_boot_ns` succeeded."""
    return sent_boot_ns + round(ttl_ms * 1_000_000 * DEADLINE_SHARE)


class HeldLease:
    """A lease that this process holds; an async context manager that keeps it.

    Entering starts the renewal, leaving stops it and releases. `check` may be called from
    any thread; everything else belongs to the task that entered.

    Args:
        backend: Where the lease is.
        lease: As granted.
        sent_boot_ns: The boot clock before the granting request left.
        clock: The clocks of this process.
        telemetry: Where losses and renewals are told.
        on_loss: ``cancel`` the body and raise `LeaseLost` at its end, or only ``mark``.
    """

    def __init__(
        self,
        backend: LeaseBackend,
        lease: Lease,
        *,
        sent_boot_ns: int,
        clock: Clock,
        telemetry: Telemetry,
        on_loss: OnLoss = "cancel",
    ) -> None:
        self._backend = backend
        self._lease = lease
        self._clock = clock
        self._telemetry = telemetry
        self._on_loss = on_loss
        self._deadline_ns = deadline_ns(sent_boot_ns, lease.ttl_ms)
        self._sent_ns = sent_boot_ns
        self._entered_ns = sent_boot_ns
        self._pid = os.getpid()
        self._reason: str | None = None
        self._cause: BaseException | None = None
        self._state: Literal["new", "kept", "ended"] = "new"
        self._group: TaskGroup | None = None
        self._body = CancelScope()
        self._renewing = CancelScope()

    def __repr__(self) -> str:
        return f"<HeldLease {self.name!r} token={self.token} lost={self.lost}>"

    @property
    def name(self) -> str:
        """The leased name."""
        return self._lease.name

    @property
    def holder_id(self) -> str:
        """Who holds it: us."""
        return self._lease.holder_id

    @property
    def token(self) -> int:
        """The fencing token: pass it to the resource with every effect."""
        return self._lease.fencing_token

    @property
    def ttl_s(self) -> float:
        """Time to live; seconds."""
        return self._lease.ttl_ms / 1_000

    @property
    def lease(self) -> Lease:
        """The lease as last renewed."""
        return self._lease

    @property
    def lost(self) -> bool:
        """Whether it is lost, ended or not ours (after a fork); never false again."""
        return self._find_loss() is not None

    def remaining_s(self) -> float:
        """Return how long we may still act on it if no renewal succeeds; seconds, 0 if lost."""
        if self.lost:
            return 0.0
        return max(0.0, (self._deadline_ns - self._clock.boot_ns()) / _NS)

    def check(self) -> None:
        """Raise unless the lease is ours right now; call it before each effect.

        Raises:
            LeaseLost: It was lost, its deadline has passed, it was released, or this
                process is a fork of the holder.
        """
        reason = self._find_loss()
        if reason is not None:
            raise self._lost_error(reason)

    def _find_loss(self) -> str | None:
        if os.getpid() != self._pid:
            return "this process is a fork of the holder"
        if self._reason is None and self._clock.boot_ns() >= self._deadline_ns:
            self._lose(f"not renewed within {DEADLINE_SHARE:g} of its ttl ({self.ttl_s:g} s)")
        return self._reason

    def _lost_error(self, reason: str) -> LeaseLost:
        error = LeaseLost(self.name, token=self.token, reason=reason)
        error.__cause__ = self._cause
        return error

    def _lose(self, reason: str, cause: BaseException | None = None) -> None:
        if self._reason is not None:
            return
        self._reason = reason
        self._cause = cause or self._cause
        if self._state == "kept":
            self._telemetry.emit(HELD, 0.0, name=self.name)
        self._log("warning", "lease_lost", reason=reason)

    def _log(
        self, level: Literal["debug", "info", "warning"], event: str, **more: str | float
    ) -> None:
        lease = self._lease
        self._telemetry.log(
            level,
            event,
            lease_name=lease.name,
            holder_id=lease.holder_id,
            token=lease.fencing_token,
            **more,
        )

    async def __aenter__(self) -> Self:
        """Start to keep the lease renewed.

        Raises:
            LeaseLost: It was lost before it was entered.
            InvalidInput: It was entered before.
        """
        if self._state != "new":
            raise InvalidInput("lease", expected="entered once", found=self._state)
        self.check()
        group = anyio.create_task_group()
        await group.__aenter__()
        self._group = group
        self._state = "kept"
        self._entered_ns = self._clock.boot_ns()
        self._body.__enter__()
        self._telemetry.emit(HELD, 1.0, name=self.name)
        group.start_soon(self._keep)
        group.start_soon(self._guard_deadline)
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        """Stop keeping it and release it, shielded, within `CLOSE_TIMEOUT_S`.

        The body's own exception goes on as it is. A cancellation from outside wins over
        the loss of the lease.

        Raises:
            LeaseLost: It was lost, and `on_loss` is ``cancel``.
        """
        reason = self._find_loss()
        left = leave_scope(self._body, error)
        try:
            await self._stop_keeping()
        finally:
            if reason is None:
                await self._release()
            self._state = "ended"
        if left is not None and left is error:
            return False
        if left is not None:
            raise left
        if reason is not None and self._on_loss == "cancel":
            # Trio's scopes swallow any Cancelled: ask whether an outer one is meant too.
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise self._lost_error(reason)
        return error is not None

    async def _stop_keeping(self) -> None:
        group = self._group
        assert group is not None
        # The group never sees the body's exception, or it would wrap it.
        group.cancel_scope.shield = True
        group.cancel_scope.cancel()
        await group.__aexit__(None, None, None)

    async def _keep(self) -> None:
        """Renew every third of the ttl, until the lease is lost."""
        with self._renewing:
            try:
                while not self.lost:
                    await self._sleep_until(self._sent_ns + self._ttl_ns // _RENEW_SHARE)
                    await self._renew()
            except Exception as error:
                # A keeper that fell would leave a holder that believes: that is a loss.
                self._lose(f"its keeper failed: {error!r}", error)

    async def _guard_deadline(self) -> None:
        """Notice a loss when it happens, even while a renewal hangs or the machine slept."""
        due_ns = self._entered_ns
        while True:
            now_ns = self._clock.boot_ns()
            if now_ns - due_ns >= self._ttl_ns // _RENEW_SHARE:
                self._telemetry.emit(BLOCKED)
                self._log("warning", "event_loop_blocked", late_s=(now_ns - due_ns) / _NS)
            if self.lost:
                break
            left_ns = max(_MIN_SLICE_NS, self._deadline_ns - now_ns)
            due_ns = now_ns + min(self._ttl_ns // _SLICES, left_ns)
            await self._sleep_until(due_ns)
        self._renewing.cancel()
        if self._on_loss == "cancel":
            self._body.cancel()

    async def _renew(self) -> None:
        """Try until one attempt succeeds or the lease is lost."""
        pause_s = self.ttl_s / 50
        while not self.lost:
            sent_ns = self._clock.boot_ns()
            try:
                # One attempt may hang; the next should still find time.
                with anyio.move_on_after(self.ttl_s / _RENEW_SHARE):
                    self._settle(await self._backend.renew(self._lease), sent_ns)
                    return
            except FederlibError as error:
                self._cause = error
                self._log("warning", "lease_renewal_failed", reason=str(error))
            await anyio.sleep(min(pause_s, self.remaining_s()))
            pause_s = min(2 * pause_s, self.ttl_s / 10)

    def _settle(self, outcome: Lease | NotHeld, sent_ns: int) -> None:
        if isinstance(outcome, NotHeld):
            by = f"; {outcome.holder} holds it" if outcome.holder is not None else ""
            self._lose(f"the backend says that it is no longer held{by}")
            return
        self._lease = outcome
        self._sent_ns = sent_ns
        self._deadline_ns = deadline_ns(sent_ns, outcome.ttl_ms)
        self._cause = None
        self._log("debug", "lease_renewed")

    async def _release(self) -> None:
        released = False
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            pause_s = 0.02
            # Beyond its deadline the lease frees itself.
            while not released and self._clock.boot_ns() < self._deadline_ns:
                with suppress(Unavailable, OutcomeUnknown):
                    await self._backend.release(self._lease)
                    released = True
                    break
                await anyio.sleep(pause_s)
                pause_s *= 2
        self._reason = "it was released" if released else "it was given up"
        self._telemetry.emit(HELD, 0.0, name=self.name)
        self._log("info", "lease_released" if released else "lease_release_failed")

    @property
    def _ttl_ns(self) -> int:
        return self._lease.ttl_ms * 1_000_000

    async def _sleep_until(self, boot_ns: int) -> None:
        await anyio.sleep(max(0, boot_ns - self._clock.boot_ns()) / _NS)
