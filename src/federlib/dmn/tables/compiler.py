"""Compiling decision tables.

Cells that are plain go into the index without the parser; the others are compiled once for each
distinct text. What is wrong with a table is told, cell by cell, and the rest is compiled
nevertheless: a cell that is broken never holds.

Source: DMN 1.5, clause 8 and 7.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol, TypeVar, cast

from federlib.dmn.feel import compile_expression, compile_unary_tests
from federlib.dmn.feel.evaluation import Evaluation, Exhausted
from federlib.dmn.feel.numbers import parse_number
from federlib.dmn.feel.scope import Scope
from federlib.dmn.feel.types import ANY, BOOLEAN, NUMBER, STRING, ContextType, FeelType, ListType
from federlib.dmn.feel.values import Value
from federlib.dmn.model import DecisionTable, InputClause, OutputClause
from federlib.dmn.model.item_types import ItemType
from federlib.dmn.tables.cells import Cell, read_cell
from federlib.dmn.tables.hit_policies import Policy, Row, gives_list
from federlib.dmn.tables.index import build_index
from federlib.dmn.tables.masks import TYPES, IndexColumn
from federlib.dmn.tables.table import (
    BrokenCode,
    Code,
    CompiledTable,
    TableColumn,
    TableOutput,
    Tests,
    conclude,
)
from federlib.errors import InvalidInput

__all__ = ["TableReport", "TableTypes", "compile_table"]


_T = TypeVar("_T")


class TableReport(Protocol):
    """Receives what is wrong with a table."""

    def __call__(
        self, element: str, text: str, *, rule: int | None = None, column: str = ""
    ) -> None:
        """Take in one problem; rules count from 1."""


class TableTypes(Protocol):
    """Finds the types that a table names."""

    def resolve(self, type_ref: str, element: str) -> ItemType:
        """Return the type of this name; empty: any."""


_TYPES_OF: Mapping[FeelType, frozenset[type]] = {
    ANY: TYPES,
    NUMBER: frozenset({int, float, Decimal, type(None)}),
    STRING: frozenset({str, type(None)}),
    BOOLEAN: frozenset({bool, type(None)}),
}


def compile_table(
    table: DecisionTable,
    scope: Scope,
    element: str,
    *,
    types: TableTypes,
    report: TableReport,
) -> CompiledTable:
    """Compile a table.

    Args:
        table: As it is written.
        scope: The names that its texts may use, with their types.
        element: The decision or knowledge model that it is the logic of, for problems.
        types: Finds the types of its columns.
        report: Told what is wrong.
    """
    return _TableCompiler(table, scope, element, types, report).compile()


class _TableCompiler:
    def __init__(
        self,
        table: DecisionTable,
        scope: Scope,
        element: str,
        types: TableTypes,
        report: TableReport,
    ) -> None:
        self.table = table
        self.scope = scope
        self.element = element
        self.types = types
        self.report = report
        self.cells: dict[str, Cell | None] = {}
        self.known: dict[tuple[object, int, str], object] = {}
        self.known_rows: dict[tuple[tuple[type, Value], ...], Row] = {}

    def compile(self) -> CompiledTable:
        table = self.table
        if not table.outputs:
            self.report(self.element, "the table has no output")
        columns = tuple(map(self.column, table.inputs))
        outputs = tuple(map(self.output, table.outputs)) or (
            TableOutput("output", self.types.resolve("", self.element), None),
        )
        tests: dict[int, list[tuple[int, Tests]]] = {}
        index_columns = tuple(map(self.index_column, columns))
        cells = [
            self.conditions(rule, columns, index_columns, tests) for rule in range(len(table.rules))
        ]
        rows: list[Row | None] = []
        conclusions: dict[int, Sequence[Code]] = {}
        for rule, written in enumerate(table.rules):
            texts = self.fitted(written.conclusions, len(outputs), rule, "conclusions", "outputs")
            row, codes = self.conclusions(texts, outputs, rule)
            rows.append(row)
            if row is None:
                conclusions[rule] = codes
        default, defaults = self.defaults(outputs)
        return CompiledTable(
            table=table,
            element=self.element,
            columns=columns,
            outputs=outputs,
            policy=Policy(
                table, self.priorities(outputs), lambda rule: table.rules[rule].id or str(rule + 1)
            ),
            index=build_index(index_columns, cells),
            tests=tests,
            rows=rows,
            conclusions=conclusions,
            default=default,
            defaults=defaults,
            type=self.result_type(outputs),
        )

    def column(self, clause: InputClause) -> TableColumn:
        text = " ".join(clause.expression.split())
        title = clause.label or text or "an input"
        kind = self.types.resolve(clause.type_ref, self.element)
        allowed = self.allowed(clause.allowed, title)
        known = self.scope.all_names.get(text)
        code = self.expression(text, title) if known is None else None
        feel = known if known is not None and kind.feel == ANY else kind.feel
        # The language must know the names of the parts of what `?` is, to find them in a text.
        has_parts = isinstance(feel, ContextType | ListType)
        scope = self.scope.nested({"?": feel}) if has_parts else self.scope
        return TableColumn(text, title, kind, code, allowed, scope)

    def output(self, clause: OutputClause) -> TableOutput:
        title = clause.name or clause.label or "output"
        kind = self.types.resolve(clause.type_ref, self.element)
        allowed = self.allowed(clause.allowed, title)
        return TableOutput(title, kind, allowed)

    def index_column(self, column: TableColumn) -> IndexColumn:
        kind = column.kind.feel
        if kind == ANY and column.code is None:
            kind = self.scope.all_names[column.name]
        return IndexColumn(column.name, _TYPES_OF.get(kind, frozenset()))

    def conditions(
        self,
        rule: int,
        columns: Sequence[TableColumn],
        index_columns: Sequence[IndexColumn],
        tests: dict[int, list[tuple[int, Tests]]],
    ) -> list[Cell | None]:
        """Read the cells of a rule; those that are not plain are compiled into `tests`."""
        written = self.table.rules[rule].conditions
        texts = self.fitted(written, len(columns), rule, "conditions", "inputs")
        found: list[Cell | None] = []
        for number, text in enumerate(texts):
            cell = self.cells.get(text, _UNREAD)
            if cell is _UNREAD:
                cell = self.cells[text] = read_cell(text)
            # Without a type that the index knows, only `-` may stand in it.
            if cell is not None and not cell.is_any and not index_columns[number].types:
                cell = None
            if cell is None:
                column = columns[number]
                compiled = self.compiled(_tests_of, text, column.scope, column.title, rule + 1)
                tests.setdefault(rule, []).append((number, compiled))
            found.append(cell)
        return found

    def fitted(
        self, texts: Sequence[str], count: int, rule: int, what: str, whose: str
    ) -> Sequence[str]:
        if len(texts) == count:
            return texts
        self.report(self.element, f"{len(texts)} {what} for {count} {whose}", rule=rule + 1)
        return [*texts, *[""] * count][:count]

    def conclusions(
        self, texts: Sequence[str], outputs: Sequence[TableOutput], rule: int | None
    ) -> tuple[Row | None, Sequence[Code]]:
        """Read the outputs of a rule, or compile them where they are not all constants."""
        values = [read_constant(text) for text in texts]
        if all(value is not None for value in values):
            ev = Evaluation()
            row = tuple(
                conclude(ev, value[0], output, output.title)
                for value, output in zip(values, outputs, strict=True)
                if value is not None
            )
            number = None if rule is None else rule + 1
            for problem in ev.problems:
                self.report(self.element, problem, rule=number)
            if not ev.problems:
                # Most tables have few distinct outputs; and 1 is not true here.
                key = tuple((type(value), value) for value in row)
                return self.known_rows.setdefault(key, row), ()
        return None, [
            self.expression(text, output.title, None if rule is None else rule + 1)
            for text, output in zip(texts, outputs, strict=True)
        ]

    def defaults(self, outputs: Sequence[TableOutput]) -> tuple[Row | None, Sequence[Code] | None]:
        texts = [clause.default.strip() for clause in self.table.outputs]
        if not any(texts):
            return None, None
        row, codes = self.conclusions(texts, outputs, None)
        return (row, None) if row is not None else (None, codes)

    def priorities(self, outputs: Sequence[TableOutput]) -> list[list[Value] | None]:
        if self.table.hit_policy not in {"PRIORITY", "OUTPUT ORDER"}:
            return [None] * len(self.table.outputs)
        found = [
            self.values(clause, output.kind)
            for clause, output in zip(self.table.outputs, outputs, strict=False)
        ]
        if self.table.rules and all(values is None for values in found):
            self.report(
                self.element, f"{self.table.hit_policy} needs allowed values of an output, in order"
            )
        return found

    def values(self, clause: OutputClause, kind: ItemType) -> list[Value] | None:
        """Read the allowed values of an output, else those of its type, as the list they are."""
        text, scope = clause.allowed, self.scope
        if not text.strip():
            text, scope = kind.allowed, Scope({}, {})  # a type knows no names
        if not text:
            return None
        try:
            ev = Evaluation()
            found = compile_expression(f"[{text}]", scope).evaluate(ev, {})
        except (InvalidInput, Exhausted):
            return None  # unary tests that are no list of values
        return found if isinstance(found, list) and not ev.problems else None

    def allowed(self, text: str, title: str) -> Tests | None:
        return self.compiled(_tests_of, text, self.scope, title, None) if text.strip() else None

    def expression(self, text: str, title: str, rule: int | None = None) -> Code:
        return self.compiled(_code_of, text, self.scope, title, rule)

    def compiled(
        self,
        compile_text: Callable[[str, Scope], _T],
        text: str,
        scope: Scope,
        title: str,
        rule: int | None,
    ) -> _T | BrokenCode:
        """Compile a text, once in each scope."""
        known = self.known.get((compile_text, id(scope), text))
        if known is None:
            try:
                known = compile_text(text, scope)
            except InvalidInput as error:
                self.report(self.element, str(error), rule=rule, column=title)
                return BrokenCode(text, str(error))
            self.known[compile_text, id(scope), text] = known
        return cast("_T", known)

    def result_type(self, outputs: Sequence[TableOutput]) -> FeelType:
        table = self.table
        if table.hit_policy == "COLLECT" and table.aggregator == "COUNT":
            return NUMBER
        one: FeelType = outputs[0].kind.feel
        if len(outputs) > 1:
            one = ContextType(
                {
                    clause.name: output.kind.feel
                    for clause, output in zip(table.outputs, outputs, strict=True)
                }
            )
        return ListType(one) if gives_list(table) else one


_UNREAD = Cell(null=True, is_any=True)

_STRING = re.compile(r'"([^"\\\x00-\x1f]*)"')
_WORDS: Mapping[str, Value] = {"": None, "null": None, "true": True, "false": False}


def read_constant(text: str) -> tuple[Value] | None:
    """Read a constant without the parser; None: only the parser can tell.

    Args:
        text: An expression; nothing is null.
    """
    text = text.strip(" \t\r\n")
    if text in _WORDS:
        return (_WORDS[text],)
    string = _STRING.fullmatch(text)
    if string is not None:
        return (string[1],)
    if text[:1] in "-.0123456789":
        number = parse_number(text)
        return None if number is None else (number,)
    return None


def _tests_of(text: str, scope: Scope) -> Tests:
    return compile_unary_tests(text, scope)


def _code_of(text: str, scope: Scope) -> Code:
    return compile_expression(text, scope).evaluate if text.strip() else _null


def _null(ev: Evaluation, names: Mapping[str, Value]) -> None:
    del ev, names
