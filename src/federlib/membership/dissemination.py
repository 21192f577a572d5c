"""What is still to be told to others, on the back of other messages.

Source: SWIM (Das et al. 2002) §4.1, infection-style dissemination; memberlist's limit.
"""

from __future__ import annotations

import math
from collections import OrderedDict

__all__ = ["Broadcasts", "retransmit_limit"]


def retransmit_limit(multiplier: int, members: int) -> int:
    """Return how often one update is sent: ``multiplier * ceil(log10(members + 1))``."""
    return multiplier * math.ceil(math.log10(members + 1))


MOST_MISFITS = 8
"""Updates that did not fit before a packet counts as full: thousands may wait."""

_Tier = OrderedDict[str, bytes]


class Broadcasts:
    """Updates that wait to be told; one a subject, the newer replaces the older.

    Urgent ones go first, so that a refutation overtakes the suspicion that it answers; among
    the others, the one that was sent least. Bounded by the number of subjects.
    """

    def __init__(self, *, urgent_first: bool) -> None:
        self._urgent_first = urgent_first
        # A tier holds what was sent as often as its number says; each keeps its order. A plain
        # dict of which the first are always deleted would be searched for its beginning.
        self._urgent: list[_Tier] = [OrderedDict()]
        self._usual: list[_Tier] = [OrderedDict()]
        self._where: dict[str, _Tier] = {}

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, subject: object) -> bool:
        return subject in self._where

    def put(self, subject: str, raw: bytes, *, urgent: bool = False) -> None:
        """Tell this about the subject from now on, and nothing older about it."""
        self.drop(subject)
        tiers = self._urgent if urgent and self._urgent_first else self._usual
        tiers[0][subject] = raw
        self._where[subject] = tiers[0]

    def drop(self, subject: str) -> None:
        """Tell nothing about the subject any more."""
        tier = self._where.pop(subject, None)
        if tier is not None:
            del tier[subject]

    def take(self, room_bytes: int, *, limit: int, most: int) -> list[bytes]:
        """Return what fits into a packet, and count it as sent once.

        Args:
            room_bytes: What is left of the packet.
            limit: How often an update is sent before it is forgotten.
            most: Updates in a packet.
        """
        taken: list[bytes] = []
        if not self._where:
            return taken
        misfits = 0
        for tiers in (self._urgent, self._usual):
            moves: list[tuple[int, str, bytes]] = []
            for number, tier in enumerate(tiers):
                for subject, update in tier.items():
                    if len(taken) >= most or misfits >= MOST_MISFITS:
                        break
                    if len(update) <= room_bytes:
                        room_bytes -= len(update)
                        taken.append(update)
                        moves.append((number, subject, update))
                    else:
                        misfits += 1
            for number, subject, update in moves:
                self._sent(tiers, number, subject, update, limit)
        return taken

    def _sent(
        self,
        tiers: list[_Tier],
        number: int,
        subject: str,
        update: bytes,
        limit: int,
    ) -> None:
        del tiers[number][subject]
        if number + 1 >= limit:
            del self._where[subject]
            return
        if number + 1 == len(tiers):
            tiers.append(OrderedDict())
        tiers[number + 1][subject] = update
        self._where[subject] = tiers[number + 1]
