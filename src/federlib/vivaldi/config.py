"""What a coordinate system is told before it starts.

Source: AD-35 §12.1.12 (names and defaults to `coord_ttl_s`); the rest is ours, and decision
0021 says what each was measured to bring.
"""

from __future__ import annotations

from typing import Self

import attrs

from federlib._bounds import boolean, integer, number
from federlib.errors import InvalidInput

__all__ = ["DEFAULTS", "MAX_DIMENSIONS", "VivaldiConfig"]

MAX_DIMENSIONS = 8
"""More buys nothing on measured networks, and makes packets longer."""


@attrs.frozen(kw_only=True)
class VivaldiConfig:
    """The constants of a coordinate system.

    Attributes:
        dimensions: Of the space, beside the height.
        initial_error: Relative error of a node that has measured nothing.
        min_error: It never falls below.
        max_error: It never rises above.
        error_adjustment: How fast the error follows; the paper's c_e.
        coordinate_adjustment: Share of a residual that one sample moves the node; c_c.
        convergence_threshold: Below this relative error a node has converged.
        rtt_default_ms: What an unknown peer is estimated to take.
        rtt_min_ms: The least upper bound that is ever given; for timeouts, not for ordering.
        rtt_max_ms: The greatest; a longer measurement is refused.
        sigma_default_ms: Sigma of an unknown peer, and the residual that a node begins with.
        sigma_min_ms: The least sigma.
        sigma_max_ms: The greatest.
        k_sigma: How many sigmas the upper bound lies above the estimate.
        min_samples_for_routing: Below this many samples a coordinate has not its full quality.
        error_good_ms: A residual of this or less has full quality.
        coord_ttl_s: A peer not heard of for this long is forgotten; seconds.
        rtt_floor_ms: Shorter measurements count as this; coarse clocks measure 0.
        height_min_ms: The least height.
        filter_samples: Each peer's round trip is the lower median of its last so many
            samples; 1 is no filter.
        filter_max_age_s: A filter forgets its samples after this silence of the peer; longer
            makes a changed route wait, shorter lets outliers in.
        gate: Residuals beyond so many times the usual one lose their weight; 0 is no gate.
        trust_max: The most that a peer's claim to be sure counts; 1 believes it whole.
        steady_gain: What `coordinate_adjustment` sinks to with experience. Lower is
            steadier, higher follows changed routes sooner.
        replay: How many remembered peers a sample is followed by while the node is new;
            0 is none. The number falls with experience.
        replay_memory: Of how many last samples the peers are remembered.
        gravity_rho: A node is drawn to the origin by (|position| / rho)², in seconds; 0 is none.
        adjustment_window: Residuals whose half mean is added to distances; 0 is none.
        ucb_target: Share of samples that shall lie below the upper bound: sigma is widened
            or narrowed until it is so; 0 leaves sigma alone.
        direct_first: Whether a fresh measurement of a peer comes before its coordinate.
        max_peers: The peer that was silent for longest is forgotten beyond that many.
    Raises:
        InvalidInput: A value is out of range, or two do not fit together.
    """

    dimensions: int = attrs.field(default=4, validator=integer(1, MAX_DIMENSIONS))
    initial_error: float = attrs.field(default=1.0, validator=number(0.001, 10))
    min_error: float = attrs.field(default=0.001, validator=number(1e-6, 1))
    max_error: float = attrs.field(default=1.5, validator=number(0.001, 10))
    error_adjustment: float = attrs.field(default=0.25, validator=number(0.001, 1))
    coordinate_adjustment: float = attrs.field(default=0.25, validator=number(0.001, 1))
    convergence_threshold: float = attrs.field(default=0.15, validator=number(0, 10))
    rtt_default_ms: float = attrs.field(default=100.0, validator=number(0, 1e5))
    rtt_min_ms: float = attrs.field(default=1.0, validator=number(0, 1e5))
    rtt_max_ms: float = attrs.field(default=10000.0, validator=number(1, 1e5))
    sigma_default_ms: float = attrs.field(default=50.0, validator=number(0, 1e5))
    sigma_min_ms: float = attrs.field(default=5.0, validator=number(0, 1e5))
    sigma_max_ms: float = attrs.field(default=500.0, validator=number(0, 1e5))
    k_sigma: float = attrs.field(default=2.0, validator=number(0, 100))
    min_samples_for_routing: int = attrs.field(default=5, validator=integer(1, 10**6))
    error_good_ms: float = attrs.field(default=20.0, validator=number(0.001, 1e5))
    coord_ttl_s: float = attrs.field(default=300.0, validator=number(0.001, 1e9))
    rtt_floor_ms: float = attrs.field(default=0.01, validator=number(1e-6, 1e3))
    height_min_ms: float = attrs.field(default=0.01, validator=number(0, 1e3))
    filter_samples: int = attrs.field(default=3, validator=integer(1, 9))
    filter_max_age_s: float = attrs.field(default=45.0, validator=number(0, 1e9))
    gate: float = attrs.field(default=2.5, validator=number(0, 1e6))
    trust_max: float = attrs.field(default=0.5, validator=number(0.01, 1))
    steady_gain: float = attrs.field(default=0.125, validator=number(0.001, 1))
    replay: int = attrs.field(default=32, validator=integer(0, 64))
    replay_memory: int = attrs.field(default=64, validator=integer(1, 1024))
    gravity_rho: float = attrs.field(default=150.0, validator=number(0, 1e6))
    adjustment_window: int = attrs.field(default=0, validator=integer(0, 100))
    ucb_target: float = attrs.field(default=0.975, validator=number(0, 0.999))
    direct_first: bool = attrs.field(default=True, validator=boolean())
    max_peers: int = attrs.field(default=1024, validator=integer(1, 10**6))

    def __attrs_post_init__(self) -> None:
        for low, high in (
            ("min_error", "max_error"),
            ("rtt_min_ms", "rtt_max_ms"),
            ("rtt_floor_ms", "rtt_max_ms"),
            ("sigma_min_ms", "sigma_max_ms"),
        ):
            least = getattr(self, low)
            if least > getattr(self, high):
                raise InvalidInput(low, expected=f"at most {high}", found=least)
        if not self.min_error <= self.initial_error <= self.max_error:
            raise InvalidInput(
                "initial_error", expected="min_error to max_error", found=self.initial_error
            )
        if self.steady_gain > self.coordinate_adjustment:
            raise InvalidInput(
                "steady_gain", expected="at most coordinate_adjustment", found=self.steady_gain
            )

    @classmethod
    def plain(cls) -> Self:
        """Return the seed's form: the update of the paper, and nothing around it.

        No filter, no gate, no replay, no decay of the gain, no direct estimates; measurements
        below 1 ms count as 1 ms. `attrs.evolve` changes single fields of it.
        """
        return cls(
            rtt_floor_ms=1.0,
            filter_samples=1,
            filter_max_age_s=0.0,
            gate=0.0,
            trust_max=1.0,
            steady_gain=0.25,
            replay=0,
            gravity_rho=0.0,
            ucb_target=0.0,
            direct_first=False,
        )


DEFAULTS = VivaldiConfig()
"""The seed's constants, and ours where it has none."""
