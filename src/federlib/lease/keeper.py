"""`HeldLease`: a lease kept renewed by tasks of an event loop.

Source: design §4, holder's deadline and `hold`.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio
import anyio.lowlevel
from anyio import CancelScope
from anyio.abc import TaskGroup

from federlib._tasks import leave_scope
from federlib.errors import InvalidInput
from federlib.lease.holding import HELD, Holding, OnLoss
from federlib.lease.policy import DEFAULT_POLICY, Jitter, LeasePolicy, no_jitter
from federlib.lease.protocol import Lease, LeaseBackend
from federlib.skewclock import Clock
from federlib.telemetry import Telemetry

__all__ = ["HeldLease"]

_SLICES = 10
_MIN_SLICE_NS = 1_000_000
_NS = 1_000_000_000


class HeldLease(Holding):
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
        policy: When it is renewed, and how patiently.
        jitter: Shortens the pauses between tries to renew.
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
        policy: LeasePolicy = DEFAULT_POLICY,
        jitter: Jitter = no_jitter,
    ) -> None:
        super().__init__(
            backend,
            lease,
            sent_boot_ns=sent_boot_ns,
            clock=clock,
            telemetry=telemetry,
            on_loss=on_loss,
            policy=policy,
            jitter=jitter,
        )
        self._entered_ns = sent_boot_ns
        self._group: TaskGroup | None = None
        self._body = CancelScope()
        self._renewing = CancelScope()
        self._is_renewing = False
        self._left: anyio.Event

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
        self._left = anyio.Event()
        self._state = "kept"
        self._entered_ns = self._clock.boot_ns()
        self._body.__enter__()
        self._telemetry.emit(HELD, 1.0, name=self.name)
        group.start_soon(self._keep)
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
        self._left.set()
        if self._is_renewing:
            # Only then: a cancellation costs as much as all else that is done to leave.
            group.cancel_scope.cancel()
        await group.__aexit__(None, None, None)

    async def _keep(self) -> None:
        """Have it renewed as its policy says, and notice a loss when it happens.

        This task never waits for the backend, so it sees the deadline pass even while a
        renewal hangs or after the machine slept. A lease held for a moment needs no other.
        """
        group = self._group
        assert group is not None
        due_ns = self._entered_ns
        while True:
            now_ns = self._clock.boot_ns()
            self._report_late(due_ns, now_ns)
            if self._left.is_set():
                return
            if self.lost:
                self._end_body()
                return
            if now_ns >= self._renewal_due_ns and not self._is_renewing:
                self._is_renewing, self._renewing = True, CancelScope()
                group.start_soon(self._renew)
            due_ns = now_ns + self._slice_ns(now_ns)
            await self._sleep_until(due_ns)

    def _end_body(self) -> None:
        """Have what needs the lease end."""
        self._renewing.cancel()
        if self._on_loss == "cancel":
            self._body.cancel()

    def _slice_ns(self, now_ns: int) -> int:
        """Say how long to sleep: clocks may jump, so it is never long."""
        ends_ns = [now_ns + self._ttl_ns // _SLICES, self._deadline_ns]
        if not self._is_renewing:
            ends_ns.append(self._renewal_due_ns)
        return max(_MIN_SLICE_NS, min(ends_ns) - now_ns)

    async def _renew(self) -> None:
        """Try until one attempt succeeds or the lease is lost."""
        try:
            with self._renewing:
                for pause_s in self._pauses_s():
                    if self.lost or await self._try_to_renew():
                        return
                    await anyio.sleep(min(pause_s, self.remaining_s()))
        except Exception as error:
            # A keeper that fell would leave a holder that believes: that is a loss.
            self._lose(f"its keeper failed: {error!r}", error)
        finally:
            self._is_renewing = False

    async def _sleep_until(self, boot_ns: int) -> None:
        """Sleep, unless the body is left meanwhile."""
        with anyio.move_on_after(max(0, boot_ns - self._clock.boot_ns()) / _NS):
            await self._left.wait()
