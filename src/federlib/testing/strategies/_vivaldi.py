"""Where nodes lie: coordinates, and what a coordinate system says of itself."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
from hypothesis import strategies as st

from federlib.testing.strategies._plain import booleans, counts
from federlib.vivaldi import (
    DEFAULTS,
    Noise,
    RttEstimate,
    VivaldiConfig,
    VivaldiCoordinate,
    VivaldiCounts,
)

__all__ = ["STRATEGIES"]

_FAR_MS = DEFAULTS.rtt_max_ms
_shares = st.floats(0, 1)
_ms = st.floats(0, _FAR_MS)


def _coordinates() -> st.SearchStrategy[VivaldiCoordinate]:
    """Generate what is sound under the default constants."""
    # In a cube within the sphere that bounds them.
    most = _FAR_MS / math.sqrt(DEFAULTS.dimensions) / 1.001
    return st.builds(
        VivaldiCoordinate,
        position=st.tuples(*[st.floats(-most, most)] * DEFAULTS.dimensions),
        height=_ms,
        error=st.floats(DEFAULTS.min_error, DEFAULTS.max_error),
        sample_count=counts(most=2**32 - 1),
        updated_at=st.floats(0, 1e9),
        residual_ms=_ms,
        adjustment_ms=st.floats(-_FAR_MS, _FAR_MS),
    )


def _configs() -> st.SearchStrategy[VivaldiConfig]:
    """Generate the two named policies, and others beside them."""
    return st.builds(
        attrs.evolve,
        st.sampled_from([DEFAULTS, VivaldiConfig.plain()]),
        dimensions=st.integers(1, 8),
        filter_samples=st.integers(1, 5),
        replay=st.integers(0, 16),
        gate=st.floats(0, 10),
        adjustment_window=st.integers(0, 20),
        coord_ttl_s=st.floats(1, 1e4),
        max_peers=st.integers(1, 100),
    )


def _estimates() -> st.SearchStrategy[RttEstimate]:
    return st.builds(
        RttEstimate,
        rtt_ms=_ms,
        sigma_ms=_ms,
        ucb_ms=_ms,
        quality=_shares,
        is_known=booleans,
        measured=booleans,
        age_s=st.none() | st.floats(0, 1e6),
    )


STRATEGIES: Mapping[type, st.SearchStrategy[object]] = {
    Noise: st.builds(Noise, spread=_shares, outliers=_shares, outlier_factor=st.floats(1, 100)),
    RttEstimate: _estimates(),
    VivaldiConfig: _configs(),
    VivaldiCoordinate: _coordinates(),
    VivaldiCounts: st.builds(
        VivaldiCounts, **{each.name: counts() for each in attrs.fields(VivaldiCounts)}
    ),
}
