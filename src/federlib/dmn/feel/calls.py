"""Calling functions, built in or not, by position and by name.

Source: DMN 1.5, 10.3.2.13.5 and the table of invocation in 10.3.2.15.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from federlib.dmn.feel.evaluation import MAX_CALLS, Evaluation, Exhausted
from federlib.dmn.feel.operators import kind_of
from federlib.dmn.feel.values import Function, Overloads, Value

__all__ = ["invoke", "invoke_named"]


def invoke(ev: Evaluation, function: Value, arguments: Sequence[Value]) -> Value:
    """Call a function with arguments in order.

    Returns:
        Its value; None and a problem: it is no function, or takes another number of them.
    """
    if isinstance(function, Overloads):
        for way in function.ways:
            if _takes(way, len(arguments)):
                return _call(ev, way, arguments)
        return ev.fail(f"{function.name}: cannot be called with {_many(len(arguments))}")
    if not isinstance(function, Function):
        return ev.fail(f"{kind_of(function)} is no function")
    if not _takes(function, len(arguments)):
        return ev.fail(f"{function.name}: cannot be called with {_many(len(arguments))}")
    return _call(ev, function, arguments)


def invoke_named(ev: Evaluation, function: Value, arguments: Mapping[str, Value]) -> Value:
    """Call a function with named arguments; parameters that are not named are null.

    Returns:
        Its value; None and a problem: it is no function, or has no parameter of a name.
    """
    ways: tuple[Function, ...] = ()
    if isinstance(function, Overloads):
        ways = function.ways
    elif isinstance(function, Function):
        ways = (function,)
    else:
        return ev.fail(f"{kind_of(function)} is no function")
    fitting = [way for way in ways if arguments.keys() <= set(way.parameters)]
    if not fitting:
        names = ", ".join(sorted(arguments)) or "no names"
        return ev.fail(f"{function.name}: has no parameters {names}")
    # `before(point, range)` and `before(range, point)` have the same names: there the order in
    # which they are written decides. Else the way that leaves fewest parameters null is meant.
    written = tuple(arguments)
    way = min(
        fitting,
        key=lambda each: (
            len(each.parameters) - each.optional - len(arguments),
            each.parameters[: len(written)] != written,
        ),
    )
    values: list[Value] = [arguments.get(name) for name in way.parameters]
    if way.is_variadic and not isinstance(values[-1], list):
        values[-1] = [values[-1]]
    return _enter(ev, way, values)


def _takes(function: Function, count: int) -> bool:
    most = len(function.parameters)
    if function.is_variadic:
        return count >= most
    return most - function.optional <= count <= most


def _call(ev: Evaluation, function: Function, arguments: Sequence[Value]) -> Value:
    most = len(function.parameters)
    if function.is_variadic:
        arguments = [*arguments[: most - 1], list(arguments[most - 1 :])]
    elif len(arguments) < most:
        arguments = [*arguments, *(None for _ in range(most - len(arguments)))]
    return _enter(ev, function, arguments)


def _enter(ev: Evaluation, function: Function, arguments: Sequence[Value]) -> Value:
    ev.calls += 1
    if ev.calls > MAX_CALLS:
        raise Exhausted(f"more than {MAX_CALLS} functions that call each other")
    try:
        return function.call(ev, arguments)
    finally:
        ev.calls -= 1


def _many(count: int) -> str:
    return "1 argument" if count == 1 else f"{count} arguments"
