"""The types of FEEL: which conform to which, which value is of which, and how values adapt.

Source: DMN 1.5, 10.3.2.9 (types), 10.3.2.9.2 (conformance), 10.3.2.9.4 (conversions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import TypeAlias

import attrs

from federlib.dmn.feel.lexer import NameIndex
from federlib.dmn.feel.temporal import UTC_MIDNIGHT, Date, DateTime, Days, Months, Time
from federlib.dmn.feel.values import Function, Overloads, Range, Value

__all__ = [
    "ANY",
    "BOOLEAN",
    "CONTEXT",
    "DATE",
    "DATE_AND_TIME",
    "DAYS_DURATION",
    "LIST",
    "MONTHS_DURATION",
    "NAMED_TYPES",
    "NULL",
    "NUMBER",
    "STRING",
    "TIME",
    "ContextType",
    "FeelType",
    "FunctionType",
    "ListType",
    "RangeType",
    "SimpleType",
    "coerce",
    "conforms",
    "is_instance",
    "join",
    "type_of",
]


@attrs.frozen
class SimpleType:
    """A type without parts.

    Attributes:
        name: As FEEL spells it: `number`, `date and time`, `Any`, `Null` and so on.
    """

    name: str

    def __str__(self) -> str:
        return self.name


@attrs.frozen
class ListType:
    """A list.

    Attributes:
        element: Of each of its elements.
    """

    element: FeelType

    def __str__(self) -> str:
        return f"list<{self.element}>"


@attrs.frozen
class RangeType:
    """A range.

    Attributes:
        element: Of its ends.
    """

    element: FeelType

    def __str__(self) -> str:
        return f"range<{self.element}>"


@attrs.frozen
class ContextType:
    """A context with entries that are known; a value may have more.

    Attributes:
        entries: Types by name.
        is_open: More entries may be there than are known, so an unknown one is no mistake.
    """

    entries: Mapping[str, FeelType] = attrs.field(hash=False)
    is_open: bool = attrs.field(default=False, eq=False)

    @cached_property
    def index(self) -> NameIndex:
        """Finds the entries in a text."""
        return NameIndex(self.entries)

    @cached_property
    def parts(self) -> int:
        """How many types it is made of."""
        return 1 + sum(map(_parts, self.entries.values()))

    def __str__(self) -> str:
        inside = ", ".join(f"{name}: {kind}" for name, kind in self.entries.items())
        return f"context<{inside}>"


@attrs.frozen
class FunctionType:
    """A function.

    Attributes:
        parameters: Types in order.
        result: Of what it returns.
        names: Of the parameters where they are known; they do not make another type.
    """

    parameters: tuple[FeelType, ...]
    result: FeelType
    names: tuple[str, ...] = attrs.field(default=(), eq=False)

    def __str__(self) -> str:
        return f"function<{', '.join(map(str, self.parameters))}>->{self.result}"


FeelType: TypeAlias = SimpleType | ListType | RangeType | ContextType | FunctionType
"""Any type of FEEL."""

ANY = SimpleType("Any")
NULL = SimpleType("Null")
NUMBER = SimpleType("number")
STRING = SimpleType("string")
BOOLEAN = SimpleType("boolean")
DATE = SimpleType("date")
TIME = SimpleType("time")
DATE_AND_TIME = SimpleType("date and time")
DAYS_DURATION = SimpleType("days and time duration")
MONTHS_DURATION = SimpleType("years and months duration")
LIST = ListType(ANY)
CONTEXT = ContextType({}, is_open=True)

NAMED_TYPES: Mapping[str, FeelType] = {
    "Any": ANY,
    "Null": NULL,
    "number": NUMBER,
    "string": STRING,
    "boolean": BOOLEAN,
    "date": DATE,
    "time": TIME,
    "date and time": DATE_AND_TIME,
    "dateTime": DATE_AND_TIME,
    "days and time duration": DAYS_DURATION,
    "dayTimeDuration": DAYS_DURATION,
    "years and months duration": MONTHS_DURATION,
    "yearMonthDuration": MONTHS_DURATION,
    "list": LIST,
    "context": CONTEXT,
    "range": RangeType(ANY),
    "function": ANY,
}
"""Types that have a name of their own, with the spellings of older models."""

Spend: TypeAlias = Callable[[int], None]
"""Takes steps of an evaluation."""

_MAX_JOINED = 1_000
_MAX_PARTS = 1_000

_CLASSES: Mapping[SimpleType, type] = {
    NUMBER: Decimal,
    STRING: str,
    BOOLEAN: bool,
    DATE: Date,
    TIME: Time,
    DATE_AND_TIME: DateTime,
    DAYS_DURATION: Days,
    MONTHS_DURATION: Months,
}
_SIMPLE_OF: Mapping[type, SimpleType] = {kind: simple for simple, kind in _CLASSES.items()}


def _free(steps: int) -> None:
    """Take no steps."""


def bounded(kind: FeelType) -> FeelType:
    """Give a type, or `Any` if it has very many parts.

    Entries of contexts may be contexts that stand in two entries each, and so on: written out,
    or compared part by part, such a type has no end. Types that a text is given while it is
    read are bounded, which costs nothing but the names of entries.
    """
    return kind if _parts(kind) <= _MAX_PARTS else ANY


def _parts(kind: FeelType) -> int:
    match kind:
        case ListType(element) | RangeType(element):
            return 1 + _parts(element)
        case ContextType():
            return kind.parts
        case FunctionType(parameters, result):
            return 1 + _parts(result) + sum(map(_parts, parameters))
        case _:
            return 1


def conforms(narrow: FeelType, wide: FeelType) -> bool:
    """Say whether every value of one type will do where the other is wanted.

    Args:
        narrow: The type that is there.
        wide: The type that is wanted.
    Source: DMN 1.5, 10.3.2.9.2.
    """
    if wide == ANY or narrow in (NULL, wide):
        return True
    match narrow, wide:
        case (ListType(a), ListType(b)) | (RangeType(a), RangeType(b)):
            return conforms(a, b)
        case ContextType(have), ContextType(want):
            return all(name in have and conforms(have[name], kind) for name, kind in want.items())
        case FunctionType(takes, gives), FunctionType(given, wanted):
            # What a function takes may be wider than what it will be given.
            return (
                len(takes) == len(given)
                and all(conforms(b, a) for a, b in zip(takes, given, strict=True))
                and conforms(gives, wanted)
            )
        case _:
            return False


def type_of(value: Value) -> FeelType:
    """Tell the narrowest type of a value.

    Args:
        value: Any value; a list is looked through.
    """
    simple = _SIMPLE_OF.get(type(value))
    if simple is not None:
        return simple
    match value:
        case None:
            return NULL
        case list():
            return ListType(join(map(type_of, value)))
        case dict():
            return ContextType({name: type_of(part) for name, part in value.items()})
        case Range():
            return RangeType(join((type_of(value.low), type_of(value.high))))
        case Function():
            if value.type is not None:
                return value.type
            return FunctionType((ANY,) * len(value.parameters), ANY, value.parameters)
        case Overloads():
            return type_of(value.ways[0])
        case _:
            return ANY


def join(kinds: Iterable[FeelType]) -> FeelType:
    """Tell the narrowest type that all of some types conform to; contexts keep what they share.

    Args:
        kinds: The types; with none of them, or only `Null`, it is `Any`.
    """
    found: FeelType = NULL
    for kind in kinds:
        found = _join(found, kind)
        if found == ANY:
            break
    return ANY if found == NULL else found


def _join(a: FeelType, b: FeelType) -> FeelType:
    if a is b or a in (NULL, b):
        return b
    if b == NULL:
        return a
    match a, b:
        case ListType(left), ListType(right):
            return ListType(_join(left, right))
        case RangeType(left), RangeType(right):
            return RangeType(_join(left, right))
        case ContextType(left), ContextType(right):
            return _join_contexts(a, left, right)
        case _:
            return ANY


def _join_contexts(
    a: ContextType, left: Mapping[str, FeelType], right: Mapping[str, FeelType]
) -> ContextType:
    # Names of either side are known to the reader of text after it. What is already there is
    # not built again, since a list may have very many contexts.
    changed = {
        name: wider
        for name, kind in right.items()
        if (wider := _join(left.get(name, NULL), kind)) != left.get(name)
    }
    if a.is_open and not changed:
        return a
    if len(left) + len(changed) > _MAX_JOINED:
        return CONTEXT
    return ContextType({**left, **changed}, is_open=True)


def is_instance(value: Value, kind: FeelType, *, spend: Spend = _free) -> bool:
    """Say whether a value is of a type, as `instance of` does: null is of no type but `Null`.

    Args:
        value: Any value.
        kind: Any type; null inside a list or a context is of each.
        spend: Takes a step for each element that is looked at.
    Source: DMN 1.5, 10.3.2.6, table 49 and 10.3.2.9.2.
    """
    if value is None:
        return kind == NULL
    return _Check(spend).is_of(value, kind)


@attrs.define(eq=False)
class _Check:
    """Looks at each part of a value once, though it may stand in very many places of it."""

    spend: Spend
    seen: set[tuple[int, int]] = attrs.field(factory=set)

    def is_of(self, value: Value, kind: FeelType) -> bool:
        if value is None or kind == ANY:
            return True
        match kind:
            case SimpleType():
                return type(value) is _CLASSES.get(kind)
            case ListType(element):
                return isinstance(value, list) and (
                    element == ANY or self._are_of(value, kind, [(each, element) for each in value])
                )
            case ContextType(entries):
                return (
                    isinstance(value, dict)
                    and entries.keys() <= value.keys()
                    and self._are_of(
                        value, kind, [(value[name], part) for name, part in entries.items()]
                    )
                )
            case RangeType(element):
                return (
                    isinstance(value, Range)
                    and self.is_of(value.low, element)
                    and self.is_of(value.high, element)
                )
            case FunctionType():
                return _is_callable_as(value, kind)

    def _are_of(
        self, value: Value, kind: FeelType, parts: Sequence[tuple[Value, FeelType]]
    ) -> bool:
        # Both outlive this check, so an id stands for one thing.
        key = id(value), id(kind)
        if key in self.seen:
            return True
        self.spend(len(parts))
        if not all(self.is_of(part, wanted) for part, wanted in parts):
            return False
        self.seen.add(key)
        return True


def _is_callable_as(value: Value, kind: FunctionType) -> bool:
    if isinstance(value, Overloads):
        return any(_is_callable_as(way, kind) for way in value.ways)
    if not isinstance(value, Function):
        return False
    if value.type is not None:
        return conforms(value.type, kind)
    # Of a function that is built in, the types of its parameters are not declared.
    most = len(value.parameters)
    least = most - value.optional - value.is_variadic
    given = len(kind.parameters)
    return least <= given and (value.is_variadic or given <= most)


def coerce(value: Value, kind: FeelType, *, spend: Spend = _free) -> Value:
    """Adapt a value to a type, by the three conversions that are implicit.

    A single value becomes a list of it where a list is wanted, a list of one its element where
    none is, a date its midnight in UTC where a date and time is.

    Args:
        value: Any value; null conforms to every type.
        kind: The type that is wanted.
        spend: Takes a step for each element that is looked at.
    Returns:
        The value, converted where that serves; null where it does not conform. Whoever calls
        tells the two nulls apart by what was given.
    Source: DMN 1.5, 10.3.2.9.4.
    """
    check = _Check(spend)
    if check.is_of(value, kind):
        return value
    if isinstance(kind, ListType) and check.is_of(value, kind.element):
        return [value]
    if isinstance(value, list) and len(value) == 1 and check.is_of(value[0], kind):
        return value[0]
    if kind == DATE_AND_TIME and isinstance(value, Date):
        return DateTime(value, UTC_MIDNIGHT)
    return None
