"""Which rules of a table match, found by column and not by rule.

A *leaf* holds, for each column, a mask of the rules whose cell is true for a value: one for each
distinct text, each span between two bounds, each boolean and null. The masks of all columns,
and-ed, are the rules that match. Masks grow with the number of rules, and there are as many as
there are bounds; so more than some hundred rules are first *split*, by the values of the column
that parts them best; and where no column does, a large table is cut into *blocks* of rules in
their order.

Looking up raises `KeyError` for whatever is not worth a place in here (a number beyond 1e300 or
not finite, a type that no plain cell speaks of, a value that is missing): the caller then asks
cell by cell.

Source: bit-parallel search as in Lakshman and Stiliadis, "High-speed policy-based packet
forwarding using efficient multi-dimensional range matching" (SIGCOMM 1998): a mask of rules for
each elementary interval of each dimension.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from math import inf
from types import NoneType
from typing import TypeAlias

import attrs

from federlib.dmn.cells import Cell, bound_of

__all__ = [
    "LEAF_RULES",
    "TYPES",
    "Blocks",
    "IndexColumn",
    "Leaf",
    "Look",
    "Node",
    "Split",
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

_LIMIT = 1e300

Find: TypeAlias = Callable[..., object]
"""Takes a value of one type, gives the key of a mask or part; None for a text unknown here."""

Look: TypeAlias = Mapping[type, Find]


TYPES: frozenset[type] = frozenset({int, float, Decimal, str, bool, NoneType})
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
class Leaf:
    """Some rules, by column.

    Attributes:
        columns: Those in which not all cells are `-`: under which name the value is found; by
            its type, what finds its key; and by key the rules whose cell is true for it.
        rules: The number of the rule of each bit, ascending.
        every: All bits.
        unsure: The rules with cells that the masks take for true and the language must look at.
    """

    columns: tuple[tuple[str, Look, dict[object, int]], ...]
    rules: Sequence[int]
    every: int
    unsure: int


@attrs.frozen(eq=False)
class Split:
    """Rules, parted by the values of one column.

    Attributes:
        name: Of the column.
        look: By the type of the value, what finds the key of its part.
        parts: By key.
    """

    name: str
    look: Look
    parts: dict[object, Node]


@attrs.frozen(eq=False)
class Blocks:
    """Rules that no column divides: parts of them in their order.

    Attributes:
        parts: Each with the rules after those of the one before.
    """

    parts: tuple[Node, ...]


Node: TypeAlias = "Leaf | Split | Blocks"

Rows: TypeAlias = Sequence[Sequence["Cell | None"]]


def find_rules(node: Node, values: Mapping[str, object]) -> tuple[list[int], set[int]]:
    """Return the rules that match, and which of them have cells that must still be looked at.

    Args:
        node: The index.
        values: By the names of the columns.
    Returns:
        Numbers of rules, ascending; and those among them that are not sure.
    Raises:
        KeyError: A value has no place in the index.
    """
    while isinstance(node, Split):
        value = values[node.name]
        node = node.parts[node.look[type(value)](value)]
    if isinstance(node, Leaf):
        mask = node.every
        for name, look, masks in node.columns:
            value = values[name]
            mask &= masks[look[type(value)](value)]
        rules = node.rules
        matching = [rules[bit] for bit in bits_of(mask)]
        return matching, {rules[bit] for bit in bits_of(mask & node.unsure)}
    found: list[int] = []
    unsure: set[int] = set()
    for part in node.parts:
        some, some_unsure = find_rules(part, values)
        found += some
        unsure |= some_unsure
    return found, unsure


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
            for number, column in enumerate(columns)
            for parting in _partings(column, rows, rules, number)
        ),
        key=lambda parting: parting.largest,
        default=None,
    )
    copies = 0 if best is None else sum(map(len, best.parts.values()))
    if best is not None and best.largest < _MIN_GAIN * len(rules) and copies <= budget:
        parts: dict[object, Node] = {}
        for key, part in best.parts.items():
            text = best.texts.get(key)
            known = texts if text is None else {**texts, best.column: text}
            parts[key] = _build(columns, rows, part, known, budget * len(part) // copies)
        return Split(columns[best.column].name, best.look, parts)
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
    kept: list[tuple[str, Look, dict[object, int]]] = []
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
            kept.append((column.name, *_masks(column, cells)))
    return Leaf(tuple(kept), rules, (1 << len(rules)) - 1, unsure)


def _is_settled(cell: Cell, text: str | None) -> bool:
    return text is not None and (text in cell.strings) != cell.is_but


def _masks(column: IndexColumn, cells: Sequence[Cell | None]) -> tuple[Look, dict[object, int]]:
    """Build the masks of one column of a leaf."""
    always = null = true = false = other_texts = start = 0
    toggles: dict[float, int] = {}
    texts: dict[str, int] = {}
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
                texts[text] = texts.get(text, 0) ^ bit
            if cell.is_but:
                other_texts |= bit
            true |= bit if cell.true else 0
            false |= bit if cell.false else 0
            null |= bit if cell.null else 0
        bit <<= 1
    bounds = sorted(toggles)
    masks: dict[object, int] = {}
    mask = start | always
    for key, bound in enumerate(bounds, 1):
        masks[key] = mask
        mask ^= toggles[bound]
    masks[len(bounds) + 1] = mask
    next_key = len(bounds) + 2
    masks[None] = other_texts | always
    # `texts` holds whose set has it: those that are true for it, or for all but it.
    for key, (text, named) in enumerate(list(texts.items()), next_key):
        masks[key] = (other_texts | always) ^ named
        texts[text] = key
    next_key += len(texts)
    masks[-1], masks[-2], masks[-3] = (one | always for one in (true, false, null))
    booleans: dict[bool, int] = {True: -1, False: -2}
    return _look(column, [-_LIMIT, *bounds, _LIMIT], texts, booleans, {None: -3}), masks


def _look(
    column: IndexColumn,
    bounds: list[float],
    texts: dict[str, int],
    booleans: Mapping[bool, int | None],
    null: Mapping[None, int | None],
) -> Look:
    """Return what finds the key of a value.

    Args:
        column: Says which types of values have a key.
        bounds: In order. The key of a number is how many of them lie at or before it; the first
            and the last are those beyond which there is no key, nor for what is not a number.
        texts: The keys of those that are known.
        booleans: Their keys.
        null: Its key.
    """
    find = partial(bisect_right, bounds)
    finds: dict[type, Find] = {
        int: find,
        float: find,
        Decimal: partial(_find_decimal, bounds),
        str: texts.get,
        bool: booleans.get,
        NoneType: null.get,
    }
    return {kind: finds[kind] for kind in column.types}


def _find_decimal(bounds: list[float], value: Decimal) -> int:
    bound = bound_of(value)
    if -_LIMIT < bound < _LIMIT:
        return bisect_right(bounds, bound)
    # The others can only be floats that are no numbers; a decimal is always one.
    return 1 if bound < 0 else len(bounds) - 1


@attrs.frozen(eq=False)
class _Parting:
    """A way to part rules by the values of a column.

    Attributes:
        column: Its number.
        look: By the type of the value, what finds the key of its part.
        parts: The rules of each.
        texts: The only text of a part, where it has only one.
        largest: How many rules the largest part has.
    """

    column: int
    look: Look
    parts: dict[object, list[int]]
    texts: Mapping[object, str]
    largest: int


def _partings(column: IndexColumn, rows: Rows, rules: Sequence[int], number: int) -> list[_Parting]:
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
    partings = []
    if len(by_text) > 1:
        partings.append(_by_texts(column, number, by_text, beside_texts))
    if len(spans) > 1:
        partings.append(_by_numbers(column, number, spans, beside_numbers))
    return partings


def _by_texts(
    column: IndexColumn, number: int, by_text: dict[str, list[int]], beside: list[int]
) -> _Parting:
    """Put rare texts together into parts, in the order of the table, until each is large enough."""
    keys: dict[str, int] = {}
    groups: list[set[int]] = [set()]
    texts: dict[object, str] = {}
    shared = 0
    for text, rules in by_text.items():
        key = shared
        if len(rules) >= _OWN_PART:
            key = len(groups)
            groups.append(set())
            texts[key] = text
        elif len(groups[shared]) + len(rules) > _PART_RULES:
            key = shared = len(groups)
            groups.append(set())
        groups[key].update(rules)
        keys[text] = key
    parts: dict[object, list[int]] = {
        key: sorted(group.union(beside)) for key, group in enumerate(groups)
    }
    parts[None] = beside
    # Whatever is no known text is nothing to the rules of any text.
    look: dict[type, Find] = {kind: _no_key for kind in column.types if kind is not str}
    if str in column.types:
        look[str] = keys.get
    return _Parting(number, look, parts, texts, max(map(len, parts.values())))


def _by_numbers(
    column: IndexColumn, number: int, spans: list[tuple[float, float, int]], beside: list[int]
) -> _Parting:
    lows = sorted(low for low, _, _ in spans if low != -inf)
    cuts = sorted({lows[at] for at in range(_PART_RULES, len(lows), _PART_RULES)})
    groups: list[set[int]] = [set() for _ in range(len(cuts) + 1)]
    for low, high, rule in spans:
        for group in groups[bisect_right(cuts, low) : bisect_left(cuts, high) + 1]:
            group.add(rule)
    parts: dict[object, list[int]] = {
        key: sorted(group.union(beside)) for key, group in enumerate(groups, 1)
    }
    parts[None] = beside
    look = _look(column, [-_LIMIT, *cuts, _LIMIT], {}, {}, {})
    return _Parting(number, look, parts, {}, max(map(len, parts.values())))


def _no_key(value: object) -> None:
    """Find nothing: the part for whatever is not known."""
    del value
