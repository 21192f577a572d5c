"""Network coordinates: how far each peer is, learned from the traffic that there is anyway.

    system = VivaldiCoordinateSystem(now_s=time.monotonic, rng=random.Random())
    # An ack came from `peer`, with its coordinate; it took `rtt_ms`:
    system.update_coordinate(peer, decode_coordinate(data, now_s=time.monotonic()), rtt_ms)
    timeout_ms = system.estimate_rtt_ucb_ms(peer)
    reply = encode_coordinate(system.get_local_coordinate(), now_s=time.monotonic())

Does not promise: that an estimate is right. Routes are not a space, and some pairs fit none;
`RttEstimate.measured` says whether the pair itself was measured.
Hazards: coordinates of two systems that never exchange measurements have nothing in common.
Who lies about where it lies is given little weight, not none: a majority of liars wins.
"""

from __future__ import annotations

from federlib.vivaldi.config import DEFAULTS, MAX_DIMENSIONS, VivaldiConfig
from federlib.vivaldi.coordinate import (
    VivaldiCoordinate,
    coordinate_quality,
    initial_coordinate,
    is_sound,
    vivaldi_distance,
)
from federlib.vivaldi.environment import VIVALDI_ENV, config_from_env
from federlib.vivaldi.matrix import MAX_LINE, MAX_NODES, RttMatrix, read_matrix
from federlib.vivaldi.system import RttEstimate, VivaldiCoordinateSystem, VivaldiCounts
from federlib.vivaldi.trial import Noise, Reading, TrialResult, run_trial
from federlib.vivaldi.wire import MAX_COORDINATE_BYTES, decode_coordinate, encode_coordinate

__all__ = [
    "DEFAULTS",
    "MAX_COORDINATE_BYTES",
    "MAX_DIMENSIONS",
    "MAX_LINE",
    "MAX_NODES",
    "VIVALDI_ENV",
    "Noise",
    "Reading",
    "RttEstimate",
    "RttMatrix",
    "TrialResult",
    "VivaldiConfig",
    "VivaldiCoordinate",
    "VivaldiCoordinateSystem",
    "VivaldiCounts",
    "config_from_env",
    "coordinate_quality",
    "decode_coordinate",
    "encode_coordinate",
    "initial_coordinate",
    "is_sound",
    "read_matrix",
    "run_trial",
    "vivaldi_distance",
]
