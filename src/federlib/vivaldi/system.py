"""The coordinate system of one node: itself, its peers, and what it makes of both.

Source: AD-35 §12.1.4 to 12.1.11; decision 0021.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import msgspec

from federlib.errors import InvalidInput
from federlib.vivaldi.config import DEFAULTS, VivaldiConfig
from federlib.vivaldi.coordinate import (
    VivaldiCoordinate,
    coordinate_quality,
    initial_coordinate,
    is_sound,
    vivaldi_distance,
)
from federlib.vivaldi.learning import initial_fit, is_finite, learn, replay, sigma_ms
from federlib.vivaldi.peers import Peer, Peers

if TYPE_CHECKING:
    import random  # noqa: TID251  # for its type: the caller draws the seed

__all__ = ["RttEstimate", "VivaldiCoordinateSystem", "VivaldiCounts"]

_REPLAYING_SAMPLES = 60
"""All of `replay` until then; after, 1/n² of it."""


@attrs.frozen
class VivaldiCounts:
    """What a system has met so far.

    Attributes:
        updates: Measurements learned from, one's own and those that peers told.
        refused_peers: Names that can be no peer's.
        refused_coordinates: Not sound: another dimension, not finite, or absurd.
        refused_rtts: Not a number, negative, or above `rtt_max_ms`.
        floored: Measurements below `rtt_floor_ms`, taken as that; zeros among them.
        resets: How often the own state was no longer finite, and began anew.
        forgotten: Peers that went silent, or had to make room.
    """

    updates: int = 0
    refused_peers: int = 0
    refused_coordinates: int = 0
    refused_rtts: int = 0
    floored: int = 0
    resets: int = 0
    forgotten: int = 0


class RttEstimate(msgspec.Struct, frozen=True, gc=False):
    """What is known of the round trip to a peer.

    Attributes:
        rtt_ms: The estimate, not clamped.
        sigma_ms: Its standard deviation.
        ucb_ms: Upper confidence bound, within `rtt_min_ms` and `rtt_max_ms`.
        quality: Of the peer's coordinate, 0 to 1; 0 for an unknown peer.
        is_known: Whether the peer is known at all; if not, the rest are defaults.
        measured: Whether it comes from measurements of this very pair. An estimate that does
            not may be confident about two nodes that cannot reach each other.
        age_s: How old what is known of the peer is; seconds, None for an unknown one.
    """

    rtt_ms: float
    sigma_ms: float
    ucb_ms: float
    quality: float
    is_known: bool
    measured: bool
    age_s: float | None


class VivaldiCoordinateSystem:
    """Learns where this node lies, and how far its peers are.

    Thread-safe; nothing in it blocks. What comes from peers is refused and counted where it
    cannot be right, and never raises.

    Args:
        config: The constants.
        now_s: A monotonic clock; seconds.
        rng: Draws directions and what is replayed; a seed of its own for each node, since
            nodes that draw alike lie alike.
        start: A coordinate of this node that was kept over a restart; the origin otherwise.
    Raises:
        InvalidInput: `start` is not sound under `config`.
    """

    def __init__(
        self,
        config: VivaldiConfig = DEFAULTS,
        *,
        now_s: Callable[[], float],
        rng: random.Random,
        start: VivaldiCoordinate | None = None,
    ) -> None:
        if start is not None and not is_sound(start, config):
            raise InvalidInput("start", expected="a sound coordinate", found=start)
        self._config = config
        self._now_s = now_s
        self._random = rng.random
        self._gauss = rng.gauss
        self._lock = threading.Lock()
        self._fit = initial_fit(initial_coordinate(config) if start is None else start)
        self._updated_at = now_s() if start is None else start.updated_at
        self._local: VivaldiCoordinate | None = start
        self._peers = Peers(config)
        self._refused_peers = self._refused_coordinates = self._refused_rtts = 0
        self._updates = self._floored = self._resets = 0

    @property
    def config(self) -> VivaldiConfig:
        """The constants that it works with."""
        return self._config

    @property
    def counts(self) -> VivaldiCounts:
        """What it has met so far."""
        with self._lock:
            return VivaldiCounts(
                updates=self._updates,
                refused_peers=self._refused_peers,
                refused_coordinates=self._refused_coordinates,
                refused_rtts=self._refused_rtts,
                floored=self._floored,
                resets=self._resets,
                forgotten=self._peers.forgotten,
            )

    def update_coordinate(
        self, peer: str, peer_coord: VivaldiCoordinate, measured_rtt_ms: float
    ) -> bool:
        """Learn from a round trip that this node measured.

        Args:
            peer: The other end.
            peer_coord: Where it says it lies.
            measured_rtt_ms: On a monotonic clock; milliseconds.
        Returns:
            Whether anything was learned; if not, `counts` says why.
        Source: AD-35 §12.1.5.
        """
        return self._take(peer, peer_coord, measured_rtt_ms, is_own=True)

    def observe(self, peer: str, peer_coord: VivaldiCoordinate, rtt_ms: float) -> bool:
        """Learn from a round trip between the two that the peer measured and told.

        So both ends learn from one measurement. It is worth what the peer's word is: it moves
        this node as much as an own one, but `measured` estimates need an own one among them.

        Returns:
            Whether anything was learned.
        """
        return self._take(peer, peer_coord, rtt_ms, is_own=False)

    def remember(self, peer: str, peer_coord: VivaldiCoordinate) -> bool:
        """Keep a peer's coordinate without a measurement: gossip, or a registry.

        Its `updated_at` must be on this node's clock, as `decode_coordinate` makes it. An
        older one than what is known changes nothing, and this node does not move.

        Returns:
            Whether it was kept.
        """
        with self._lock:
            now = self._now_s()
            if not self._is_acceptable(peer, peer_coord):
                return False
            return self._peers.remember(peer, peer_coord, now)

    def _is_acceptable(self, peer: str, coord: VivaldiCoordinate) -> bool:
        if type(peer) is not str or not 0 < len(peer) <= 128:
            self._refused_peers += 1
            return False
        if not is_sound(coord, self._config):
            self._refused_coordinates += 1
            return False
        return True

    def _take(self, peer: str, coord: VivaldiCoordinate, rtt_ms: float, *, is_own: bool) -> bool:
        config = self._config
        with self._lock:
            if not self._is_acceptable(peer, coord):
                return False
            # Written so that NaN fails; True is an int, and no measurement.
            if type(rtt_ms) not in (float, int) or not 0 <= rtt_ms <= config.rtt_max_ms:
                self._refused_rtts += 1
                return False
            if rtt_ms < config.rtt_floor_ms:
                self._floored += 1
                rtt_ms = config.rtt_floor_ms
            now = self._now_s()
            known = self._peers.heard(peer, coord, now)
            filtered_ms = known.sample(rtt_ms, now, config, is_own=is_own)
            fit = learn(self._fit, coord, filtered_ms, rtt_ms, config, self._gauss)
            replays = config.replay
            if replays and fit.samples > _REPLAYING_SAMPLES:
                replays = int(replays * (_REPLAYING_SAMPLES / fit.samples) ** 2)
            if replays:
                chosen = self._peers.recent(replays, known, self._random)
                fit = replay(fit, chosen, config, self._gauss)
            self._updates += 1
            self._local = None
            if is_finite(fit, config):
                self._fit = fit
                self._updated_at = now
            else:
                self._reset(now)
            return True

    def _reset(self, now: float) -> None:
        self._resets += 1
        self._fit = initial_fit(initial_coordinate(self._config))
        self._updated_at = now

    def estimate_rtt(self, peer: str) -> float:
        """Return the estimated round trip to a peer; milliseconds, not clamped.

        Measurements of this pair come first if there are fresh ones (`direct_first`), then
        `vivaldi_distance`, then `rtt_default_ms`.

        Source: AD-35 §12.1.6.
        """
        with self._lock:
            now = self._now_s()
            known = self._peers.find(peer, now)
            return self._config.rtt_default_ms if known is None else self._rtt_ms(known, now)

    def estimate_rtt_ucb_ms(self, peer: str) -> float:
        """Return what the round trip to a peer hardly exceeds; milliseconds.

        `rtt_hat + k_sigma · sigma`, clamped to `rtt_min_ms` and `rtt_max_ms`: for timeouts.

        Source: AD-35 §12.1.7.
        """
        return self.estimate(peer).ucb_ms

    def estimate(self, peer: str) -> RttEstimate:
        """Return all that is known of the round trip to a peer."""
        config = self._config
        with self._lock:
            now = self._now_s()
            known = self._peers.find(peer, now)
            if known is None:
                bound = config.rtt_default_ms + config.k_sigma * config.sigma_default_ms
                return RttEstimate(
                    config.rtt_default_ms, config.sigma_default_ms, self._clamped(bound), 0.0,
                    is_known=False, measured=False, age_s=None,
                )  # fmt: skip
            found = self._predicted(known.coordinate, now)
            if known.is_measured(now, config):
                sigma = min(found.sigma_ms, known.sigma_ms(config))
                bound = known.filtered_ms + config.k_sigma * sigma
                return RttEstimate(
                    known.filtered_ms, sigma, self._clamped(bound), found.quality,
                    is_known=True, measured=True, age_s=found.age_s,
                )  # fmt: skip
        # Who lies about a coordinate must not look nearer than was ever measured of late.
        least = min(known.window, default=0.0)
        if found.ucb_ms < least:
            return msgspec.structs.replace(found, ucb_ms=self._clamped(least))
        return found

    def predict(self, peer_coord: VivaldiCoordinate) -> RttEstimate:
        """Return what coordinates alone say of the round trip to a place.

        Args:
            peer_coord: Where; `updated_at` on this node's clock.
        Raises:
            InvalidInput: The coordinate is not sound.
        """
        if not is_sound(peer_coord, self._config):
            raise InvalidInput("peer_coord", expected="a sound coordinate", found=peer_coord)
        with self._lock:
            return self._predicted(peer_coord, self._now_s())

    def _predicted(self, coord: VivaldiCoordinate, now: float) -> RttEstimate:
        config, fit = self._config, self._fit
        rtt_ms = vivaldi_distance(self._coordinate(), coord)
        sigma = sigma_ms(fit.residual_ms, coord.residual_ms, fit.widening, config)
        age_s = max(0.0, now - coord.updated_at)
        return RttEstimate(
            rtt_ms,
            sigma,
            self._clamped(rtt_ms + config.k_sigma * sigma),
            coordinate_quality(coord.sample_count, coord.residual_ms, age_s, config),
            is_known=True,
            measured=False,
            age_s=age_s,
        )

    def _clamped(self, bound_ms: float) -> float:
        return min(max(bound_ms, self._config.rtt_min_ms), self._config.rtt_max_ms)

    def _rtt_ms(self, known: Peer, now: float) -> float:
        if known.is_measured(now, self._config):
            return known.filtered_ms
        return vivaldi_distance(self._coordinate(), known.coordinate)

    def get_local_coordinate(self) -> VivaldiCoordinate:
        """Return where this node lies, as far as it knows.

        Source: AD-35 §12.1.8.
        """
        with self._lock:
            return self._coordinate()

    def _coordinate(self) -> VivaldiCoordinate:
        found = self._local
        if found is None:
            fit, window = self._fit, self._config.adjustment_window
            found = self._local = VivaldiCoordinate(
                position=fit.position,
                height=fit.height,
                error=fit.error,
                sample_count=fit.samples,
                updated_at=self._updated_at,
                residual_ms=fit.residual_ms,
                # Over the whole window even while it fills: early residuals say little.
                adjustment_ms=sum(fit.adjustments) / (2 * window) if window else 0.0,
            )
        return found

    def get_peer_coordinate(self, peer: str) -> VivaldiCoordinate | None:
        """Return where a peer said it lies, or None where it is not known, or no longer.

        Source: AD-35 §12.1.9.
        """
        with self._lock:
            known = self._peers.find(peer, self._now_s())
            return None if known is None else known.coordinate

    def get_error(self) -> float:
        """Return the relative error of this node's predictions.

        Source: AD-35 §12.1.10.
        """
        return self._fit.error

    def is_converged(self) -> bool:
        """Say whether the error is below `convergence_threshold`, after enough samples.

        Source: AD-35 §12.1.11; the samples because a lucky first one proves nothing.
        """
        fit, config = self._fit, self._config
        return (
            fit.error < config.convergence_threshold
            and fit.samples >= config.min_samples_for_routing
        )

    def peers(self) -> tuple[str, ...]:
        """Name the known peers, in the order of their names."""
        with self._lock:
            return self._peers.names(self._now_s())

    def nearest(self, count: int = 1) -> tuple[tuple[str, RttEstimate], ...]:
        """Return the known peers that are nearest, the nearest first, equal ones by name.

        Args:
            count: How many at most.
        """
        found = [(name, self.estimate(name)) for name in self.peers()]
        known = [each for each in found if each[1].is_known]
        return tuple(sorted(known, key=lambda each: (each[1].rtt_ms, each[0]))[: max(0, count)])

    def forget(self, peer: str) -> bool:
        """Forget a peer that has left; return whether it was known.

        A name may come back at another place: what was measured of the old one says nothing.
        """
        with self._lock:
            return self._peers.forget(peer)
