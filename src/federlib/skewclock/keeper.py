"""`keep_bound`: renews the stored bound of a clock, beside whatever an event loop does."""

from __future__ import annotations

import anyio
from anyio import CapacityLimiter, to_thread

from federlib.errors import FederlibError
from federlib.skewclock.hlc import HybridLogicalClock
from federlib.telemetry import SILENT, Telemetry

__all__ = ["keep_bound"]


async def keep_bound(hlc: HybridLogicalClock, *, telemetry: Telemetry = SILENT) -> None:
    """Renew the clock's stored bound in time, in a thread, until cancelled.

    Returns at once for a clock without a bound. Where the bound cannot be written it is
    tried again; once the old one is reached, readings fail with `Unavailable`.
    """
    ahead_s = hlc.bound_ahead_s
    # A slot of our own: whoever fills the host's threads must not stop our time.
    limiter = CapacityLimiter(1)
    while ahead_s is not None:
        try:
            # A write that hangs is left to itself: it is whole or not there at all.
            await to_thread.run_sync(hlc.renew_bound, limiter=limiter, abandon_on_cancel=True)
        except FederlibError as error:
            telemetry.log("warning", "hlc_bound_not_renewed", reason=str(error))
        # Half of it may be used up before it is renewed: a quarter is left for the disk.
        await anyio.sleep(ahead_s / 4)
