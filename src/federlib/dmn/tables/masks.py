"""One column of a leaf of the index: for each value the rules whose cell is true, as a mask.

A number is found among sorted bounds, a text in a dictionary. Bit n of a mask is rule n of the
leaf.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import inf
from types import NoneType

import attrs

from federlib.dmn.feel.numbers import CONTEXT
from federlib.dmn.tables.cells import Cell, bound_of

__all__ = ["LIMIT", "NUMBERS", "TYPES", "ColumnMasks", "IndexColumn", "column_masks", "place_of"]

LIMIT = 1e300
"""Numbers beyond it, and what is no number, are not looked up as they come."""

NUMBERS: frozenset[type] = frozenset({int, float})
"""What compares with a bound as it comes."""

TYPES: frozenset[type] = NUMBERS | {Decimal, str, bool, NoneType}
"""Of the values that an index can hold."""


@attrs.frozen
class IndexColumn:
    """A column of a table.

    Attributes:
        name: Under which its value is found.
        types: Of its values, those that may be looked up; whatever else comes is asked cell by
            cell, where it can be converted and told.
    """

    name: str
    types: frozenset[type] = TYPES


@attrs.frozen(eq=False)
class ColumnMasks:
    """The masks of one column.

    Attributes:
        name: Under which its value is found.
        types: Those that may be looked up.
        bounds: Of numbers, sorted, between two of which all have the same mask; the first and
            the last are `LIMIT`.
        numbers: By how many bounds lie at or before the number; None beyond the limits.
        texts: By text, of those that some cell names.
        other_texts: Of all others.
        booleans: By the boolean.
        null: Of null.
    """

    name: str
    types: frozenset[type]
    bounds: list[float]
    numbers: list[int | None]
    texts: dict[str, int]
    other_texts: int
    booleans: Mapping[bool, int]
    null: int

    def find(self, value: object) -> int:
        """Return the rules whose cell is true for a value.

        Raises:
            KeyError: It is not looked up here.
        """
        if type(value) not in self.types:
            raise KeyError(type(value))
        if isinstance(value, str):
            return self.texts.get(value, self.other_texts)
        if value is None:
            return self.null
        if isinstance(value, bool):
            return self.booleans[value]
        assert isinstance(value, int | float | Decimal)
        mask = self.numbers[place_of(self.bounds, value)]
        if mask is None:
            raise KeyError(value)
        return mask


def place_of(bounds: Sequence[float], value: float | Decimal) -> int:
    """Say how many bounds lie at or before a number.

    Args:
        bounds: As in `ColumnMasks`.
        value: The number; the place of a decimal is always within the limits.
    Raises:
        KeyError: A decimal is no number of FEEL, which would round it first, or refuse it.
    """
    if not isinstance(value, Decimal):
        return bisect_right(bounds, value)
    if not value.is_finite() or CONTEXT.plus(value) != value:
        raise KeyError(value)
    bound = bound_of(value)
    if -LIMIT < bound < LIMIT:
        return bisect_right(bounds, bound)
    return 1 if bound < 0 else len(bounds) - 1


def column_masks(column: IndexColumn, cells: Sequence[Cell | None]) -> ColumnMasks:
    """Build the masks of a column.

    Args:
        column: The column.
        cells: Of each rule; None is taken for true.
    """
    always = null = true = false = other_texts = start = 0
    toggles: dict[float, int] = {}
    named: dict[str, int] = {}
    bit = 1
    for cell in cells:
        if cell is None or cell.is_any:
            always |= bit
        else:
            for low, high in cell.numbers:
                if low == -inf:
                    start ^= bit
                else:
                    toggles[low] = toggles.get(low, 0) ^ bit
                if high != inf:
                    toggles[high] = toggles.get(high, 0) ^ bit
            for text in cell.strings:
                named[text] = named.get(text, 0) ^ bit
            if cell.is_but:
                other_texts |= bit
            true |= bit if cell.true else 0
            false |= bit if cell.false else 0
            null |= bit if cell.null else 0
        bit <<= 1
    other_texts |= always
    bounds = sorted(toggles)
    numbers: list[int | None] = [None, mask := start | always]
    for bound in bounds:
        mask ^= toggles[bound]
        numbers.append(mask)
    return ColumnMasks(
        name=column.name,
        types=column.types,
        bounds=[-LIMIT, *bounds, LIMIT],
        numbers=[*numbers, None],
        # Who names a text is true for it, or for all but it.
        texts={text: other_texts ^ mask for text, mask in named.items()},
        other_texts=other_texts,
        booleans={True: true | always, False: false | always},
        null=null | always,
    )
