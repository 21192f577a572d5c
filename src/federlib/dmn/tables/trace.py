"""Why a decision came out as it did: each table that was asked, rule by rule, cell by cell.

Source: HA plan §3 (explain output).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import cast

import msgspec

from federlib.dmn.feel.convert import to_python
from federlib.dmn.feel.evaluation import DEFAULT_STEPS, Evaluation, Exhausted
from federlib.dmn.feel.values import Value
from federlib.dmn.tables.cells import read_cell
from federlib.dmn.tables.hit_policies import letter
from federlib.dmn.tables.table import CompiledTable, TableColumn, TableResult, Tests

__all__ = ["CellTrace", "RuleTrace", "TableTrace", "TableWitness", "explain_table"]


class CellTrace(msgspec.Struct, frozen=True, omit_defaults=True):
    """One condition of one rule.

    Attributes:
        text: As it is written; what it tests is the value of its column.
        matched: Whether it holds; None: it is neither true nor false, so it does not hold.
        problem: Why it is neither, where that was said.
    """

    text: str
    matched: bool | None
    problem: str = ""


class RuleTrace(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule.

    Attributes:
        id: Its id, or its number from 1 where it has none.
        cells: Its conditions, in the order of the columns.
        matched: Whether all of them hold. Under FIRST a rule below the first may match too:
            nobody asked it.
        applied: Whether the result is made of its outputs.
        outputs: What it gives, by the names of the outputs; None: it does not match.
        annotations: Remarks on it, as they are written.
    """

    id: str
    cells: tuple[CellTrace, ...]
    matched: bool
    applied: bool
    outputs: dict[str, object] | None = None
    annotations: tuple[str, ...] = ()


class TableTrace(msgspec.Struct, frozen=True, omit_defaults=True):
    """One table, asked once.

    Attributes:
        element: The decision or knowledge model that it is the logic of.
        hit_policy: Its letter, with the sign of its aggregator: `U`, `C+`.
        columns: What is tested, as people call it.
        values: What was found there, in the same order; empty where a value was not allowed.
        rules: All of its rules, in their order.
        value: What the table gave.
    """

    element: str
    hit_policy: str
    columns: tuple[str, ...]
    values: tuple[object, ...]
    rules: tuple[RuleTrace, ...]
    value: object


class TableWitness:
    """Remembers the tables that an evaluation asks.

    Args:
        explains: Whether it keeps a trace of each, too.

    Attributes:
        last: The table that was asked last, and what it gave.
        traces: Of all of them, in the order in which their answers came.
    """

    def __init__(self, *, explains: bool, now_ns: int | None) -> None:
        self.last: tuple[CompiledTable, TableResult] | None = None
        self.traces: list[TableTrace] = []
        self._explains = explains
        self._now_ns = now_ns

    def asked(self, table: object, names: Mapping[str, object], result: object) -> None:
        """Take in one."""
        assert isinstance(table, CompiledTable)
        assert isinstance(result, TableResult)
        self.last = table, result
        if self._explains:
            known = cast("Mapping[str, Value]", names)
            self.traces.append(explain_table(table, known, result, now_ns=self._now_ns))


def explain_table(
    table: CompiledTable,
    names: Mapping[str, Value],
    result: TableResult,
    *,
    now_ns: int | None = None,
    steps: int = DEFAULT_STEPS,
) -> TableTrace:
    """Ask every cell of a table, and say what holds.

    Args:
        table: The table.
        names: The values that its expressions may use.
        result: What it gave for them.
        now_ns: What `now()` says; Unix nanoseconds.
        steps: How many this may take; cells beyond them are neither true nor false.
    """
    ev = Evaluation(now_ns=now_ns, steps=steps)
    explainer = _Explainer(table, names, result, ev)
    return TableTrace(
        element=table.element,
        hit_policy=letter(table.table),
        columns=tuple(column.title for column in table.columns),
        values=tuple(map(to_python, explainer.tested)),
        rules=tuple(map(explainer.rule, range(len(table.table.rules)))),
        value=to_python(result.value),
    )


class _Explainer:
    def __init__(
        self,
        table: CompiledTable,
        names: Mapping[str, Value],
        result: TableResult,
        ev: Evaluation,
    ) -> None:
        self.table = table
        self.names = names
        self.ev = ev
        self.applied = frozenset(result.applied)
        self.known: dict[tuple[str, str], CellTrace] = {}
        self.compiled: dict[tuple[int, int], Tests] = {
            (rule, column): tests for rule, cells in table.tests.items() for column, tests in cells
        }
        try:
            values = table.tested(ev, names)
        except Exhausted:
            values = None
        self.values = values
        self.tested: tuple[Value, ...] = (
            () if values is None else tuple(values[column.name] for column in table.columns)
        )

    def rule(self, number: int) -> RuleTrace:
        table = self.table
        written = table.table.rules[number]
        cells = tuple(
            self.cell(number, place, column, text)
            for place, (column, text) in enumerate(
                zip(table.columns, written.conditions, strict=False)
            )
        )
        matched = self.values is not None and all(cell.matched is True for cell in cells)
        return RuleTrace(
            id=table.rule_id(number),
            cells=cells,
            matched=matched,
            applied=number in self.applied,
            outputs=self.outputs(number) if matched else None,
            annotations=written.annotations,
        )

    def cell(self, rule: int, place: int, column: TableColumn, text: str) -> CellTrace:
        key = (column.name, text)
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = self.look(rule, place, column, text)
        return found

    def look(self, rule: int, place: int, column: TableColumn, text: str) -> CellTrace:
        if self.values is None:
            return CellTrace(text, None, "nothing was tested")
        value = self.values[column.name]
        before = len(self.ev.problems)
        try:
            self.ev.spend()
            tests = self.compiled.get((rule, place))
            if tests is None:
                matched = _plainly(text, value)
                if matched is not None:
                    return CellTrace(text, matched)
                self.ev.spend(_COMPILING_STEPS)
                tests = column.compile(text)
            matched = tests.matches(self.ev, self.names, value)
        except Exhausted as error:
            return CellTrace(text, None, str(error))
        problems = self.ev.problems[before:]
        del self.ev.problems[before:]
        return CellTrace(text, matched, "" if matched is not None else "; ".join(problems))

    def outputs(self, number: int) -> dict[str, object]:
        try:
            row = self.table.row(self.ev, self.names, number)
        except Exhausted:
            return {}
        titles = [output.title for output in self.table.outputs]
        return dict(zip(titles, map(to_python, row), strict=True))


_COMPILING_STEPS = 50


def _plainly(text: str, value: Value) -> bool | None:
    """Look at a plain cell; None: the language must say whether it is false, or null."""
    cell = read_cell(text)
    if cell is None:
        return None
    if cell.is_any:
        return True
    if not isinstance(value, Decimal | str | bool | None):
        return None
    if cell.holds(value):
        return True
    is_of_its_kind = cell.numbers if isinstance(value, Decimal) else cell.strings
    return False if isinstance(value, Decimal | str) and is_of_its_kind else None
