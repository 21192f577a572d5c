"""A compiled table, asked with facts as they come: no value is converted that need not be.

Only what the index alone can tell is answered here, with outputs that were made before. For
whatever else comes (a type that does not fit, a missing fact, a cell that is not plain, several
outputs that must be put in order with a problem) there is no answer, and the caller goes the long
way: so both ways always say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from federlib.dmn.feel.convert import to_python
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.types import ANY, FeelType
from federlib.dmn.feel.values import Value
from federlib.dmn.hit_policies import Row
from federlib.dmn.index import Leaf, Split, find_rules
from federlib.dmn.item_types import ItemType
from federlib.dmn.table import CompiledTable

__all__ = ["Answer", "PlainTable", "copied", "plain_table"]

Answer: TypeAlias = tuple[object, tuple[str, ...], tuple[str, ...]]
"""Outputs as Python has them, not to be changed; ids of the rules that match, and that apply."""

Finish: TypeAlias = Callable[[Evaluation, Value], Value]
"""What is done to the result of a table before it is the result of the decision."""


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


class PlainTable:
    """A table that answers facts. Safe to share between threads.

    Args:
        table: The table; its columns test facts.
        finish: What is done to its result.
    """

    def __init__(self, table: CompiledTable, finish: Finish) -> None:
        self._table = table
        self._finish = finish
        self._index = table.index
        self._takes_first = table.policy.takes_first
        # Made when a rule is met first: two threads that make the same one do no harm.
        self._answers: list[Answer | None] = [None] * len(table.table.rules)
        self._none: Answer | None = None

    def answer(self, facts: Mapping[str, object]) -> Answer | None:
        """Answer; None: go the long way.

        Args:
            facts: By name.
        """
        node = self._index
        try:
            while node.__class__ is Split:
                value = facts[node.name]
                node = node.parts[node.look[type(value)](value)]
            if node.__class__ is not Leaf:
                return self._several(*find_rules(node, facts))
            mask: int = node.every
            for name, look, masks in node.columns:
                value = facts[name]
                mask &= masks[look[type(value)](value)]
        except (KeyError, TypeError):
            # Whatever has no place in the index; or these are no facts at all.
            return None
        low = mask & -mask
        if mask & node.unsure or (low != mask and not self._takes_first):
            return self._several(*find_rules(node, facts))
        if not mask:
            return self._none or self._no_match()
        rule = node.rules[low.bit_length() - 1]
        return self._answers[rule] or self._one(rule)

    def _one(self, rule: int) -> Answer | None:
        answer = self._answers[rule] = self._chosen([rule])
        return answer

    def _several(self, found: list[int], unsure: set[int]) -> Answer | None:
        if unsure:
            return None
        if not found:
            return self._none or self._no_match()
        if self._takes_first:
            del found[1:]
        return self._chosen(found)

    def _chosen(self, matched: list[int]) -> Answer | None:
        rows: dict[int, Row] = {}
        for rule in matched:
            row = self._table.rows[rule]
            if row is None:
                return None
            rows[rule] = row
        ev = Evaluation()
        outcome = self._table.policy.choose(ev, matched, rows.__getitem__)
        value = self._finish(ev, outcome.value)
        if ev.problems:
            return None
        ids = tuple(map(self._table.rule_id, matched))
        is_same = list(outcome.applied) == matched
        applied = ids if is_same else tuple(map(self._table.rule_id, outcome.applied))
        return to_python(value), ids, applied

    def _no_match(self) -> Answer | None:
        if self._table.defaults is not None:
            return None
        ev = Evaluation()
        value = self._finish(ev, self._table.policy.default(self._table.default))
        if ev.problems:
            return None
        self._none = (to_python(value), (), ())
        return self._none
