"""`LeasePolicy`: when a lease is renewed, how long a try may take, how long to pause between two.

All of it follows from the ttl, so that a policy is as safe for a lease of one second as for
one of an hour. The tries to renew end before the holder must stop: the shell makes each one
end there at the latest, and a policy under which hanging tries would leave no room for
another is refused when it is made.

Source: HA plan §1, retry and timeout policy; design §4, holder's deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import cast

import attrs

from federlib.errors import InvalidInput

__all__ = [
    "DEADLINE_SHARE",
    "DEFAULT_POLICY",
    "LAST_TRY_SHARE",
    "Jitter",
    "LeasePolicy",
    "check_policy",
    "no_jitter",
]

Jitter = Callable[[], float]
"""Draws a number from 0 to 1, for example `random.random`; the shell's, not the policy's."""

DEADLINE_SHARE = 0.9
"""The holder stops this far into the ttl."""

LAST_TRY_SHARE = 0.89
"""The last try to renew ends this far into it: a hundredth is left for late timers."""

_BOUNDS: dict[str, tuple[float, float]] = {
    "renew_share": (0.01, 0.85),
    "attempt_share": (0.01, 0.85),
    "tries": (1, 100),
    "pause_share": (0.001, 0.5),
    "pause_factor": (1, 100),
    "longest_pause_share": (0.001, 0.5),
    "acquire_share": (0.01, 0.85),
    "acquire_pause_s": (0.001, 3_600),
    "longest_acquire_pause_s": (0.001, 3_600),
    "longest_attempt_s": (0.001, 3_600),
    # More, and who lost a backend would now and then ask it without any pause.
    "jitter_share": (0, 0.5),
}


@attrs.frozen(kw_only=True)
class LeasePolicy:
    """How patiently a lease is acquired and kept; shares are of its ttl.

    Attributes:
        renew_share: A renewal begins this long after the last successful one left.
        attempt_share: How long one try to renew may take.
        tries: So many tries must fit before the deadline even if each hangs for as long as
            it may. Tries that fail faster leave time for more, and they are made.
        pause_share: The pause after the first failed try.
        pause_factor: Each pause is so many times the one before.
        longest_pause_share: No pause is longer.
        acquire_share: How long one try to acquire may take. A grant that comes later has
            lost so much of its ttl that there may be no time left to renew it.
        acquire_pause_s: The first pause while the backend is away; seconds.
        longest_acquire_pause_s: No pause between tries to acquire is longer; seconds.
        longest_attempt_s: No try takes longer, however long the ttl is; seconds.
        jitter_share: Up to this part of each pause is left out, by chance, so that those who
            lost their backend together do not come back together. Never makes one longer.
    Raises:
        InvalidInput: A number is out of range, the tries do not fit before the deadline, or
            a grant that took as long as it may leaves no time for one try to renew it.
    Source: HA plan §1; the numbers are ours.
    """

    renew_share: float = 1 / 3
    attempt_share: float = 1 / 4
    tries: int = 2
    pause_share: float = 1 / 50
    pause_factor: float = 2.0
    longest_pause_share: float = 1 / 10
    acquire_share: float = 3 / 5
    acquire_pause_s: float = 0.05
    longest_acquire_pause_s: float = 2.0
    longest_attempt_s: float = 10.0
    jitter_share: float = 0.2

    def __attrs_post_init__(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            _check_number(name, getattr(self, name), least, most)
        if self.worst_share >= LAST_TRY_SHARE:
            raise InvalidInput(
                "LeasePolicy",
                expected=f"{self.tries} tries to renew that end before {LAST_TRY_SHARE:g} of "
                "the ttl, even if each takes as long as it may",
                found=f"the end at {self.worst_share:.4g} of it",
            )
        late = self.acquire_share + self.attempt_share
        if late >= LAST_TRY_SHARE:
            raise InvalidInput(
                "LeasePolicy",
                expected=f"acquire_share + attempt_share below {LAST_TRY_SHARE:g}: a grant may "
                "take as long as it may, and must then be renewed",
                found=f"{late:.4g}",
            )

    @property
    def worst_share(self) -> float:
        """When the last of `tries` ends, if each hangs and no pause is shortened; of the ttl."""
        pauses = self._pause_shares()
        # Exact: that a sum of shares is below a bound must not hang on how they are added up.
        waits = sum(Fraction(next(pauses)) for _ in range(self.tries - 1))
        tries = self.tries * Fraction(self.attempt_share)
        return float(Fraction(self.renew_share) + tries + waits)

    def renew_after_ns(self, ttl_ns: int) -> int:
        """Return how long after the last successful request left a renewal begins."""
        return int(ttl_ns * self.renew_share)

    def renewal_limit_s(self, ttl_s: float, remaining_s: float) -> float:
        """Return how long a try to renew that begins now may take; 0: it is too late for one.

        Args:
            ttl_s: Of the lease.
            remaining_s: Until the holder must stop.
        """
        room_s = remaining_s - (DEADLINE_SHARE - LAST_TRY_SHARE) * ttl_s
        return max(0.0, min(self.attempt_share * ttl_s, self.longest_attempt_s, room_s))

    def renewal_pauses_s(self, ttl_s: float) -> Iterator[float]:
        """Yield the pauses between tries to renew, for ever."""
        return (share * ttl_s for share in self._pause_shares())

    def acquire_limit_s(self, ttl_s: float) -> float:
        """Return how long one try to acquire may take."""
        return min(self.acquire_share * ttl_s, self.longest_attempt_s)

    def acquire_pauses_s(self) -> Iterator[float]:
        """Yield the pauses between tries to acquire while the backend is away, for ever."""
        return _growing(self.acquire_pause_s, self.pause_factor, self.longest_acquire_pause_s)

    def shortened_s(self, pause_s: float, chance: float) -> float:
        """Return a pause less its jitter.

        Args:
            pause_s: The whole pause.
            chance: As drawn, from 0 to 1; 0 leaves the pause as it is.
        """
        return pause_s * (1 - self.jitter_share * chance)

    def _pause_shares(self) -> Iterator[float]:
        return _growing(self.pause_share, self.pause_factor, self.longest_pause_share)


def _check_number(name: str, value: object, least: float, most: float) -> None:
    is_number = type(value) is int or (type(value) is float and name != "tries")
    # NaN compares false with everything, and so is refused here.
    if not is_number or not least <= cast("float", value) <= most:
        whole = "a whole number, " if name == "tries" else ""
        raise InvalidInput(
            f"LeasePolicy.{name}", expected=f"{whole}{least:g} to {most:g}", found=value
        )


def _growing(first: float, factor: float, longest: float) -> Iterator[float]:
    pause = min(first, longest)
    while True:
        yield pause
        pause = min(factor * pause, longest)


DEFAULT_POLICY = LeasePolicy()


def no_jitter() -> float:
    """Leave every pause as long as it is."""
    return 0.0


def check_policy(policy: LeasePolicy | None) -> LeasePolicy:
    """Return it, or the default where it is None.

    Raises:
        InvalidInput: It is something else.
    """
    if policy is None:
        return DEFAULT_POLICY
    if not isinstance(policy, LeasePolicy):
        raise InvalidInput("policy", expected="a LeasePolicy, or None", found=type(policy))
    return policy
