"""Learns where we lie from what was measured, and says to metrics how far peers are."""

from __future__ import annotations

from collections.abc import Callable

from federlib.membership.confirmation import PeerConfirmed
from federlib.membership.effects import PeerMeasured
from federlib.membership.metrics import MembershipMeter
from federlib.vivaldi import VivaldiCoordinateSystem, decode_coordinate

__all__ = ["Locator"]


class Locator:
    """Learns from each measurement of a peer.

    Args:
        vivaldi: What learns.
        meter: Told of what was learned.
        now_s: A monotonic clock; seconds.
    """

    def __init__(
        self,
        vivaldi: VivaldiCoordinateSystem,
        meter: MembershipMeter,
        now_s: Callable[[], float],
    ) -> None:
        self._vivaldi = vivaldi
        self._meter = meter
        self._now_s = now_s
        self._began_s = now_s()
        self._has_converged = False

    def learn(self, measured: PeerMeasured) -> None:
        """Move our coordinate; both ends learn from one measurement."""
        if measured.vivaldi_coord is None:
            return
        now_s = self._now_s()
        coord = decode_coordinate(
            measured.vivaldi_coord,
            now_s=now_s,
            transit_s=measured.rtt_ms / 2_000,
            config=self._vivaldi.config,
        )
        if coord is None:
            return
        name = measured.name
        known = self._vivaldi.estimate(name)
        if self._vivaldi.update_coordinate(name, coord, measured.rtt_ms):
            self._meter.tell_update(
                predicted_ms=known.rtt_ms if known.is_known else None, measured_ms=measured.rtt_ms
            )
        theirs_ms = measured.their_rtt_ms
        if theirs_ms is not None and self._vivaldi.observe(name, coord, theirs_ms):
            # Of what the prediction was worth, our own measurement has just spoken.
            self._meter.tell_update(predicted_ms=None, measured_ms=theirs_ms)
        found = self._vivaldi.estimate(name)
        self._meter.tell_distance(name, quality=found.quality, rtt_ucb_ms=found.ucb_ms)
        if not self._has_converged and self._vivaldi.is_converged():
            self._has_converged = True
            self._meter.tell_converged(after_s=now_s - self._began_s)

    def tell_confirmed(self, event: PeerConfirmed) -> None:
        """Say who was confirmed, and how far it is."""
        estimate = self._vivaldi.estimate(event.peer)
        coord = self._vivaldi.get_peer_coordinate(event.peer)
        self._meter.tell_confirmed(
            event,
            rtt_ms=estimate.rtt_ms if estimate.is_known else None,
            error=None if coord is None else coord.error,
            samples=None if coord is None else coord.sample_count,
        )
