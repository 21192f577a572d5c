"""The parts of boxed expressions: one way to go through them all."""

from __future__ import annotations

from collections.abc import Iterator

from federlib.dmn.model import (
    Conditional,
    Context,
    Expression,
    Filter,
    For,
    FunctionDefinition,
    Invocation,
    ListExpression,
    Quantified,
    Relation,
)

__all__ = ["MAX_EXPRESSIONS", "parts_of"]

MAX_EXPRESSIONS = 100_000
"""Of one model; a table is one, whatever the number of its rules."""


def parts_of(expression: Expression) -> Iterator[Expression]:
    """Go through the expressions that stand directly in an expression, in their order.

    Args:
        expression: What; literal expressions and tables have none.
    """
    found: tuple[Expression | None, ...]
    match expression:
        case Invocation(function, bindings):
            found = (function, *(each.value for each in bindings))
        case Context(entries):
            found = tuple(each.value for each in entries)
        case Relation(_, rows):
            found = tuple(cell for row in rows for cell in row)
        case ListExpression(items):
            found = items
        case FunctionDefinition(_, body):
            found = (body,)
        case Conditional(condition, then, otherwise):
            found = (condition, then, otherwise)
        case Filter(source, match):
            found = (source, match)
        case For(_, source, result):
            found = (source, result)
        case Quantified(_, source, satisfies):
            found = (source, satisfies)
        case _:
            found = ()
    return (part for part in found if part is not None)
