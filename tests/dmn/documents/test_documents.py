"""Models as XML, JSON and YAML: one model, whatever its form."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.dmn.documents.forms import (
    Form,
    content_hash,
    dump_json,
    dump_model,
    dump_xml,
    dump_yaml,
    load_model,
    normalised,
    parse_model,
)
from federlib.dmn.model import (
    Binding,
    Column,
    Conditional,
    Context,
    ContextEntry,
    DecisionNode,
    DecisionService,
    DecisionTable,
    Definitions,
    Expression,
    For,
    FunctionDefinition,
    Import,
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
from federlib.dmn.model.problems import ModelProblems
from federlib.errors import CorruptRecord, InvalidInput, MissingExtra

_YAML = """
name: scaling
inputs:
- {name: queue depth, type_ref: number}
decisions:
- name: action
  inputs: [queue depth]
  logic:
    kind: table
    inputs: [{expression: queue depth}]
    outputs: [{name: action}]
    rules:
    - conditions: ["> 100"]
      conclusions: ['"up"']
    - conditions: [-]
      conclusions: [no]
- name: answer
  decisions: [action]
  logic: action = "up"
"""

_text = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
_names = st.sampled_from(["a", "b c", "d-e", "f/g", "no", "1.0", "~"])
_literals = st.builds(LiteralExpression, _text, _names | st.just(""))


def _boxed(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    some = st.lists(inner, max_size=2).map(tuple)
    return st.one_of(
        st.builds(Invocation, inner, st.lists(st.builds(Binding, _names, inner)).map(tuple)),
        st.builds(Context, st.lists(st.builds(ContextEntry, inner, _names)).map(tuple)),
        st.builds(ListExpression, some),
        st.builds(
            Relation, st.just((Column("x"),)), st.lists(inner.map(lambda e: (e,))).map(tuple)
        ),
        st.builds(Conditional, inner, inner, inner),
        st.builds(For, _names, inner, inner),
        st.builds(Quantified, _names, inner, inner, is_every=st.booleans()),
        st.builds(FunctionDefinition, st.lists(st.builds(Parameter, _names)).map(tuple), inner),
    )


_tables = st.builds(
    DecisionTable,
    st.just((InputClause("a", allowed="[0..1]"),)),
    st.just((OutputClause("o", default="1"),)),
    st.lists(st.builds(Rule, st.tuples(_text), st.tuples(_text), st.tuples(_text))).map(tuple),
    hit_policy=st.sampled_from(["UNIQUE", "RULE ORDER", "COLLECT"]),
    aggregator=st.none() | st.just("SUM"),
)
_expressions: st.SearchStrategy[Expression] = st.recursive(
    _literals | _tables, _boxed, max_leaves=6
)
_models = st.builds(
    Definitions,
    _text,
    version=st.just("") | _text,
    description=st.just("") | _text,
    imports=st.just((Import("urn:other", "other"),)) | st.just(()),
    item_definitions=st.lists(
        st.builds(
            ItemDefinition,
            _names,
            allowed=st.just("") | _text,
            is_collection=st.booleans(),
            components=st.just((ItemDefinition("c", "number"),)) | st.just(()),
            parameters=st.none() | st.just((Parameter("p", "string"),)),
        ),
        max_size=2,
    ).map(tuple),
    inputs=st.just((InputData("in put", "number"),)),
    decisions=st.lists(
        st.builds(
            DecisionNode,
            st.sampled_from(["x", "y z", "x!"]),
            _expressions,
            inputs=st.just(("in put",)),
            question=st.just("") | _text,
        ),
        unique_by=lambda decision: decision.name,
        max_size=3,
    ).map(tuple),
    knowledge_models=st.just(
        (KnowledgeModel("k", FunctionDefinition((Parameter("p"),), LiteralExpression("p"))),)
    ),
    services=st.just((DecisionService("s", ("x",), inputs=("in put",)),)),
)


@settings(max_examples=40, deadline=None)
@given(_models)
def test_a_model_survives_each_form(model: Definitions) -> None:
    assert parse_model(dump_json(model), "json") == model
    assert parse_model(dump_yaml(model), "yaml") == model
    assert parse_model(dump_xml(model), "xml") == normalised(model)


@settings(max_examples=15, deadline=None)
@given(_models)
def test_the_three_forms_of_a_model_with_ids_have_one_hash(model: Definitions) -> None:
    model = normalised(model)
    assert normalised(model) == model
    hashes = {content_hash(parse_model(dump_model(model, form), form)) for form in get_args(Form)}
    assert hashes == {content_hash(model)}


def test_texts_in_yaml_stay_what_was_written() -> None:
    model = parse_model(_YAML.encode(), "yaml")
    table = model.decisions[0].logic
    assert isinstance(table, DecisionTable)
    assert table.rules[1] == Rule(("-",), ("no",))
    assert model.decisions[1].logic == LiteralExpression('action = "up"')


def test_two_models_that_differ_in_one_cell_have_different_hashes() -> None:
    one = parse_model(_YAML.encode(), "yaml")
    other = parse_model(_YAML.replace("100", "101").encode(), "yaml")
    assert content_hash(one) != content_hash(other)


def test_a_file_is_read_by_how_its_name_ends(tmp_path: Path) -> None:
    model = normalised(parse_model(_YAML.encode(), "yaml"))
    for suffix, form in ((".dmn", "xml"), (".JSON", "json"), (".yml", "yaml")):
        path = tmp_path / f"model{suffix}"
        path.write_bytes(dump_model(model, form))  # type: ignore[arg-type] # a str of the row
        assert load_model(path) == model


def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="ends in"):
        load_model(tmp_path / "model.txt")
    with pytest.raises(InvalidInput, match="expected a file"):
        load_model(tmp_path / "model.dmn")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(CorruptRecord, match="regular file"):
        load_model(tmp_path / "folder.json")


def test_another_form_is_refused() -> None:
    with pytest.raises(InvalidInput, match="xml, json, yaml"):
        parse_model(b"", "toml")  # type: ignore[arg-type] # the mistake that is meant
    with pytest.raises(InvalidInput, match="xml, json, yaml"):
        dump_model(Definitions("m"), "toml")  # type: ignore[arg-type] # the mistake that is meant


def test_every_fault_of_shape_is_told_at_once_with_decision_and_rule() -> None:
    with pytest.raises(ModelProblems) as caught:
        parse_model(
            b"""{"name": 1, "imports": {}, "decisions": [
              {"name": "a", "logic": {"kind": "table", "inputs": [], "hit_policy": "LAST",
                "outputs": [{"x": 1}], "rules": [{"conditions": ["1"]},
                {"conditions": [3], "conclusions": []}]}},
              {"nam": "b"}, {"name": "c", "logic": {"kind": "magic"}},
              {"name": "d", "logic": 3}, 7,
              {"name": "e", "logic": {"kind": "quantified", "variable": "v", "source": "l",
                "satisfies": "v", "is_every": "yes"}}]}""",
            "json",
        )
    assert caught.value.problems == (
        "definitions: name: expected text, found 1",
        "definitions: imports: expected a list, found an object",
        (
            "decision 'a': logic.outputs[1]: 'x' is no field that is known here: "
            "name, label, type_ref, allowed, default, id"
        ),
        "decision 'a', rule 1: logic: conclusions is missing",
        "decision 'a', rule 2: logic.conditions[1]: expected text, found 3",
        (
            "decision 'a': logic.hit_policy: expected one of ANY, COLLECT, FIRST, OUTPUT ORDER, "
            'PRIORITY, RULE ORDER, UNIQUE, found "LAST"'
        ),
        "decision 2: name is missing",
        (
            "decision 2: 'nam' is no field that is known here: name, logic, type_ref, inputs, "
            "decisions, knowledge, id, description, question, allowed_answers"
        ),
        (
            "decision 'c': logic: kind: expected one of literal, table, invocation, context, "
            'relation, list, function, if, filter, for, quantified, found "magic"'
        ),
        "decision 'd': logic: expected an expression: text, or an object, found 3",
        "decision 5: expected an object, found 7",
        "decision 'e': logic.is_every: expected true or false, found \"yes\"",
    )


@pytest.mark.parametrize(
    ("data", "form", "expected"),
    [
        (b"[", "json", "JSON"),
        (b"[]", "json", "an object with the fields"),
        (b'{"name": "a", "name": "b"}', "json", "no key twice"),
        (b"[" * 200 + b"]" * 200, "json", "a model in JSON"),
        (b"\xff", "json", "JSON"),
        (b"a: [", "yaml", "YAML"),
        (b"--- {name: a}\n--- {name: b}\n", "yaml", "YAML"),
        (b"", "yaml", "an object"),
        (b"name: a\nname: b", "yaml", "no key twice"),
        (b"? [a]\n: b", "yaml", "keys that are text"),
        (b"a: &x [1]\nb: *x", "yaml", "no a"),
        (b"a: !!python/name:os.system x", "yaml", "no tags"),
        (b"[" * 100 + b"]" * 100, "yaml", "at most 64 levels"),
    ],
)
def test_what_is_no_model_or_hostile_is_refused(data: bytes, form: Form, expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        parse_model(data, form)


def test_without_yaml_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtra, match=r"federlib\[dmn\]"):
        dump_yaml(Definitions("m"))
    with pytest.raises(MissingExtra, match=r"federlib\[dmn\]"):
        parse_model(b"name: m", "yaml")


def test_json_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("federlib.dmn.documents.forms.MAX_JSON_BYTES", 5)
    with pytest.raises(InvalidInput, match="at most 5 bytes"):
        parse_model(b'{"name": "m"}', "json")


def test_null_is_no_text_and_a_list_no_name() -> None:
    with pytest.raises(ModelProblems) as caught:
        parse_model(
            b"""{"name": null, "knowledge_models": [{"name": [], "function": 3}],
            "item_definitions": [{"name": "t", "parameters": {}}],
            "decisions": [{"name": "d", "logic": {"kind": "table", "inputs": [], "outputs": [],
            "rules": [], "aggregator": "AVG"}}, {"name": "e", "logic": null}]}""",
            "json",
        )
    assert set(caught.value.problems) == {
        "definitions: name: expected text, found nothing",
        "knowledge model 1: name: expected text, found a list",
        "knowledge model 1: function: expected an object, found 3",
        "type 't': parameters: expected a list, found an object",
        "decision 'd': logic.aggregator: expected one of COUNT, MAX, MIN, SUM, found \"AVG\"",
    }
