"""Functions and contexts, as closures: what boxed expressions are put together with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.types import FunctionType
from federlib.dmn.feel.values import Function, Value
from federlib.dmn.model import Expression, FunctionDefinition, LiteralExpression
from federlib.dmn.model.item_types import ItemType, adapt

__all__ = ["Code", "context_code", "function_of", "makes_functions", "result_of"]

Code: TypeAlias = Callable[[Evaluation, Mapping[str, Value]], Value]
"""A compiled expression."""


def function_of(
    name: str,
    parameters: Sequence[tuple[str, ItemType]],
    call: Callable[[Evaluation, Mapping[str, Value]], Value],
    kind: FunctionType,
) -> Function:
    """Make a function that adapts what it is given to the types of its parameters.

    What does not conform to its parameter is an error, and the function is not called
    (DMN 1.5, 10.3.2.13.4).

    Args:
        name: For problems.
        parameters: Their names and types.
        call: What it does, with the values by name.
        kind: Its own type.
    """

    def adapted(ev: Evaluation, values: Sequence[Value]) -> Value:
        ev.spend()
        arguments: dict[str, Value] = {}
        for (parameter, wanted), value in zip(parameters, values, strict=True):
            found = adapt(ev, value, wanted, f"{name}: its parameter {parameter!r}")
            if found is None and value is not None:
                return None
            arguments[parameter] = found
        return call(ev, arguments)

    return Function(name, tuple(name for name, _ in parameters), adapted, type=kind)


def makes_functions(expression: Expression | None) -> bool:
    """Say whether the value may be a function, which then calls itself by the entry's name.

    Args:
        expression: What gives the value.
    """
    if isinstance(expression, LiteralExpression):
        return "function" in expression.text
    return isinstance(expression, FunctionDefinition)


def result_of(kind: ItemType) -> ItemType:
    """Return what the result of a function must be; older models say that and no more.

    Args:
        kind: What the model says of the function.
    """
    return ItemType(kind.feel.result) if isinstance(kind.feel, FunctionType) else kind


def context_code(entries: Sequence[tuple[str, Code, bool]], result: Code | None) -> Code:
    """Make the closure of a context.

    Args:
        entries: The name of each entry, its code, and whether it may be a function.
        result: What the context gives instead of itself; None: itself.
    """

    def build(ev: Evaluation, names: Mapping[str, Value]) -> Value:
        found: dict[str, Value] = {}
        known = dict(names)
        for name, code, is_function in entries:
            # What a function has seen it keeps: later entries of the same name are not its.
            seen = dict(known) if is_function else known
            value = code(ev, seen)
            if is_function:
                seen[name] = value
            found[name] = known[name] = value
        return found if result is None else result(ev, known)

    return build
