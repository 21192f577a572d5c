"""Boxed filters, `for`, `every` and `some`: those of FEEL, over a part that is a boxed expression.

What is run is FEEL itself, with the boxed part as a function that it calls, so that the two
can never differ.

Source: DMN 1.5, 7.3.8 to 7.3.12 and 10.5: boxed iterators mean what FEEL's own mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeAlias

from federlib.dmn.feel import Expression, Scope, compile_expression
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.types import ANY
from federlib.dmn.feel.values import Function, Value

__all__ = ["Part", "filtered", "mapped", "quantified"]

Part: TypeAlias = Callable[[Evaluation, Sequence[Value]], Value]
"""The boxed part, which takes the element (and, in `for`, the results so far)."""


@cache
def _compiled(text: str) -> Expression:
    return compile_expression(text, Scope({"_source": ANY, "_part": ANY}))


def _run(ev: Evaluation, text: str, source: Value, part: Part, parameters: int) -> Value:
    function = Function("boxed", ("item", "partial")[:parameters], part)
    return _compiled(text).evaluate(ev, {"_source": source, "_part": function})


def filtered(ev: Evaluation, source: Value, match: Part) -> Value:
    """Keep the elements for which `match` is true, or the one whose number it is."""
    return _run(ev, "_source[_part(item)]", source, match, 1)


def mapped(ev: Evaluation, source: Value, result: Part) -> Value:
    """Build a list with one result for each element; `result` also sees those so far."""
    return _run(ev, "for item in _source return _part(item, partial)", source, result, 2)


def quantified(ev: Evaluation, source: Value, satisfies: Part, *, is_every: bool) -> Value:
    """Say whether every element, or some, satisfies; null where that cannot be said."""
    word = "every" if is_every else "some"
    return _run(ev, f"{word} item in _source satisfies _part(item)", source, satisfies, 1)
