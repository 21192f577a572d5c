"""Values of FEEL as JSON that people can read, and back.

Null, booleans, numbers, strings, lists and contexts are what JSON has of them, numbers with all
of their digits. What JSON has not is an object with the one key `@`: the text of a date, time or
duration as FEEL writes it behind `@`, a range by its parts, a function by its name. A context
whose only key is `@` stands in another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from federlib.dmn.feel.calendar import lacks_zones
from federlib.dmn.feel.convert import from_python, to_python
from federlib.dmn.feel.lexical import parse_temporal
from federlib.dmn.feel.numbers import number_text
from federlib.dmn.feel.values import Function, Overloads, Range, RangeOperator, Value
from federlib.errors import InvalidInput, MissingExtra

__all__ = ["jsonable", "read_jsonable"]

_AT = "@"
_RANGE_PARTS = 6
_MAX_PLACES = 40


def jsonable(value: object, *, where: str = "value") -> object:
    """Return what `msgspec.json` writes as the JSON of a value.

    Args:
        value: Of FEEL, or of Python as `from_python` takes it.
        where: What it is called in errors.
    Raises:
        InvalidInput: FEEL has no such value.
    """
    return _jsonable(from_python(value, where=where))


def _jsonable(value: Value) -> object:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, list):
        return [_jsonable(each) for each in value]
    if isinstance(value, dict):
        plain = {key: _jsonable(each) for key, each in value.items()}
        return {_AT: plain} if plain.keys() == {_AT} else plain
    if isinstance(value, Range):
        parts = ["range", value.operator, value.has_low, value.has_high]
        return {_AT: [*parts, _jsonable(value.low), _jsonable(value.high)]}
    if isinstance(value, Function | Overloads):
        return {_AT: ["function", value.name]}
    return {_AT: str(value)}


def _number(value: Decimal) -> msgspec.Raw:
    # As `canonical` has it: written out up to a length that anybody reads.
    is_short = -_MAX_PLACES < value.adjusted() < _MAX_PLACES
    return msgspec.Raw((number_text(value) if is_short else str(value)).encode())


def read_jsonable(plain: object, *, where: str = "value") -> object:
    """Return the value that `jsonable` made this of, as Python has it.

    Args:
        plain: What `msgspec.json` reads, with `float_hook=Decimal` so that no digit is lost.
        where: What it is called in errors.
    Returns:
        As `to_python` gives it; null for a function, which cannot be read back.
    Raises:
        InvalidInput: `jsonable` makes no such thing.
        MissingExtra: It has a time zone, and no zone is known here.
    """
    return to_python(_read(plain, where))


def _read(plain: object, where: str) -> Value:
    if isinstance(plain, list):
        return [_read(each, f"{where}[{place}]") for place, each in enumerate(plain)]
    if not isinstance(plain, dict):
        return from_python(plain, where=where)
    if plain.keys() != {_AT}:
        return {str(key): _read(each, f"{where}.{key}") for key, each in plain.items()}
    inner = plain[_AT]
    if isinstance(inner, dict):
        return {str(key): _read(each, f"{where}.{key}") for key, each in inner.items()}
    if isinstance(inner, str):
        temporal = parse_temporal(inner)
        if temporal is not None:
            return temporal
        if "@" in inner and lacks_zones():
            raise MissingExtra("dmn", needed_for=f"{where}, {inner[:60]},")
    if isinstance(inner, list) and inner[:1] == ["function"]:
        return None
    if isinstance(inner, list) and inner[:1] == ["range"] and len(inner) == _RANGE_PARTS:
        return _read_range(inner, where)
    raise InvalidInput(where, expected="a date, time, duration or range behind @", found=inner)


_OPERATORS: Mapping[object, RangeOperator | None] = {
    None: None,
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
    "=": "=",
    "!=": "!=",
}


def _read_range(parts: list[object], where: str) -> Range:
    _, operator, has_low, has_high, low, high = parts
    if (
        isinstance(operator, str | None)
        and operator in _OPERATORS
        and isinstance(has_low, bool)
        and isinstance(has_high, bool)
    ):
        return Range(
            _read(low, f"{where}.start"),
            _read(high, f"{where}.end"),
            has_low,
            has_high,
            _OPERATORS[operator],
        )
    raise InvalidInput(where, expected="a range", found=parts)
