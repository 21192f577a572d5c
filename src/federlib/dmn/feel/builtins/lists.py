"""Functions of lists, but those that reckon.

Source: DMN 1.5, 10.3.4.4; `list replace` from the same table of DMN 1.5 as published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from federlib.dmn.feel.builtins.declare import ANY, FUNCTION, LIST, NUMBER, Kind, way
from federlib.dmn.feel.builtins.strings import span
from federlib.dmn.feel.calls import invoke
from federlib.dmn.feel.evaluation import Evaluation, Exhausted
from federlib.dmn.feel.numbers import to_int
from federlib.dmn.feel.operators import compare, same
from federlib.dmn.feel.values import Function, Overloads, Value

__all__ = ["WAYS"]

_MAX_DEPTH = 200


def _list_contains(ev: Evaluation, values: list[Value], element: Value) -> Value:
    for each in values:
        ev.spend()
        if same(ev, each, element) is True:
            return True
    return False


def _count(_ev: Evaluation, values: list[Value]) -> Value:
    return Decimal(len(values))


def _extreme(name: str, sign: int) -> Callable[[Evaluation, list[Value]], Value]:
    def body(ev: Evaluation, values: list[Value]) -> Value:
        if not values:
            return None
        best = values[0]
        if compare(ev, best, best) is None:
            return None
        for each in values[1:]:
            ev.spend()
            order = compare(ev, each, best)
            if order is None:
                return ev.fail(f"{name}: not all can be compared")
            if order * sign > 0:
                best = each
        return best

    return body


def _all(ev: Evaluation, values: list[Value]) -> Value:
    return _agreed(ev, "all", values, decisive=False)


def _any(ev: Evaluation, values: list[Value]) -> Value:
    return _agreed(ev, "any", values, decisive=True)


def _agreed(ev: Evaluation, name: str, values: list[Value], *, decisive: bool) -> Value:
    ev.spend(len(values))
    if any(each is not None and not isinstance(each, bool) for each in values):
        return ev.fail(f"{name}: takes booleans")
    if any(each is decisive for each in values):
        return decisive
    return None if any(each is None for each in values) else not decisive


def _sublist(
    ev: Evaluation, values: list[Value], start: Decimal, length: Decimal | None = None
) -> Value:
    part = span(start, length, len(values))
    if part is None:
        return ev.fail("sublist: position or length outside the list")
    ev.spend(part[1] - part[0])
    return values[part[0] : part[1]]


def _append(ev: Evaluation, values: list[Value], items: list[Value]) -> Value:
    return _built(ev, [values, items])


def _concatenate(ev: Evaluation, lists: list[Value]) -> Value:
    parts = _lists(ev, "concatenate", lists)
    return None if parts is None else _built(ev, parts)


def _lists(ev: Evaluation, name: str, values: list[Value]) -> list[list[Value]] | None:
    """Take each value as a list; one that is none stands for a list of it."""
    if any(each is None for each in values):
        return ev.fail(f"{name}: takes lists, not null")
    return [each if isinstance(each, list) else [each] for each in values]


def _built(ev: Evaluation, parts: Sequence[list[Value]]) -> list[Value]:
    size = sum(map(len, parts))
    ev.check_size(size)
    ev.spend(size)
    return [each for part in parts for each in part]


def _place(position: Decimal, size: int) -> int | None:
    """Give an index from 0 for a position from 1, or from -1 backwards; None: outside."""
    number = to_int(position, bound=size)
    if not number:
        return None
    return number - 1 if number > 0 else size + number


def _insert_before(ev: Evaluation, values: list[Value], position: Decimal, item: Value) -> Value:
    at = _place(position, len(values))
    if at is None:
        return ev.fail("insert before: a position outside the list")
    return _built(ev, [values[:at], [item], values[at:]])


def _remove(ev: Evaluation, values: list[Value], position: Decimal) -> Value:
    at = _place(position, len(values))
    if at is None:
        return ev.fail("remove: a position outside the list")
    return _built(ev, [values[:at], values[at + 1 :]])


def _replace_at(
    ev: Evaluation, values: list[Value], position: Decimal | Function | Overloads, item: Value
) -> Value:
    if not isinstance(position, Decimal):
        return _replace_where(ev, values, position, item)
    at = _place(position, len(values))
    if at is None:
        return ev.fail("list replace: a position outside the list")
    return _built(ev, [values[:at], [item], values[at + 1 :]])


def _replace_where(
    ev: Evaluation, values: list[Value], match: Function | Overloads, item: Value
) -> Value:
    result: list[Value] = []
    for each in values:
        outcome = invoke(ev, match, [each, item])
        if not isinstance(outcome, bool):
            return ev.fail("list replace: the match function gave no boolean")
        result.append(item if outcome else each)
    return result


def _reverse(ev: Evaluation, values: list[Value]) -> Value:
    ev.spend(len(values))
    return values[::-1]


def _index_of(ev: Evaluation, values: list[Value], match: Value) -> Value:
    found: list[Value] = []
    for position, each in enumerate(values, 1):
        ev.spend()
        if same(ev, each, match) is True:
            found.append(Decimal(position))
    return found


def _union(ev: Evaluation, lists: list[Value]) -> Value:
    parts = _lists(ev, "union", lists)
    return None if parts is None else _distinct(ev, _built(ev, parts))


def _distinct(ev: Evaluation, values: Iterable[Value]) -> list[Value]:
    """Keep the first of equal values; plain ones are found by hash, others one by one."""
    kept: list[Value] = []
    plain: set[tuple[type, object]] = set()
    others: list[Value] = []
    for each in values:
        ev.spend()
        if each is None or isinstance(each, bool | Decimal | str):
            key = (type(each), each)
            if key in plain:
                continue
            plain.add(key)
        elif _list_contains(ev, others, each):
            continue
        else:
            others.append(each)
        kept.append(each)
    return kept


def _flatten(ev: Evaluation, values: list[Value], depth: int = 0) -> list[Value]:
    if depth > _MAX_DEPTH:
        raise Exhausted(f"values nested deeper than {_MAX_DEPTH}")
    flat: list[Value] = []
    for each in values:
        ev.spend()
        if isinstance(each, list):
            flat.extend(_flatten(ev, each, depth + 1))
            ev.check_size(len(flat))
        else:
            flat.append(each)
    return flat


class _NotSortable(Exception):  # noqa: N818 (never leaves this module)
    pass


class _Key:
    """Orders a value by a function of the user, for `sorted`, which asks only `<`."""

    def __init__(self, ev: Evaluation, value: Value, precedes: Function | Overloads | None) -> None:
        self.ev = ev
        self.value = value
        self.precedes = precedes

    def __lt__(self, other: _Key) -> bool:
        self.ev.spend()
        if self.precedes is None:
            order = compare(self.ev, self.value, other.value)
            if order is None:
                raise _NotSortable
            return order < 0
        outcome = invoke(self.ev, self.precedes, [self.value, other.value])
        if not isinstance(outcome, bool):
            raise _NotSortable
        return outcome


def _sort(
    ev: Evaluation, values: list[Value], precedes: Function | Overloads | None = None
) -> Value:
    try:
        return [each.value for each in sorted(_Key(ev, each, precedes) for each in values)]
    except _NotSortable:
        return ev.fail("sort: two elements have no order")


_LIST = ("list", LIST)
_POSITION = ("position", NUMBER)
# In order, the second argument may be either; by name it is one or the other.
_PLACE = Kind("a number or function", (Decimal, Function, Overloads))
_NEW = ("newItem", ANY)
_LISTS = ("list", ANY)

WAYS: tuple[Function, ...] = (
    way("list contains", [_LIST, ("element", ANY)], _list_contains),
    way("count", [_LIST], _count),
    way("min", [_LIST], _extreme("min", -1)),
    way("min", [("c1, ..., cN", ANY)], _extreme("min", -1), is_variadic=True),
    way("max", [_LIST], _extreme("max", 1)),
    way("max", [("c1, ..., cN", ANY)], _extreme("max", 1), is_variadic=True),
    way("all", [_LIST], _all),
    way("all", [("b1, ..., bN", ANY)], _all, is_variadic=True),
    way("any", [_LIST], _any),
    way("any", [("b1, ..., bN", ANY)], _any, is_variadic=True),
    way("sublist", [_LIST, ("start position", NUMBER)], _sublist),
    way("sublist", [_LIST, ("start position", NUMBER), ("length", NUMBER)], _sublist),
    way("append", [_LIST, ("item", ANY)], _append, is_variadic=True),
    way("concatenate", [_LISTS], _concatenate, is_variadic=True),
    way("insert before", [_LIST, _POSITION, _NEW], _insert_before),
    way("remove", [_LIST, _POSITION], _remove),
    way("list replace", [_LIST, ("position", _PLACE), _NEW], _replace_at),
    way("list replace", [_LIST, ("match", FUNCTION), _NEW], _replace_where),
    way("reverse", [_LIST], _reverse),
    way("index of", [_LIST, ("match", ANY)], _index_of),
    way("union", [_LISTS], _union, is_variadic=True),
    way("distinct values", [_LIST], _distinct),
    way("flatten", [_LIST], _flatten),
    way("sort", [_LIST, ("precedes", FUNCTION)], _sort),
    way("sort", [_LIST], _sort),
)
