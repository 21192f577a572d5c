"""What a run keeps of every node, as arrays; and as parts of a snapshot."""

from __future__ import annotations

from array import array

from federlib.dag.arrays import pack, unpack
from federlib.dag.records import SnapshotPart

__all__ = ["Columns"]

_PART = 12_288
"""Nodes, or twice the accepted finishes, in one part of a snapshot: 336 KiB of base64."""

_OF_NODES = ("attempts", "losses", "forgiven", "results", "durations")


class Columns:
    """One number a node and array, 32 bits wide.

    Attributes:
        attempts: The number of the last attempt; 0 before the first.
        losses: Attempts lost with their worker since the last fresh start.
        forgiven: Attempts that are no failures, losses among them.
        results: Which log record accepted the node's result; 0 for none.
        durations: How long the accepted attempt took; milliseconds.
        accepted: `node, attempt, epoch` of every accepted success, in their order.
    """

    def __init__(self, size: int) -> None:
        self.attempts: array[int] = array("i", bytes(4 * size))
        self.losses: array[int] = array("i", bytes(4 * size))
        self.forgiven: array[int] = array("i", bytes(4 * size))
        self.results: array[int] = array("i", bytes(4 * size))
        self.durations: array[int] = array("i", bytes(4 * size))
        self.accepted: array[int] = array("q")

    def parts(self, states: bytes) -> list[SnapshotPart]:
        """Write everything down, beside the nodes' states."""
        cuts = [slice(first, first + _PART) for first in range(0, len(states), _PART)]
        nodes = [
            SnapshotPart(
                first=cut.start,
                states=states[cut],
                attempts=pack(self.attempts[cut]),
                losses=pack(self.losses[cut]),
                forgiven=pack(self.forgiven[cut]),
                results=pack(self.results[cut]),
                durations=pack(self.durations[cut]),
            )
            for cut in cuts
        ]
        step, flat = _PART // 2, self.accepted
        return nodes + [
            SnapshotPart(first=first, accepted=pack(flat[3 * first : 3 * (first + step)]))
            for first in range(0, len(flat) // 3, step)
        ]

    def append(self, part: SnapshotPart) -> None:
        """Take in one part; the arrays must have begun empty.

        Raises:
            ValueError: It is no whole number of entries.
        """
        for name in (*_OF_NODES, "accepted"):
            unpack(getattr(self, name), getattr(part, name))

    def check(self, size: int) -> None:
        """Raise unless there is one entry for each of `size` nodes.

        Raises:
            ValueError: There is not.
        """
        sizes = {len(getattr(self, name)) for name in _OF_NODES}
        if sizes != {size} or len(self.accepted) % 3:
            raise ValueError(f"arrays of {sorted(sizes)}")
