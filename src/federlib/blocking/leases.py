"""`HeldLease`: a lease kept renewed by a thread; and `Leases`, the backend's own verbs.

Source: design §4, holder's deadline and `hold`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from federlib._pace import Pace
from federlib.blocking._caller import Caller
from federlib.blocking._keeper import Keeper
from federlib.errors import InvalidInput
from federlib.lease import (
    Busy,
    Holder,
    Lease,
    LeaseBackend,
    LeaseCapabilities,
    LeaseState,
    NotHeld,
    Released,
)
from federlib.lease.holding import CLOSE_TIMEOUT_S, HELD, Holding, OnLoss
from federlib.lease.policy import Jitter, LeasePolicy
from federlib.lease.waiting import Line
from federlib.skewclock import Clock
from federlib.telemetry import Telemetry

__all__ = ["Grip", "HeldLease", "Hold", "Leases"]


class HeldLease(Holding):
    """A lease that this process holds; a context manager that keeps it.

    Entering starts the renewal, leaving stops it and releases. The body is never interrupted:
    ask `lost`, or call `check` before each effect, from any thread.
    """

    def __init__(
        self,
        backend: LeaseBackend,
        lease: Lease,
        *,
        sent_boot_ns: int,
        clock: Clock,
        telemetry: Telemetry,
        on_loss: OnLoss,
        pace: Pace,
        policy: LeasePolicy,
        jitter: Jitter,
        caller: Caller,
        keeper: Keeper,
    ) -> None:
        """Take over what was granted; `Federation.hold` is the way to get one."""
        super().__init__(
            backend,
            lease,
            sent_boot_ns=sent_boot_ns,
            clock=clock,
            telemetry=telemetry,
            on_loss=on_loss,
            pace=pace,
            policy=policy,
            jitter=jitter,
        )
        self._caller = caller
        self._keeper = keeper
        # Held while it is renewed, so that no renewal comes after the release.
        self._turn = threading.Lock()
        self._pauses = self._pauses_s()

    def __enter__(self) -> Self:
        """Start to keep the lease renewed.

        Raises:
            LeaseLost: It was lost before it was entered.
            InvalidInput: It was entered before.
        """
        if self._state != "new":
            raise InvalidInput("lease", expected="entered once", found=self._state)
        self.check()
        self._state = "kept"
        self._telemetry.emit(HELD, 1.0, name=self.name)
        self._keeper.keep(self, self._renewal_due_ns)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Stop keeping it and release it, within `CLOSE_TIMEOUT_S`.

        The body's own exception goes on as it is. In a forked child nothing is released.

        Raises:
            LeaseLost: It was lost, `on_loss` is ``cancel``, and the body raised nothing.
        """
        reason = self.end()
        if error is None and reason is not None and self._on_loss == "cancel":
            raise self._lost_error(reason)

    def end(self) -> str | None:
        """Stop keeping it and release it; return why it was lost, or None if it was not."""
        if self.is_forked or self._state == "ended":
            return self._find_loss()
        try:
            reason = self._find_loss()
        finally:
            # Whatever happens, Ctrl-C included: nobody renews it any more.
            self._state = "ended"
        self._keeper.drop(self)
        if reason is None:
            has_turn = self._turn.acquire(timeout=CLOSE_TIMEOUT_S)
            try:
                self._caller.force(self._release)
            finally:
                if has_turn:
                    self._turn.release()
        return reason

    def tend(self, due_ns: int) -> int | None:
        """Renew it; for the keeper's thread alone."""
        self._report_late(due_ns, self._clock.boot_ns())
        try:
            with self._turn:
                if self._state != "kept" or self.lost:
                    return None
                if self._caller.force(self._try_to_renew):
                    self._pauses = self._pauses_s()
                    return None if self._find_loss() is not None else self._renewal_due_ns
        except Exception as failure:
            # A keeper that fell would leave a holder that believes: that is a loss.
            self._lose(f"its keeper failed: {failure!r}", failure)
            return None
        pause_ns = round(next(self._pauses) * 1e9)
        return min(self._clock.boot_ns() + pause_ns, self._deadline_ns)


class Grip:
    """Gets leases: what `hold` and `try_acquire` of one federation share.

    Args:
        backend: Where the leases are; its store answers in the calling thread.
        clock: The clocks of this process.
        telemetry: Where everything emits.
        pace: How waiting passes.
        caller: Runs the verbs.
        jitter: Shortens the pauses between tries.
    """

    def __init__(
        self,
        backend: LeaseBackend,
        *,
        clock: Clock,
        telemetry: Telemetry,
        pace: Pace,
        caller: Caller,
        jitter: Jitter,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._telemetry = telemetry
        self._pace = pace
        self._caller = caller
        self._jitter = jitter
        self._keeper = Keeper(clock)
        self._mutex = threading.Lock()
        self._held: dict[HeldLease, None] = {}

    def acquire(
        self,
        name: str,
        holder: Holder,
        *,
        ttl_s: float,
        wait_s: float | None,
        on_loss: OnLoss,
        policy: LeasePolicy,
    ) -> HeldLease:
        """Wait for a lease and take it; leave no trace if it comes to nothing."""
        line = self._line(name, holder, ttl_s, policy)
        return self._hold(self._caller.wait(line.acquire, wait_s), line, on_loss, policy)

    def try_acquire(
        self, name: str, holder: Holder, *, ttl_s: float, policy: LeasePolicy
    ) -> HeldLease | Busy:
        """Try once."""
        line = self._line(name, holder, ttl_s, policy)
        answer = self._caller.wait(line.try_once)
        return answer if isinstance(answer, Busy) else self._hold(answer, line, "cancel", policy)

    def _line(self, name: str, holder: Holder, ttl_s: float, policy: LeasePolicy) -> Line:
        return Line(
            self._backend,
            name,
            holder,
            ttl_s=ttl_s,
            clock=self._clock,
            telemetry=self._telemetry,
            pace=self._pace,
            policy=policy,
            jitter=self._jitter,
        )

    def _hold(self, lease: Lease, line: Line, on_loss: OnLoss, policy: LeasePolicy) -> HeldLease:
        self._telemetry.log(
            "info",
            "lease_acquired",
            lease_name=lease.name,
            holder_id=lease.holder_id,
            token=lease.fencing_token,
        )
        held = HeldLease(
            self._backend,
            lease,
            sent_boot_ns=line.sent_boot_ns,
            clock=self._clock,
            telemetry=self._telemetry,
            on_loss=on_loss,
            pace=self._pace,
            policy=policy,
            jitter=self._jitter,
            caller=self._caller,
            keeper=self._keeper,
        )
        with self._mutex:
            for other in [other for other in self._held if other.is_over]:
                del self._held[other]
            self._held[held] = None
        return held

    def close(self, patience_s: float) -> None:
        """Release whatever is held, entered or not, and end the renewal."""
        with self._mutex:
            held, self._held = list(self._held), {}
        end_ns = self._clock.monotonic_ns() + round(patience_s * 1e9)
        with ExitStack() as steps:
            steps.callback(self._keeper.stop, patience_s)
            for lease in held:
                steps.callback(self._end_by, lease, end_ns)

    def _end_by(self, lease: HeldLease, end_ns: int) -> None:
        # What is left when the time is up is renewed no more, and expires by itself.
        if self._clock.monotonic_ns() < end_ns:
            lease.end()


class Hold:
    """What `Federation.hold` returns: acquiring on entry, `HeldLease` from then on."""

    def __init__(self, acquire: Callable[[], HeldLease]) -> None:
        """Prepare; nothing happens before it is entered."""
        self._acquire = acquire
        self._held: HeldLease | None = None

    def __enter__(self) -> HeldLease:
        """Wait for the lease, take it, and start to keep it."""
        if self._held is not None:
            raise InvalidInput("hold", expected="entered once", found="a second entry")
        self._held = held = self._acquire()
        try:
            return held.__enter__()
        except BaseException:
            held.end()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release it; see `HeldLease.__exit__`."""
        assert self._held is not None
        self._held.__exit__(kind, error, traceback)


class Leases:
    """The lease backend's own verbs; most programs only need `hold`.

    For arguments and errors see `federlib.lease.LeaseBackend`.
    """

    def __init__(self, backend: LeaseBackend, caller: Caller) -> None:
        """Wrap a backend whose store answers in the calling thread."""
        self._backend = backend
        self._caller = caller

    @property
    def capabilities(self) -> LeaseCapabilities:
        """What the backend can do."""
        return self._backend.capabilities

    def acquire(
        self, name: str, holder: Holder, *, ttl_s: float, queue: bool = False
    ) -> Lease | Busy:
        """Try once; never wait."""
        return self._caller.call(self._backend.acquire, name, holder, ttl_s=ttl_s, queue=queue)

    def renew(self, lease: Lease) -> Lease | NotHeld:
        """Push the expiry to now + ttl; the token stays."""
        return self._caller.call(self._backend.renew, lease)

    def release(self, lease: Lease) -> Released | NotHeld:
        """Free the lease, if it is still held under this token."""
        return self._caller.call(self._backend.release, lease)

    def withdraw(self, name: str, holder: Holder) -> None:
        """Leave the queue."""
        self._caller.call(self._backend.withdraw, name, holder)

    def inspect(self, name: str) -> LeaseState:
        """Read, without effect."""
        return self._caller.call(self._backend.inspect, name)

    @contextmanager
    def watch(self, name: str) -> Iterator[Iterator[LeaseState]]:
        """Stream the states of a name: the present one first, then after every change."""
        with self._caller.entered(self._backend.watch, name) as states:
            yield self._caller.iterate(states)

    def collect(self, now_ns: int) -> int:
        """Remove names that have been free for 24 h; return how many."""
        return self._caller.call(self._backend.collect, now_ns)

    def names(self) -> Sequence[str]:
        """List the names that are known, in byte order."""
        return self._caller.call(self._backend.names)

    def floor(self) -> int:
        """Return the token that every later grant is above; 0 for none."""
        return self._caller.call(self._backend.floor)

    def raise_floor(self, token: int) -> None:
        """Make every later grant, on any name, higher than `token`."""
        self._caller.call(self._backend.raise_floor, token)
