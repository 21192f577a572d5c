"""Waiting for a lease: stand in line, be woken, and leave no trace if it comes to nothing."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Literal

from federlib._pace import LOOP, Pace
from federlib.errors import (
    FederlibError,
    InvalidInput,
    LeaseBusy,
    OutcomeUnknown,
    StoreDenied,
    Unavailable,
)
from federlib.lease.holding import CLOSE_TIMEOUT_S, counted_from_ns, deadline_ns
from federlib.lease.policy import DEFAULT_POLICY, Jitter, LeasePolicy, no_jitter
from federlib.lease.protocol import Busy, Holder, Lease, LeaseBackend
from federlib.lease.settings import check_ttl
from federlib.skewclock import Clock
from federlib.telemetry import Metric, Telemetry

__all__ = ["ACQUIRE", "Line", "check_on_loss", "check_wait"]

ACQUIRE = Metric(
    "chronowatch_lease_acquire_total",
    "counter",
    "Ends of attempts to get a lease: acquired, busy, cancelled or failed.",
    ("result",),
)

Result = Literal["acquired", "busy", "cancelled", "failed"]

_MIN_PAUSE_S = 0.05


class Line:
    """One holder's attempts at one lease.

    Raises:
        InvalidInput: A ttl that cannot be.

    Attributes:
        busy: The last answer that was a refusal.
        error: Why the last attempt got no answer, or None where it got one.
        sent_boot_ns: The boot clock before the last request left.
    """

    def __init__(
        self,
        backend: LeaseBackend,
        name: str,
        holder: Holder,
        *,
        ttl_s: float,
        clock: Clock,
        telemetry: Telemetry,
        pace: Pace = LOOP,
        policy: LeasePolicy = DEFAULT_POLICY,
        jitter: Jitter = no_jitter,
    ) -> None:
        check_ttl(ttl_s)
        self.busy: Busy | None = None
        self.error: FederlibError | None = None
        self.sent_boot_ns: int = 0
        self._backend = backend
        self._name = name
        self._holder = holder
        self._ttl_s = ttl_s
        self._clock = clock
        self._telemetry = telemetry
        self._pace = pace
        self._policy = policy
        self._jitter = jitter
        self._pauses_s = policy.acquire_pauses_s()
        self._may_leave_traces = False

    async def acquire(self, wait_s: float | None) -> Lease:
        """Get the lease, waiting in its queue for up to `wait_s`; leave no trace if not.

        Raises:
            LeaseBusy: Not acquired in time.
            Unavailable: The backend gave no answer in time.
            OutcomeUnknown: As above, and a request had left.
        """
        result: Result = "failed"
        try:
            lease = await self._ask_or_wait(wait_s)
            result = "busy" if lease is None else "acquired"
        except Exception:
            raise
        except BaseException:
            result = "cancelled"
            raise
        finally:
            self._telemetry.emit(ACQUIRE, result=result)
            if result != "acquired":
                await self.leave()
        if lease is not None:
            return lease
        if self.error is not None:
            raise self.error
        holder = self.busy.holder if self.busy is not None else None
        raise LeaseBusy(self._name, holder=holder, wait_s=wait_s or 0.0)

    async def _ask_or_wait(self, wait_s: float | None) -> Lease | None:
        if wait_s == 0:
            answer = await self.ask(queue=False)
            return answer if isinstance(answer, Lease) else None
        if wait_s is None:
            return await self.wait()
        with self._pace.limit(wait_s):
            return await self.wait()
        return None

    async def try_once(self) -> Lease | Busy:
        """Ask once, without queueing; what may have been got unheard is given back.

        Raises:
            Unavailable: The backend cannot be reached.
            OutcomeUnknown: The request left and no answer came.
        """
        result: Result = "failed"
        try:
            answer = await self.ask(queue=False)
            result = "acquired" if isinstance(answer, Lease) else "busy"
            return answer
        except Exception:
            raise
        except BaseException:
            result = "cancelled"
            raise
        finally:
            self._telemetry.emit(ACQUIRE, result=result)
            if result in {"failed", "cancelled"}:
                await self.leave()

    async def ask(self, *, queue: bool) -> Lease | Busy:
        """Ask once; a backend that does not answer in time raises.

        What it may have granted is ours all the same: asking again gets it.
        """
        limit_s = self._policy.acquire_limit_s(self._ttl_s)
        answer: Lease | Busy | None = None
        self.sent_boot_ns = self._clock.boot_ns()
        had_traces, self._may_leave_traces = self._may_leave_traces, True
        try:
            with self._pace.limit(limit_s):
                answer = await self._backend.acquire(
                    self._name, self._holder, ttl_s=self._ttl_s, queue=queue
                )
        except InvalidInput:
            self._may_leave_traces = had_traces
            raise
        if answer is None:
            reason = f"no answer within {limit_s:.3g} s"
            raise OutcomeUnknown("acquire", transaction_id=None, reason=reason)
        self.error = None
        if isinstance(answer, Busy):
            self.busy = answer
            self._may_leave_traces = queue
        return answer

    async def wait(self) -> Lease:
        """Ask, and stand in line until it is ours.

        A release wakes whoever is first or second in line; everybody else only keeps its
        place. A backend that is away is asked again, with growing pauses.

        Raises:
            StoreDenied: That does not heal by waiting.
        """
        answer = await self._ask_patiently()
        while isinstance(answer, Busy):
            try:
                async with self._backend.turns(self._name, self._holder) as turns:
                    answer = await self._wait_at(turns, answer)
            except (Unavailable, OutcomeUnknown) as error:
                await self._pace.sleep(self._away(error).retry_in_s)
                answer = await self._ask_patiently()
        return answer

    async def _wait_at(self, turns: AsyncIterator[object], busy: Busy) -> Lease | Busy:
        answer: Lease | Busy = busy
        while isinstance(answer, Busy):
            is_open = await self._rest(turns, answer.retry_in_s)
            answer = await self._ask_patiently()
            if not is_open:
                # An iterator that ends when it is cancelled is opened again.
                return answer
        return answer

    async def _ask_patiently(self) -> Lease | Busy:
        try:
            answer = await self.ask(queue=True)
        except (Unavailable, OutcomeUnknown) as error:
            return self._away(error)
        self._pauses_s = self._policy.acquire_pauses_s()
        if isinstance(answer, Lease):
            counted_ns = counted_from_ns(answer, self.sent_boot_ns, self._clock)
            late = self._clock.boot_ns() >= deadline_ns(counted_ns, answer.ttl_ms)
            if late:
                # Granted so slowly that it is past its deadline: asking again renews it.
                return Busy(
                    name=self._name, holder=None, expires=None, ahead=0, retry_in_s=_MIN_PAUSE_S
                )
        return answer

    def _away(self, error: Unavailable | OutcomeUnknown) -> Busy:
        if isinstance(error, StoreDenied):
            raise error
        self.error = error
        self._telemetry.log(
            "warning",
            "lease_backend_unavailable",
            lease_name=self._name,
            holder_id=self._holder.holder_id,
            reason=str(error),
        )
        pause_s = self._policy.shortened_s(next(self._pauses_s), self._jitter())
        return Busy(name=self._name, holder=None, expires=None, ahead=0, retry_in_s=pause_s)

    async def _rest(self, turns: AsyncIterator[object], delay_s: float) -> bool:
        """Rest until asking is worth it; say whether `turns` goes on."""
        with self._pace.limit(delay_s) as scope:
            async for _ in turns:
                return True
            await self._pace.sleep(_MIN_PAUSE_S)
        return scope.cancelled_caught

    async def leave(self) -> None:
        """Withdraw from the queue, and release what was granted unheard; shielded, bounded."""
        if not self._may_leave_traces:
            return
        with self._pace.limit(CLOSE_TIMEOUT_S, shield=True) as scope:
            try:
                await self._backend.withdraw(self._name, self._holder)
                lease = (await self._backend.inspect(self._name)).lease
                mine = (self._holder.holder_id, self._holder.session)
                if lease is not None and (lease.holder_id, lease.session) == mine:
                    await self._backend.release(lease)
            except FederlibError as error:
                self._report_left(str(error))
        if scope.cancelled_caught:
            self._report_left(f"no answer within {CLOSE_TIMEOUT_S:g} s")

    def _report_left(self, reason: str) -> None:
        # Nothing is lost: a place or a lease that nobody renews expires by itself.
        self._telemetry.log(
            "warning",
            "lease_withdraw_failed",
            lease_name=self._name,
            holder_id=self._holder.holder_id,
            reason=reason,
        )


def check_wait(wait_s: float | None) -> None:
    """Raise `InvalidInput` unless this is None, or 0 or more seconds."""
    # NaN compares false with everything, and so is refused here.
    if wait_s is None:
        return
    if type(wait_s) not in {int, float} or not 0 <= wait_s < math.inf:
        raise InvalidInput("wait_s", expected="None, or 0 or more seconds", found=wait_s)


def check_on_loss(on_loss: str) -> None:
    """Raise `InvalidInput` unless this is ``cancel`` or ``mark``."""
    if on_loss not in {"cancel", "mark"}:
        raise InvalidInput("on_loss", expected="'cancel' or 'mark'", found=on_loss)
