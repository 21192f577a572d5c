"""`Model`: what one copy of a thing would do, one call after the other.

    class Counter(Model[int]):
        @property
        def initial(self) -> int:
            return 0

        def step(self, state: int, operation: Operation) -> int | None:
            is_right = operation.outcome == "info" or operation.result == (state + 1,)
            return state + 1 if is_right else None

States are immutable and hashable, and never None.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import attrs

from federlib.testing.history.records import History, Operation

__all__ = ["Model", "Move", "Part", "State"]

State = TypeVar("State", bound=Hashable)

MAX_RANK = 2**63


@attrs.frozen(eq=False)
class Move(Generic[State]):
    """An operation as a part of a check sees it.

    Attributes:
        operation: What was recorded.
        step: Returns the state after it, or None where it could not have ended like that.
        is_read: It never changes the state, whatever the state is.
        rank: The smaller is tried first, among operations that may come next.
        returned: By when it must have taken effect; None where it need not at all.
        kind: Moves of one kind do the same to every state.
    """

    operation: Operation
    step: Callable[[State], State | None]
    is_read: bool
    rank: int
    returned: int | None
    kind: Hashable

    @property
    def invoked(self) -> int:
        """Before this it cannot have taken effect."""
        return self.operation.invoked


@attrs.frozen(eq=False)
class Part(Generic[State]):
    """Operations that are put in order together, independently of all others.

    Attributes:
        key: What they are about; None where it is everything.
        initial: The state before all of them.
        anything: A state of which nothing is known; None where there is none like that.
        moves: In any order.
        show: Says a state in words.
        covers: Says whether whatever may follow the second state may follow the first too.
    """

    key: str | None
    initial: State
    anything: State | None
    moves: Sequence[Move[State]]
    show: Callable[[State], str]
    covers: Callable[[State, State], bool] = operator.eq


class Model(ABC, Generic[State]):
    """Subclass it for a thing of your own: `initial` and `step` are enough."""

    @property
    @abstractmethod
    def initial(self) -> State:
        """The state of each key before the first operation."""

    @property
    def anything(self) -> State | None:
        """A state of which nothing is known, from which any read succeeds and binds it.

        Only explanations need it: with it they are short. None where there is none.
        """
        return None

    @abstractmethod
    def step(self, state: State, operation: Operation) -> State | None:
        """Return the state after the operation; None if it could not have ended as it did.

        An operation whose outcome is `info` has no result that could be wrong: return the
        state if it took effect.
        """

    def is_read(self, operation: Operation) -> bool:  # noqa: ARG002 (for subclasses)
        """Say whether the operation, with this outcome, changes no state at all.

        False is always right; True makes a check much faster, and must be true.
        """
        return False

    def kind(self, operation: Operation) -> Hashable:
        """Name what `step` goes by: operations of one kind do the same to every state."""
        one = operation
        return (one.process, one.verb, one.arguments, one.outcome, one.result)

    def show(self, state: State) -> str:
        """Say a state in words."""
        return str(state)

    def parts(self, history: History) -> list[Part[State]]:
        """Divide a history into parts that can be checked one by one: its keys."""
        keys: dict[str, list[Move[State]]] = {}
        for operation in history:
            if operation.outcome == "fail":
                continue
            moves = keys.setdefault(operation.key, [])
            if operation.outcome == "info" and self.is_read(operation):
                continue
            moves.append(self._move(operation))
        return [
            Part(key, self.initial, self.anything, moves, self.show) for key, moves in keys.items()
        ]

    def _move(self, operation: Operation) -> Move[State]:
        ends = operation.returned if operation.outcome == "ok" else None
        return Move(
            operation,
            lambda state: self.step(state, operation),
            self.is_read(operation),
            MAX_RANK if ends is None else ends,
            ends,
            self.kind(operation),
        )
