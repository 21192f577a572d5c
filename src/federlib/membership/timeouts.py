"""Timeouts that know how far a peer is, what it does, and how well we are ourselves.

    timeouts = AdaptiveTimeouts(distances, lhm=lambda: awareness.score)
    timeouts.probe_timeout_s("gate-1", PeerRole.GATE, interval_s=1.0)
    timeouts.get_adaptive_timeout("gate-1", base_timeout=5.0)

Two policies give the same answer in two ways, and one word chooses:

* `additive`, the default: a peer 90 ms further off gets 90 ms more.
* `multiplicative`, the seed's: ``base * latency * load * confidence``. A peer 90 ms further off
  gets ten times as long, 45 s more on a base of 5 s. Kept for fleets that count on it.

Decision 0023 has the figures.

Does not promise: an ordering between policies; choose one for a fleet.

Source: seed 12.5.8 and 12.6; research note §1.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol

import attrs

from federlib._bounds import number
from federlib.errors import InvalidInput
from federlib.membership.roles import DEFAULT_STRATEGIES, PeerRole, RoleStrategies
from federlib.membership.suspicion import shortest_timeout_s

__all__ = [
    "HARD_CEILING",
    "MAX_LATENCY_MULTIPLIER",
    "REFERENCE_RTT_MS",
    "AdaptiveTimeouts",
    "AppliedTimeout",
    "Distances",
    "SuspicionBounds",
    "TimeoutPolicy",
    "TimeoutSettings",
    "Unmeasured",
]

TimeoutPolicy = Literal["additive", "multiplicative"]

REFERENCE_RTT_MS = 10.0
MAX_LATENCY_MULTIPLIER = 10.0

HARD_CEILING = 2.0
"""How far load may stretch what others wait for: a suspicion, or an unconfirmed peer."""

# No round trip beyond this is believed; as `rtt_max_ms` of seed 12.1.12.
_RTT_MAX_MS = 10_000.0

# LHM of the paper is 0 to 8.
_LHM_MAX = 8.0

# [doc] of AD-35: confidence = 1 + error / 10, the error relative and at most 1.5.
_ERROR_MAX = 1.5


class Distances(Protocol):
    """How far peers are; `federlib.vivaldi.VivaldiCoordinateSystem` is one. Milliseconds."""

    def estimate_rtt(self, peer: str) -> float:
        """Return the round trip to a peer, or a default where nothing is known."""
        ...

    def estimate_rtt_ucb_ms(self, peer: str) -> float:
        """Return an upper bound of it, which few round trips exceed."""
        ...

    def get_error(self) -> float:
        """Return the relative error of our own coordinate; 0 is perfect."""
        ...


class Unmeasured:
    """Distances where nothing measures any: every peer is next door, and slack covers the rest."""

    def estimate_rtt(self, peer: str) -> float:
        """Return 0."""
        del peer
        return 0.0

    def estimate_rtt_ucb_ms(self, peer: str) -> float:
        """Return 0."""
        del peer
        return 0.0

    def get_error(self) -> float:
        """Return 0."""
        return 0.0


@attrs.frozen
class AppliedTimeout:
    """One timeout and what it was made of.

    Attributes:
        seconds: The timeout; ``base * latency * load * confidence`` unless a bound cut it.
        base_s: What was asked for.
        latency_multiplier: The share of distance, at least 1.
        load_multiplier: The share of our own load, at least 1 and at most the role's.
        confidence_adjustment: The share of doubt about the distance, at least 1.
    """

    seconds: float
    base_s: float
    latency_multiplier: float
    load_multiplier: float
    confidence_adjustment: float


@attrs.frozen
class SuspicionBounds:
    """Between what a suspicion may last; seconds.

    Attributes:
        shortest_s: T_min, with enough independent confirmations.
        longest_s: T_max, with none.
    """

    shortest_s: float
    longest_s: float


def _check_policy(_instance: object, _attribute: attrs.Attribute[str], value: str) -> None:
    if value not in {"additive", "multiplicative"}:
        raise InvalidInput("policy", expected="additive or multiplicative", found=value)


@attrs.frozen(kw_only=True)
class TimeoutSettings:
    """How timeouts are made.

    Attributes:
        policy: Which form; see the module.
        slack_s: Added to a probe's round trip for scheduling and queues at both ends. More of
            it costs detection nothing (the interval is as long as before) and forgives pauses.
        probe_ceiling: A probe's timeout is at most this share of the interval, so that helpers
            can still be asked in the same one.
        suspicion_mult: T_min is this many intervals, times log10 of the members.
        suspicion_max_mult: T_max is this many T_min, distance apart.
        ceiling_s: Of `additive`: no timeout of `get_adaptive_timeout` exceeds this, or its own
            base.
        reference_rtt_ms: Of `multiplicative`: a peer this far has no latency multiplier.
        max_latency_multiplier: Of `multiplicative`.
    Raises:
        InvalidInput: A number out of range.
    Source: seed 12.9.3 for the last two; memberlist's LAN defaults for the middle ones.
    """

    policy: TimeoutPolicy = attrs.field(default="additive", validator=_check_policy)
    slack_s: float = attrs.field(default=0.5, validator=number(0.001, 60))
    probe_ceiling: float = attrs.field(default=0.8, validator=number(0.1, 1))
    suspicion_mult: float = attrs.field(default=4.0, validator=number(1, 100))
    suspicion_max_mult: float = attrs.field(default=6.0, validator=number(1, 100))
    ceiling_s: float = attrs.field(default=60.0, validator=number(0.001, 86_400))
    reference_rtt_ms: float = attrs.field(default=REFERENCE_RTT_MS, validator=number(0.001, 10_000))
    max_latency_multiplier: float = attrs.field(
        default=MAX_LATENCY_MULTIPLIER, validator=number(1, 1_000)
    )


class AdaptiveTimeouts:
    """Every timeout that a member has for a peer. Pure; not shared between threads.

    Args:
        distances: How far peers are.
        lhm: The local health score, 0 when well up to 8; waiting grows with score + 1.
        strategies: How far load may stretch timeouts for each role, and whose distance counts.
        settings: How timeouts are made.
        on_applied: Told of each timeout, for metrics.
    """

    def __init__(
        self,
        distances: Distances,
        *,
        lhm: Callable[[], float],
        strategies: RoleStrategies = DEFAULT_STRATEGIES,
        settings: TimeoutSettings | None = None,
        on_applied: Callable[[PeerRole, AppliedTimeout], None] | None = None,
    ) -> None:
        self._distances = distances
        self._lhm = lhm
        self._strategies = strategies
        self._settings = settings or TimeoutSettings()
        self._on_applied = on_applied

    def get_adaptive_timeout(
        self, peer: str, base_timeout: float, role: PeerRole = PeerRole.UNKNOWN
    ) -> float:
        """Return how long to wait for a peer where `base_timeout` would do for one next door.

        Args:
            peer: Whom.
            base_timeout: Seconds.
            role: What it does.
        Returns:
            Seconds, at least `base_timeout`. By `additive` at most `ceiling_s`, where the base
            is smaller; by `multiplicative` up to 57.5 times the base (a manager's):
            the seed has no bound.
        Raises:
            InvalidInput: The base is not a number from 0.001 to 86,400 seconds.
        Source: seed 12.5.8.
        """
        _check_base("base_timeout", base_timeout)
        is_bounded = self._settings.policy == "additive"
        most_s = max(base_timeout, self._settings.ceiling_s) if is_bounded else math.inf
        load = self.load_multiplier(role)
        return self._apply(peer, role, base_timeout, load=load, most_s=most_s).seconds

    def probe_timeout_s(
        self, peer: str, role: PeerRole = PeerRole.UNKNOWN, *, interval_s: float
    ) -> float:
        """Return how long a probe waits for its ack before helpers are asked; seconds.

        ``min(slack + rtt_ucb, probe_ceiling * interval) * (LHM + 1)``; the interval, which
        grows with load too, is taken as when we are well. The bound holds by either policy:
        the protocol has no room for a probe that outlasts its interval.

        Source: seed 12.6.4; research note §1.2.
        """
        _check_base("interval_s", interval_s)
        load = self.load_multiplier(role)
        ceiling_s = self._settings.probe_ceiling * interval_s
        base_s = min(self._settings.slack_s, ceiling_s)
        return self._apply(peer, role, base_s, load=load, most_s=ceiling_s * load).seconds

    def suspicion_bounds(
        self, peer: str, role: PeerRole = PeerRole.UNKNOWN, *, members: int, interval_s: float
    ) -> SuspicionBounds:
        """Return how long a suspicion of a peer lasts, at least and at most.

        Distance is added to both alike: it is the way of one refutation, however many members
        confirm. So a peer 300 ms away is declared dead 0.6 s later than one next door.

        Args:
            peer: Whom.
            role: What it does.
            members: Live ones, ourselves included.
            interval_s: Of probes.
        Source: seed 12.6.3 and 12.6.5; research note §1.2.
        """
        _check_base("interval_s", interval_s)
        settings = self._settings
        base_s = shortest_timeout_s(
            multiplier=settings.suspicion_mult, members=members, interval_s=interval_s
        )
        if settings.policy == "multiplicative":
            load = self.load_multiplier(role)
            short_s = self._apply(peer, role, base_s, load=load).seconds
            return SuspicionBounds(short_s, settings.suspicion_max_mult * short_s)
        load = min(self.load_multiplier(role), HARD_CEILING)
        short_s = self._apply(peer, role, base_s, load=load, ways=2).seconds
        more_s = (settings.suspicion_max_mult - 1) * base_s * load
        return SuspicionBounds(short_s, short_s + more_s)

    def passive_timeout_s(self, role: PeerRole) -> float:
        """Return how long the word of an UNCONFIRMED peer is waited for; seconds.

        The role's own time, stretched by our load: who hears badly must not remove peers. Of
        distance there is nothing in it, since no peer is minutes away.

        Returns:
            At most twice the role's own time, whatever the policy: a bound on how long a bogus
            name lives.
        Source: seed 12.5.3; research note §1.2.
        """
        strategy = self._strategies.for_role(role)
        return strategy.passive_timeout * min(self.load_multiplier(role), HARD_CEILING)

    def load_multiplier(self, role: PeerRole) -> float:
        """Return LHM + 1, at most the role's `load_multiplier_max`.

        Source: seed 12.4.4, 12.6.5.
        """
        score = self._lhm()
        # A score gone mad (NaN included) counts as the worst: patience harms least.
        score = score if 0 <= score <= _LHM_MAX else _LHM_MAX
        return min(score + 1, self._strategies.for_role(role).load_multiplier_max)

    def _apply(
        self,
        peer: str,
        role: PeerRole,
        base_s: float,
        *,
        load: float,
        most_s: float = math.inf,
        ways: int = 1,
    ) -> AppliedTimeout:
        if self._settings.policy == "multiplicative":
            latency, confidence = self._multipliers(peer, role)
        else:
            latency, confidence = self._shares(peer, role, base_s, ways)
        seconds = min(base_s * latency * load * confidence, most_s)
        applied = AppliedTimeout(seconds, base_s, latency, load, confidence)
        if self._on_applied is not None:
            self._on_applied(role, applied)
        return applied

    def _multipliers(self, peer: str, role: PeerRole) -> tuple[float, float]:
        if not self._is_measured(role):
            return 1.0, 1.0
        settings = self._settings
        rtt_ms = _plausible_ms(self._distances.estimate_rtt(peer))
        latency = max(1.0, rtt_ms / settings.reference_rtt_ms)
        error = self._distances.get_error()
        error = error if 0 <= error <= _ERROR_MAX else _ERROR_MAX
        return min(settings.max_latency_multiplier, latency), 1.0 + error / 10

    def _shares(self, peer: str, role: PeerRole, base_s: float, ways: int) -> tuple[float, float]:
        """Say what is added as factors: their product with the base is base + ways * rtt_ucb."""
        if not self._is_measured(role):
            return 1.0, 1.0
        ucb_s = ways * _plausible_ms(self._distances.estimate_rtt_ucb_ms(peer)) / 1_000
        rtt_s = min(ways * _plausible_ms(self._distances.estimate_rtt(peer)) / 1_000, ucb_s)
        near_s = base_s + rtt_s
        return near_s / base_s, (base_s + ucb_s) / near_s

    def _is_measured(self, role: PeerRole) -> bool:
        strategy = self._strategies.for_role(role)
        return strategy.latency_aware and strategy.use_vivaldi


def _plausible_ms(rtt_ms: float) -> float:
    return rtt_ms if 0 <= rtt_ms <= _RTT_MAX_MS else _RTT_MAX_MS


def _check_base(field: str, seconds: float) -> None:
    # NaN compares false with everything, and so is refused here.
    if type(seconds) not in {int, float} or not 0.001 <= seconds <= 86_400:
        raise InvalidInput(field, expected="0.001 to 86400 seconds", found=seconds)
