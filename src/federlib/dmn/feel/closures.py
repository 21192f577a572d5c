"""From a tree to something that runs: one closure for each node.

A closure takes the evaluation and a frame (see `tree`), and returns a value. It never
raises because of data: what the standard calls an error is told to the evaluation, and is null.

Steps are taken where work repeats, by the size of what is repeated: at each round of a loop and
each call of a function. Everything else runs at most once for each node of the text.

Source: DMN 1.5, 10.3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, cast

import attrs

from federlib.dmn.feel import functions, loops, operators
from federlib.dmn.feel.comparing import COMPARISONS, at_least, at_most
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.loops import Code, Frame
from federlib.dmn.feel.temporal import has_property, property_of
from federlib.dmn.feel.tree import (
    BUILTIN,
    FACTS,
    UNKNOWN,
    Arithmetic,
    Between,
    Broken,
    Call,
    Comparison,
    Conjunction,
    ContextLiteral,
    Disjunction,
    Filter,
    For,
    FunctionLiteral,
    If,
    In,
    InstanceOf,
    Interval,
    ListLiteral,
    Literal,
    Name,
    Negation,
    Node,
    Path,
    Quantified,
    Test,
)
from federlib.dmn.feel.types import is_instance
from federlib.dmn.feel.values import Function, Overloads, Range, Value

__all__ = ["Builtins", "Code", "Compiler", "Frame", "Predicate"]

Predicate: TypeAlias = Callable[[Evaluation, Frame, Value], bool | None]
"""What a test became; it takes the value that is tested."""

Builtins: TypeAlias = Mapping[str, Function | Overloads]
"""The functions that are built in, by name."""

_OPERATIONS: Mapping[str, Callable[[Evaluation, Value, Value], Value]] = {
    "+": operators.add,
    "-": operators.subtract,
    "*": operators.multiply,
    "/": operators.divide,
    "**": operators.power,
}


@attrs.define(eq=False)
class Compiler:
    """Makes closures of one text.

    Attributes:
        builtins: The functions that are built in.
        weight: Nodes so far, which is what a round of a loop costs.
    """

    builtins: Builtins
    weight: int = 0

    def code(self, node: Node) -> Code:
        """Make the closure of a node."""
        self.weight += 1
        make = _MAKERS[type(node)]
        return make(self, node)

    def weigh(self, node: Node) -> tuple[Code, int]:
        """Make the closure of a node, and tell how many nodes it has."""
        before = self.weight
        code = self.code(node)
        return code, self.weight - before

    def test(self, node: Node) -> Predicate:
        """Make of a node what tests a value, as after `in`."""
        if isinstance(node, Test):
            operand = self.code(node.operand)
            compare = COMPARISONS[node.operator]

            def by_comparison(ev: Evaluation, frame: Frame, value: Value) -> bool | None:
                return compare(ev, value, operand(ev, frame))

            return by_comparison
        code = self.code(node)

        def by_value(ev: Evaluation, frame: Frame, value: Value) -> bool | None:
            return operators.is_in(ev, value, code(ev, frame))

        return by_value

    def asking(self, node: Node) -> Predicate:
        """Make of a node that names `?` what tests a value: a boolean decides by itself."""
        if isinstance(node, Test | Interval):
            return self.test(node)
        code = self.code(node)

        def by_itself(ev: Evaluation, frame: Frame, value: Value) -> bool | None:
            result = code(ev, frame)
            if result is None or isinstance(result, bool):
                return result
            return operators.is_in(ev, value, result)

        return by_itself


def _literal(_: Compiler, node: Literal) -> Code:
    value = node.value
    return lambda ev, frame: value


def _broken(_: Compiler, node: Broken) -> Code:
    reason = node.reason
    return lambda ev, frame: ev.fail(reason)


def _name(compiler: Compiler, node: Name) -> Code:
    name, place = node.name, node.place
    code: Code
    if place == FACTS:

        def code(ev: Evaluation, frame: Frame) -> Value:
            try:
                return cast("Mapping[str, Value]", frame[0])[name]
            except KeyError:
                return ev.fail(f"there is no fact {name}")

    elif place == BUILTIN:
        builtin = compiler.builtins[name]
        code = lambda ev, frame: builtin  # noqa: E731 (a closure like its neighbours)
    elif place == UNKNOWN:
        code = lambda ev, frame: ev.fail(f"nothing is called {name}")  # noqa: E731
    elif node.is_partial:

        def code(ev: Evaluation, frame: Frame) -> Value:
            # The list is still growing, and values never change.
            so_far = cast("list[Value]", frame[place])
            ev.spend(len(so_far))
            return list(so_far)

    else:
        code = lambda ev, frame: frame[place]  # noqa: E731
    return _behind_items(node, code) if node.items else code


def _behind_items(node: Name, code: Code) -> Code:
    name, items = node.name, node.items

    def through(ev: Evaluation, frame: Frame) -> Value:
        for place in items:
            item = frame[place]
            if isinstance(item, dict) and name in item:
                return item[name]
        return code(ev, frame)

    return through


def _interval(compiler: Compiler, node: Interval) -> Code:
    low, high = compiler.code(node.low), compiler.code(node.high)
    has_low, has_high = node.has_low, node.has_high

    def code(ev: Evaluation, frame: Frame) -> Value:
        ends = low(ev, frame), high(ev, frame)
        if None not in ends and operators.compare(ev, *ends) is None:
            return None
        return Range(*ends, has_low, has_high)

    return functions.constant(code, (node.low, node.high))


def _test(compiler: Compiler, node: Test) -> Code:
    operand = compiler.code(node.operand)
    sign = node.operator

    def code(ev: Evaluation, frame: Frame) -> Value:
        value = operand(ev, frame)
        match sign:
            case "<" | "<=":
                return Range(None, value, has_low=False, has_high=sign == "<=", operator=sign)
            case ">" | ">=":
                return Range(value, None, has_low=sign == ">=", has_high=False, operator=sign)
            case _:
                is_point = sign == "="
                return Range(value, value, has_low=is_point, has_high=is_point, operator=sign)

    return code


def _list(compiler: Compiler, node: ListLiteral) -> Code:
    elements = [compiler.code(element) for element in node.elements]
    if all(isinstance(element, Literal) for element in node.elements):
        constant = [cast("Literal", element).value for element in node.elements]
        return lambda ev, frame: constant
    return lambda ev, frame: [element(ev, frame) for element in elements]


def _context(compiler: Compiler, node: ContextLiteral) -> Code:
    entries = [
        (
            entry.name,
            entry.place,
            functions.defining(compiler, entry.value, entry.place)
            if isinstance(entry.value, FunctionLiteral)
            else compiler.code(entry.value),
        )
        for entry in node.entries
    ]

    def code(ev: Evaluation, frame: Frame) -> Value:
        found: dict[str, Value] = {}
        for name, place, entry in entries:
            found[name] = frame[place] = entry(ev, frame)
        return found

    return code


def _negation(compiler: Compiler, node: Negation) -> Code:
    operand = compiler.code(node.operand)
    negate = operators.negate
    return lambda ev, frame: negate(ev, operand(ev, frame))


def _arithmetic(compiler: Compiler, node: Arithmetic) -> Code:
    first = compiler.code(node.first)
    rest = [(_OPERATIONS[sign], compiler.code(operand)) for sign, operand in node.rest]
    if len(rest) == 1:
        operation, second = rest[0]
        return lambda ev, frame: operation(ev, first(ev, frame), second(ev, frame))

    def code(ev: Evaluation, frame: Frame) -> Value:
        value = first(ev, frame)
        for operation, operand in rest:
            value = operation(ev, value, operand(ev, frame))
        return value

    return code


def _comparison(compiler: Compiler, node: Comparison) -> Code:
    left, right = compiler.code(node.left), compiler.code(node.right)
    compare = COMPARISONS[node.operator]
    return lambda ev, frame: compare(ev, left(ev, frame), right(ev, frame))


def _between(compiler: Compiler, node: Between) -> Code:
    value, low, high = (compiler.code(part) for part in (node.value, node.low, node.high))

    def code(ev: Evaluation, frame: Frame) -> Value:
        tested = value(ev, frame)
        return operators.and_(
            at_least(ev, tested, low(ev, frame)), at_most(ev, tested, high(ev, frame))
        )

    return code


def _in(compiler: Compiler, node: In) -> Code:
    value = compiler.code(node.value)
    asking = node.asking or (False,) * len(node.tests)
    tests = [
        compiler.asking(test) if asks else compiler.test(test)
        for test, asks in zip(node.tests, asking, strict=True)
    ]
    place = node.place

    def code(ev: Evaluation, frame: Frame) -> Value:
        tested = value(ev, frame)
        if place:
            frame[place] = tested
        # The loop of `_joining`: passing the tested value through there costs all three a fifth.
        result: bool | None = False
        for test in tests:
            result = operators.or_(result, test(ev, frame, tested))
            if result is True:
                break
        return result

    return code


def _conjunction(compiler: Compiler, node: Conjunction) -> Code:
    return _joining(compiler, node.operands, operators.and_, until=False)


def _disjunction(compiler: Compiler, node: Disjunction) -> Code:
    return _joining(compiler, node.operands, operators.or_, until=True)


def _joining(
    compiler: Compiler,
    nodes: Sequence[Node],
    join: Callable[[Value, Value], bool | None],
    *,
    until: bool,
) -> Code:
    """Join operands one by one, until one decides alone."""
    operands = [compiler.code(node) for node in nodes]
    start = not until

    def code(ev: Evaluation, frame: Frame) -> Value:
        result: bool | None = start
        for operand in operands:
            result = join(result, operand(ev, frame))
            if result is until:
                break
        return result

    return code


def _if(compiler: Compiler, node: If) -> Code:
    condition, then, otherwise = (
        compiler.code(part) for part in (node.condition, node.then, node.otherwise)
    )

    def code(ev: Evaluation, frame: Frame) -> Value:
        return then(ev, frame) if condition(ev, frame) is True else otherwise(ev, frame)

    return code


def _path(compiler: Compiler, node: Path) -> Code:
    source = compiler.code(node.source)
    name = node.name

    def code(ev: Evaluation, frame: Frame) -> Value:
        value = source(ev, frame)
        if isinstance(value, dict) and name in value:
            return value[name]
        return _member(ev, value, name)

    return code


def _member(ev: Evaluation, value: Value, name: str) -> Value:
    if isinstance(value, dict):
        if name in value:
            return value[name]
        return ev.fail(f"a context has no entry {name}")
    if isinstance(value, list):
        ev.spend(len(value))
        return [_member(ev, element, name) for element in value]
    if has_property(value, name):
        return property_of(value, name)
    return ev.fail(f"{operators.kind_of(value)} has no property {name}")


def _instance_of(compiler: Compiler, node: InstanceOf) -> Code:
    value = compiler.code(node.value)
    wanted = node.wanted
    if wanted is None:
        return lambda ev, frame: ev.fail(f"there is no type {node.text[:80]}")
    return lambda ev, frame: is_instance(value(ev, frame), wanted, spend=ev.spend)


_MAKERS: Mapping[type, Callable[[Compiler, Node], Code]] = cast(
    "Mapping[type, Callable[[Compiler, Node], Code]]",
    {
        Arithmetic: _arithmetic,
        Between: _between,
        Broken: _broken,
        Call: functions.calling,
        Comparison: _comparison,
        Conjunction: _conjunction,
        ContextLiteral: _context,
        Disjunction: _disjunction,
        Filter: loops.filtering,
        For: loops.iterating,
        FunctionLiteral: functions.defining,
        If: _if,
        In: _in,
        InstanceOf: _instance_of,
        Interval: _interval,
        ListLiteral: _list,
        Literal: _literal,
        Name: _name,
        Negation: _negation,
        Path: _path,
        Quantified: loops.quantifying,
        Test: _test,
    },
)
