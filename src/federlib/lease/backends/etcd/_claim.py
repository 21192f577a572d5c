"""One who asks: for what, for how long, and how it stands in line."""

from __future__ import annotations

import attrs

from federlib.errors import InvalidInput
from federlib.lease.backends.etcd._records import Keys
from federlib.lease.protocol import Holder
from federlib.lease.queue import wait_ttl_ms
from federlib.storage.backends.etcd._client import PATIENCE_S
from federlib.storage.backends.etcd._transport import now_s

__all__ = ["Claim", "Deadline", "Standing", "patience_s", "whole_seconds"]

_MIN_PATIENCE_S = 0.25


@attrs.frozen
class Standing:
    """How one that waits stood when it last asked.

    Attributes:
        keys: Of the name.
        revision: etcd's, of the answer.
        ahead: The places ahead of it.
        free_since_boot_ns: Our boot clock when it was first seen free; None while it is held.
    """

    keys: Keys
    revision: int
    ahead: frozenset[bytes]
    free_since_boot_ns: int | None


@attrs.frozen
class Claim:
    """One who asks, and for what.

    Attributes:
        keys: Of the name.
        holder: Who asks.
        place: The key of its place.
        ttl_ms: As asked for.
        seconds: The same, as etcd counts.
        queue: Whether it is willing to stand in line.
    """

    keys: Keys
    holder: Holder
    place: bytes
    ttl_ms: int
    seconds: int
    queue: bool

    @property
    def waiting(self) -> bytes:
        """What its place is called among what is attached to leases of etcd."""
        return self.place + b"\0"

    @property
    def wait_ms(self) -> int:
        """How long its place outlives its last refresh; milliseconds."""
        return wait_ttl_ms(self.ttl_ms)

    @property
    def wait_seconds(self) -> int:
        """The same, as etcd counts."""
        return -(-self.wait_ms // 1_000)


class Deadline:
    """How long all requests of one verb may take together."""

    def __init__(self, seconds: float) -> None:
        self._end_s = now_s() + seconds

    @property
    def left_s(self) -> float:
        """How long the next may take; never nothing at all."""
        return max(0.05, self._end_s - now_s())


def whole_seconds(ttl_ms: int) -> int:
    """Return a ttl in seconds.

    Raises:
        InvalidInput: It has a fraction.
    """
    seconds, rest = divmod(ttl_ms, 1_000)
    if rest:
        raise InvalidInput(
            "ttl_s",
            expected=f"whole seconds, as etcd counts them: {seconds + 1} instead",
            found=ttl_ms / 1_000,
        )
    return seconds


def patience_s(ttl_ms: int, share: int) -> float:
    """Say how long one try may take: another must still fit in before the lease runs out."""
    return min(PATIENCE_S, max(_MIN_PATIENCE_S, ttl_ms / 1_000 / share))
