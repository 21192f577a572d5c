"""The comparisons of FEEL, by their signs.

Source: DMN 1.5, 10.3.2.13.1, tables 50 and 51.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from federlib.dmn.feel import operators
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.tree import ComparisonOperator
from federlib.dmn.feel.values import Value

__all__ = ["COMPARISONS", "at_least", "at_most"]


def _unlike(ev: Evaluation, a: Value, b: Value) -> bool | None:
    return operators.not_(operators.equal(ev, a, b))


def _below(ev: Evaluation, a: Value, b: Value) -> bool | None:
    order = operators.compare(ev, a, b)
    return None if order is None else order < 0


def at_most(ev: Evaluation, a: Value, b: Value) -> bool | None:
    """Give `a <= b`."""
    order = operators.compare(ev, a, b)
    return None if order is None else order <= 0


def _above(ev: Evaluation, a: Value, b: Value) -> bool | None:
    order = operators.compare(ev, a, b)
    return None if order is None else order > 0


def at_least(ev: Evaluation, a: Value, b: Value) -> bool | None:
    """Give `a >= b`."""
    order = operators.compare(ev, a, b)
    return None if order is None else order >= 0


COMPARISONS: Mapping[ComparisonOperator, Callable[[Evaluation, Value, Value], bool | None]] = {
    "=": operators.equal,
    "!=": _unlike,
    "<": _below,
    "<=": at_most,
    ">": _above,
    ">=": at_least,
}
"""What each sign does; None where the values have no order, or cannot be equal or not."""
