"""Requirement graphs: what a decision sees, in which order, and what cannot be."""

from __future__ import annotations

import pytest

from dmn.models import ask, decision, literal, model, number
from federlib.dmn.engine.compiled import compile_model, find_problems
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.model import (
    DecisionNode,
    DecisionService,
    Definitions,
    FunctionDefinition,
    InputData,
    ItemDefinition,
    KnowledgeModel,
    Parameter,
)
from federlib.dmn.model.problems import ModelProblems
from federlib.errors import InvalidInput


def _problems(definitions: Definitions, *imported: Definitions) -> list[str]:
    return [str(problem) for problem in find_problems(definitions, imported)]


def test_a_decision_sees_what_it_requires_and_nothing_else() -> None:
    sees = model(decision("d", "a + 1", "a"), inputs={"a": "number", "b": "number"})
    assert ask(sees, "d", {"a": 1, "b": 5}) == (number(2), [])
    blind = model(decision("d", "b + 1", "a"), inputs={"a": "number", "b": "number"})
    assert any("'b" in line for line in _problems(blind))


def test_decisions_are_evaluated_after_those_that_they_require() -> None:
    found = model(
        decision("last", "first half + second half", decisions=("first half", "second half")),
        decision("second half", "first half * 2", decisions=("first half",)),
        decision("first half", "a - 1", "a"),
        inputs={"a": "number"},
    )
    assert ask(found, "last", {"a": 4}) == (number(9), [])


def test_a_chain_of_ten_thousand_decisions_needs_no_deep_stack() -> None:
    links = [decision("d0", "1")]
    links += [
        decision(f"d{n}", f"d{n - 1} + 1", decisions=(f"d{n - 1}",)) for n in range(1, 10_000)
    ]
    assert ask(model(*reversed(links)), "d9999") == (number(10_000), [])


def test_a_cycle_is_refused_by_its_path() -> None:
    found = model(
        decision("a", "b", decisions=("b",)),
        decision("b", "c", decisions=("c",)),
        decision("c", "a", decisions=("a",)),
        decision("free", "1"),
    )
    assert any("cycle: a → b → c → a" in line for line in _problems(found))
    with pytest.raises(ModelProblems, match="cycle"):
        compile_model(found)
    assert ask(compile_model(found, strict=False), "free") == (number(1), [])


def test_names_and_ids_refer_alike() -> None:
    found = Definitions(
        "m",
        inputs=(InputData("queue depth", "number", id="_1"),),
        decisions=(
            DecisionNode("by id", literal("queue depth"), inputs=("_1",)),
            DecisionNode("by name", literal("queue depth"), inputs=("queue depth",)),
        ),
    )
    assert ask(found, "by id", {"queue depth": 3})[0] == number(3)
    assert ask(found, "by name", {"queue depth": 3})[0] == number(3)


def test_references_that_mean_nothing_or_something_else_are_told_together() -> None:
    found = model(
        decision("a", "1", "missing", decisions=("x",), knowledge=("b",)),
        decision("b", "1", "a"),
        inputs={"x": ""},
    )
    lines = _problems(found)
    assert any("'missing', which is not there" in line for line in lines)
    assert any("input 'x' where a decision belongs" in line for line in lines)
    assert any("decision 'b' where a function belongs" in line for line in lines)
    assert any("decision 'a' where an input belongs" in line for line in lines)


def test_a_missing_input_is_null_and_told_with_the_decision() -> None:
    found = model(decision("d", "a = null", "a"), inputs={"a": "number"})
    value, problems = ask(found, "d")
    assert value is True
    assert problems == ["input 'a' is not given, so it is null"]


def test_a_value_of_another_type_is_null_and_told() -> None:
    found = model(decision("d", "a", "a"), inputs={"a": "number"})
    assert ask(found, "d", {"a": "x"}) == (None, ["input 'a' is not of type number, so it is null"])


def test_a_list_of_one_becomes_its_element_and_an_element_a_list() -> None:
    item = ItemDefinition("numbers", "number", is_collection=True)
    found = model(
        decision("one", "a", "a"),
        decision("many", "b", "b"),
        inputs={"a": "number", "b": "numbers"},
        item_definitions=(item,),
    )
    assert ask(found, "one", {"a": [7]}) == (number(7), [])
    assert ask(found, "many", {"b": 7}) == ([number(7)], [])


def test_the_type_of_a_decision_is_that_of_its_result() -> None:
    wrong = model(decision("d", '"x"', type_ref="number"))
    value, problems = ask(wrong, "d")
    assert value is None
    assert problems == ["decision 'd': its result is not of type number, so it is null"]


def test_problems_name_the_decision_that_they_are_in() -> None:
    found = model(
        decision("outer", "inner", decisions=("inner",)),
        decision("inner", '1 + "x"'),
    )
    value, problems = ask(found, "outer")
    assert value is None
    assert problems
    assert problems[0].startswith("decision 'inner': ")


def test_a_decision_that_is_given_is_not_evaluated() -> None:
    found = model(decision("outer", "inner + 1", decisions=("inner",)), decision("inner", "1 / 0"))
    assert ask(found, "outer", {"inner": 5}) == (number(6), [])


def test_a_decision_without_logic_is_null() -> None:
    assert ask(model(decision("d", None)), "d") == (None, [])


def test_another_name_than_a_decisions_is_refused_with_those_that_there_are() -> None:
    found = compile_model(model(decision("d", "1")))
    with pytest.raises(InvalidInput, match="one of d"):
        found.evaluate(Evaluation(), "e", {})
    with pytest.raises(InvalidInput, match="one of none"):
        found.evaluate_service(Evaluation(), "d", {})
    with pytest.raises(InvalidInput, match="one of none"):
        found.call(Evaluation(), "d", {})


def _function(body: str, *parameters: str, kind: str = "", result: str = "") -> KnowledgeModel:
    return KnowledgeModel(
        "f",
        FunctionDefinition(tuple(Parameter(name, kind) for name in parameters), literal(body)),
        result,
    )


def test_a_knowledge_model_is_called_by_position_and_by_name() -> None:
    found = model(
        decision("position", "f(7, 2)", knowledge=("f",)),
        decision("names", "f(b: 2, a: 7)", knowledge=("f",)),
        functions=[_function("a - b", "a", "b")],
    )
    assert ask(found, "position") == (number(5), [])
    assert ask(found, "names") == (number(5), [])


def test_a_knowledge_model_is_not_called_with_values_of_other_types() -> None:
    found = model(
        decision("d", 'f("x")', knowledge=("f",)),
        functions=[_function("1", "a", kind="number")],
    )
    value, problems = ask(found, "d")
    assert value is None
    assert "its parameter 'a' is not of type number" in problems[0]


def test_the_result_of_a_knowledge_model_is_what_its_type_says() -> None:
    found = model(
        decision("d", "f(1)", knowledge=("f",)), functions=[_function("a", "a", result="string")]
    )
    value, problems = ask(found, "d")
    assert value is None
    assert "is not of type string" in problems[0]


def test_a_knowledge_model_may_call_itself_to_a_bounded_depth() -> None:
    factorial = _function("if n <= 1 then 1 else n * f(n - 1)", "n")
    found = compile_model(
        model(
            decision("ten", "f(10)", knowledge=("f",)),
            decision("endless", "f(100000)", knowledge=("f",)),
            functions=[factorial],
        )
    )
    assert ask(found, "ten") == (number(3628800), [])
    value, problems = ask(found, "endless")
    assert value is None
    assert problems


def test_a_knowledge_model_is_called_directly() -> None:
    found = compile_model(model(functions=[_function("a - b", "a", "b")]))
    ev = Evaluation()
    assert found.call(ev, "f", {"a": number(3), "b": number(1)}) == number(2)
    assert found.call(ev, "f", {"c": number(3)}) is None
    assert ev.problems


def _with_service() -> Definitions:
    return model(
        decision("out", '"out of " + inner + given + text', "text", decisions=("inner", "given")),
        decision("inner", 'text + "!"', "text"),
        decision("given", '"never"'),
        decision("two", "1"),
        decision("caller", 'one("T", "G")', knowledge=("one",)),
        decision("named", 'one(given: "G", text: "T")', knowledge=("one",)),
        decision("wrong", 'one(1, "G")', knowledge=("one",)),
        decision("both", "pair()", knowledge=("pair",)),
        inputs={"text": "string"},
        services=(
            DecisionService("one", ("out",), ("inner",), ("given",), ("text",)),
            DecisionService("pair", ("two", "given")),
        ),
    )


def test_a_service_takes_its_inputs_and_then_its_input_decisions() -> None:
    found = compile_model(_with_service())
    assert ask(found, "caller") == ("out of T!GT", [])
    assert ask(found, "named") == ("out of T!GT", [])


def test_a_service_is_not_called_with_values_of_other_types() -> None:
    assert ask(_with_service(), "wrong")[0] is None


def test_a_service_of_several_outputs_is_a_context() -> None:
    assert ask(_with_service(), "both") == ({"two": number(1), "given": "never"}, [])


def test_what_a_service_is_given_says_nothing_about_its_callers_inputs() -> None:
    found = model(
        decision("d", '[s("inside"), a]', "a", knowledge=("s",)),
        decision("echo", "a", "a"),
        inputs={"a": "string"},
        services=(DecisionService("s", ("echo",), inputs=("a",)),),
    )
    assert ask(found, "d", {"a": "outside"}) == (["inside", "outside"], [])


def test_a_service_is_asked_directly() -> None:
    found = compile_model(_with_service())
    ev = Evaluation()
    assert found.evaluate_service(ev, "one", {"text": "a", "given": "b"}) == {"out": "out of a!ba"}
    assert not ev.problems
    assert found.evaluate_service(ev, "pair", {}) == {"two": number(1), "given": "never"}


def test_endless_work_ends_with_a_problem() -> None:
    found = model(decision("d", "count(for a in 1..1000, b in 1..1000, c in 1..1000 return a)"))
    value, problems = ask(found, "d")
    assert value is None
    assert "more" in problems[-1]


def test_a_model_that_is_not_strict_makes_null_of_what_is_wrong() -> None:
    found = compile_model(
        model(decision("bad", "1 +"), decision("unknown", "nobody"), decision("good", "1")),
        strict=False,
    )
    assert ask(found, "good") == (number(1), [])
    for name in ("bad", "unknown"):
        value, problems = ask(found, name)
        assert value is None
        assert problems


def test_a_knowledge_model_without_a_function_is_null() -> None:
    found = model(decision("d", "f", knowledge=("f",)), functions=[KnowledgeModel("f")])
    assert ask(found, "d") == (None, [])
    value, problems = ask(
        model(decision("d", "f(1)", knowledge=("f",)), functions=[KnowledgeModel("f")]), "d"
    )
    assert value is None
    assert problems


def test_plans_for_other_givens_are_not_kept_without_end() -> None:
    names = [f"i{n}" for n in range(8)]
    found = compile_model(
        model(
            decision("d", "count([" + ",".join(names) + "])", *names),
            inputs=dict.fromkeys(names, ""),
        )
    )
    for chosen in range(256):
        facts = {name: 1 for n, name in enumerate(names) if chosen >> n & 1}
        value, problems = ask(found, "d", facts)
        assert value == number(8)
        assert len(problems) == 8 - len(facts)
