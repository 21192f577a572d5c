"""One expression, evaluated at once."""

from __future__ import annotations

from collections.abc import Mapping

from federlib.dmn.feel.compile import compile_expression
from federlib.dmn.feel.convert import from_python
from federlib.dmn.feel.evaluation import Evaluation, Exhausted
from federlib.dmn.feel.scope import Scope
from federlib.dmn.feel.types import type_of
from federlib.dmn.feel.values import Value

__all__ = ["evaluate"]


def evaluate(
    text: str, facts: Mapping[str, object] | None = None, *, now_ns: int | None = None
) -> Value:
    """Compile an expression and evaluate it once.

    Args:
        text: The expression.
        facts: What its names stand for, as Python has it: numbers, strings, dates, mappings.
        now_ns: What `now()` and `today()` say; Unix nanoseconds.
    Returns:
        The value; null where the standard calls something an error, or where the expression
        takes more than it may. `Expression.evaluate` tells these apart.
    Raises:
        FeelSyntaxError: The text is no expression.
        InvalidInput: A fact is nothing that FEEL has.
    """
    values = {name: from_python(fact, where=name) for name, fact in (facts or {}).items()}
    scope = Scope({name: type_of(value) for name, value in values.items()})
    try:
        return compile_expression(text, scope).evaluate(Evaluation(now_ns), values)
    except Exhausted:
        return None
