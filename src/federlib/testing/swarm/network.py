"""How packets go between the members of a simulated swarm; seconds."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from federlib.errors import InvalidInput
from federlib.testing._choices import RandomSource

__all__ = ["Links"]

STREAM_WAYS = 3
"""One-way delays until a stream's first message is there: two to connect, one to send."""


def _check_loss(_instance: object, _attribute: object, value: float) -> None:
    if not 0 <= value < 1:
        raise InvalidInput("loss", expected="0 <= loss < 1", found=value)


@attrs.define
class Links:
    """Delay, loss and cuts.

    Attributes:
        loss: Share of datagrams that are lost, each way; streams lose nothing.
        one_way_s: Between two members of one region; drawn evenly from half to one and a half
            times it.
        regions: Between regions, one way; seconds, by the numbers of both. Drawn evenly up to
            a tenth more. Empty where there is one region.
        groups: Of a partition: members of different groups hear nothing of each other.
    """

    loss: float = attrs.field(default=0.0, validator=_check_loss)
    one_way_s: float = 0.001
    regions: Sequence[Sequence[float]] = ()
    groups: dict[int, int] = attrs.field(factory=dict)

    def region(self, member: int) -> int:
        """Return the region of a member: they are dealt out in turn."""
        return member % len(self.regions) if self.regions else 0

    def way_s(self, sender: int, receiver: int) -> float:
        """Return the middle of the one-way delay between two members."""
        here, there = self.region(sender), self.region(receiver)
        return self.one_way_s if here == there else self.regions[here][there] * 1.05

    def delay_s(
        self, sender: int, receiver: int, rng: RandomSource, *, reliable: bool
    ) -> float | None:
        """Draw how long a packet takes; None where it never arrives."""
        if self.groups and self.groups.get(sender) != self.groups.get(receiver):
            return None
        if not reliable and self.loss and rng.random() < self.loss:
            return None
        here, there = self.region(sender), self.region(receiver)
        if here == there:
            way_s = self.one_way_s * (0.5 + rng.random())
        else:
            way_s = self.regions[here][there] * (1 + 0.1 * rng.random())
        return STREAM_WAYS * way_s if reliable else way_s
