"""A decision table, compiled: an index for the cells that are plain, closures for the rest.

A table is asked with values of FEEL: what the columns test is evaluated and adapted to its type,
the index gives the rules that may match, and closures look at those of their cells that are not
plain. `federlib.dmn.tables.plain` asks the same index with facts as they come.

Source: DMN 1.5, clause 8; 7.3 (input and output clauses), 8.2.9 (default outputs).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import attrs

from federlib.dmn.feel import compile_unary_tests
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.scope import Scope
from federlib.dmn.feel.types import FeelType
from federlib.dmn.feel.values import Value
from federlib.dmn.model import DecisionTable
from federlib.dmn.model.item_types import ItemType, adapt
from federlib.dmn.tables.hit_policies import Policy, Row
from federlib.dmn.tables.index import Node, find_rules
from federlib.errors import InvalidInput

__all__ = [
    "BrokenCode",
    "Code",
    "CompiledTable",
    "TableColumn",
    "TableOutput",
    "TableResult",
    "Tests",
    "conclude",
]

Code: TypeAlias = Callable[[Evaluation, Mapping[str, Value]], Value]
"""A compiled expression."""

# Compiling a cell is about as dear as so many nodes of an expression.
_COMPILING_STEPS = 50
# Of one table; so many closures are some 10 MB.
_MAX_COMPILED = 4_096


class Tests(Protocol):
    """Compiled unary tests."""

    @property
    def text(self) -> str:
        """As they are written."""

    def matches(self, ev: Evaluation, names: Mapping[str, Value], value: Value) -> bool | None:
        """Say whether a value passes."""


@attrs.frozen
class BrokenCode:
    """Stands for a text that does not compile: an error of every evaluation.

    Attributes:
        text: As it is written.
        reason: Why, in words.
    """

    text: str
    reason: str

    def matches(self, ev: Evaluation, names: Mapping[str, Value], value: Value) -> None:
        """Fail, as tests."""
        del names, value
        return ev.fail(self.reason)

    def __call__(self, ev: Evaluation, names: Mapping[str, Value]) -> None:
        """Fail, as an expression."""
        del names
        return ev.fail(self.reason)


@attrs.frozen
class TableResult:
    """What a table gave.

    Attributes:
        value: The result.
        matched: The numbers of the rules that match, ascending from 0; under FIRST the first.
        applied: Those that the result is made of, in its order.
    """

    value: Value
    matched: tuple[int, ...] = ()
    applied: tuple[int, ...] = ()


@attrs.frozen(eq=False)
class TableColumn:
    """A column of conditions.

    Attributes:
        name: The fact that it tests, or the text of its expression.
        title: What people call it.
        kind: What the value must be.
        code: What is tested; None: the fact of that name.
        allowed: What the value must pass; None: nothing.
        scope: The names that its cells may use.
    """

    name: str
    title: str
    kind: ItemType
    code: Code | None
    allowed: Tests | None
    scope: Scope

    def compile(self, text: str) -> Tests:
        """Compile one of its cells, plain or not, for one look at it."""
        try:
            return compile_unary_tests(text, self.scope)
        except InvalidInput as error:
            return BrokenCode(text, str(error))


@attrs.frozen(eq=False)
class TableOutput:
    """A column of conclusions.

    Attributes:
        title: What people call it.
        kind: What the value must be.
        allowed: What the value must pass; None: nothing.
    """

    title: str
    kind: ItemType
    allowed: Tests | None


_Known: TypeAlias = dict[tuple[int, Tests], tuple[bool, int]]
"""Of cells that one evaluation looked at: whether they hold, and the steps that it took."""


@attrs.frozen(eq=False)
class CompiledTable:
    """A table that can be asked; safe to share between threads. Made by `compile_table`.

    Attributes:
        table: As it is written.
        element: The decision or knowledge model that it is the logic of.
        columns: What it tests.
        outputs: What it concludes.
        policy: What it makes of the rules that match.
        index: Finds them.
        tests: The cells of each rule that are not plain, by column; only rules that have any.
        rows: The outputs of each rule, where they are constants; else None.
        conclusions: What computes them, of the others.
        default: The default outputs, where they are constants; else None.
        defaults: What computes them; None: there are none, or they are constants.
        type: Of the result, as far as it is known.
    """

    table: DecisionTable
    element: str
    columns: tuple[TableColumn, ...]
    outputs: tuple[TableOutput, ...]
    policy: Policy
    index: Node
    tests: Mapping[int, Sequence[tuple[int, Tests]]]
    rows: Sequence[Row | None]
    conclusions: Mapping[int, Sequence[Code]]
    default: Row | None
    defaults: Sequence[Code] | None
    type: FeelType
    _compiled: dict[tuple[str, str], Tests] = attrs.field(factory=dict, init=False, repr=False)

    def decide(self, ev: Evaluation, names: Mapping[str, Value]) -> TableResult:
        """Ask the table.

        Args:
            ev: Its clock and limits; takes its problems.
            names: The values that its expressions may use.
        Raises:
            Exhausted: It takes more steps, or builds something larger, than it may.
        """
        result = self._decide(ev, names)
        if ev.witness is not None:
            ev.witness.asked(self, names, result)
        return result

    def _decide(self, ev: Evaluation, names: Mapping[str, Value]) -> TableResult:
        values = self.tested(ev, names)
        if values is None:
            return TableResult(None)
        matched = self.matching(ev, names, values)
        if not matched:
            return TableResult(self.policy.default(self._default_row(ev, names)))
        outcome = self.policy.choose(ev, matched, lambda rule: self.row(ev, names, rule))
        return TableResult(outcome.value, tuple(matched), outcome.applied)

    def rule_id(self, rule: int) -> str:
        """Return the id of a rule, or its number from 1 where it has none."""
        return self.table.rules[rule].id or str(rule + 1)

    def tested(self, ev: Evaluation, names: Mapping[str, Value]) -> dict[str, Value] | None:
        """Evaluate what the columns test; None: a value is not allowed, so nothing is decided."""
        values: dict[str, Value] = {}
        for column in self.columns:
            value = names.get(column.name) if column.code is None else column.code(ev, names)
            value = adapt(ev, value, column.kind, f"{self.element}, {column.title}")
            allowed = column.allowed
            if (
                allowed is not None
                and value is not None
                and allowed.matches(ev, names, value) is not True
            ):
                return ev.fail(
                    f"{self.element}, {column.title} is not an allowed value: {allowed.text}"
                )
            values[column.name] = value
        return values

    def matching(
        self, ev: Evaluation, names: Mapping[str, Value], values: Mapping[str, Value]
    ) -> list[int]:
        """Find the rules that match; under FIRST, the first.

        Args:
            ev: As in `decide`.
            names: As in `decide`.
            values: What the columns test, by their names.
        """
        is_first = self.policy.takes_first
        try:
            found, unsure = find_rules(self.index, values, only_first=is_first)
        except KeyError:
            return self._scan(ev, names, values)
        if not unsure:
            return found[:1] if is_first else found
        matched: list[int] = []
        known: _Known = {}
        for rule in found:
            if rule in unsure and not self._passes(ev, names, values, rule, known):
                continue
            matched.append(rule)
            if is_first:
                break
        return matched

    def _passes(
        self,
        ev: Evaluation,
        names: Mapping[str, Value],
        values: Mapping[str, Value],
        rule: int,
        known: _Known,
    ) -> bool:
        """Look at the cells of a rule that the index took for true.

        Rules often share them, so one that was looked at is known: it takes the same steps
        again, and neither a problem nor what a witness hears is left out.
        """
        ev.spend()
        for cell in self.tests[rule]:
            before = known.get(cell)
            if before is not None:
                holds, steps = before
                ev.spend(steps)
            else:
                column, tests = cell
                left, problems = ev.steps, len(ev.problems) + ev.uncounted
                holds = tests.matches(ev, names, values[self.columns[column].name]) is True
                if ev.witness is None and len(ev.problems) + ev.uncounted == problems:
                    known[cell] = (holds, left - ev.steps)
            if not holds:
                return False
        return True

    def _scan(
        self, ev: Evaluation, names: Mapping[str, Value], values: Mapping[str, Value]
    ) -> list[int]:
        """Ask every rule cell by cell: some value is of a type that the index does not know."""
        matched: list[int] = []
        seen: dict[tuple[str, str], Tests] = {}
        for rule, written in enumerate(self.table.rules):
            ev.spend(1 + len(self.columns))
            # A row that is too short was reported when the table was compiled.
            for column, text in zip(self.columns, written.conditions, strict=False):
                key = (column.name, text)
                if key not in seen:
                    # It costs the same whether or not another evaluation has done it before.
                    ev.spend(_COMPILING_STEPS)
                    seen[key] = self._cell(column, text)
                if seen[key].matches(ev, names, values[column.name]) is not True:
                    break
            else:
                matched.append(rule)
                if self.policy.takes_first:
                    break
        return matched

    def _cell(self, column: TableColumn, text: str) -> Tests:
        """Compile a cell, and keep it; two threads that do so do no harm."""
        found = self._compiled.get((column.name, text))
        if found is None:
            found = column.compile(text)
            if len(self._compiled) < _MAX_COMPILED:
                self._compiled[column.name, text] = found
        return found

    def row(self, ev: Evaluation, names: Mapping[str, Value], rule: int) -> Row:
        """Give the outputs of a rule."""
        row = self.rows[rule]
        if row is not None:
            return row
        where = f"{self.element}, rule {self.rule_id(rule)}"
        return self._concluded(ev, names, self.conclusions[rule], where)

    def _default_row(self, ev: Evaluation, names: Mapping[str, Value]) -> Row | None:
        if self.defaults is None:
            return self.default
        return self._concluded(ev, names, self.defaults, f"{self.element}, default output")

    def _concluded(
        self, ev: Evaluation, names: Mapping[str, Value], codes: Sequence[Code], where: str
    ) -> Row:
        return tuple(
            conclude(ev, code(ev, names), output, f"{where}, {output.title}")
            for code, output in zip(codes, self.outputs, strict=True)
        )


def conclude(ev: Evaluation, value: Value, output: TableOutput, what: str) -> Value:
    """Adapt an output to its type, and see that it is allowed; null where it is not.

    Args:
        ev: Told what is wrong.
        value: What the cell gave.
        output: Its column.
        what: What it is, for problems.
    """
    value = adapt(ev, value, output.kind, what)
    allowed = output.allowed
    if allowed is None or value is None or allowed.matches(ev, {}, value) is True:
        return value
    return ev.fail(f"{what} is not an allowed value, so it is null: {allowed.text}")
