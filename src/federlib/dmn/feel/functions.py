"""Functions that a text defines, and functions that it calls.

Source: DMN 1.5, 10.3.2.13.5 (invocation), 10.3.2.15 and table 62.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from federlib.dmn.feel.calls import invoke, invoke_named
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.loops import Code, Frame
from federlib.dmn.feel.operators import kind_of
from federlib.dmn.feel.tree import BUILTIN, Call, FunctionLiteral, Literal, Name, Node
from federlib.dmn.feel.types import ANY, FeelType, coerce
from federlib.dmn.feel.values import Function, Overloads, Value

if TYPE_CHECKING:
    from federlib.dmn.feel.closures import Compiler

__all__ = ["calling", "constant", "defining"]

# What these make of a text depends on nothing else.
_FROM_TEXT = frozenset({"date", "time", "date and time", "duration"})


def constant(code: Code, parts: Sequence[Node]) -> Code:
    """Run now what would give the same value each time; what is an error stays one each time."""
    if not all(isinstance(part, Literal) for part in parts):
        return code
    ev = Evaluation()
    value = code(ev, [])
    return code if ev.problems else lambda ev, frame: value


def defining(compiler: Compiler, node: FunctionLiteral, own_place: int = 0) -> Code:
    """Make the closure of a definition.

    Args:
        compiler: What makes closures.
        node: The definition.
        own_place: Where the function finds itself, if it has a name.
    """
    body, weight = compiler.weigh(node.body)
    places = [parameter.place for parameter in node.parameters]
    names = tuple(parameter.name for parameter in node.parameters)
    kinds = [parameter.type for parameter in node.parameters]
    is_typed = any(kind != ANY for kind in kinds)
    kind = node.type

    def code(ev: Evaluation, frame: Frame) -> Value:
        # Names are bound once and for all, so what the function sees is what they are now.
        seen = frame.copy()

        def call(ev: Evaluation, arguments: Sequence[Value]) -> Value:
            ev.spend(weight + len(seen))
            inner = seen.copy()
            if is_typed:
                adapted = _adapted(ev, arguments, kinds)
                if adapted is None:
                    return None
                arguments = adapted
            for place, argument in zip(places, arguments, strict=True):
                inner[place] = argument
            return body(ev, inner)

        function = Function("function", names, call, type=kind)
        if own_place:
            seen[own_place] = function
        return function

    return code


def _adapted(
    ev: Evaluation, arguments: Sequence[Value], kinds: Sequence[FeelType]
) -> list[Value] | None:
    adapted = [
        coerce(value, kind, spend=ev.spend) for value, kind in zip(arguments, kinds, strict=True)
    ]
    for before, after, kind in zip(arguments, adapted, kinds, strict=True):
        if after is None and before is not None:
            return ev.fail(f"a function takes {kind}, not {kind_of(before)}")
    return adapted


def calling(compiler: Compiler, node: Call) -> Code:
    """Make the closure of a call."""
    function = _callee(compiler, node.function)
    arguments = [compiler.code(argument) for argument in node.arguments]
    if node.names is None:

        def code(ev: Evaluation, frame: Frame) -> Value:
            return invoke(ev, function(ev, frame), [argument(ev, frame) for argument in arguments])

        called = node.function
        # In a filter, an entry of the element may have that name.
        if isinstance(called, Name) and called.place == BUILTIN and not called.items:
            return constant(code, node.arguments) if called.name in _FROM_TEXT else code
        return code
    named = list(zip(node.names, arguments, strict=True))
    if len(set(node.names)) < len(named):
        return lambda ev, frame: ev.fail("a call names one parameter twice")
    return lambda ev, frame: invoke_named(
        ev, function(ev, frame), {name: argument(ev, frame) for name, argument in named}
    )


def _callee(compiler: Compiler, node: Node) -> Code:
    code = compiler.code(node)
    if not isinstance(node, Name) or node.place == BUILTIN or node.name not in compiler.builtins:
        return code
    builtin = compiler.builtins[node.name]

    def either(ev: Evaluation, frame: Frame) -> Value:
        # A fact called `date` does not make `date("2020-01-01")` impossible.
        value = code(ev, frame)
        return value if isinstance(value, Function | Overloads) else builtin

    return either
