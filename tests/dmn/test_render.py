"""Tables as people draw them: every cell is there, the lines meet, and no cell escapes."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.dmn.model import (
    Column,
    Conditional,
    Context,
    ContextEntry,
    DecisionNode,
    DecisionTable,
    Definitions,
    Expression,
    Filter,
    For,
    FunctionDefinition,
    InputClause,
    InputData,
    Invocation,
    ItemDefinition,
    KnowledgeModel,
    ListExpression,
    LiteralExpression,
    OutputClause,
    Parameter,
    Quantified,
    Relation,
    Rule,
)
from federlib.dmn.render import Marks, render_html, render_markdown, render_text
from federlib.dmn.render.text import width_of

TABLE = DecisionTable(
    hit_policy="FIRST",
    inputs=(
        InputClause("queue depth", label="Waiting", allowed=">= 0"),
        InputClause("pool", type_ref="string"),
    ),
    outputs=(OutputClause("action", default='"hold"'), OutputClause("delta")),
    rules=(
        Rule(("> 100", ""), ('"up"', "2"), ("much to do",)),
        Rule(("<= 100", '"blue", "green"'), ('"down"', "-1")),
    ),
    annotation_names=("why",),
)


def literal(text: str) -> LiteralExpression:
    return LiteralExpression(text)


KINDS: dict[str, Expression] = {
    "table": TABLE,
    "literal": literal("a + b"),
    "invocation": Invocation(literal("f"), ()),
    "context": Context((ContextEntry(TABLE, "inner"), ContextEntry(literal("inner.delta")))),
    "relation": Relation((Column("a"), Column("b")), ((literal("1"), None),)),
    "list": ListExpression((literal("1"), None, ListExpression())),
    "function": FunctionDefinition((Parameter("x"),), Context((ContextEntry(None, "y"),))),
    "if": Conditional(literal("a"), literal("b"), literal("c")),
    "filter": Filter(literal("xs"), literal("item > 1")),
    "for": For("x", literal("xs"), literal("x * x")),
    "every": Quantified("x", literal("xs"), literal("x > 1"), is_every=True),
}

SCALING = Definitions(
    "Scaling",
    version="3",
    description="How many workers.",
    inputs=(InputData("queue depth", "number", id="i1"), InputData("pool", "tPool")),
    item_definitions=(ItemDefinition("tPool", "string", allowed='"blue","green"'),),
    decisions=(DecisionNode("scale", TABLE, inputs=("i1",), question="How many more?"),),
    knowledge_models=(KnowledgeModel("f", FunctionDefinition((Parameter("x"),), literal("x"))),),
)


def test_a_table_is_drawn_with_its_letter_and_its_double_lines() -> None:
    lines = [
        "scale",
        "┌───┬─────────────┬─────────────────╥────────────────┬───────╥────────────┐",
        "│ F │ Waiting     │ pool            ║ action         │ delta ║ why        │",
        "│   │ queue depth │                 ║                │       ║            │",
        "├───┼─────────────┼─────────────────╫────────────────┼───────╫────────────┤",
        '│   │ >= 0        │                 ║ default "hold" │       ║            │',
        "╞═══╪═════════════╪═════════════════╬════════════════╪═══════╬════════════╡",
        '│ 1 │ > 100       │ -               ║ "up"           │ 2     ║ much to do │',
        "├───┼─────────────┼─────────────────╫────────────────┼───────╫────────────┤",
        '│ 2 │ <= 100      │ "blue", "green" ║ "down"         │ -1    ║            │',
        "└───┴─────────────┴─────────────────╨────────────────┴───────╨────────────┘",
    ]
    assert render_text(DecisionNode("scale", TABLE)).split("\n") == lines


def test_a_table_in_markdown_keeps_its_upright_double_lines_as_columns() -> None:
    lines = [
        "| **F** | **Waiting<br>queue depth** | **pool** | ‖ | **action** | **delta** | ‖ | why |",
        "|:-:|---|---|:-:|---|---|:-:|---|",
        '| | `>= 0` | | ‖ | `default "hold"` | | ‖ | |',
        '| 1 | `> 100` | `-` | ‖ | `"up"` | `2` | ‖ | much to do |',
        '| 2 | `<= 100` | `"blue", "green"` | ‖ | `"down"` | `-1` | ‖ | |',
    ]
    assert render_markdown(TABLE).split("\n") == lines


def test_the_corner_has_the_letter_of_the_hit_policy_and_the_sign_of_its_aggregator() -> None:
    table = DecisionTable((), (OutputClause("n"),), (), hit_policy="COLLECT", aggregator="COUNT")
    assert "│ C# ║ n │" in render_text(table)


def test_what_was_tested_stands_below_what_tests_it() -> None:
    marks = {"scale": Marks(values=("120", '"blue"'))}
    text = render_text(DecisionNode("scale", TABLE), marks=marks)
    assert '│   │ = 120       │ = "blue"        ║' in text


def test_rules_that_decided_and_conditions_that_held_are_marked() -> None:
    marks = {"scale": Marks({0}, {(0, 0): True, (1, 0): False})}
    node = DecisionNode("scale", TABLE)
    text = render_text(node, marks=marks)
    assert "▐ 1 │ ✓ > 100 " in text
    assert "│ 2 │ ✗ <= 100 " in text
    assert "| **▶ 1** | ✓ `> 100` |" in render_markdown(node, marks=marks)
    page = render_html(node, marks=marks)
    assert page.count('<tr class="chosen">') == 1
    assert '<td class="code held">&gt; 100</td>' in page
    assert '<td class="code failed">&lt;= 100</td>' in page


def test_a_whole_model_names_what_it_is_given_and_what_each_decision_needs() -> None:
    text = render_text(SCALING)
    assert text.startswith("Scaling (3)\n\nHow many workers.\n\nGiven:\n  queue depth: number\n")
    assert '  pool: tPool ("blue","green")' in text
    markdown = render_markdown(SCALING)
    assert "### scale\n\n- How many more?\n- Needs queue depth\n\n| **F** |" in markdown
    assert markdown.count("### scale") == 1
    page = render_html(SCALING)
    assert "<title>Scaling (3)</title>" in page
    assert page.count('<table class="dmn">') == 2


def assert_lines_meet(text: str) -> None:
    """Each character of a line goes on in the one above, below and beside it."""
    lines = text.split("\n")
    up = "│║┴┼├┤╨╫╧╪╩╬╞╡└┘"
    down = "│║┬┼├┤╥╫╤╪╦╬╞╡┌┐"
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            if character in up:
                assert lines[row - 1][column] in down + "▐"
            if character in down:
                assert lines[row + 1][column] in up + "▐"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1, 30, 100])
def test_each_kind_of_logic_is_drawn_with_lines_that_meet(kind: str, width: int) -> None:
    text = render_text(KINDS[kind], width=width)
    assert_lines_meet(text)
    assert len({width_of(line) for line in text.split("\n")}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_logic_makes_tables_of_as_many_columns_in_each_row(kind: str) -> None:
    for table in re.findall(r"(?:^\|.*\n?)+", render_markdown(KINDS[kind]), re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().split("\n")}
        assert len(counts) == 1


class Balance(HTMLParser):
    """Every tag that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_logic_makes_html_that_is_closed(kind: str) -> None:
    parser = Balance()
    parser.feed(render_html(KINDS[kind]))
    assert parser.open == []


texts = st.text(max_size=30)


@given(texts, texts, texts, st.integers(1, 60))
def test_no_text_of_a_cell_breaks_out_of_it(
    condition: str, conclusion: str, note: str, width: int
) -> None:
    table = DecisionTable(
        (InputClause(condition),),
        (OutputClause(conclusion),),
        (Rule((condition,), (conclusion,), (note,)),),
    )
    text = render_text(table, width=width)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", text)
    assert len({width_of(line) for line in text.split("\n")}) == 1
    markdown = render_markdown(table)
    for line in markdown.splitlines():
        assert len(re.findall(r"(?<!\\)\|", line.replace("\\\\", ""))) == 7
    parser = Balance()
    parser.feed(render_html(table))
    assert parser.open == []


def test_markup_in_a_cell_is_shown_and_not_obeyed() -> None:
    table = DecisionTable((), (OutputClause("o"),), (Rule((), ("<script>",), ("**x** | `y`",)),))
    assert "<script>" not in render_html(table)
    assert "\\*\\*x\\*\\* \\| \\`y\\`" in render_markdown(table)
    assert "\\x1b[31m" in render_text(LiteralExpression('"\x1b[31m"'))


def test_boxes_forty_deep_are_drawn_in_time() -> None:
    logic: Expression = literal("1")
    for _ in range(40):
        logic = Context((ContextEntry(logic, "x"),))
    assert_lines_meet(render_text(logic))
    assert render_html(logic).count("<table") == 40
    assert render_markdown(logic).count("→") == 39
