"""A compiled table, asked with facts as they come: no value is converted that need not be.

Only what the index alone can tell is answered here, with outputs that were made before. For
whatever else comes (a type that does not fit, a missing fact, a cell that is not plain, several
outputs that must be put in order with a problem) there is no answer, and the caller goes the long
way: so both ways always say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from federlib.dmn.feel.convert import to_python
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.types import ANY, FeelType
from federlib.dmn.feel.values import Value
from federlib.dmn.index import Blocks, Leaf, Look, Node, Split, bits_of, find_rules
from federlib.dmn.item_types import ItemType
from federlib.dmn.table import CompiledTable

__all__ = ["Answer", "PlainTable", "copied", "plain_table"]

Answer: TypeAlias = tuple[object, tuple[str, ...], tuple[str, ...]]
"""Outputs as Python has them, not to be changed; ids of the rules that match, and that apply."""

Finish: TypeAlias = Callable[[Evaluation, Value], Value]
"""What is done to the result of a table before it is the result of the decision."""


# Of combinations of rules that match, for each rule: most tables have few.
_MAX_ANSWERS = 2


def copied(outputs: object) -> object:
    """Return outputs that the caller may change."""
    if outputs.__class__ is dict:
        return outputs.copy()
    if outputs.__class__ is list:
        return [copied(each) for each in outputs]
    return outputs


def plain_table(
    table: CompiledTable, kinds: Mapping[str, ItemType], finish: Finish
) -> PlainTable | None:
    """Prepare a table for facts as they come.

    Args:
        table: The table.
        kinds: What each fact must be, by name.
        finish: What is done to its result.
    Returns:
        None where it tests anything but facts of simple types.
    """
    for column in table.columns:
        kind = kinds.get(column.name)
        if column.code is not None or column.allowed is not None or kind is None:
            return None
        if column.kind.check is not None or kind.check is not None:
            return None
        if not _agree(kind.feel, column.kind.feel):
            return None
    return PlainTable(table, finish)


def _agree(fact: FeelType, column: FeelType) -> bool:
    # The index looks up what fits the column's type, so it must not be adapted on the way.
    return fact == column or ANY in (fact, column)


@attrs.frozen(eq=False)
class _Leaf:
    """A leaf of the index, with the answers that were made so far.

    Attributes:
        columns: As in the leaf.
        every: As in the leaf.
        leaf: The leaf.
        answers: By the rules that match, as a mask; under FIRST by the first of them.
    """

    columns: tuple[tuple[str, Look, dict[object, int]], ...]
    every: int
    leaf: Leaf
    answers: dict[int, Answer]


@attrs.frozen(eq=False)
class _Split:
    """A split of the index, with what its parts became."""

    name: str
    look: Look
    parts: dict[object, _Node]


_Node: TypeAlias = "_Leaf | _Split | Blocks"


class PlainTable:
    """A table that answers facts. Safe to share between threads.

    Args:
        table: The table; its columns test facts.
        finish: What is done to its result.

    Attributes:
        answer: Takes facts by name and gives the answer; None: go the long way.
    """

    def __init__(self, table: CompiledTable, finish: Finish) -> None:
        self._table = table
        self._finish = finish
        self._takes_first = table.policy.takes_first
        self._none: Answer | None = None
        self.answer: Callable[[Mapping[str, object]], Answer | None] = self._answering(
            _prepared(table.index)
        )

    def _answering(self, root: _Node) -> Callable[[Mapping[str, object]], Answer | None]:
        """Make what answers: a closure, since a look at `self` costs as much as one at a cell."""
        takes_first = self._takes_first
        learn, search = self._learn, self._search

        def answer(facts: Mapping[str, object]) -> Answer | None:
            node = root
            try:
                while node.__class__ is _Split:
                    value = facts[node.name]
                    node = node.parts[node.look[type(value)](value)]
                if node.__class__ is Blocks:
                    return search(node, facts)
                assert node.__class__ is _Leaf
                mask = node.every
                for name, look, masks in node.columns:
                    value = facts[name]
                    mask &= masks[look[type(value)](value)]
            except (KeyError, TypeError):
                # Whatever has no place in the index; or these are no facts at all.
                return None
            known = node.answers.get(mask & -mask if takes_first else mask)
            return learn(node, mask) if known is None else known

        return answer

    def _learn(self, node: _Leaf, mask: int) -> Answer | None:
        """Make an answer, and keep it where there can be few of its kind.

        Two threads that make the same one do no harm. Rules that are not sure are never kept:
        those that follow the first one that matches do not count under FIRST.
        """
        key = mask & -mask if self._takes_first else mask
        if key & node.leaf.unsure:
            return None
        bits = [key.bit_length() - 1] if self._takes_first and key else list(bits_of(key))
        answer = self._chosen([node.leaf.rules[bit] for bit in bits])
        if answer is not None and len(node.answers) <= _MAX_ANSWERS * len(node.leaf.rules):
            node.answers[key] = answer
        return answer

    def _search(self, node: Node, facts: Mapping[str, object]) -> Answer | None:
        found, unsure = find_rules(node, facts)
        if self._takes_first:
            del found[1:]
        return None if unsure.intersection(found) else self._chosen(found)

    def _chosen(self, matched: list[int]) -> Answer | None:
        """Make the answer of the rules that match; None: not without the long way."""
        table = self._table
        ev = Evaluation()
        if not matched:
            if table.defaults is not None:
                return None
            value = table.policy.default(table.default)
            applied: tuple[int, ...] = ()
        else:
            rows = {rule: row for rule in matched if (row := table.rows[rule]) is not None}
            if len(rows) < len(matched):
                return None
            outcome = table.policy.choose(ev, matched, rows.__getitem__)
            value, applied = outcome.value, outcome.applied
        value = self._finish(ev, value)
        if ev.problems:
            return None
        ids = tuple(map(table.rule_id, matched))
        is_same = list(applied) == matched
        return to_python(value), ids, ids if is_same else tuple(map(table.rule_id, applied))


def _prepared(node: Node) -> _Node:
    if isinstance(node, Split):
        parts = {key: _prepared(part) for key, part in node.parts.items()}
        return _Split(node.name, node.look, parts)
    return node if isinstance(node, Blocks) else _Leaf(node.columns, node.every, node, {})
