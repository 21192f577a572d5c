"""`Register`: one value a key, with read, write and compare-and-swap."""

from __future__ import annotations

from collections.abc import Hashable

from federlib.errors import InvalidInput
from federlib.testing.history.model import Model, Part
from federlib.testing.history.records import History, Operation, Word

__all__ = ["Register"]

_State = tuple[Word, ...]
_ARGUMENTS = {"read": 0, "write": 1, "cas": 2}
_RESULTS = {"read": 1, "write": 0, "cas": 1}


class Register(Model[tuple[Word, ...]]):
    """A register for each key.

    It knows three verbs:

    * ``read``, no arguments; result: the value.
    * ``write``, argument: the value; no result.
    * ``cas``, arguments: the value expected and the new one; result: 1 if it was swapped,
      0 if another value was found.

    Args:
        initial: The value of every key before the first operation.
        is_known: False where the registers were in use before: then the first value read
            is taken for what was there.
    """

    def __init__(self, initial: Word = None, *, is_known: bool = True) -> None:
        self._initial: _State = (initial,) if is_known else ()

    @property
    def initial(self) -> tuple[Word, ...]:
        """One value; empty where nothing is known."""
        return self._initial

    @property
    def anything(self) -> tuple[Word, ...] | None:
        """No value: nothing is known."""
        return ()

    def step(self, state: tuple[Word, ...], operation: Operation) -> tuple[Word, ...] | None:
        """Return the value after an operation."""
        match operation.verb:
            case "read":
                result = operation.result
                return result if not state or state == result else None
            case "write":
                return operation.arguments
            case _:
                expected, new = operation.arguments
                if operation.result == (0,) and operation.outcome == "ok":
                    return None if state == (expected,) else state
                return (new,) if not state or state == (expected,) else None

    def is_read(self, operation: Operation) -> bool:
        """Reads are, and swaps that found another value."""
        is_refused = operation.outcome == "ok" and operation.result == (0,)
        return operation.verb == "read" or (operation.verb == "cas" and is_refused)

    def kind(self, operation: Operation) -> Hashable:
        """Whoever called, it is the same."""
        return (operation.verb, operation.arguments, operation.outcome, operation.result)

    def show(self, state: tuple[Word, ...]) -> str:
        """Say the value."""
        return f"the value is {state[0]!r}" if state else "the value may be any"

    def parts(self, history: History) -> list[Part[tuple[Word, ...]]]:
        """Divide a history by key.

        Raises:
            InvalidInput: A verb is not one of a register, or has other arguments or results.
        """
        for operation in history:
            _check(operation)
        return super().parts(history)


def _check(operation: Operation) -> None:
    verb = operation.verb
    if verb not in _ARGUMENTS:
        raise InvalidInput("verb", expected="read, write or cas", found=verb)
    if len(operation.arguments) != _ARGUMENTS[verb]:
        expected = f"{_ARGUMENTS[verb]} for {verb}"
        raise InvalidInput("arguments", expected=expected, found=operation.arguments)
    if operation.outcome != "ok":
        return
    if len(operation.result) != _RESULTS[verb]:
        expected = f"{_RESULTS[verb]} words for {verb}"
        raise InvalidInput("result", expected=expected, found=operation.result)
    if verb == "cas" and operation.result not in {(0,), (1,)}:
        raise InvalidInput("result", expected="1 or 0 for cas", found=operation.result)
