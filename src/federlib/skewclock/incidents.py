"""What may go wrong around a hybrid logical clock, counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs

from federlib.telemetry import Metric

__all__ = ["HLC_INCIDENTS", "HlcCounts", "Incident"]

Incident = Literal["refused", "behind", "overflow", "set_back"]

HLC_INCIDENTS = Metric(
    "federlib_hlc_incidents_total",
    "counter",
    "What a hybrid logical clock had to refuse, borrow or put up with.",
    ("kind",),
)


@attrs.frozen(kw_only=True)
class HlcCounts:
    """What has gone wrong around a clock since it was made.

    Attributes:
        refused: Remote timestamps too far ahead.
        behind: Readings not given because the wall clock, or the stored bound, lay behind.
        overflows: Milliseconds borrowed because the logical part was full.
        set_backs: Readings of the wall clock that lay a millisecond or more before the last.
    """

    refused: int = 0
    behind: int = 0
    overflows: int = 0
    set_backs: int = 0

    def plus(self, met: Sequence[Incident]) -> HlcCounts:
        """Return the counts with these incidents added."""
        if not met:
            return self
        return HlcCounts(
            refused=self.refused + met.count("refused"),
            behind=self.behind + met.count("behind"),
            overflows=self.overflows + met.count("overflow"),
            set_backs=self.set_backs + met.count("set_back"),
        )
