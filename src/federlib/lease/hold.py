"""`hold` and `try_acquire`: the way to use a lease.

    async with hold(backend, "nightly-report", holder_id="w1", clock=clock) as lease:
        await upload(data, fence=lease.token)

Source: design §4, `hold`.
"""

from __future__ import annotations

import itertools
import os
import secrets  # noqa: TID251 (a shell: the session of a caller that names none)
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import attrs

from federlib.errors import InvalidInput
from federlib.lease.holding import OnLoss
from federlib.lease.keeper import HeldLease
from federlib.lease.policy import Jitter, LeasePolicy, check_policy, no_jitter
from federlib.lease.protocol import Busy, Holder, Lease, LeaseBackend
from federlib.lease.settings import DEFAULT_TTL_S
from federlib.lease.waiting import Line, check_on_loss, check_wait
from federlib.skewclock import Clock
from federlib.telemetry import SILENT, Telemetry

__all__ = ["Sessions", "hold", "try_acquire"]


class Sessions:
    """Names the claims of one process: ``incarnation.counter``.

    Two claims of one holder exclude each other because their sessions differ.

    Args:
        incarnation: Names one life of the holder's identity.
        claims: Counts the claims of that life; give the same to all who claim in its name.
    """

    def __init__(self, incarnation: str | int, claims: Iterator[int] | None = None) -> None:
        self._incarnation = incarnation
        self._counter = itertools.count(1) if claims is None else claims
        self._pid = os.getpid()

    def draw(self) -> str:
        """Return a session that was never drawn before."""
        pid = os.getpid()
        # A forked child goes on with a copy of the counter: it must not share our sessions.
        fork = "" if pid == self._pid else f"fork-{pid}."
        return f"{self._incarnation}.{fork}{next(self._counter)}"


def hold(
    backend: LeaseBackend,
    name: str,
    *,
    holder_id: str,
    clock: Clock,
    ttl_s: float = DEFAULT_TTL_S,
    wait_s: float | None = None,
    on_loss: OnLoss = "cancel",
    sessions: Sessions | None = None,
    telemetry: Telemetry = SILENT,
    policy: LeasePolicy | None = None,
    jitter: Jitter = no_jitter,
) -> AbstractAsyncContextManager[HeldLease]:
    """Hold a lease while the body runs: acquired, renewed, released.

    The body's own exception leaves unchanged, never in a group. If the lease is lost, the
    body is cancelled and the `with` raises `LeaseLost`; a cancellation from outside wins
    over that. Cancelled while waiting, it leaves the queue and keeps nothing.

    Args:
        backend: Where the lease is.
        name: What to lease.
        holder_id: Who we are, for example a worker id.
        clock: The clocks of this process.
        ttl_s: Time to live; seconds. A holder that dies is followed after about this long.
        wait_s: How long to wait in the queue; seconds. None waits for ever, 0 tries once.
        on_loss: ``cancel`` as above; with ``mark`` the body goes on, and asks `lost` and
            `check`, and the `with` does not raise.
        sessions: Names this claim; None draws a random session.
        telemetry: Where events and numbers go.
        policy: How patiently it is acquired and kept; by default `LeasePolicy()`.
        jitter: Draws from 0 to 1 by how much pauses are shortened, for example
            `random.random`; by default they are not.
    Raises:
        LeaseBusy: Not acquired within `wait_s`.
        LeaseLost: Lost while the body ran (`on_loss` ``cancel``).
        Unavailable: The backend gave no answer within `wait_s`.
        OutcomeUnknown: As above, and a request had left.
        InvalidInput: A name, ttl, wait or policy that cannot be.
    Source: design §4, `hold`.
    """
    check_wait(wait_s)
    check_on_loss(on_loss)
    holder = _holder(holder_id, sessions)
    ways = _Ways(backend, clock, telemetry, check_policy(policy), jitter)
    return _Hold(ways, ways.line(name, holder, ttl_s), wait_s=wait_s, on_loss=on_loss)


async def try_acquire(
    backend: LeaseBackend,
    name: str,
    *,
    holder_id: str,
    clock: Clock,
    ttl_s: float = DEFAULT_TTL_S,
    on_loss: OnLoss = "cancel",
    sessions: Sessions | None = None,
    telemetry: Telemetry = SILENT,
    policy: LeasePolicy | None = None,
    jitter: Jitter = no_jitter,
) -> HeldLease | Busy:
    """Try once, without waiting and without passing anybody who waits.

    Enter the result to have it renewed and, at the end, released; until it is entered it
    only runs out.

    Raises:
        Unavailable: The backend cannot be reached.
        OutcomeUnknown: The request left and no answer came in the time that the policy
            gives it; what it may have got is released.
    """
    ways = _Ways(backend, clock, telemetry, check_policy(policy), jitter)
    line = ways.line(name, _holder(holder_id, sessions), ttl_s)
    answer = await line.try_once()
    return answer if isinstance(answer, Busy) else ways.held(answer, line, on_loss)


@attrs.frozen
class _Ways:
    """What every lease of one caller is acquired and kept with."""

    backend: LeaseBackend
    clock: Clock
    telemetry: Telemetry
    policy: LeasePolicy
    jitter: Jitter

    def line(self, name: str, holder: Holder, ttl_s: float) -> Line:
        return Line(
            self.backend,
            name,
            holder,
            ttl_s=ttl_s,
            clock=self.clock,
            telemetry=self.telemetry,
            policy=self.policy,
            jitter=self.jitter,
        )

    def held(self, lease: Lease, line: Line, on_loss: OnLoss) -> HeldLease:
        self.telemetry.log(
            "info",
            "lease_acquired",
            lease_name=lease.name,
            holder_id=lease.holder_id,
            token=lease.fencing_token,
        )
        return HeldLease(
            self.backend,
            lease,
            sent_boot_ns=line.sent_boot_ns,
            clock=self.clock,
            telemetry=self.telemetry,
            on_loss=on_loss,
            policy=self.policy,
            jitter=self.jitter,
        )


class _Hold:
    """What `hold` returns: acquiring on entry, `HeldLease` from then on."""

    def __init__(self, ways: _Ways, line: Line, *, wait_s: float | None, on_loss: OnLoss) -> None:
        self._ways = ways
        self._line = line
        self._wait_s = wait_s
        self._on_loss: OnLoss = on_loss
        self._held: HeldLease | None = None

    async def __aenter__(self) -> HeldLease:
        if self._held is not None:
            raise InvalidInput("hold", expected="entered once", found="a second entry")
        lease = await self._line.acquire(self._wait_s)
        self._held = held = self._ways.held(lease, self._line, self._on_loss)
        return await held.__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        assert self._held is not None
        return await self._held.__aexit__(exc_type, error, traceback)


def _holder(holder_id: str, sessions: Sessions | None) -> Holder:
    session = sessions.draw() if sessions is not None else secrets.token_hex(8)
    return Holder(holder_id, session)
