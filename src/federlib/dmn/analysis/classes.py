"""Which values a column tells apart: classes, each with one value that stands for it.

Every cell that is made of constants (a value, a comparison, an interval, a list of those,
`not(…)`) is true for all values of a class or for none. So trying one value of each class is
trying all values. Null is one more value. Of other cells the constants are tried too, but what
they do in between is not known: then the classes are not exact, and whoever uses them says so.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Literal, TypeAlias, cast

import attrs

from federlib.dmn.feel import operators
from federlib.dmn.feel.builtins import BUILTINS
from federlib.dmn.feel.closures import Compiler
from federlib.dmn.feel.compile import UnaryTests
from federlib.dmn.feel.evaluation import Evaluation, Exhausted
from federlib.dmn.feel.numbers import CONTEXT, number_text
from federlib.dmn.feel.temporal import Date, DateTime, Days, Months, Time
from federlib.dmn.feel.tree import FACTS, INPUT, UNKNOWN, Name, Node, Test
from federlib.dmn.feel.tree import Literal as LiteralNode
from federlib.dmn.feel.types import BOOLEAN, DATE, NUMBER, STRING, FeelType
from federlib.dmn.feel.values import Function, Overloads, Range, Value

__all__ = ["Class", "Classes", "Constants", "classes_of", "constants_of", "literal_text"]

_DAY_NS = 86_400_000_000_000
_BINDING = ("For", "Quantified", "Filter", "FunctionLiteral", "ContextLiteral")

ClassKind: TypeAlias = Literal["point", "open", "rest"]


@attrs.frozen
class Constants:
    """What a cell compares with.

    Attributes:
        values: Constants, in no order.
        is_exact: Whether it tells values apart by those alone.
        asks_facts: Whether it asks for more than the value that is tested.
        orders: Whether it asks what comes before what.
    """

    values: tuple[Value, ...]
    is_exact: bool
    asks_facts: bool
    orders: bool


@attrs.frozen
class Class:
    """Values that no cell tells apart.

    Attributes:
        example: One of them.
        kind: `point`: the only one; `open`: it lies between two ends; `rest`: all other
            strings, or whatever there may be.
        low: The end below; None: there is none.
        high: The end above; None: there is none.
    """

    example: Value
    kind: ClassKind = "point"
    low: Value = None
    high: Value = None


@attrs.frozen
class Classes:
    """All classes of one column.

    Attributes:
        members: Those of one type stand together, in order; null is the last.
        is_exact: Whether each class is as good as any of its values.
    """

    members: tuple[Class, ...]
    is_exact: bool

    def text(self, chosen: Collection[int]) -> str:
        """Say which classes are chosen, as unary tests where FEEL can say it.

        Args:
            chosen: Their positions.
        """
        wanted = sorted(set(chosen))
        if len(wanted) == len(self.members):
            return "-"
        if [self.members[each].example for each in range(len(self.members))][-1:] == [None] and (
            wanted == list(range(len(self.members) - 1))
        ):
            return "not(null)"
        return ", ".join(self._parts(wanted))

    def _parts(self, wanted: Sequence[int]) -> Iterator[str]:
        position = 0
        while position < len(wanted):
            first = self.members[wanted[position]]
            if first.kind == "rest":
                yield self._rest(wanted)
                position += 1
                continue
            end = position
            while end + 1 < len(wanted) and self._meet(wanted[end], wanted[end + 1]):
                end += 1
            last = self.members[wanted[end]]
            if first.kind != "point" or end > position:
                yield _span(first, last)
            elif not self._is_among_the_rest(wanted, first):
                yield literal_text(first.example)
            position = end + 1

    def _meet(self, left: int, right: int) -> bool:
        """Whether two classes are neighbours with nothing between them."""
        if right != left + 1:
            return False
        kinds = {self.members[left].kind, self.members[right].kind}
        return kinds == {"point", "open"} and type(self.members[left].example) is type(
            self.members[right].example
        )

    def _rest(self, wanted: Sequence[int]) -> str:
        left_out = [
            literal_text(each.example)
            for position, each in enumerate(self.members)
            if isinstance(each.example, str | None) and position not in wanted
        ]
        return f"not({', '.join(left_out)})" if left_out else "any string"

    def _is_among_the_rest(self, wanted: Sequence[int], member: Class) -> bool:
        # `not("a")` is true for null too.
        return isinstance(member.example, str | None) and any(
            self.members[each].kind == "rest" for each in wanted
        )


def literal_text(value: Value) -> str:
    """Spell a value as FEEL would."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Decimal):
        return number_text(value)
    if isinstance(value, str):
        return '"' + "".join(map(_spelled, value)) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(literal_text, value)) + "]"
    if isinstance(value, dict):
        entries = (f"{literal_text(key)}: {literal_text(each)}" for key, each in value.items())
        return "{" + ", ".join(entries) + "}"
    if isinstance(value, Function | Overloads):
        return value.name
    if isinstance(value, Range):
        if value.operator is not None:
            end = value.high if value.low is None else value.low
            return f"({value.operator} {literal_text(end)})"
        low, high = "[" if value.has_low else "(", "]" if value.has_high else ")"
        return f"{low}{literal_text(value.low)}..{literal_text(value.high)}{high}"
    return f'@"{value}"'


def _spelled(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    # Ends of lines, of which Unicode has many, and what cannot be seen.
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:06X}"


def _span(first: Class, last: Class) -> str:
    low, has_low = (first.example, True) if first.kind == "point" else (first.low, False)
    high, has_high = (last.example, True) if last.kind == "point" else (last.high, False)
    if low is None and high is None:
        return "any " + operators.kind_of(first.example).removeprefix("a ")
    if low is None:
        return f"{'<=' if has_high else '<'} {literal_text(high)}"
    if high is None:
        return f"{'>=' if has_low else '>'} {literal_text(low)}"
    ends = ("[" if has_low else "(", "]" if has_high else ")")
    return f"{ends[0]}{literal_text(low)}..{literal_text(high)}{ends[1]}"


def constants_of(tests: UnaryTests) -> Constants:
    """Read what a cell compares with."""
    values: list[Value] = []
    is_exact, asks_facts, orders = True, False, False
    for node in tests.tree.tests:
        parts = list(_walk(node))
        places = {part.place for part in parts if isinstance(part, Name)}
        asks_facts |= bool(places & {FACTS, UNKNOWN})
        found = None if places & {FACTS, UNKNOWN, INPUT} else _value(node, parts)
        if found is None:
            is_exact = False
            values += [part.value for part in parts if isinstance(part, LiteralNode)]
            orders |= any(isinstance(part, Test) for part in parts)
            continue
        for each in found:
            orders |= isinstance(each, Range)
            constants = _constants(each)
            is_exact &= constants is not None
            values += constants or ()
    return Constants(tuple(values), is_exact, asks_facts, orders)


def _walk(node: object) -> Iterator[Node]:
    waiting: list[object] = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, tuple):
            waiting.extend(each)
        elif type(each).__module__ == Name.__module__:
            # All classes of that module are nodes, or parts of one.
            yield cast("Node", each)
            names = [name for name in type(each).__annotations__ if name != "type"]
            waiting.extend(getattr(each, name) for name in names)


def _value(node: Node, parts: Iterable[Node]) -> tuple[Value, ...] | None:
    """Evaluate what asks for nothing; a list stands for its elements."""
    if any(type(part).__name__ in _BINDING for part in parts):
        return None
    ev = Evaluation(steps=10_000)
    try:
        found = Compiler(BUILTINS).code(node)(ev, [{}, None])
    except (Exhausted, RecursionError):
        return None
    return tuple(found) if isinstance(found, list) else (found,)


def _constants(value: Value) -> tuple[Value, ...] | None:
    if isinstance(value, Range):
        return tuple(each for each in (value.low, value.high) if each is not None)
    return None if isinstance(value, list | dict | Function | Overloads) else (value,)


def classes_of(constants: Iterable[Constants], kind: FeelType, *, has_null: bool = True) -> Classes:
    """Make the classes of a column.

    Args:
        constants: Of its cells, and of what restricts its values.
        kind: The type of what is tested.
        has_null: Whether null is one of the values.
    """
    read = list(constants)
    is_exact = all(each.is_exact and not each.asks_facts for each in read)
    by_type: dict[type, list[Value]] = {}
    for value in (value for each in read for value in each.values):
        if value is not None:
            by_type.setdefault(type(value), []).append(value)
    for name, example in _EXAMPLES:
        # A type that no cell names is there all the same: `-` is for its values too.
        if kind == name:
            by_type.setdefault(type(example), [])
    members: list[Class] = []
    for of_type, values in by_type.items():
        if of_type is str and not any(each.orders for each in read):
            members += _strings({str(value) for value in values})
        elif of_type is bool:
            members += [Class(example=True), Class(example=False)]
        elif of_type in _STEPS:
            ordered = _ordered(values)
            is_exact &= ordered is not None and all(map(_is_alone, values))
            members += _line(ordered) if ordered else _single(of_type, values)
        else:
            is_exact = False
            members += [Class(value) for value in values]
    if has_null or not members:
        members.append(Class(None, "point" if members or has_null else "rest"))
    return Classes(tuple(members), is_exact)


_EXAMPLES: tuple[tuple[FeelType, Value], ...] = (
    (NUMBER, Decimal(0)),
    (STRING, ""),
    (BOOLEAN, True),
    (DATE, Date(2000, 1, 1)),
)


def _is_alone(value: Value) -> bool:
    """Whether what equals a value is like it to every cell: not of a time with an offset.

    A local time equals that of every zone, by the clock; those of two zones differ.
    """
    time = value.time if isinstance(value, DateTime) else value
    return not isinstance(time, Time) or time.is_local


def _single(of_type: type, values: Sequence[Value]) -> list[Class]:
    if values:
        return [Class(value) for value in values]
    example = next(each for _, each in _EXAMPLES if type(each) is of_type)
    return [Class(example, "open")]


def _strings(values: set[str]) -> Iterator[Class]:
    yield from (Class(value) for value in sorted(values))
    other, number = "other", 1
    while other in values:
        number += 1
        other = f"other {number}"
    yield Class(other, "rest")


def _ordered(values: Sequence[Value]) -> list[Value] | None:
    """Sort values without repeats; None where two cannot be compared."""
    comparable = True

    def compare(a: Value, b: Value) -> int:
        nonlocal comparable
        order = operators.compare(Evaluation(), a, b)
        comparable &= order is not None
        return order or 0

    found: list[Value] = []
    for value in sorted(values, key=functools.cmp_to_key(compare)):
        if not found or compare(found[-1], value):
            found.append(value)
    return found if comparable else None


def _line(points: Sequence[Value]) -> Iterator[Class]:
    """Part a line into its points and what lies below, between and above them."""
    below: Value = None
    for point in points:
        between = _between(below, point)
        if between is not None:
            yield Class(between, "open", below, point)
        yield Class(point)
        below = point
    above = _between(below, None)
    if above is not None:
        yield Class(above, "open", below)


def _between(low: Value, high: Value) -> Value:
    """Find a value between two; None where there is none."""
    if isinstance(low, Decimal) and isinstance(high, Decimal):
        return _nice(low, high)
    if isinstance(low, str) or (low is None and isinstance(high, str)):
        return _next_string(low, high)
    start, sign = (high, -1) if low is None else (low, 1)
    for step in _STEPS[type(start)]:
        found = _moved(start, step, sign)
        is_new = found is not None and operators.compare(Evaluation(), found, start)
        if is_new and (
            low is None or high is None or (operators.compare(Evaluation(), found, high) or 0) < 0
        ):
            return found
    return None


def _nice(low: Decimal, high: Decimal) -> Value:
    """Choose a whole number where there is one."""
    whole = CONTEXT.add(low, Decimal(1)).to_integral_value("ROUND_FLOOR", CONTEXT)
    if low < whole < high:
        return whole
    middle = CONTEXT.divide(CONTEXT.add(low, high), Decimal(2))
    return middle if low < middle < high else None


def _next_string(low: Value, high: Value) -> Value:
    if not isinstance(low, str):
        return "" if high else None
    for found in (low + "a", low + "\x00"):
        if high is None or (isinstance(high, str) and found < high):
            return found
    return None


def _moved(value: Value, step: Value, sign: int) -> Value:
    ev = Evaluation()
    if isinstance(value, Time):
        assert isinstance(step, Days)
        moved = value.ns_of_day + sign * step.ns
        return attrs.evolve(value, ns_of_day=moved) if 0 <= moved < _DAY_NS else None
    found = operators.add(ev, value, step) if sign > 0 else operators.subtract(ev, value, step)
    return found if type(found) is type(value) else None


_STEPS: dict[type, tuple[Value, ...]] = {
    Decimal: (Decimal(1),),
    str: ("",),
    Date: (Days(_DAY_NS),),
    DateTime: (Days(_DAY_NS), Days(1_000_000_000), Days(1)),
    Time: (Days(3_600_000_000_000), Days(1_000_000_000), Days(1)),
    Days: (Days(_DAY_NS), Days(1_000_000_000), Days(1)),
    Months: (Months(1),),
}
"""By how much the next value is away, the nicest first."""
