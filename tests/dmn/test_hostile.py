"""Models that mean harm: a typed problem, in bounded time and memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmn.models import ask, decision, literal, model
from federlib.dmn import (
    Conditional,
    Context,
    ContextEntry,
    DecisionTable,
    Definitions,
    FunctionDefinition,
    InputClause,
    KnowledgeModel,
    OutputClause,
    Parameter,
    Rule,
    compile_model,
    dump_xml,
    find_problems,
    parse_model,
)
from federlib.dmn.documents.forms import MAX_YAML_BYTES
from federlib.dmn.documents.xml_tree import MAX_XML_BYTES
from federlib.dmn.engine.compiled import Model
from federlib.dmn.model import Expression
from federlib.errors import FederlibError, InvalidInput


def _texts(definitions: Definitions) -> str:
    return "\n".join(map(str, find_problems(definitions)))


def test_a_text_of_ten_megabytes_is_a_problem_of_its_cell() -> None:
    huge = '"' + "x" * 10_000_000 + '"'
    table = DecisionTable((InputClause("1"),), (OutputClause(),), (Rule((huge,), ("1",)),))
    found = _texts(model(decision("d", table), decision("e", huge)))
    assert "decision 'd', rule 1, 1: " in found
    assert "decision 'e': " in found
    assert len(found) < 2_000


@pytest.mark.parametrize("text", ["(" * 100_000, "[" * 100_000, "-" * 100_000, "not(" * 10_000])
def test_nesting_in_a_text_is_a_problem(text: str) -> None:
    assert "decision 'd': FEEL" in _texts(model(decision("d", text)))


@pytest.mark.parametrize(
    "text",
    [
        "10 ** 999999999",
        "1e999999",
        "9.99e6144 * 10",
        "count(for a in 1..100000 return (for b in 1..100000 return b)[item > 5])",
        'for i in 1..100 return if i = 1 then "xxxxxxxxxx" else partial[-1] + partial[-1]',
        "f(1)",
        "f(1) + f(2)",
    ],
)
def test_an_expression_without_end_ends(text: str) -> None:
    function = FunctionDefinition((Parameter("n"),), literal("f(n + 1) + f(n + 2)"))
    found = compile_model(
        model(decision("d", text, knowledge=("f",)), functions=[KnowledgeModel("f", function)]),
        strict=False,
    )
    value, problems = ask(found, "d")
    assert value is None
    assert problems


def test_expressions_that_share_their_parts_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("federlib.dmn.boxed.compiler.MAX_EXPRESSIONS", 2_000)
    monkeypatch.setattr("federlib.dmn.model.validate.MAX_EXPRESSIONS", 2_000)
    logic: Expression = literal("1")
    for _ in range(40):
        logic = Conditional(logic, logic, logic)
    assert "more than 2,000 expressions" in _texts(model(decision("d", logic)))


def test_a_context_of_very_many_entries_is_a_problem() -> None:
    entries = tuple(ContextEntry(literal("1"), f"e{n}") for n in range(2_000))
    assert "more than 1,000 entries" in _texts(model(decision("d", Context(entries))))


def test_documents_that_are_too_large_are_refused_before_they_are_read() -> None:
    with pytest.raises(InvalidInput, match="bytes of XML"):
        parse_model(b" " * (MAX_XML_BYTES + 1), "xml")
    with pytest.raises(InvalidInput, match="bytes of YAML"):
        parse_model(b"a" * (MAX_YAML_BYTES + 1), "yaml")


@pytest.mark.parametrize("facts", [{}, {"a": None}, {"a": [[[]]]}, {"a": {"a": {}}}, {"a": 1e300}])
def test_any_value_anywhere_gives_a_value_or_a_problem(facts: dict[str, object]) -> None:
    table = DecisionTable(
        (InputClause("a"), InputClause("a + 1"), InputClause("a.b.c")),
        (OutputClause("o"),),
        (Rule(("> 1", "[1..2]", '"x"'), ("a * 2",)), Rule(("null", "-", "not(1)"), ("a[1]",))),
        "COLLECT",
        "SUM",
    )
    compiled = compile_model(model(decision("d", table, "a"), inputs={"a": ""}))
    made = compiled.decide(facts, trace=True)
    assert isinstance(made.problems, tuple)


_DOCUMENT = dump_xml(
    model(
        decision("d", "a + 1", "a"),
        decision(
            "t", DecisionTable((InputClause("1"),), (OutputClause(),), (Rule(("2",), ("3",)),))
        ),
        inputs={"a": "number"},
    )
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_document_is_read_or_refused_and_never_more(data: st.DataObject) -> None:
    damaged = bytearray(_DOCUMENT)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=6))
    try:
        found = compile_model(parse_model(bytes(damaged), "xml"), strict=False)
    except FederlibError:
        return
    assert isinstance(found, Model)
