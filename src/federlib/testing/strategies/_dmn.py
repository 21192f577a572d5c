"""Decision models that have no problems, and the records of what they decided."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from federlib.dmn import (
    Binding,
    CellTrace,
    Column,
    Conditional,
    Context,
    ContextEntry,
    Decision,
    DecisionNode,
    DecisionService,
    DecisionSource,
    DecisionTable,
    Definitions,
    Expression,
    Filter,
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
    ModelProblem,
    OutputClause,
    Parameter,
    Quantified,
    Relation,
    Rule,
    RuleTrace,
    TableTrace,
    TckDirectory,
    TckError,
    TckFailure,
)
from federlib.dmn.model import Aggregator, FunctionKind, HitPolicy
from federlib.testing.strategies._plain import any_text, booleans, counts, plain_text

__all__ = ["STRATEGIES"]

# The kinds that a person meets: spaces, operators, words of the language.
_names = st.sampled_from(["a", "queue depth", "p-95", "Approved/Declined", "order total", "x1"])
_types = st.sampled_from(["", "number", "string", "boolean", "date and time", "Any"])
_words = st.just("") | any_text(max_size=40)
_texts = st.sampled_from(
    ["1", '"up"', "null", "1 + 2.50", "[1, 2]", "true", 'date("2026-11-22")', "{x: 1}", "sum(1, 2)"]
)
_tests = st.sampled_from(["-", "", "1", "> 2", "[1..5)", '"a", "b"', "not(3)", "null", "? > 1"])
_lines = plain_text(max_bytes=80)

_parameters = st.lists(
    st.builds(Parameter, _names, _types), max_size=3, unique_by=lambda each: each.name
).map(tuple)
_literals = st.builds(LiteralExpression, _texts)


@st.composite
def _tables(draw: st.DrawFn) -> DecisionTable:
    policy = draw(st.sampled_from(get_args(HitPolicy)))
    outputs = draw(
        st.lists(
            st.builds(OutputClause, _names, _lines, allowed=st.just("1, 2")),
            min_size=1,
            max_size=3,
            unique_by=lambda each: each.name,
        )
    )
    columns = draw(st.lists(st.builds(InputClause, _texts, _lines), max_size=3))
    aggregator = None
    if policy == "COLLECT" and len(outputs) == 1:
        aggregator = draw(st.none() | st.sampled_from(get_args(Aggregator)))
    rules = st.builds(
        Rule,
        st.tuples(*(_tests for _ in columns)),
        st.tuples(*(st.sampled_from(["1", "2", "null"]) for _ in outputs)),
        st.tuples(_lines),
        description=_lines,
    )
    return DecisionTable(
        tuple(columns),
        tuple(outputs),
        tuple(draw(st.lists(rules, max_size=4))),
        policy,
        aggregator,
        ("why",),
        draw(_lines),
    )


def _boxed(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    entries = st.lists(
        st.builds(ContextEntry, inner, _names), max_size=3, unique_by=lambda each: each.name
    ).map(tuple)
    return st.one_of(
        st.builds(Context, entries),
        st.builds(ListExpression, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Relation, st.just((Column("c"),)), st.lists(st.tuples(inner)).map(tuple)),
        st.builds(Conditional, inner, inner, inner),
        st.builds(Filter, inner, inner),
        st.builds(For, _names, inner, inner),
        st.builds(Quantified, _names, inner, inner, booleans),
        st.builds(
            Invocation,
            st.just(LiteralExpression("sum")),
            st.just((Binding("list", LiteralExpression("[1, 2]")),)),
        ),
        st.builds(FunctionDefinition, _parameters, inner, st.sampled_from(get_args(FunctionKind))),
    )


_expressions: st.SearchStrategy[Expression] = st.recursive(
    st.one_of(_literals, _tables()), _boxed, max_leaves=5
)
_items = st.one_of(
    st.builds(ItemDefinition, _names, _types, booleans, allowed=st.sampled_from(["", "1, 2"])),
    st.builds(
        ItemDefinition,
        _names,
        components=st.lists(
            st.builds(ItemDefinition, _names, _types), unique_by=lambda each: each.name
        ).map(tuple),
    ),
    st.builds(ItemDefinition, _names, parameters=_parameters, result_type=_types),
)


@st.composite
def _definitions(draw: st.DrawFn) -> Definitions:
    """Generate models of a few decisions, each of which may require those before it."""
    inputs = draw(
        st.lists(
            st.builds(InputData, _names.map("in {}".format), _types),
            max_size=3,
            unique_by=lambda each: each.name,
        )
    )
    decisions: list[DecisionNode] = []
    for number in range(draw(st.integers(0, 3))):
        earlier = tuple(each.name for each in decisions)
        decisions.append(
            DecisionNode(
                f"decision {number}",
                draw(_expressions),
                inputs=tuple(each.name for each in inputs),
                decisions=draw(st.sampled_from([(), earlier])),
                description=draw(_words),
            )
        )
    return Definitions(
        draw(plain_text(max_bytes=40, min_size=1).map("m{}".format)),
        namespace=draw(st.sampled_from(["", "urn:model"])),
        version=draw(_lines),
        item_definitions=tuple(
            draw(st.lists(_items, max_size=3, unique_by=lambda each: each.name))
        ),
        inputs=tuple(inputs),
        decisions=tuple(decisions),
    )


_sources = st.builds(
    DecisionSource,
    model=_words,
    decision=_words,
    version=_words,
    content_hash=st.binary(min_size=32, max_size=32).map(bytes.hex),
)
_values = st.none() | booleans | st.integers(-(2**53), 2**53) | _words
_cells = st.builds(CellTrace, _tests, st.none() | booleans, _words)
_ids = st.lists(_names, unique=True, max_size=3).map(tuple)
_rules = st.builds(
    RuleTrace,
    _names,
    st.lists(_cells, max_size=3).map(tuple),
    booleans,
    booleans,
    st.none() | st.dictionaries(_names, _values, max_size=3),
    st.tuples(_words),
)
_traces = st.builds(
    TableTrace,
    _names,
    st.sampled_from(["U", "A", "P", "F", "R", "O", "C", "C+"]),
    _ids,
    st.lists(_values, max_size=3).map(tuple),
    st.lists(_rules, max_size=3).map(tuple),
    _values,
)

STRATEGIES: dict[type, st.SearchStrategy[object]] = {
    Binding: st.builds(Binding, _names, _literals),
    CellTrace: _cells,
    Column: st.builds(Column, _names, _types),
    Conditional: st.builds(Conditional, _literals, _literals, _literals),
    Context: st.builds(Context, st.tuples(st.builds(ContextEntry, _literals, _names))),
    ContextEntry: st.builds(ContextEntry, _literals, _names, _types),
    Decision: st.builds(
        Decision,
        _sources,
        _values | st.dictionaries(_names, _values, max_size=3),
        _ids,
        _ids,
        st.dictionaries(_names, _values, max_size=3),
        st.binary(min_size=32, max_size=32).map(bytes.hex),
        st.lists(_words, max_size=3).map(tuple),
        st.none() | st.lists(_traces, max_size=2).map(tuple),
        st.none() | counts(),
    ),
    DecisionNode: st.builds(DecisionNode, _names, _expressions, description=_words),
    DecisionService: st.builds(DecisionService, _names, st.tuples(_names), inputs=_ids),
    DecisionSource: _sources,
    DecisionTable: _tables(),
    Definitions: _definitions(),
    Filter: st.builds(Filter, _literals, _literals),
    For: st.builds(For, _names, _literals, _literals),
    FunctionDefinition: st.builds(FunctionDefinition, _parameters, _expressions),
    Import: st.builds(Import, _lines, _names),
    InputClause: st.builds(InputClause, _texts, _lines, _types, _tests),
    InputData: st.builds(InputData, _names, _types, description=_words),
    Invocation: st.builds(Invocation, _literals, st.tuples(st.builds(Binding, _names, _literals))),
    ItemDefinition: _items,
    KnowledgeModel: st.builds(
        KnowledgeModel, _names, st.builds(FunctionDefinition, _parameters, _literals)
    ),
    ListExpression: st.builds(ListExpression, st.lists(_literals, max_size=3).map(tuple)),
    LiteralExpression: st.builds(LiteralExpression, _texts, _types),
    ModelProblem: st.builds(ModelProblem, _words, _words, st.none() | counts(), _words),
    OutputClause: st.builds(OutputClause, _names, _lines, _types, _tests, _texts),
    Parameter: st.builds(Parameter, _names, _types),
    Quantified: st.builds(Quantified, _names, _literals, _literals, booleans),
    Relation: st.builds(Relation, st.just((Column("c"),)), st.just(((LiteralExpression("1"),),))),
    Rule: st.builds(Rule, st.tuples(_tests), st.tuples(_texts), st.tuples(_words)),
    RuleTrace: _rules,
    TableTrace: _traces,
    TckDirectory: st.builds(TckDirectory, _words, counts(), counts()),
    TckError: st.builds(TckError, _words, _words),
    TckFailure: st.builds(TckFailure, _words, _words, _words, _words),
}
