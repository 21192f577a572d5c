"""The local health multiplier: a node that hears badly doubts itself before others.

Source: Lifeguard (arXiv 1707.00788), local health aware probe; seed §12.5.8 (LHM).
"""

from __future__ import annotations

__all__ = ["Awareness"]


class Awareness:
    """A score from 0 (well) up to `most`; waiting times grow with it.

    It rises by one for each nack that a relay owed and did not send, for a failed probe that
    nobody could be asked about, for each refutation of a suspicion against ourselves, and for
    each time the event loop ran late. It falls by one with each probe that succeeds.

    A probe that fails although every relay said nack costs nothing: then it is the target.
    That is memberlist's reading; the paper counts it too.
    """

    __slots__ = ("_most", "score")

    def __init__(self, most: int) -> None:
        self._most = most
        self.score: int = 0

    def add(self, delta: int) -> None:
        """Change the score, within its bounds."""
        self.score = max(0, min(self._most, self.score + delta))

    @property
    def is_worst(self) -> bool:
        """Whether the score cannot rise any more."""
        return self.score >= self._most

    @property
    def multiplier(self) -> int:
        """What waiting times are multiplied by: 1 when well."""
        return self.score + 1
