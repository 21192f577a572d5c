"""Which rules of a table match, found by column and not by rule.

A *leaf* holds, for each column, a mask of the rules whose cell is true for a value (see
`masks`). The masks of all columns, and-ed, are the rules that match. Masks grow with the number
of rules, and there are as many as there are bounds; so more than some hundred rules are first
*split*, by the values of the column that parts them best; and where no column does, a large
table is cut into *blocks* of rules in their order.

Looking up raises `KeyError` for whatever is not worth a place in here (a number beyond 1e300 or
not finite, a type that no plain cell speaks of, a value that is missing): the caller then asks
cell by cell.

Source: bit-parallel search as in Lakshman and Stiliadis, "High-speed policy-based packet
forwarding using efficient multi-dimensional range matching" (SIGCOMM 1998): a mask of rules for
each elementary interval of each dimension.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from math import inf
from typing import TypeAlias

import attrs

from federlib.dmn.tables.cells import Cell
from federlib.dmn.tables.masks import LIMIT, ColumnMasks, IndexColumn, column_masks, place_of

__all__ = [
    "LEAF_RULES",
    "Blocks",
    "Leaf",
    "Node",
    "NumberSplit",
    "TextSplit",
    "bits_of",
    "build_index",
    "find_rules",
]

LEAF_RULES = 1_024
"""Of one leaf at most: a mask of 128 bytes."""

_PART_RULES = 128
"""As many rules are left in one part: masks of them cost little more than those of one rule,
and what a leaf costs by itself (some kB) is not much for each of them."""

_OWN_PART = 24
"""As many rules of one text get a part of their own, in which that column is settled."""

_MAX_COPIES = 2
"""A rule may stand in several parts; all leaves together hold at most so many for each rule."""

_MIN_GAIN = 0.7
"""A split is worth it where its largest part has less than that of the rules."""


@attrs.frozen(eq=False)
class Leaf:
    """Some rules, by column.

    Attributes:
        columns: Those in which not all cells are `-`.
        rules: The number of the rule of each bit, ascending.
        every: All bits.
        unsure: The rules with cells that the masks take for true and the language must look at.
    """

    columns: tuple[ColumnMasks, ...]
    rules: Sequence[int]
    every: int
    unsure: int


@attrs.frozen(eq=False)
class TextSplit:
    """Rules, parted by the texts of one column.

    Attributes:
        column: The column.
        parts: By text, of those that some cell names.
        rest: For all other values.
    """

    column: IndexColumn
    parts: dict[str, Node]
    rest: Node


@attrs.frozen(eq=False)
class NumberSplit:
    """Rules, parted by the numbers of one column.

    Attributes:
        column: The column.
        bounds: Sorted; the first and the last are `LIMIT`.
        parts: By how many bounds lie at or before the number; None beyond the limits.
        rest: For all other values.
    """

    column: IndexColumn
    bounds: list[float]
    parts: list[Node | None]
    rest: Node


@attrs.frozen(eq=False)
class Blocks:
    """Rules that no column divides: parts of them in their order.

    Attributes:
        parts: Each with the rules after those of the one before.
    """

    parts: tuple[Node, ...]


Node: TypeAlias = "Leaf | TextSplit | NumberSplit | Blocks"

Rows: TypeAlias = Sequence[Sequence["Cell | None"]]


def find_rules(
    node: Node, values: Mapping[str, object], *, only_first: bool = False
) -> tuple[list[int], set[int]]:
    """Return the rules that match, and which of them have cells that must still be looked at.

    Args:
        node: The index.
        values: By the names of the columns.
        only_first: Whether the rules after the first that is sure may be left out.
    Returns:
        Numbers of rules, ascending; and those among them that are not sure.
    Raises:
        KeyError: A value has no place in the index.
    """
    while isinstance(node, TextSplit | NumberSplit):
        node = _part(node, values[node.column.name])
    if isinstance(node, Leaf):
        mask = node.every
        for column in node.columns:
            mask &= column.find(values[column.name])
        sure = mask & ~node.unsure
        if only_first and sure:
            mask &= ((sure & -sure) << 1) - 1
        rules = node.rules
        matching = [rules[bit] for bit in bits_of(mask)]
        return matching, {rules[bit] for bit in bits_of(mask & node.unsure)}
    found: list[int] = []
    unsure: set[int] = set()
    for part in node.parts:
        some, some_unsure = find_rules(part, values, only_first=only_first)
        found += some
        unsure |= some_unsure
        if only_first and len(some) > len(some_unsure):
            break
    return found, unsure


def _part(split: TextSplit | NumberSplit, value: object) -> Node:
    if type(value) not in split.column.types:
        raise KeyError(type(value))
    if isinstance(split, TextSplit):
        return split.parts.get(value, split.rest) if isinstance(value, str) else split.rest
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return split.rest
    part = split.parts[place_of(split.bounds, value)]
    if part is None:
        raise KeyError(value)
    return part


def bits_of(mask: int) -> Iterator[int]:
    """Go through the numbers of the bits that are set, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def build_index(columns: Sequence[IndexColumn], rows: Rows) -> Node:
    """Build the index of a table.

    Args:
        columns: Its columns.
        rows: The cells of each rule, column by column; None where only the language can tell.
    """
    return _build(columns, rows, range(len(rows)), {}, _MAX_COPIES * len(rows))


def _build(
    columns: Sequence[IndexColumn],
    rows: Rows,
    rules: Sequence[int],
    texts: Mapping[int, str],
    budget: int,
) -> Node:
    """Build the index of some rules.

    Args:
        columns: All columns.
        rows: Of the whole table.
        rules: Which of them, ascending.
        texts: The value of each column that is known by now.
        budget: How many rules the leaves below may hold together.
    """
    if len(rules) <= _PART_RULES:
        return _leaf(columns, rows, rules, texts)
    best = min(
        (
            parting
            for number in range(len(columns))
            for parting in _partings(rows, rules, number, budget)
        ),
        key=lambda parting: parting.largest,
        default=None,
    )
    copies = 0 if best is None else sum(len(part) for part, _ in best.parts)
    if best is not None and best.largest < _MIN_GAIN * len(rules):
        parts = [
            _build(
                columns,
                rows,
                part,
                texts if text is None else {**texts, best.number: text},
                budget * len(part) // copies,
            )
            for part, text in best.parts
        ]
        return best.split(columns[best.number], parts)
    if len(rules) <= LEAF_RULES:
        return _leaf(columns, rows, rules, texts)
    cuts = range(0, len(rules), LEAF_RULES)
    blocks = (rules[at : at + LEAF_RULES] for at in cuts)
    return Blocks(tuple(_leaf(columns, rows, block, texts) for block in blocks))


def _leaf(
    columns: Sequence[IndexColumn],
    rows: Rows,
    rules: Sequence[int],
    texts: Mapping[int, str],
) -> Leaf:
    kept: list[ColumnMasks] = []
    unsure = 0
    for number, column in enumerate(columns):
        cells = [rows[rule][number] for rule in rules]
        bit = 1
        for cell in cells:
            if cell is None:
                unsure |= bit
            bit <<= 1
        text = texts.get(number)
        # Where every plain cell is true the masks would say nothing.
        if not all(cell is None or cell.is_any or _is_settled(cell, text) for cell in cells):
            kept.append(column_masks(column, cells))
    return Leaf(tuple(kept), rules, (1 << len(rules)) - 1, unsure)


def _is_settled(cell: Cell, text: str | None) -> bool:
    return text is not None and (text in cell.strings) != cell.is_but


@attrs.frozen(eq=False)
class _ByTexts:
    """A way to part rules by the texts of a column.

    Attributes:
        number: Of the column.
        parts: The rules of each, and its text where it has but one; the last is for all other
            values.
        keys: Which part a text has.
    """

    number: int
    parts: Sequence[tuple[Sequence[int], str | None]]
    keys: Mapping[str, int]

    @property
    def largest(self) -> int:
        """How many rules the largest part has."""
        return max(len(part) for part, _ in self.parts)

    def split(self, column: IndexColumn, nodes: Sequence[Node]) -> TextSplit:
        """Put the parts together, when they have been built."""
        parts = {text: nodes[key] for text, key in self.keys.items()}
        return TextSplit(column, parts, nodes[-1])


@attrs.frozen(eq=False)
class _ByNumbers:
    """A way to part rules by the numbers of a column.

    Attributes:
        number: Of the column.
        parts: The rules of each; the last is for all other values.
        cuts: Between the parts.
    """

    number: int
    parts: Sequence[tuple[Sequence[int], None]]
    cuts: Sequence[float]

    @property
    def largest(self) -> int:
        """How many rules the largest part has."""
        return max(len(part) for part, _ in self.parts)

    def split(self, column: IndexColumn, nodes: Sequence[Node]) -> NumberSplit:
        """Put the parts together, when they have been built."""
        bounds = [-LIMIT, *self.cuts, LIMIT]
        return NumberSplit(column, bounds, [None, *nodes[:-1], None], nodes[-1])


def _partings(
    rows: Rows, rules: Sequence[int], number: int, budget: int
) -> Iterator[_ByTexts | _ByNumbers]:
    """Find ways to part rules by a column whose parts hold no more than the budget together."""
    by_text: dict[str, list[int]] = {}
    spans: list[tuple[float, float, int]] = []
    # Rules that may match values of other kinds too: every part must have them.
    beside_texts: list[int] = []
    beside_numbers: list[int] = []
    for rule in rules:
        cell = rows[rule][number]
        if cell is None or cell.is_but or cell.true or cell.false or cell.null:
            beside_texts.append(rule)
            beside_numbers.append(rule)
            continue
        for text in cell.strings:
            by_text.setdefault(text, []).append(rule)
        if cell.strings:
            beside_numbers.append(rule)
        if cell.numbers:
            beside_texts.append(rule)
            spans += ((low, high, rule) for low, high in cell.numbers)
    if len(by_text) > 1:
        yield from _by_texts(number, by_text, beside_texts, budget)
    if len(spans) > 1:
        yield from _by_numbers(number, spans, beside_numbers, budget)


def _by_texts(
    number: int, by_text: Mapping[str, Sequence[int]], beside: list[int], budget: int
) -> Iterator[_ByTexts]:
    """Put rare texts together into parts, in the order of the table, until each is large enough."""
    keys: dict[str, int] = {}
    groups: list[set[int]] = [set()]
    only: dict[int, str] = {}
    shared = 0
    for text, rules in by_text.items():
        key = shared
        if len(rules) >= _OWN_PART:
            key = len(groups)
            groups.append(set())
            only[key] = text
        elif len(groups[shared]) + len(rules) > _PART_RULES:
            key = shared = len(groups)
            groups.append(set())
        groups[key].update(rules)
        keys[text] = key
    if sum(map(len, groups)) + len(beside) * (len(groups) + 1) <= budget:
        parts = [(sorted(group.union(beside)), only.get(key)) for key, group in enumerate(groups)]
        yield _ByTexts(number, [*parts, (beside, None)], keys)


def _by_numbers(
    number: int, spans: Sequence[tuple[float, float, int]], beside: list[int], budget: int
) -> Iterator[_ByNumbers]:
    lows = sorted(low for low, _, _ in spans if low != -inf)
    cuts = sorted({lows[at] for at in range(_PART_RULES, len(lows), _PART_RULES)})
    ends = [
        (bisect_right(cuts, low), bisect_left(cuts, high) + 1, rule) for low, high, rule in spans
    ]
    copies = sum(last - first for first, last, _ in ends)
    # Counted before any is made: spans without an end would be in half of the parts.
    if copies + len(beside) * (len(cuts) + 2) > budget:
        return
    groups: list[set[int]] = [set() for _ in range(len(cuts) + 1)]
    for first, last, rule in ends:
        for group in groups[first:last]:
            group.add(rule)
    parts = [(sorted(group.union(beside)), None) for group in groups]
    yield _ByNumbers(number, [*parts, (beside, None)], cuts)
