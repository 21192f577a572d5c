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
| range | `Range`; what `(= 5)` and `(!= 5)` give: `Single` |
| function | `Function` |

Source: DMN 1.5, 10.3.2.3 and 10.3.2.9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

import attrs

from federlib.dmn.feel.evaluation import Evaluation

if TYPE_CHECKING:
    from federlib.dmn.feel.temporal import Date, DateTime, Days, Months, Time
    from federlib.dmn.feel.types import FunctionType

__all__ = ["Function", "Range", "Single", "Value"]

Value: TypeAlias = (
    "bool | Decimal | str | Date | Time | DateTime | Days | Months"
    " | list[Value] | dict[str, Value] | Range | Function | None"
)


@attrs.frozen
class Range:
    """An interval.

    Attributes:
        low: The lower end; None where there is none.
        high: The upper end; None where there is none.
        has_low: Whether the lower end belongs to it.
        has_high: Whether the upper end belongs to it.
    """

    low: Value
    high: Value
    has_low: bool
    has_high: bool


@attrs.frozen
class Single(Range):
    """What `(= 5)` and `(!= 5)` give: one point, or all but one; never equal to `[5..5]`.

    Both ends are the point. Attributes beyond those of a range:
        is_negated: All but the point, as with `!=`.
    """

    is_negated: bool


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
