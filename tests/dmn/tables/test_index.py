"""The index finds the rules that asking each of them finds."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.dmn.feel.convert import from_python
from federlib.dmn.tables import index as module
from federlib.dmn.tables.cells import Cell, read_cell
from federlib.dmn.tables.index import (
    Blocks,
    Leaf,
    Node,
    NumberSplit,
    TextSplit,
    build_index,
    find_rules,
)
from federlib.dmn.tables.masks import IndexColumn

_CELLS = st.one_of(
    st.just("-"),
    st.sampled_from(['"a"', '"b"', '"c"', '"a", "b"', 'not("a")', "null", "not(null)", "true"]),
    st.integers(-5, 25).map(str),
    st.tuples(st.sampled_from(["<", "<=", ">", ">="]), st.integers(-5, 25)).map(
        lambda pair: f"{pair[0]} {pair[1]}"
    ),
    st.tuples(st.integers(-5, 10), st.integers(11, 25)).map(lambda ends: f"[{ends[0]}..{ends[1]})"),
    st.just("? > 3"),
)
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(["a", "b", "c", "d"]),
    st.integers(-6, 26),
    st.floats(-6, 26),
    st.decimals(-6, 26, places=1),
)


def _naive(
    rows: Sequence[Sequence[Cell | None]], values: Sequence[object]
) -> tuple[list[int], set[int]]:
    found, unsure = [], set()
    for rule, cells in enumerate(rows):
        held = [
            cell is None or cell.holds(from_python(value))  # type: ignore[arg-type]  # a plain one
            for cell, value in zip(cells, values, strict=True)
        ]
        if all(held):
            found.append(rule)
            if None in cells:
                unsure.add(rule)
    return found, unsure


def _columns(count: int) -> list[IndexColumn]:
    return [IndexColumn(f"c{number}") for number in range(count)]


def _parts(node: Node) -> list[Node]:
    match node:
        case Leaf():
            return []
        case Blocks(parts):
            return list(parts)
        case TextSplit(_, texts, rest):
            return [*{id(part): part for part in texts.values()}.values(), rest]
        case NumberSplit(_, _, numbered, rest):
            return [*(part for part in numbered if part is not None), rest]


def _depth(node: Node) -> int:
    return 0 if isinstance(node, Leaf) else 1 + max(map(_depth, _parts(node)))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 3).flatmap(
        lambda width: st.tuples(
            st.lists(st.lists(_CELLS, min_size=width, max_size=width), max_size=40),
            st.lists(st.lists(_VALUES, min_size=width, max_size=width), min_size=1, max_size=8),
        )
    ),
    st.sampled_from([(1_024, 128, 24), (8, 2, 2), (4, 4, 1), (2, 1, 1)]),
)
def test_leaves_splits_and_blocks_find_what_a_look_at_each_rule_finds(
    drawn: tuple[list[list[str]], list[list[object]]], sizes: tuple[int, int, int]
) -> None:
    written, asked = drawn
    width = len(asked[0])
    rows = [[read_cell(text) for text in cells] for cells in written]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LEAF_RULES", sizes[0])
        patch.setattr(module, "_PART_RULES", sizes[1])
        patch.setattr(module, "_OWN_PART", sizes[2])
        node = build_index(_columns(width), rows)
    for values in asked:
        found = find_rules(node, {f"c{place}": value for place, value in enumerate(values)})
        expected, unsure = _naive(rows, values)
        assert found == (expected, unsure)
        # As far as the first that is sure.
        last = next((at for at, rule in enumerate(expected) if rule not in unsure), None)
        first = expected if last is None else expected[: last + 1]
        asked_values = {f"c{place}": value for place, value in enumerate(values)}
        assert find_rules(node, asked_values, only_first=True) == (
            first, unsure.intersection(first),
        )  # fmt: skip


def _pools(count: int, pools: int) -> list[list[Cell | None]]:
    per = count // pools
    return [
        [
            read_cell(f'"pool-{rule // per}"'),
            read_cell(f"[{rule % per * 10}..{rule % per * 10 + 10})"),
            read_cell(f">= {rule % 90}"),
        ]
        for rule in range(count)
    ]


def _leaves(node: Node) -> list[Leaf]:
    if isinstance(node, Leaf):
        return [node]
    return [leaf for part in _parts(node) for leaf in _leaves(part)]


def test_a_large_table_is_split_by_what_parts_it_best_and_no_rule_is_lost() -> None:
    rows = _pools(5_000, 10)
    node = build_index(_columns(3), rows)
    assert isinstance(node, TextSplit | NumberSplit)
    leaves = _leaves(node)
    assert {rule for leaf in leaves for rule in leaf.rules} == set(range(5_000))
    assert sum(len(leaf.rules) for leaf in leaves) <= 2 * 5_000
    for values in (["pool-3", 1234, 99.0], ["pool-9", Decimal("4999.5"), 50], ["x", 1, 1]):
        found = find_rules(node, {f"c{place}": value for place, value in enumerate(values)})
        assert found == _naive(rows, values)


def test_in_a_part_of_one_text_its_column_is_not_asked_again() -> None:
    node = build_index(_columns(3), _pools(1_000, 10))
    assert isinstance(node, TextSplit | NumberSplit)
    names = {column.name for leaf in _leaves(node) for column in leaf.columns}
    assert names == {"c1", "c2"}


def test_rules_that_no_column_parts_are_blocks_in_their_order() -> None:
    rows = [[read_cell(f"< {rule + 1}")] for rule in range(3_000)]
    node = build_index(_columns(1), rows)
    assert isinstance(node, Blocks)
    assert [leaf.rules[0] for leaf in node.parts if isinstance(leaf, Leaf)] == [0, 1_024, 2_048]
    assert find_rules(node, {"c0": 2_990})[0] == list(range(2_990, 3_000))


def test_hostile_overlaps_do_not_multiply_rules() -> None:
    # Every rule overlaps half of the others, in each of four columns.
    rows = [
        [
            read_cell(f"[{(rule * prime) % 4_000}..{(rule * prime) % 4_000 + 2_000}]")
            for prime in (1, 7, 11, 13)
        ]
        for rule in range(4_000)
    ]
    node = build_index(_columns(4), rows)
    assert sum(len(leaf.rules) for leaf in _leaves(node)) <= 2 * 4_000
    assert _depth(node) < 20


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        1e300,
        -1.1e300,
        10**400,
        [1],
        {"a": 1},
        b"a",
        object(),
    ],
)
def test_what_is_not_worth_a_place_is_not_looked_up(value: object) -> None:
    node = build_index(_columns(1), [[read_cell("> 5")], [read_cell("-")]])
    with pytest.raises(KeyError):
        find_rules(node, {"c0": value})


def test_a_missing_value_and_one_of_another_type_than_the_column_are_not_looked_up() -> None:
    column = IndexColumn("c0", frozenset({int, float, Decimal, type(None)}))
    node = build_index([column], [[read_cell("> 5")]])
    assert find_rules(node, {"c0": 6}) == ([0], set())
    assert find_rules(node, {"c0": None}) == ([], set())
    for facts in ({}, {"c0": "6"}, {"c0": True}):
        with pytest.raises(KeyError):
            find_rules(node, facts)


def test_huge_decimals_are_beyond_every_bound_and_still_found() -> None:
    node = build_index(_columns(1), [[read_cell("> 5")], [read_cell("< 5")]])
    assert find_rules(node, {"c0": Decimal("1e6000")})[0] == [0]
    assert find_rules(node, {"c0": Decimal("-1e6000")})[0] == [1]


def test_an_empty_table_has_no_rules_to_find() -> None:
    assert find_rules(build_index(_columns(1), []), {"c0": 1}) == ([], set())
    assert find_rules(build_index([], [[], []]), {}) == ([0, 1], set())
