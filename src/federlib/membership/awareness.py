"""The local health multiplier: a node that hears badly doubts itself before others.

And whether it hears anybody at all: who does not is no bad listener but alone.

Source: Lifeguard (arXiv 1707.00788), local health aware probe; seed §12.5.8 (LHM).
"""

from __future__ import annotations

__all__ = ["Awareness", "Hearing"]

SILENT_INTERVALS = 5
"""Without any packet for so long we are alone; who only reads late still reads."""


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


class Hearing:
    """When a packet last came, whatever it said.

    Args:
        interval_s: Of probes; infinite where nobody is ever to count as alone.
    """

    __slots__ = ("_heard_s", "_silent_s")

    def __init__(self, interval_s: float) -> None:
        self._silent_s = SILENT_INTERVALS * interval_s
        self._heard_s = 0.0

    def hear(self, now_s: float) -> bool:
        """Note that one has come; return whether we were alone until now."""
        was_alone = self.is_alone(now_s)
        self._heard_s = now_s
        return was_alone

    def forgive(self, away_s: float) -> None:
        """Leave out a time in which none could be read; seconds."""
        self._heard_s += away_s

    def is_alone(self, now_s: float) -> bool:
        """Say whether none has come for so long that nobody can be there."""
        return now_s - self._heard_s >= self._silent_s
