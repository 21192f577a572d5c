"""`Holding`: what a holder knows of its lease, and what it may conclude by itself.

The holder's deadline rests on its own boot clock: the instant before the last successful
request left (an earlier one, where the backend says so), plus 0.9 ttl. Rivals wait for the
whole ttl, so a holder that obeys its deadline is gone before anybody may follow; the tenth
between is for clocks of unequal rate.

`HeldLease` keeps one by tasks of an event loop, `federlib.blocking` by a thread.

Source: design §4, holder's deadline and `hold`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

from federlib._pace import LOOP, Pace
from federlib.errors import FederlibError, LeaseLost, OutcomeUnknown, Unavailable
from federlib.lease.policy import DEADLINE_SHARE, DEFAULT_POLICY, Jitter, LeasePolicy, no_jitter
from federlib.lease.protocol import Lease, LeaseBackend, NotHeld
from federlib.skewclock import Clock
from federlib.telemetry import Metric, Telemetry

__all__ = [
    "BLOCKED",
    "CLOSE_TIMEOUT_S",
    "HELD",
    "Holding",
    "OnLoss",
    "counted_from_ns",
    "deadline_ns",
]

OnLoss = Literal["cancel", "mark"]
"""When a lease is lost, its block is cancelled, or it is marked and goes on."""

CLOSE_TIMEOUT_S = 5.0
"""How long a release, or leaving the queue, may take; seconds."""

_LATE = 3
"""A keeper that wakes late by ttl / 3 is told of."""

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


def counted_from_ns(lease: Lease, sent_boot_ns: int, clock: Clock) -> int:
    """Return the instant from which the ttl of a lease counts; the boot clock of `clock`.

    That is when the request left, or before: a backend that keeps many leases alive at once
    may have done so some time ago, and says when by the holder's own clock.

    Args:
        lease: As granted or renewed.
        sent_boot_ns: The boot clock before that request left.
        clock: The holder's.
    """
    if lease.clock_id != clock.clock_id:
        return sent_boot_ns
    return min(sent_boot_ns, lease.renewed_boot_ns)


class Holding:
    """A lease that this process holds. `check` and what only reads may be used by any thread.

    Args:
        backend: Where the lease is.
        lease: As granted.
        sent_boot_ns: The boot clock before the granting request left.
        clock: The clocks of this process.
        telemetry: Where losses and renewals are told.
        on_loss: Whether the `with` ends in `LeaseLost` when it was lost, or only marks it.
        pace: How it waits.
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
        pace: Pace = LOOP,
        policy: LeasePolicy = DEFAULT_POLICY,
        jitter: Jitter = no_jitter,
    ) -> None:
        self._backend = backend
        self._lease = lease
        self._clock = clock
        self._telemetry = telemetry
        self._on_loss: OnLoss = on_loss
        self._pace = pace
        self._policy = policy
        self._jitter = jitter
        sent_boot_ns = counted_from_ns(lease, sent_boot_ns, clock)
        self._deadline_ns = deadline_ns(sent_boot_ns, lease.ttl_ms)
        self._sent_ns = sent_boot_ns
        self._pid = os.getpid()
        self._mutex = threading.Lock()
        self._reason: str | None = None
        self._cause: BaseException | None = None
        self._state: Literal["new", "kept", "ended"] = "new"

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

    @property
    def is_forked(self) -> bool:
        """Whether this process is a fork of the holder."""
        return os.getpid() != self._pid

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to release: it was, or it is lost."""
        return self._state == "ended" or self.lost

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
        with self._mutex:
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

    def _report_late(self, due_ns: int, now_ns: int) -> None:
        """Tell of a keeper that woke late by a third of the ttl: it was kept from running."""
        if now_ns - due_ns >= self._ttl_ns // _LATE:
            self._telemetry.emit(BLOCKED)
            self._log("warning", "event_loop_blocked", late_s=(now_ns - due_ns) / _NS)

    @property
    def _ttl_ns(self) -> int:
        return self._lease.ttl_ms * 1_000_000

    @property
    def _renewal_due_ns(self) -> int:
        return self._sent_ns + self._policy.renew_after_ns(self._ttl_ns)

    def _pauses_s(self) -> Iterator[float]:
        """Yield the pauses between tries to renew."""
        for pause_s in self._policy.renewal_pauses_s(self.ttl_s):
            yield self._policy.shortened_s(pause_s, self._jitter())

    async def _try_to_renew(self) -> bool:
        """Ask once; False if there was no answer and another attempt is worth it."""
        limit_s = self._policy.renewal_limit_s(self.ttl_s, self.remaining_s())
        if limit_s == 0:
            return False
        sent_ns = self._clock.boot_ns()
        try:
            # One attempt may hang; the next should still find time.
            with self._pace.limit(limit_s):
                self._settle(await self._backend.renew(self._lease), sent_ns)
                return True
        except FederlibError as error:
            self._note_failure(error)
        else:
            reason = f"no answer within {limit_s:.3g} s"
            self._note_failure(OutcomeUnknown("renewal", transaction_id=None, reason=reason))
        return False

    def _note_failure(self, error: FederlibError) -> None:
        self._cause = error
        self._log("warning", "lease_renewal_failed", reason=str(error))

    def _settle(self, outcome: Lease | NotHeld, sent_ns: int) -> None:
        if isinstance(outcome, NotHeld):
            by = f"; {outcome.holder} holds it" if outcome.holder is not None else ""
            self._lose(f"the backend says that it is no longer held{by}")
            return
        sent_ns = counted_from_ns(outcome, sent_ns, self._clock)
        with self._mutex:
            self._lease = outcome
            self._sent_ns = sent_ns
            self._deadline_ns = deadline_ns(sent_ns, outcome.ttl_ms)
            self._cause = None
        self._log("debug", "lease_renewed")

    async def _release(self) -> None:
        """Release it, trying again until its deadline, within `CLOSE_TIMEOUT_S`."""
        released = False
        with self._pace.limit(CLOSE_TIMEOUT_S, shield=True):
            pause_s = 0.02
            # Beyond its deadline the lease frees itself.
            while not released and self._clock.boot_ns() < self._deadline_ns:
                with suppress(Unavailable, OutcomeUnknown):
                    await self._backend.release(self._lease)
                    released = True
                    break
                await self._pace.sleep(pause_s)
                pause_s *= 2
        self._reason = "it was released" if released else "it was given up"
        self._telemetry.emit(HELD, 0.0, name=self.name)
        self._log("info", "lease_released" if released else "lease_release_failed")
