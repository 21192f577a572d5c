"""How long a suspect has to refute, and who has confirmed the suspicion.

Source: Lifeguard (arXiv 1707.00788), local health aware suspicion; research
membership-routing §1.2 (T_min with the distance of the peer).
"""

from __future__ import annotations

import math

import attrs

__all__ = ["Suspicion", "decayed_timeout_s", "needed_confirmations", "shortest_timeout_s"]


def shortest_timeout_s(
    *, multiplier: float, members: int, interval_s: float, rtt_ms: float = 0.0
) -> float:
    """Return T_min: ``multiplier * max(1, log10 members) * interval + 2 * rtt``; seconds.

    Args:
        multiplier: 4 by default.
        members: Live ones, ourselves included.
        interval_s: Of probes.
        rtt_ms: Upper bound of the round trip to the suspect; 0 where unknown.
    """
    return multiplier * max(1.0, math.log10(max(1, members))) * interval_s + 2 * rtt_ms / 1_000


def decayed_timeout_s(
    shortest_s: float, longest_s: float, *, confirmations: int, needed: int
) -> float:
    """Return T(C), Lifeguard's timeout after `confirmations` of other accusers; seconds.

    ``max(T_min, T_max - (T_max - T_min) * ln(C + 1) / ln(K + 1))``: at first the longest, with
    K confirmations the shortest. Where nobody can confirm (K = 0) it is the shortest at once.
    """
    if needed < 1:
        return shortest_s
    share = math.log(confirmations + 1) / math.log(needed + 1)
    return max(shortest_s, longest_s - (longest_s - shortest_s) * share)


def needed_confirmations(wanted: int, members: int) -> int:
    """Return K: as wanted, or 0 where too few others are there to confirm.

    Args:
        wanted: 3 by default.
        members: Live ones, ourselves and the suspect included.
    """
    return wanted if members - 2 >= wanted else 0


@attrs.define
class Suspicion:
    """One suspicion against one incarnation of a member.

    Attributes:
        started_s: When it began here; the caller's monotonic clock, seconds.
        shortest_s: T_min.
        longest_s: T_max.
        needed: K, how many other accusers make it shortest.
        accusers: Names of those who accuse, the first one included; at most K + 1 of them.
        is_reminded: Whether the suspect was asked a last time.
    """

    started_s: float
    shortest_s: float
    longest_s: float
    needed: int
    accusers: set[str] = attrs.field(factory=set)
    is_reminded: bool = False

    def confirm(self, accuser: str) -> bool:
        """Count another accuser; return whether it was a new one that counts."""
        if accuser in self.accusers or len(self.accusers) > self.needed:
            return False
        self.accusers.add(accuser)
        return True

    @property
    def confirmations(self) -> int:
        """How many accusers there are beside the first."""
        return max(0, len(self.accusers) - 1)

    @property
    def deadline_s(self) -> float:
        """When the suspect counts as dead; it moves to earlier with each confirmation."""
        return self.started_s + decayed_timeout_s(
            self.shortest_s, self.longest_s, confirmations=self.confirmations, needed=self.needed
        )
