"""What FEEL computes with.

| FEEL | here |
|---|---|
| null | None |
| boolean | bool |
| number | Decimal: finite, at most 34 digits (never int or float inside) |
| string | str |
| date, time, date and time | `Date`, `Time`, `DateTime` (`federlib.dmn.feel.temporal`) |
| days and time duration | `Days` |
| years and months duration | `Months` |
| list | list, never changed once built |
| context | dict with str keys, never changed once built; in the order of its entries |
| range | `Range`; its `operator` tells `(< 5)`, `(= 5)` and `(!= 5)` from intervals |
| function | `Function`; built in with several ways to call it, `Overloads` |

Source: DMN 1.5, 10.3.2.3 and 10.3.2.9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from federlib.dmn.feel.evaluation import Evaluation

if TYPE_CHECKING:
    from federlib.dmn.feel.temporal import Date, DateTime, Days, Months, Time
    from federlib.dmn.feel.types import FunctionType

    _Temporal: TypeAlias = Date | Time | DateTime | Days | Months
    _Special: TypeAlias = "Range | Function | Overloads"

__all__ = ["Function", "Overloads", "Range", "RangeOperator", "Value"]

# In one piece: type checkers read no string that is put together.
Value: TypeAlias = (
    "bool | Decimal | str | _Temporal | list[Value] | dict[str, Value] | _Special | None"
)
"""What FEEL computes with; null is None."""

RangeOperator: TypeAlias = Literal["<", "<=", ">", ">=", "=", "!="]


@attrs.frozen
class Range:
    """An interval.

    Attributes:
        low: The lower end; None where there is none.
        high: The upper end; None where there is none.
        has_low: Whether the lower end belongs to it.
        has_high: Whether the upper end belongs to it.
        operator: How it was written, where that was not as two ends: `(< 10)` and `(null..10)`
            are two ranges. `=` and `!=` have their one value at both ends.
    """

    low: Value
    high: Value
    has_low: bool
    has_high: bool
    operator: RangeOperator | None = None


@attrs.frozen(eq=False)
class Function:
    """Something to be called: built in, or defined by a user.

    Attributes:
        name: For messages and `repr`.
        parameters: Their names in order; the last takes all the rest where `is_variadic`.
        call: Takes the evaluation and one value for each parameter.
        is_variadic: Whether the last parameter takes any number of values, as a list.
        optional: How many of the last parameters may be left out (None is passed).
        type: Of its parameters and result, where they are known.
    """

    name: str
    parameters: tuple[str, ...]
    call: Callable[[Evaluation, Sequence[Value]], Value]
    is_variadic: bool = False
    optional: int = 0
    type: FunctionType | None = None


@attrs.frozen(eq=False)
class Overloads:
    """A function that is built in, and can be called in more than one way.

    Attributes:
        name: As the standard has it.
        ways: Tried in order; arguments choose by their number, named ones by their names.
    """

    name: str
    ways: tuple[Function, ...]
