"""Is there an order in which one copy of the thing would have answered just so?

    verdict = linearizability.check(history, Register())
    assert verdict.is_linearizable, verdict

Each operation must take effect at one instant between its beginning and its end. One of
unknown outcome may take effect at any time after its beginning, or never; one that failed
does not count.

Does not promise: an answer. The problem is hard in the worst case, and a history with very
many operations under way at once, or of unknown outcome, may be too much: then the answer is
`undecided`, never a wrong yes.

Source: Herlihy and Wing 1990; Wing and Gong 1993; Horn and Kroening 2015 (partition by key);
Lowe 2017.
"""

from __future__ import annotations

from typing import Literal

import attrs

from federlib.errors import InvalidInput
from federlib.testing.history._explain import Violation, explain
from federlib.testing.history._search import search
from federlib.testing.history.model import Model, Part, State
from federlib.testing.history.records import History

__all__ = ["MAX_STEPS", "Verdict", "Violation", "check"]

MAX_STEPS = 10_000_000
"""How often the model is asked for each key before the answer is `undecided`; 3 to 25 s."""


_FIRST_STEPS = 200_000


@attrs.frozen(kw_only=True)
class Verdict:
    """What a check found; as text it says all of it.

    Attributes:
        answer: `linearizable`, `violation`, or `undecided`: no violation was found, and not
            everything could be looked at.
        violations: One for each key where there is one.
        undecided: The keys that were too much; None among them is the store as a whole.
        operations: How many were put in order, or tried to be.
        steps: How often the model was asked.
    """

    answer: Literal["linearizable", "violation", "undecided"]
    violations: tuple[Violation, ...]
    undecided: tuple[str | None, ...]
    operations: int
    steps: int

    @property
    def is_linearizable(self) -> bool:
        """Whether there is an order; False where that is not known."""
        return self.answer == "linearizable"

    def __str__(self) -> str:
        head = f"{self.answer}: {self.operations} operations, {self.steps} steps"
        keys = [
            f"{'the whole' if key is None else f'key {key!r}'}: undecided, too many steps"
            for key in self.undecided
        ]
        return "\n".join([head, *map(str, self.violations), *keys])


def check(history: History, model: Model[State], *, max_steps: int = MAX_STEPS) -> Verdict:
    """Look for an order of the operations of each key that the model could have shown.

    Args:
        history: What was called.
        model: What it was called on: `Register`, `StoreModel`, or your own.
        max_steps: How often the model may be asked for each key.
    Raises:
        InvalidInput: The model does not know an operation, or `max_steps` is not positive.
    """
    if type(max_steps) is not int or max_steps < 1:
        raise InvalidInput("max_steps", expected="an integer above 0", found=max_steps)
    violations: list[Violation] = []
    undecided: list[str | None] = []
    operations = steps = 0
    for part in model.parts(history):
        answered, taken = _judge(part, max_steps)
        operations += len(part.moves)
        steps += taken
        if answered == "undecided":
            undecided.append(part.key)
        elif answered is not None:
            violations.append(answered)
    answer: Literal["linearizable", "violation", "undecided"] = "linearizable"
    if violations or undecided:
        answer = "violation" if violations else "undecided"
    return Verdict(
        answer=answer,
        violations=tuple(violations),
        undecided=tuple(undecided),
        operations=operations,
        steps=steps,
    )


def _judge(
    part: Part[State], max_steps: int
) -> tuple[Violation | Literal["undecided"] | None, int]:
    """Return what is wrong with a part, and the steps of the search.

    To prove that a long history has no order may take all the ways of ordering what came
    before the fault. So a search that lasts stops once to look at the place where it is
    stuck: if what happened there contradicts itself whatever came before, that is enough.
    """
    steps = 0
    for budget in dict.fromkeys([min(_FIRST_STEPS, max_steps), max_steps]):
        found = search(part.moves, part.initial, covers=part.covers, max_steps=budget)
        steps += found.steps
        if found.answer == "yes":
            return None, steps
        violation = explain(part, found)
        if violation is not None:
            return violation, steps
    return "undecided", steps
