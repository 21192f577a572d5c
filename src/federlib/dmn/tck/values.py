"""Values in test files: how they are read, compared and shown.

Source: DMN TCK, testCases.xsd (20160719); XML Schema Part 2 for the lexical forms.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from federlib.dmn.documents.xml_tree import Node
from federlib.dmn.feel import lexical, operators
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.temporal import Date, DateTime, Days, Months, Time
from federlib.dmn.feel.types import (
    ANY,
    BOOLEAN,
    DATE,
    DATE_AND_TIME,
    DAYS_DURATION,
    MONTHS_DURATION,
    NUMBER,
    STRING,
    TIME,
    ContextType,
    FeelType,
    ListType,
)
from federlib.dmn.feel.values import Value
from federlib.errors import InvalidInput

__all__ = ["agree", "read_value", "show_value"]

_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"

# What a value without a type of its own is, by the type that the model gives it.
_BY_KIND: dict[FeelType, str] = {
    NUMBER: "decimal",
    BOOLEAN: "boolean",
    DATE: "date",
    TIME: "time",
    DATE_AND_TIME: "dateTime",
    DAYS_DURATION: "duration",
    MONTHS_DURATION: "duration",
    STRING: "string",
}
_NUMBERS = frozenset({"decimal", "double", "float", "integer", "int", "long", "short"})

_ROUNDED_DIGITS = 8
"""An expected number with as many decimals is rounded: results that no decimal can show."""

_DOUBLE = Decimal("1e-12")
"""By which part of it such a number may be off: many were computed with binary floats."""


def read_value(node: Node, kind: FeelType = ANY) -> Value:
    """Read the value in an element: `value`, `component` or `list`; nothing is null.

    Args:
        node: The element around it.
        kind: The type that the model gives it, for values that say none.
    Raises:
        InvalidInput: It is not written as its type is.
    """
    if node.get_in(_INSTANCE, "nil") == "true":
        return None
    components = list(node.all("component"))
    if components:
        entries = kind.entries if isinstance(kind, ContextType) else {}
        return {
            part.get("name"): read_value(part, entries.get(part.get("name"), ANY))
            for part in components
        }
    items = node.first("list")
    if items is not None:
        if items.get_in(_INSTANCE, "nil") == "true":
            return None
        element = kind.element if isinstance(kind, ListType) else ANY
        return [read_value(item, element) for item in items.all("item")]
    value = node.first("value")
    if value is None or value.get_in(_INSTANCE, "nil") == "true":
        return None
    said = value.get_in(_INSTANCE, "type")
    name = value.resolve(said)[1] if said else _BY_KIND.get(kind, "string")
    return _read_text(name, value.text)


def _read_text(name: str, text: str) -> Value:
    if name == "string":
        return text
    found: Value = None
    stripped = text.strip()
    if name in _NUMBERS:
        try:
            number = Decimal(stripped)
            found = number if number.is_finite() else None
        except InvalidOperation:
            found = None
    elif name == "boolean":
        found = {"true": True, "1": True, "false": False, "0": False}.get(stripped)
    elif name == "date":
        found = lexical.parse_date(stripped)
    elif name == "time":
        found = lexical.parse_time(stripped)
    elif name == "dateTime":
        found = lexical.parse_date_time(stripped)
    elif "uration" in name:
        found = lexical.parse_duration(stripped)
    else:
        raise InvalidInput("value", expected="a type that test files use", found=name)
    if found is None:
        raise InvalidInput("value", expected=f"a {name}", found=text)
    return found


def agree(found: Value, expected: Value) -> bool:
    """Say whether a value is what is expected.

    Contexts have the same keys, lists the same length and order; numbers are the same by
    value, or by rounding where the expected one has `_ROUNDED_DIGITS` decimals or more; times
    are the same instant.

    Args:
        found: What came.
        expected: What the file says.
    """
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(agree(found[key], part) for key, part in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(agree(one, other) for one, other in zip(found, expected, strict=True))
        )
    if type(found) is not type(expected):
        return False
    if isinstance(found, Decimal) and isinstance(expected, Decimal):
        return found == expected or _rounds_to(found, expected)
    if isinstance(found, Time | DateTime) and isinstance(expected, Time | DateTime):
        # FEEL compares whole seconds; what a test file says is meant to the nanosecond.
        return found == expected or (
            _beyond_equality(found) == _beyond_equality(expected)
            and operators.equal(Evaluation(), found, expected) is True
        )
    return found == expected


def _rounds_to(found: Decimal, expected: Decimal) -> bool:
    exponent = expected.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent < _ROUNDED_DIGITS:
        return False
    half_a_place = Decimal((0, (5,), exponent - 1))
    return abs(found - expected) <= max(half_a_place, abs(expected) * _DOUBLE)


def _beyond_equality(value: Time | DateTime) -> tuple[int, bool]:
    """Return the fraction of the second, and whether the time says where it is."""
    time = value.time if isinstance(value, DateTime) else value
    return time.ns_of_day % 1_000_000_000, time.offset_s is None and time.zone is None


def show_value(value: Value) -> str:
    """Write a value as people read it in a report.

    Args:
        value: Any value; of a long one only the beginning is shown.
    """
    text = _show(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


_SHOWN = 300


def _show(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return f'"{value[:_SHOWN]}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_show, value[:_SHOWN]))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_show(part)}' for key, part in value.items())}}}"
    if isinstance(value, Date | Time | DateTime | Days | Months):
        return f'@"{value}"'
    return str(value)
