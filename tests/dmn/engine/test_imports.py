"""Models that import others: names, facts, and what cannot be."""

from __future__ import annotations

import pytest

from dmn.models import ask, decision, literal, number
from federlib.dmn.engine.compiled import compile_model, find_problems
from federlib.dmn.model import (
    DecisionNode,
    DecisionTable,
    Definitions,
    FunctionDefinition,
    Import,
    InputClause,
    InputData,
    ItemDefinition,
    KnowledgeModel,
    OutputClause,
    Parameter,
    Rule,
)


def _problems(definitions: Definitions, *imported: Definitions) -> list[str]:
    return [str(problem) for problem in find_problems(definitions, imported)]


def _imported() -> Definitions:
    return Definitions(
        "library",
        namespace="urn:library",
        item_definitions=(ItemDefinition("percentage", "number", allowed="[0..100]"),),
        inputs=(InputData("who", "string", id="w"),),
        decisions=(DecisionNode("greeting", literal('"hello " + who'), inputs=("w",), id="g"),),
        knowledge_models=(
            KnowledgeModel(
                "half",
                FunctionDefinition((Parameter("n", "percentage"),), literal("n / 2")),
                id="h",
            ),
        ),
    )


def _importer(name: str = "lib") -> Definitions:
    prefix = f"{name}." if name else ""
    return Definitions(
        "main",
        namespace="urn:main",
        imports=(Import("urn:library", name),),
        inputs=(InputData("share", f"{prefix}percentage"),),
        decisions=(
            DecisionNode(
                "d",
                literal(f"{prefix}half(share)"),
                inputs=("share",),
                knowledge=("urn:library#h",),
            ),
            DecisionNode("g", literal(f"{prefix}greeting"), decisions=("urn:library#greeting",)),
        ),
    )


@pytest.mark.parametrize("name", ["lib", "my lib", ""])
def test_an_imported_model_is_used_by_the_name_of_its_import(name: str) -> None:
    found = compile_model(_importer(name), [_imported()])
    assert ask(found, "d", {"share": 50}) == (number(25), [])
    assert ask(found, "g", {"who": "you"}) == ("hello you", [])
    if name:
        assert ask(found, "g", {name: {"who": "you"}}) == ("hello you", [])
    assert ask(found, "g", {"urn:library#who": "you"}) == ("hello you", [])
    assert ask(found, "d", {"share": 150})[0] is None


def test_a_model_imported_on_two_ways_has_its_inputs_twice() -> None:
    def middle(name: str) -> Definitions:
        return Definitions(
            name,
            namespace=f"urn:{name}",
            imports=(Import("urn:library", "lib"),),
            decisions=(
                DecisionNode("says", literal("lib.greeting"), decisions=("urn:library#g",)),
            ),
        )

    main = Definitions(
        "main",
        imports=(Import("urn:x", "x"), Import("urn:y", "y")),
        decisions=(
            DecisionNode("d", literal("[x.says, y.says]"), decisions=("urn:x#says", "urn:y#says")),
        ),
    )
    found = compile_model(main, [middle("x"), middle("y"), _imported()])
    facts = {"x": {"lib": {"who": "X"}}, "y": {"lib": {"who": "Y"}}}
    assert ask(found, "d", facts) == (["hello X", "hello Y"], [])
    assert ask(found, "d", {"who": "all"}) == (["hello all", "hello all"], [])


def test_imports_that_are_missing_or_circular_are_told() -> None:
    assert any("urn:library" in line for line in _problems(_importer()))
    circular = Definitions("library", namespace="urn:library", imports=(Import("urn:main", "m"),))
    assert any("which imports it" in line for line in _problems(_importer(), circular, _importer()))


def test_an_import_of_a_schema_is_nothing_to_a_decision() -> None:
    found = Definitions("m", imports=(Import("urn:x", "x", "http://www.w3.org/2001/XMLSchema"),))
    assert _problems(found) == []


def test_imports_of_imports_end() -> None:
    models = [
        Definitions(
            f"m{n}",
            namespace=f"urn:m{n}",
            imports=(Import(f"urn:m{n + 1}", "a"), Import(f"urn:m{n + 1}", "b")),
        )
        for n in range(30)
    ]
    assert any("more than 256 imports" in line for line in _problems(models[0], *models))


def test_a_reference_may_be_the_name_that_expressions_use() -> None:
    main = Definitions(
        "main",
        imports=(Import("urn:library", "lib"),),
        decisions=(
            DecisionNode("d", literal("lib.half(4)"), knowledge=("lib.half",)),
            DecisionNode("e", literal("1"), knowledge=("urn:library#nobody",)),
        ),
    )
    assert ask(compile_model(main, [_imported()], strict=False), "d") == (number(2), [])
    assert any("nobody" in line for line in _problems(main, _imported()))


def test_tables_are_named_by_the_element_that_they_are_in() -> None:
    table = DecisionTable((InputClause("1"),), (OutputClause(),), (Rule(("-",), ("1",)),))
    library = Definitions("l", namespace="urn:l", decisions=(DecisionNode("t", table),))
    main = Definitions(
        "m",
        imports=(Import("urn:l", "l"),),
        decisions=(DecisionNode("t", table), decision("u", "1")),
    )
    found = compile_model(main, [library])
    assert {name: len(tables) for name, tables in found.tables().items()} == {"t": 1, "urn:l#t": 1}
