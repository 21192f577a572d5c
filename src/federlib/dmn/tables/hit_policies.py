"""What a table makes of the rules that match.

A violated policy is an error of the evaluation: its value is null, and the problem names the
rules. Where no rule matches, the default outputs are the result, and null where there are none;
so it is for every policy, those that give lists or count too: nothing is collected then.

Source: DMN 1.5, 8.2.8 (hit policies), 8.2.9 (default outputs), 8.2.10 (aggregation), and
10.3.2.10 (decision tables), whose second step is what happens where no rule matches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeAlias

import attrs

from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.operators import add as add_values
from federlib.dmn.feel.operators import compare, equal
from federlib.dmn.feel.values import Value
from federlib.dmn.model import DecisionTable

__all__ = ["LETTERS", "Outcome", "Policy", "Row", "gives_list", "letter"]

Row: TypeAlias = tuple[Value, ...]
"""The outputs of one rule, in the order of the columns."""

LETTERS = {
    "UNIQUE": "U",
    "ANY": "A",
    "PRIORITY": "P",
    "FIRST": "F",
    "RULE ORDER": "R",
    "OUTPUT ORDER": "O",
    "COLLECT": "C",
}
"""As they are drawn in the corner of a table."""

_SIGNS = {"SUM": "+", "MIN": "<", "MAX": ">", "COUNT": "#"}

_SHOWN = 10


@attrs.frozen
class Outcome:
    """What the rules that match come to.

    Attributes:
        value: The result of the table.
        applied: The numbers of the rules that it is made of, in its order.
    """

    value: Value
    applied: tuple[int, ...]


def letter(table: DecisionTable) -> str:
    """Return the letter of a table's policy, with the sign of its aggregator: `U`, `C+`."""
    sign = _SIGNS.get(table.aggregator or "", "") if table.hit_policy == "COLLECT" else ""
    return LETTERS[table.hit_policy] + sign


def gives_list(table: DecisionTable) -> bool:
    """Say whether the result is a list, of one element for each rule."""
    if table.hit_policy == "COLLECT":
        return table.aggregator is None
    return table.hit_policy in {"RULE ORDER", "OUTPUT ORDER"}


class Policy:
    """The hit policy of one table.

    Args:
        table: The table.
        priorities: For each output column the values that it may have, the first the most
            important; None where it has no such list.
        names: How a problem calls each rule.
    """

    def __init__(
        self,
        table: DecisionTable,
        priorities: Sequence[Sequence[Value] | None],
        names: Callable[[int], str],
    ) -> None:
        self._names = names
        self._priorities = priorities
        self._keys = tuple(output.name for output in table.outputs)
        self._is_compound = len(table.outputs) > 1
        self._aggregator = table.aggregator if table.hit_policy == "COLLECT" else None
        self.takes_first: bool = table.hit_policy == "FIRST"
        """Whether nothing after the first rule that matches is asked."""
        self._choose = {
            "UNIQUE": self._unique,
            "ANY": self._any,
            "PRIORITY": self._priority,
            "FIRST": self._first,
            "RULE ORDER": self._in_rule_order,
            "OUTPUT ORDER": self._in_output_order,
            "COLLECT": self._collect if self._aggregator is None else self._aggregate,
        }[table.hit_policy]

    def shape(self, row: Row) -> Value:
        """Make the result of one rule: a context where there are several outputs."""
        return dict(zip(self._keys, row, strict=True)) if self._is_compound else row[0]

    def default(self, row: Row | None) -> Value:
        """Make the result where no rule matches.

        Args:
            row: The default outputs; None: there are none.
        """
        return None if row is None else self.shape(row)

    def choose(self, ev: Evaluation, matched: Sequence[int], row: Callable[[int], Row]) -> Outcome:
        """Make the result of the rules that match.

        Args:
            ev: Told what is wrong.
            matched: Their numbers, ascending; at least one.
            row: Gives the outputs of a rule.
        """
        return self._choose(ev, matched, row)

    def _unique(self, ev: Evaluation, matched: Sequence[int], row: Callable[[int], Row]) -> Outcome:
        if len(matched) > 1:
            ev.fail(f"UNIQUE: {self._listed(matched)} match, so it is null")
            return Outcome(None, ())
        return Outcome(self.shape(row(matched[0])), (matched[0],))

    def _any(self, ev: Evaluation, matched: Sequence[int], row: Callable[[int], Row]) -> Outcome:
        rows = [row(rule) for rule in matched]
        first: Value = list(rows[0])
        for other in rows[1:]:
            if other != rows[0] and equal(ev, first, list(other)) is not True:
                ev.fail(f"ANY: {self._listed(matched)} match with different outputs, so it is null")
                return Outcome(None, ())
        return Outcome(self.shape(rows[0]), tuple(matched))

    def _first(self, _ev: Evaluation, matched: Sequence[int], row: Callable[[int], Row]) -> Outcome:
        return Outcome(self.shape(row(matched[0])), (matched[0],))

    def _priority(
        self, ev: Evaluation, matched: Sequence[int], row: Callable[[int], Row]
    ) -> Outcome:
        if len(matched) == 1:
            return self._first(ev, matched, row)
        ranked = self._ranked(ev, matched, row)
        if ranked is None:
            return Outcome(None, ())
        rule, outputs = ranked[0]
        return Outcome(self.shape(outputs), (rule,))

    def _in_rule_order(
        self, _ev: Evaluation, matched: Sequence[int], row: Callable[[int], Row]
    ) -> Outcome:
        return Outcome([self.shape(row(rule)) for rule in matched], tuple(matched))

    def _in_output_order(
        self, ev: Evaluation, matched: Sequence[int], row: Callable[[int], Row]
    ) -> Outcome:
        ranked = self._ranked(ev, matched, row)
        if ranked is None:
            return Outcome(None, ())
        return Outcome(
            [self.shape(outputs) for _, outputs in ranked], tuple(rule for rule, _ in ranked)
        )

    _collect = _in_rule_order

    def _ranked(
        self, ev: Evaluation, matched: Sequence[int], row: Callable[[int], Row]
    ) -> list[tuple[int, Row]] | None:
        """Sort by the first output column that has priorities, then by the next; else as is."""
        if all(values is None for values in self._priorities):
            return ev.fail("PRIORITY and OUTPUT ORDER need allowed output values, so it is null")
        ranked = [(rule, row(rule)) for rule in matched]

        def rank(entry: tuple[int, Row]) -> tuple[int, ...]:
            return tuple(
                self._rank(ev, value, values)
                for value, values in zip(entry[1], self._priorities, strict=True)
                if values is not None
            )

        return sorted(ranked, key=rank)

    @staticmethod
    def _rank(ev: Evaluation, value: Value, values: Sequence[Value]) -> int:
        for place, each in enumerate(values):
            ev.spend()
            # Whatever is no value of the list comes after all that are.
            if value is each or (type(value) is type(each) and equal(ev, value, each) is True):
                return place
        return len(values)

    def _aggregate(
        self, ev: Evaluation, matched: Sequence[int], row: Callable[[int], Row]
    ) -> Outcome:
        rules = tuple(matched)
        if self._aggregator == "COUNT":
            return Outcome(Decimal(len(rules)), rules)
        if self._is_compound:
            ev.fail(f"{self._aggregator} of several outputs is not defined, so it is null")
            return Outcome(None, ())
        values = [row(rule)[0] for rule in rules]
        if self._aggregator == "SUM":
            total: Value = values[0]
            if not isinstance(total, Decimal):
                ev.fail(f"SUM: rule {self._names(rules[0])} gives no number, so it is null")
                return Outcome(None, ())
            for rule, value in zip(rules[1:], values[1:], strict=True):
                if not isinstance(value, Decimal):
                    ev.fail(f"SUM: rule {self._names(rule)} gives no number, so it is null")
                    return Outcome(None, ())
                total = add_values(ev, total, value)
            return Outcome(total, rules)
        return self._extreme(ev, rules, values)

    def _extreme(self, ev: Evaluation, rules: tuple[int, ...], values: list[Value]) -> Outcome:
        wanted = -1 if self._aggregator == "MIN" else 1
        best = 0
        for place in range(len(values)):
            order = compare(ev, values[place], values[best])
            if order is None:
                ev.fail(f"{self._aggregator}: {self._listed(rules)} have no order, so it is null")
                return Outcome(None, ())
            if order == wanted:
                best = place
        return Outcome(values[best], rules)

    def _listed(self, rules: Sequence[int]) -> str:
        names = [self._names(rule) for rule in rules[:_SHOWN]]
        if len(rules) > _SHOWN:
            return f"rules {', '.join(names)} and {len(rules) - _SHOWN} more"
        if len(names) == 1:
            return f"rule {names[0]}"
        return f"rules {', '.join(names[:-1])} and {names[-1]}"
