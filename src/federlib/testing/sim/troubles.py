"""`Troubles`: what is wrong with a world at present, where one fault comes over another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial

__all__ = ["Lift", "Troubles"]

Lift = Callable[[], object]
"""Ends one trouble."""


class Troubles:
    """What is wrong at present, by what it is wrong with; of several the newest holds.

    Attributes:
        begun: How often each kind of fault has begun.
        is_over: The world was healed: nothing begins any more, and no end changes anything.
    """

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.is_over: bool = False
        self._layers: dict[Hashable, list[Callable[[], object]]] = {}

    def lay(
        self, what: Hashable, break_it: Callable[[], object], mend_it: Callable[[], object]
    ) -> Lift:
        """Break something, over whatever else is wrong with it.

        Args:
            what: Names what is broken.
            break_it: Breaks it; also called when what came later is over, and this is not.
            mend_it: Makes it as it is now; of several troubles the first one's counts.
        Returns:
            What ends this one: the newest of those that are left holds then, and after the
            last of them it is as it was before the first.
        """
        layers = self._layers.setdefault(what, [mend_it])
        layer = partial(break_it)  # Two that do the same are still two.
        layers.append(layer)
        layer()

        def lift() -> None:
            if self._layers.get(what) is not layers or layer not in layers:
                return
            is_newest = layers[-1] is layer
            layers.remove(layer)
            if is_newest:
                layers[-1]()
            if len(layers) == 1:
                del self._layers[what]

        return lift

    def over(self) -> None:
        """Forget all of them: whoever calls it has mended everything."""
        self.is_over = True
        self._layers.clear()
