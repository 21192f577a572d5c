"""A compiled table, asked with facts as they come: no value is converted that need not be.

Only what the index alone can tell is answered here, with outputs that were made before. For
whatever else comes (a type that does not fit, a missing fact, a cell that is not plain, several
outputs that must be put in order with a problem) there is no answer, and the caller goes the long
way: so both ways always say the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import TypeAlias, cast

from federlib.dmn.feel.convert import from_python, to_python
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.types import ANY, FeelType
from federlib.dmn.feel.values import Value
from federlib.dmn.model.item_types import ItemType, adapt
from federlib.dmn.tables.index import (
    Leaf,
    Node,
    NumberSplit,
    TextSplit,
    bits_of,
    find_rules,
)
from federlib.dmn.tables.masks import NUMBERS, ColumnMasks
from federlib.dmn.tables.table import CompiledTable, TableColumn
from federlib.errors import InvalidInput

__all__ = ["Answer", "PlainTable", "copied", "plain_table"]

Answer: TypeAlias = tuple[object, tuple[str, ...], tuple[str, ...]]
"""Outputs as Python has them, not to be changed; ids of the rules that match, and that apply."""

Ask: TypeAlias = Callable[[Mapping[str, object]], Answer | None]

Finish: TypeAlias = Callable[[Evaluation, Value], Value]
"""What is done to the result of a table before it is the result of the decision."""


# Of combinations of rules that match, for each rule: most tables have few.
_MAX_ANSWERS = 2

# Of texts that are allowed.
_MAX_KNOWN = 512


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
    guards: list[_Guard] = []
    for column in table.columns:
        kind = kinds.get(column.name)
        if column.code is not None or kind is None or not _agree(kind.feel, column.kind.feel):
            return None
        if column.allowed is not None or column.kind.check is not None or kind.check is not None:
            guards.append(_Guard(column, kind))
    return PlainTable(table, finish, guards)


def _agree(fact: FeelType, column: FeelType) -> bool:
    # The index looks up what fits the column's type, so it must not be adapted on the way.
    return fact == column or ANY in (fact, column)


class _Guard:
    """Lets facts pass that are allowed as they are; remembers texts that did."""

    def __init__(self, column: TableColumn, kind: ItemType) -> None:
        self.name: str = column.name
        self.known: set[object] = set()
        self._column = column
        self._kind = kind

    def passes(self, fact: object) -> bool:
        """Say whether a fact is allowed without being converted."""
        try:
            value = from_python(fact)
        except InvalidInput:
            return False
        ev = Evaluation()
        column = self._column
        adapted = adapt(ev, adapt(ev, value, self._kind, ""), column.kind, "")
        allowed = column.allowed
        # Allowed values may name other facts, which are not here: then it is the long way.
        is_allowed = allowed is None or value is None or allowed.matches(ev, {}, value) is True
        if not is_allowed or adapted is not value or ev.problems:
            return False
        if fact.__class__ is str and len(self.known) < _MAX_KNOWN:
            self.known.add(fact)
        return True


def _guarded(ask: Ask, guards: Sequence[_Guard]) -> Ask:
    checks = [(guard.name, guard.known, guard.passes) for guard in guards]

    def ask_guarded(facts: Mapping[str, object]) -> Answer | None:
        try:
            for name, known, passes in checks:
                fact = facts[name]
                if not (fact.__class__ is str and fact in known) and not passes(fact):
                    return None
        except (KeyError, TypeError):
            return None
        return ask(facts)

    return ask_guarded


class PlainTable:
    """A table that answers facts. Safe to share between threads.

    Every node of the index becomes a closure, since a look at an attribute costs about as much
    as one at a cell.

    Args:
        table: The table; its columns test facts.
        finish: What is done to its result.
        guards: What facts must pass first.

    Attributes:
        answer: Takes facts by name and gives the answer; None: go the long way.
    """

    def __init__(self, table: CompiledTable, finish: Finish, guards: Sequence[_Guard] = ()) -> None:
        self._table = table
        self._finish = finish
        self._takes_first = table.policy.takes_first
        ask = self._asking(table.index)
        self.answer: Ask = _guarded(ask, guards) if guards else ask

    def _asking(self, node: Node) -> Ask:
        match node:
            case TextSplit(column, parts, rest):
                # One text or another may lead to the same part.
                made = {id(part): self._asking(part) for part in parts.values()}
                known: dict[object, Ask] = {text: made[id(part)] for text, part in parts.items()}
                return self._asking_texts(column.name, known, self._asking(rest))
            case NumberSplit(column, bounds, numbered, _):
                within = [self._asking(part) for part in numbered if part is not None]
                return self._asking_numbers(column.name, bounds, [None, *within, None])
            case Leaf():
                return self._asking_leaf(node)
            case _:
                return self._look

    def _asking_texts(self, name: str, parts: Mapping[object, Ask], rest: Ask) -> Ask:
        look = self._look

        def ask(facts: Mapping[str, object]) -> Answer | None:
            try:
                value = facts[name]
                part = parts.get(value)
            except (KeyError, TypeError):
                return None
            if part is None:
                part = rest if value.__class__ is str else look
            return part(facts)

        return ask

    def _asking_numbers(self, name: str, bounds: list[float], parts: list[Ask | None]) -> Ask:
        look = self._look

        def ask(facts: Mapping[str, object]) -> Answer | None:
            try:
                value = facts[name]
            except (KeyError, TypeError):
                return None
            part = None
            if isinstance(value, int | float) and value.__class__ in NUMBERS:
                part = parts[bisect_right(bounds, value)]
            return look(facts) if part is None else part(facts)

        return ask

    def _asking_leaf(self, leaf: Leaf) -> Ask:
        texts, numbers, mixed = _laid_out(leaf)
        every, takes_first = leaf.every, self._takes_first
        # By the rules that match, as a mask; under FIRST by the first of them.
        answers: dict[int, Answer] = {}
        known = answers.get
        learn, look = self._learn, self._look

        def ask(facts: Mapping[str, object]) -> Answer | None:
            mask = every
            try:
                for name, text_masks, others in texts:
                    value = facts[name]
                    found = text_masks.get(value)
                    if found is None:
                        if value.__class__ is not str:
                            return look(facts)
                        found = others
                    mask &= found
                for name, bounds, whole_bounds, masks in numbers:
                    value = facts[name]
                    if value.__class__ is float:
                        mask &= masks[bisect_right(bounds, value)]
                    elif value.__class__ is int:
                        mask &= masks[bisect_right(whole_bounds, value)]
                    else:
                        # True is 1 for Python, and a decimal may lie between two floats.
                        return look(facts)
                for column in mixed:
                    mask &= column.find(facts[column.name])
            except (KeyError, TypeError):
                # Whatever has no place in the index; or these are no facts at all.
                return None
            if takes_first:
                mask &= -mask
            return known(mask) or learn(leaf, answers, mask)

        return ask

    def _learn(self, leaf: Leaf, answers: dict[int, Answer], mask: int) -> Answer | None:
        """Make an answer, and keep it where there can be few of its kind.

        Two threads that make the same one do no harm. Rules that are not sure are never kept;
        those that follow the first one that matches do not count under FIRST.
        """
        if mask & leaf.unsure:
            return None
        answer = self._chosen([leaf.rules[bit] for bit in bits_of(mask)])
        if answer is not None and len(answers) <= _MAX_ANSWERS * len(leaf.rules):
            answers[mask] = answer
        return answer

    def _look(self, facts: Mapping[str, object]) -> Answer | None:
        """Answer without the layout for usual facts."""
        try:
            found, unsure = find_rules(self._table.index, facts, only_first=self._takes_first)
        except (KeyError, TypeError):
            return None
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


_Texts: TypeAlias = list[tuple[str, dict[object, int], int]]
_Numbers: TypeAlias = list[tuple[str, list[float], list[int], list[int]]]


def _laid_out(leaf: Leaf) -> tuple[_Texts, _Numbers, list[ColumnMasks]]:
    """Lay out a leaf for facts as they come.

    Returns:
        Columns that test only texts: the name, the mask of each, and that of all others.
        Columns that test only numbers: the name, the bounds of floats and those of integers, which
        compare faster with their like, and the masks; those beyond the limits are None, so that
        to `and` them is a `TypeError`. And all other columns.
    """
    texts: _Texts = []
    numbers: _Numbers = []
    mixed: list[ColumnMasks] = []
    for column in leaf.columns:
        # Two bounds are the limits alone.
        has_numbers = len(column.bounds) > 2
        if str in column.types and not has_numbers:
            known = cast("dict[object, int]", column.texts)
            texts.append((column.name, known, column.other_texts))
        elif float in column.types and not column.texts:
            whole_bounds = list(map(ceil, column.bounds))
            masks = cast("list[int]", column.numbers)
            numbers.append((column.name, column.bounds, whole_bounds, masks))
        else:
            mixed.append(column)
    return texts, numbers, mixed
