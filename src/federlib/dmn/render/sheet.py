"""`Sheet`: boxed logic as cells and lines, before anybody decides how to draw a line.

One shape for all kinds of logic keeps what is drawn apart from how: text, Markdown and HTML
are three writers of sheets, and none of them knows what a decision table is.

Source: DMN 1.5, clause 8.2 (tables: the letter in the corner, double lines between inputs,
outputs and rules) and 10.2 (boxed expressions).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, TypeAlias, assert_never

import attrs

from federlib.dmn.model import (
    Conditional,
    Context,
    DecisionTable,
    Expression,
    Filter,
    For,
    FunctionDefinition,
    InputClause,
    Invocation,
    ListExpression,
    LiteralExpression,
    OutputClause,
    Quantified,
    Relation,
    Rule,
)
from federlib.dmn.tables.hit_policies import letter

__all__ = ["NO_MARKS", "Cell", "CellKind", "Marks", "Sheet", "sheet_of", "visible"]

CellKind: TypeAlias = Literal["code", "corner", "name", "note", "number"]


@attrs.frozen
class Marks:
    """What one evaluation did with a table.

    Attributes:
        matched: Positions of the rules that decided, counted from 0.
        cells: Whether a condition held, by position of its rule and of its input.
        values: What was tested, as text, by position of the input.
    """

    matched: Collection[int] = ()
    cells: Mapping[tuple[int, int], bool] = attrs.field(factory=dict)
    values: Sequence[str] = ()


NO_MARKS = Marks()
"""Of a table that nobody has evaluated."""


@attrs.frozen
class Cell:
    """One cell.

    Attributes:
        content: Text, or logic in a box of its own.
        kind: `code` is FEEL, `name` what people call it, `note` a remark.
        span: How many columns it takes.
        held: Whether the condition in it held; None: it was not asked.
    """

    content: str | Sheet
    kind: CellKind = "code"
    span: int = 1
    held: bool | None = None


@attrs.frozen
class Sheet:
    """Rows of cells; as many columns in each row.

    Attributes:
        title: Stands over it; may be empty.
        head: The rows above the double line.
        body: The rows below it.
        doubles: The columns with a double line on their left side, counted from 0.
        chosen: The rows of the body that are to be seen first.
    """

    title: str
    head: tuple[tuple[Cell, ...], ...]
    body: tuple[tuple[Cell, ...], ...]
    doubles: frozenset[int] = frozenset()
    chosen: frozenset[int] = frozenset()

    @property
    def columns(self) -> int:
        """How many columns it has."""
        rows = (*self.head, *self.body)
        return max((sum(cell.span for cell in row) for row in rows), default=0)


def visible(text: str) -> str:
    """Show control characters, but for ends of lines: a cell must not talk to the terminal."""
    text = text.replace("\r\n", "\n").replace("\t", "    ")
    return "".join(
        character if character == "\n" or not _is_control(character) else f"\\x{ord(character):02x}"
        for character in text
    )


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def sheet_of(logic: Expression | None, title: str = "", marks: Marks = NO_MARKS) -> Sheet:
    """Lay out logic as people draw it.

    Args:
        logic: Of a decision, or a part of one; None is null.
        title: Stands over it.
        marks: Of one evaluation, where it is a table.
    """
    match logic:
        case None:
            return Sheet(title, (), ((Cell("null"),),))
        case DecisionTable():
            return _table(logic, title, marks)
        case LiteralExpression():
            return Sheet(title, (), ((Cell(logic.text),),))
        case Invocation():
            bindings = tuple(
                (Cell(each.name, "name"), _inner(each.value)) for each in logic.bindings
            )
            function = _inner(logic.function, span=2 if bindings else 1)
            return Sheet(title, ((function,),), bindings)
        case Context():
            entries = tuple(_entry(each.name, each.value) for each in logic.entries)
            return Sheet(title, (), entries)
        case Relation():
            names = tuple(Cell(each.name, "name") for each in logic.columns)
            rows = tuple(tuple(_inner(value) for value in row) for row in logic.rows)
            return Sheet(title, (names,), rows)
        case ListExpression():
            return Sheet(title, (), tuple((_inner(item),) for item in logic.items))
        case FunctionDefinition():
            parameters = ", ".join(each.name for each in logic.parameters)
            letter = Cell(logic.function_kind[0], "corner")
            head = (letter, Cell(f"({parameters})", "name"))
            return Sheet(title, (head,), ((_inner(logic.body, span=2),),))
        case Conditional() | Filter() | For() | Quantified():
            return Sheet(title, (), _phrase(logic))
    assert_never(logic)


def _phrase(logic: Conditional | Filter | For | Quantified) -> tuple[tuple[Cell, ...], ...]:
    match logic:
        case Conditional():
            parts = [("if", logic.condition), ("then", logic.then), ("else", logic.otherwise)]
        case Filter():
            parts = [("in", logic.source), ("match", logic.match)]
        case For():
            parts = [(f"for {logic.variable} in", logic.source), ("return", logic.result)]
        case Quantified():
            word = "every" if logic.is_every else "some"
            parts = [
                (f"{word} {logic.variable} in", logic.source),
                ("satisfies", logic.satisfies),
            ]
    return tuple((Cell(word, "name"), _inner(part)) for word, part in parts)


def _entry(name: str, value: Expression | None) -> tuple[Cell, ...]:
    if not name:
        return (_inner(value, span=2),)
    return (Cell(name, "name"), _inner(value))


def _inner(logic: Expression | None, *, span: int = 1) -> Cell:
    """Put logic into a cell; what is only text needs no box of its own."""
    if logic is None:
        return Cell("null", span=span)
    if isinstance(logic, LiteralExpression):
        return Cell(logic.text, span=span)
    return Cell(sheet_of(logic), span=span)


def _table(table: DecisionTable, title: str, marks: Marks) -> Sheet:
    inputs, outputs = len(table.inputs), len(table.outputs)
    notes = _note_names(table)
    head = [
        (
            Cell(letter(table), "corner"),
            *(_input_name(each) for each in table.inputs),
            *(_output_name(each, table, title) for each in table.outputs),
            *(Cell(name, "note") for name in notes),
        )
    ]
    values = (
        Cell("", "corner"),
        *(Cell(each.allowed) for each in table.inputs),
        *(Cell(_values(each)) for each in table.outputs),
        *(Cell("", "note") for _ in notes),
    )
    if any(cell.content for cell in values):
        head.append(values)
    if marks.values:
        tested = (Cell(f"= {text}") for text in marks.values[:inputs])
        rest = (Cell("", "note") for _ in range(outputs + len(notes)))
        head.append((Cell("", "corner"), *tested, *rest))
    body = tuple(
        _rule(position, rule, len(notes), marks) for position, rule in enumerate(table.rules)
    )
    doubles = {1 + inputs, 1 + inputs + outputs} if notes else {1 + inputs}
    chosen = frozenset(marks.matched)
    return Sheet(title, tuple(head), body, frozenset(doubles), chosen)


def _note_names(table: DecisionTable) -> list[str]:
    """Name the columns of remarks; a rule may have more remarks than there are names."""
    most = max((len(rule.annotations) for rule in table.rules), default=0)
    names = list(table.annotation_names)
    return names + [""] * (most - len(names))


def _input_name(clause: InputClause) -> Cell:
    if clause.label and clause.label != clause.expression:
        return Cell(f"{clause.label}\n{clause.expression}", "name")
    return Cell(clause.expression, "name")


def _output_name(clause: OutputClause, table: DecisionTable, title: str) -> Cell:
    name = clause.name
    if not name and len(table.outputs) == 1:
        name = table.output_label or title
    if clause.label and clause.label != name:
        return Cell(f"{clause.label}\n{name}".strip(), "name")
    return Cell(name, "name")


def _values(clause: OutputClause) -> str:
    default = f"default {clause.default}" if clause.default else ""
    return "\n".join(filter(None, [clause.allowed, default]))


def _rule(position: int, rule: Rule, notes: int, marks: Marks) -> tuple[Cell, ...]:
    conditions = (
        Cell(text or "-", held=marks.cells.get((position, column)))
        for column, text in enumerate(rule.conditions)
    )
    remarks = (*rule.annotations, *([""] * (notes - len(rule.annotations))))
    return (
        Cell(str(position + 1), "number"),
        *conditions,
        *(Cell(text) for text in rule.conclusions),
        *(Cell(text, "note") for text in remarks),
    )
