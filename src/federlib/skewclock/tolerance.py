"""The two inequalities of A2.2, exactly.

Source: A2.2 §2.2 and §3.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import attrs

from federlib.errors import InvalidInput

__all__ = ["SKEW_TOLERANCE_ENV", "SkewTolerance"]

SKEW_TOLERANCE_ENV = "OPAL_CLOCK_SKEW_TOLERANCE_SECS"
"""How much the clocks of two machines may differ where no argument says it; seconds."""

_NS = 1_000_000_000


def _check_seconds(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    # 'not (0 <= …)' also refuses NaN, for which every comparison is false.
    if not _is_number(value) or not 0 <= value <= 3600:
        raise InvalidInput(attribute.name, expected="0 to 3600 seconds", found=value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_instant(field: str, value: int) -> None:
    # `type`, because True is an int too.
    if type(value) is not int or value < 0:
        raise InvalidInput(field, expected="Unix nanoseconds", found=value)


@attrs.frozen
class SkewTolerance:
    """How far two wall clocks may differ before a rival must not trust an expiry.

    The tolerance always counts for the other side: a rival waits too long, never too little.

    Attributes:
        tolerance_s: Seconds; A2.2's default is 3.
        tolerance_ns: The same in nanoseconds.
    Raises:
        InvalidInput: Not a number from 0 to 3600.
    """

    tolerance_s: float = attrs.field(default=3.0, validator=_check_seconds)
    tolerance_ns: int = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "tolerance_ns", round(self.tolerance_s * _NS))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> SkewTolerance:
        """Read `OPAL_CLOCK_SKEW_TOLERANCE_SECS`; 3 where it is not set.

        Raises:
            InvalidInput: The variable is set and not a number from 0 to 3600.
        """
        text = (os.environ if environ is None else environ).get(SKEW_TOLERANCE_ENV, "").strip()
        if not text:
            return cls()
        try:
            return cls(float(text))
        except ValueError:
            raise InvalidInput(
                SKEW_TOLERANCE_ENV, expected="0 to 3600 seconds", found=text
            ) from None

    def lease_live(self, *, expires_at_ns: int, now_ns: int) -> bool:
        """Say whether rivals must still respect a lease: ``expires_at > now - TOLERANCE``.

        Args:
            expires_at_ns: As stored; Unix nanoseconds.
            now_ns: The rival's wall clock; Unix nanoseconds.
        Returns:
            True until expiry lies one full tolerance in the past; from that instant on, False.
        Raises:
            InvalidInput: An instant is negative or not an integer.
        Source: A2.2 §2.2, lease validation.
        """
        _check_instant("expires_at_ns", expires_at_ns)
        _check_instant("now_ns", now_ns)
        return expires_at_ns > now_ns - self.tolerance_ns

    def registry_live(self, *, last_seen_ns: int, ttl_s: float, now_ns: int) -> bool:
        """Say whether a worker counts as alive: ``last_seen > now - (TTL + TOLERANCE)``.

        Args:
            last_seen_ns: Its last heartbeat; Unix nanoseconds.
            ttl_s: Its time to live; seconds.
            now_ns: This process's wall clock; Unix nanoseconds.
        Raises:
            InvalidInput: An instant is negative or not an integer, or `ttl_s` is not a finite
                number from 0.
        Source: A2.2 §2.2, registry TTL.
        """
        _check_instant("last_seen_ns", last_seen_ns)
        _check_instant("now_ns", now_ns)
        if not _is_number(ttl_s) or not 0 <= ttl_s < math.inf:
            raise InvalidInput("ttl_s", expected="a finite number of seconds", found=ttl_s)
        return last_seen_ns > now_ns - (round(ttl_s * _NS) + self.tolerance_ns)
