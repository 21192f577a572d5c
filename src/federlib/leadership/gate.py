"""`LeaderGate`: the only way through to a mutating action.

Source: HA plan §2 (leader gate in manager actuation paths); design §5.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from federlib.errors import Fenced

__all__ = ["Gate", "LeaderGate", "Refusal"]

T = TypeVar("T")


class Gate(Protocol):
    """What can say that we lead: an `Elector`, or a stand-in for it."""

    @property
    def name(self) -> str:
        """The election."""
        ...

    def check(self) -> int:
        """Return our epoch, or raise `Fenced`."""
        ...


Refusal = Callable[[str, Fenced], Awaitable[None]]
"""Records that an action of this name was refused, and why."""


class LeaderGate:
    """Lets a mutating call through only while we lead; records every refusal.

        gate = LeaderGate(seat, record)
        await gate.call("stop_lane", lambda epoch: lanes.stop("blue", epoch=epoch))

    Args:
        seat: Who says whether we lead.
        record: Makes a refusal durable before the caller hears of it.
    """

    def __init__(self, seat: Gate, record: Refusal) -> None:
        self._seat = seat
        self._record = record

    async def call(self, action: str, effect: Callable[[int], Awaitable[T]]) -> T:
        """Run `effect(epoch)` if we lead at this instant.

        The epoch must go with whatever the effect emits: the resource refuses a lower one.

        Raises:
            NotLeader: We do not lead; the refusal was recorded.
            LeaseLost: Our lease's deadline has passed; the refusal was recorded.
        """
        try:
            epoch = self._seat.check()
        except Fenced as refusal:
            await self._record(action, refusal)
            raise
        return await effect(epoch)
