"""Values as text, as `string` gives it.

Source: DMN 1.5, 10.3.4.1; what it leaves open (lists, contexts) reads as the literals do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from federlib.dmn.feel.evaluation import Evaluation, Exhausted
from federlib.dmn.feel.numbers import number_text
from federlib.dmn.feel.values import Function, Overloads, Range, Value

__all__ = ["literal", "quoted", "text"]

_MAX_DEPTH = 200
_PLAIN_KEY = re.compile(r"[^\W\d][\w'+*./ -]*")


def text(ev: Evaluation, value: Value) -> str:
    """Give a value as text; a string as it is."""
    return value if isinstance(value, str) else literal(ev, value)


def literal(ev: Evaluation, value: Value) -> str:
    """Give a value as text; a string in quotes."""
    parts: list[str] = []
    size = 0
    for part in _parts(ev, value, 0):
        parts.append(part)
        size += len(part)
        ev.check_size(size)
    return "".join(parts)


def _parts(ev: Evaluation, value: Value, depth: int) -> Iterator[str]:
    ev.spend()
    if depth > _MAX_DEPTH:
        raise Exhausted(f"values nested deeper than {_MAX_DEPTH}")
    match value:
        case None:
            yield "null"
        case bool():
            yield "true" if value else "false"
        case Decimal():
            yield number_text(value)
        case str():
            yield quoted(value)
        case list():
            yield "["
            for position, each in enumerate(value):
                yield ", " if position else ""
                yield from _parts(ev, each, depth + 1)
            yield "]"
        case dict():
            yield "{"
            for position, (key, each) in enumerate(value.items()):
                name = key if _PLAIN_KEY.fullmatch(key) else quoted(key)
                yield f"{', ' if position else ''}{name}: "
                yield from _parts(ev, each, depth + 1)
            yield "}"
        case Range():
            yield from _range(ev, value, depth)
        case Function():
            yield f"function({', '.join(value.parameters)})"
        case Overloads():
            yield f"function {value.name}"
        case _:  # dates, times and durations
            yield str(value)


def _range(ev: Evaluation, value: Range, depth: int) -> Iterator[str]:
    if value.operator is not None:
        yield f"({value.operator} "
        end = value.high if value.operator in {"<", "<="} else value.low
        yield from _parts(ev, end, depth + 1)
        yield ")"
        return
    yield "[" if value.has_low else "("
    yield from _parts(ev, value.low, depth + 1)
    yield ".."
    yield from _parts(ev, value.high, depth + 1)
    yield "]" if value.has_high else ")"


def quoted(value: str) -> str:
    """Give a string as a literal."""
    inner = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'
