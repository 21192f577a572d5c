"""Everything that is wrong with a model is told at once, by element, rule and column."""

from __future__ import annotations

import copy
import pickle

import pytest

from dmn.models import decision, literal, model
from federlib.dmn.engine.compiled import compile_model, find_problems
from federlib.dmn.model import (
    Binding,
    Column,
    Context,
    ContextEntry,
    DecisionNode,
    DecisionService,
    DecisionTable,
    Definitions,
    FunctionDefinition,
    Import,
    InputClause,
    InputData,
    Invocation,
    KnowledgeModel,
    OutputClause,
    Parameter,
    Relation,
    Rule,
)
from federlib.dmn.model.problems import MAX_PROBLEMS, ModelProblem, ModelProblems


def _lines(definitions: Definitions) -> list[str]:
    return [str(problem) for problem in find_problems(definitions)]


def test_a_table_tells_rule_and_column_of_every_cell_that_is_wrong() -> None:
    table = DecisionTable(
        (InputClause("a", label="age"), InputClause("b +")),
        (OutputClause("x"), OutputClause("y", default="1 +")),
        (
            Rule(("> ", "-"), ("1", "2")),
            Rule(("-",), ("1", "2", "3")),
            Rule(("-", "-"), ("nobody", "2")),
        ),
    )
    lines = _lines(model(decision("d", table, "a"), inputs={"a": "number"}))
    for expected in (
        "decision 'd', rule 1, age: ",
        "decision 'd', rule 2: 1 conditions for 2 inputs",
        "decision 'd', rule 2: 3 conclusions for 2 outputs",
        "decision 'd', rule 3, x: ",
        "decision 'd', b +: ",
        "decision 'd', y: ",
    ):
        assert any(line.startswith(expected) for line in lines), (expected, lines)


def test_a_model_without_problems_has_none() -> None:
    table = DecisionTable((InputClause("a"),), (OutputClause(),), (Rule(("1",), ("2",)),))
    assert _lines(model(decision("d", table, "a"), inputs={"a": "number"})) == []


def _table(**fields: object) -> Definitions:
    whole: dict[str, object] = {
        "inputs": (InputClause("1"),),
        "outputs": (OutputClause("o"),),
        "rules": (Rule(("-",), ("1",)),),
        **fields,
    }
    return model(decision("d", DecisionTable(**whole)))  # type: ignore[arg-type] # by name


@pytest.mark.parametrize(
    ("definitions", "expected"),
    [
        (Definitions(""), "definitions: it has no name"),
        (Definitions("m", inputs=(InputData(""),)), "input 1: it has no name"),
        (Definitions("m", inputs=(InputData("a  b"),)), "white space in a name is one space"),
        (
            Definitions("m", inputs=(InputData("a"), InputData("a"))),
            "another element has this name",
        ),
        (
            Definitions("m", inputs=(InputData("a", id="x"), InputData("b", id="x"))),
            "another element has its id 'x'",
        ),
        (
            Definitions("m", imports=(Import("urn:a", "i"), Import("urn:b", "i"))),
            "the name 'i' is there 2 times",
        ),
        (_table(outputs=()), "the table has no output"),
        (_table(aggregator="SUM"), "SUM belongs to COLLECT, not to UNIQUE"),
        (
            _table(
                aggregator="MAX",
                hit_policy="COLLECT",
                outputs=(OutputClause("o"), OutputClause("p")),
                rules=(),
            ),
            "MAX of 2 outputs",
        ),
        (_table(outputs=(OutputClause("o"), OutputClause()), rules=()), "has no name"),
        (
            _table(outputs=(OutputClause("o"), OutputClause("o")), rules=()),
            "the output 'o' is there 2 times",
        ),
        (
            _table(rules=(Rule(("-",), ("1",), id="r"), Rule(("-",), ("1",), id="r"))),
            "the rule 'r' is there 2 times",
        ),
        (
            _table(rules=(Rule(("-",), ("1",), ("x", "y")),), annotation_names=("n",)),
            "rule 1: 2 annotations for 1 columns",
        ),
        (
            model(decision("d", Context((ContextEntry(name="a"), ContextEntry(name="a"))))),
            "the entry 'a' is there 2 times",
        ),
        (
            model(decision("d", Relation((Column("a"), Column("a"))))),
            "the column 'a' is there 2 times",
        ),
        (
            model(decision("d", Invocation(literal("sum"), (Binding("a"), Binding("a"))))),
            "the parameter 'a' is there 2 times",
        ),
        (
            model(
                functions=[
                    KnowledgeModel("f", FunctionDefinition((Parameter("a"), Parameter("a"))))
                ]
            ),
            "the parameter 'a' is there 2 times",
        ),
        (
            model(decision("d", "1"), services=(DecisionService("s", ("d", "d")),)),
            "the output 'd' is there 2 times",
        ),
        (
            model(decision("d", "1"), services=(DecisionService("s", ("d",), (), ("d",)),)),
            "decided by the service, and by its caller",
        ),
        (model(services=(DecisionService("s", ()),)), "it has no output decisions"),
        (
            model(
                decision("d", "a", "a"),
                inputs={"a": ""},
                services=(DecisionService("s", ("d",)),),
            ),
            "service 's': it needs input 'a', which is none of its inputs",
        ),
    ],
)
def test_each_of_these_is_a_problem(definitions: Definitions, expected: str) -> None:
    assert any(expected in line for line in _lines(definitions)), _lines(definitions)


def test_the_error_counts_what_it_does_not_spell_out() -> None:
    found = model(*(decision(f"d{n}", "1 +") for n in range(MAX_PROBLEMS + 5)))
    with pytest.raises(ModelProblems) as caught:
        compile_model(found)
    error = caught.value
    assert error.count == MAX_PROBLEMS + 5
    assert len(error.details) == MAX_PROBLEMS
    assert error.problems[-1] == "… and 5 more"
    assert str(error).startswith("model 'model': expected a model without problems")
    assert error.details[0].element == "decision 'd0'"


def test_the_error_survives_pickle_and_copy() -> None:
    error = ModelProblems("m", [ModelProblem("decision 'd'", "is wrong", 1, "age")])
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(twin) == str(error)
        assert twin.details == error.details
    assert str(error.details[0]) == "decision 'd', rule 1, age: is wrong"


def test_what_is_wrong_in_knowledge_models_is_told_too() -> None:
    function = KnowledgeModel("f", FunctionDefinition((Parameter("a"),), literal("b")))
    assert any("knowledge model 'f'" in line for line in _lines(model(functions=[function])))


def test_a_decision_without_anything_is_no_problem() -> None:
    assert _lines(Definitions("m", decisions=(DecisionNode("d"),))) == []
