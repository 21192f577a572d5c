"""Who decides what a simulated crash leaves: chance, or each possibility in its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import attrs

__all__ = ["Choose", "RandomSource", "every_choice", "swarm_choice"]

Choose = Callable[[int], int]
"""Decides a doubt: takes how many options there are, returns which one it is, from 0.

Option 0 is always what the program hoped for.
"""


class RandomSource(Protocol):
    """What is needed of `random.Random`."""

    def random(self) -> float:
        """Return a float from 0 up to 1."""
        ...

    def randrange(self, stop: int, /) -> int:
        """Return an integer from 0 up to `stop`."""
        ...


def swarm_choice(rng: RandomSource) -> Choose:
    """Decide by chance; how much is lost is drawn first.

    So 'nearly everything' and 'nearly nothing' come up too, which independent draws seldom give.

    Source: Groce et al. 2012, Swarm testing.
    """
    share_kept = (0.0, 0.1, 0.5, 0.9, 1.0)[rng.randrange(5)]

    def choose(options: int) -> int:
        return 0 if rng.random() < share_kept else rng.randrange(options)

    return choose


@attrs.define
class _Way:
    """One way through all doubts: the decisions that are set, then option 0."""

    taken: list[int]
    widths: list[int] = attrs.field(factory=list)

    def __call__(self, options: int) -> int:
        self.widths.append(options)
        if len(self.widths) > len(self.taken):
            self.taken.append(0)
        return self.taken[len(self.widths) - 1]

    def next(self) -> _Way | None:
        """Return the way after this one; None after the last."""
        taken = list(self.taken)
        while taken and taken[-1] == self.widths[len(taken) - 1] - 1:
            taken.pop()
        if not taken:
            return None
        taken[-1] += 1
        return _Way(taken)


def every_choice(*, limit: int) -> Iterator[Choose]:
    """Yield one `Choose` after the other until every combination has had its turn.

    Use each one, from its first doubt to its last, before you ask for the next.

    Args:
        limit: End after so many; what was yielded then is not everything.
    """
    way: _Way | None = _Way([])
    for _ in range(limit):
        if way is None:
            return
        yield way
        way = way.next()
