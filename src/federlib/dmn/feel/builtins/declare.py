"""How a built-in function is declared: its parameters, and what may be passed for each.

An argument outside its domain makes the result null. A list of one element stands for the
element where none but a list is taken, and another value for a list of it where a list is.

Source: DMN 1.5, 10.3.2.9.4 (conversions) and 10.3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import attrs

from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.operators import kind_of
from federlib.dmn.feel.temporal import Date, DateTime, Days, Time
from federlib.dmn.feel.values import Function, Overloads, Range, Value

__all__ = [
    "ANY",
    "CONTEXT",
    "DATE",
    "DAYS",
    "FUNCTION",
    "LIST",
    "MAYBE_DAYS",
    "MAYBE_STRING",
    "NUMBER",
    "RANGE",
    "STRING",
    "TIME",
    "Kind",
    "way",
]


@attrs.frozen
class Kind:
    """What a parameter takes.

    Attributes:
        name: For messages.
        types: Of the values it takes; none are all of them.
        or_null: Whether null too.
    """

    name: str
    types: tuple[type, ...]
    or_null: bool = False


ANY = Kind("any value", ())
CONTEXT = Kind("a context", (dict,))
DATE = Kind("a date, or date and time", (Date, DateTime))
DAYS = Kind("a days and time duration", (Days,))
FUNCTION = Kind("a function", (Function, Overloads))
LIST = Kind("a list", (list,))
MAYBE_DAYS = Kind("a days and time duration, or null", (Days,), or_null=True)
MAYBE_STRING = Kind("a string, or null", (str,), or_null=True)
NUMBER = Kind("a number", (Decimal,))
RANGE = Kind("a range", (Range,))
STRING = Kind("a string", (str,))
TIME = Kind("a time", (Time,))

# Reading 64 characters costs what a step costs.
_FREE_BITS = 6

# A body takes values of the types that its parameters declare, which no signature can say.
_Body: TypeAlias = Callable[..., Value]


def way(
    name: str,
    parameters: Sequence[tuple[str, Kind]],
    body: _Body,
    *,
    optional: int = 0,
    is_variadic: bool = False,
) -> Function:
    """Make one way to call a built-in function.

    Args:
        name: Of the function.
        parameters: Names and what they take; the last takes the rest where `is_variadic`.
        body: Takes the evaluation and one value for each parameter.
        optional: How many of the last parameters may be left out; they are None then.
        is_variadic: Whether the last parameter takes any number of values.
    """
    kinds = tuple(kind for _, kind in parameters)
    least = len(kinds) - optional

    def call(ev: Evaluation, arguments: Sequence[Value]) -> Value:
        ev.spend()
        taken: list[Any] = []
        for position, kind in enumerate(kinds):
            value = arguments[position]
            if isinstance(value, str):
                ev.spend(len(value) >> _FREE_BITS)
            if value is None and position >= least:
                taken.append(None)
                continue
            if is_variadic and position == len(kinds) - 1:
                taken.append(value)
                continue
            outcome, value = _convert(value, kind)
            if not outcome:
                what = f"{parameters[position][0]} takes {kind.name}, not {kind_of(value)}"
                return ev.fail(f"{name}: {what}")
            taken.append(value)
        return body(ev, *taken)

    return Function(name, tuple(each for each, _ in parameters), call, is_variadic, optional)


def _convert(value: Value, kind: Kind) -> tuple[bool, Value]:
    """Say whether a value is taken, and as which."""
    types = kind.types
    if not types or type(value) in types or (value is None and kind.or_null):
        return True, value
    if isinstance(value, list):
        if len(value) == 1 and type(value[0]) in types:
            return True, value[0]
    elif list in types and value is not None:
        return True, [value]
    return False, value
