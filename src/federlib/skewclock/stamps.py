"""`Stamps`: timestamps for records and logs, never in the way of the work."""

from __future__ import annotations

import attrs

from federlib.errors import InvalidInput, TimestampTooFarAhead, Unavailable
from federlib.skewclock.hlc import HybridLogicalClock
from federlib.skewclock.timestamp import HlcTimestamp, hlc_text
from federlib.telemetry import SILENT, Telemetry

__all__ = ["UNSTAMPED", "Stamps"]


@attrs.frozen
class Stamps:
    """A hybrid logical clock for those who must go on without one.

    Safety rests on tokens: a record without a timestamp, or a command whose timestamp could
    not be taken in, is worth as much as any other. The clock has counted the incident.

    Attributes:
        hlc: The clock, or None: nothing is stamped.
        telemetry: Refusals are logged there.
    """

    hlc: HybridLogicalClock | None = None
    telemetry: Telemetry = SILENT

    def now(self) -> HlcTimestamp | None:
        """Return the timestamp of an event here; None where the clock cannot tell."""
        if self.hlc is None:
            return None
        try:
            return self.hlc.now()
        except Unavailable:
            return None

    def text(self) -> str | None:
        """Return the timestamp of an event here as text; None where the clock cannot tell."""
        found = self.now()
        return None if found is None else hlc_text(found)

    def observe(self, remote: HlcTimestamp | None, *, of: str) -> None:
        """Take in the timestamp of something that was read; log it where it is refused.

        Args:
            remote: As read; None where it carried none.
            of: What carried it, for the log.
        """
        if self.hlc is None or remote is None:
            return
        try:
            self.hlc.observe(remote)
        except (TimestampTooFarAhead, InvalidInput, Unavailable) as error:
            self.telemetry.log("warning", "hlc_not_observed", of=of, reason=str(error))


UNSTAMPED = Stamps()
"""Stamps nothing. Shared, and holds no state."""
