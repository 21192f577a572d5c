"""Decisions as tables that people can read: DMN with FEEL.

    model = compile_model(load_model(Path("scaling.yaml")))
    model.outputs({"pool": "batch", "queue depth": 120})

    decision = model.decide({"pool": "batch", "queue depth": 120}, trace=True, now_ns=now_ns)
    log.info("decided", rules=decision.matched, record=write_decision(decision))

Models come as XML (DMN 1.2 to 1.5), JSON and YAML; everything that is wrong with one is told at
once. Evaluating never raises because of data: what the standard calls an error gives null, and
is among the problems of the decision. The language itself is `federlib.dmn.feel`.

Does not promise: functions in Java and PMML. They are read, and calling one is a problem.
Hazards: a null output looks like any other to code that does not look at the problems. What
people draw (DMNDI) and extensions of other tools are not kept when a model is written again.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from federlib.dmn.documents.forms import (
    MAX_JSON_BYTES,
    MAX_YAML_BYTES,
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
from federlib.dmn.engine.compiled import Model, compile_model, find_problems
from federlib.dmn.engine.decider import Decider
from federlib.dmn.engine.decision import (
    Decision,
    DecisionSource,
    hash_inputs,
    read_decision,
    write_decision,
)
from federlib.dmn.model import (
    Aggregator,
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
    Filter,
    For,
    FunctionDefinition,
    FunctionKind,
    HitPolicy,
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
from federlib.dmn.model.problems import ModelProblem, ModelProblems
from federlib.dmn.tables.table import CompiledTable
from federlib.dmn.tables.trace import CellTrace, RuleTrace, TableTrace

if TYPE_CHECKING:
    from federlib.dmn.analysis.diff import (
        Difference,
        ModelChange,
        ModelDiff,
        SearchMethod,
        diff_models,
    )
    from federlib.dmn.analysis.gaps import (
        Gap,
        Overlap,
        TableAnalysis,
        Unreachable,
        analyse,
        analyse_table,
    )
    from federlib.dmn.events import (
        DECISION_MADE,
        DECISIONS,
        DecisionMade,
        EventDecisions,
        EventMapping,
        decode_made,
        encode_made,
        facts_of,
    )
    from federlib.dmn.tck.runner import TckDirectory, TckError, TckFailure, TckReport, run_tck
    from federlib.dmn.versions.history import Change, ChangeKind, History, Published
    from federlib.dmn.versions.replaying import Replay, replay
    from federlib.dmn.versions.store import DirectoryShelf, MemoryShelf, Shelf, VersionStore

__all__ = [
    "DECISIONS",
    "DECISION_MADE",
    "MAX_JSON_BYTES",
    "MAX_YAML_BYTES",
    "Aggregator",
    "Binding",
    "CellTrace",
    "Change",
    "ChangeKind",
    "Column",
    "CompiledTable",
    "Conditional",
    "Context",
    "ContextEntry",
    "Decider",
    "Decision",
    "DecisionMade",
    "DecisionNode",
    "DecisionService",
    "DecisionSource",
    "DecisionTable",
    "Definitions",
    "Difference",
    "DirectoryShelf",
    "EventDecisions",
    "EventMapping",
    "Expression",
    "Filter",
    "For",
    "Form",
    "FunctionDefinition",
    "FunctionKind",
    "Gap",
    "History",
    "HitPolicy",
    "Import",
    "InputClause",
    "InputData",
    "Invocation",
    "ItemDefinition",
    "KnowledgeModel",
    "ListExpression",
    "LiteralExpression",
    "MemoryShelf",
    "Model",
    "ModelChange",
    "ModelDiff",
    "ModelProblem",
    "ModelProblems",
    "OutputClause",
    "Overlap",
    "Parameter",
    "Published",
    "Quantified",
    "Relation",
    "Replay",
    "Rule",
    "RuleTrace",
    "SearchMethod",
    "Shelf",
    "TableAnalysis",
    "TableTrace",
    "TckDirectory",
    "TckError",
    "TckFailure",
    "TckReport",
    "Unreachable",
    "VersionStore",
    "analyse",
    "analyse_table",
    "compile_model",
    "content_hash",
    "decode_made",
    "diff_models",
    "dump_json",
    "dump_model",
    "dump_xml",
    "dump_yaml",
    "encode_made",
    "facts_of",
    "find_problems",
    "hash_inputs",
    "load_model",
    "normalised",
    "parse_model",
    "read_decision",
    "replay",
    "run_tck",
    "write_decision",
]

# Loaded when they are asked for: who only decides needs none of these.
_HOMES = {
    "Change": "versions.history",
    "ChangeKind": "versions.history",
    "DECISIONS": "events",
    "DECISION_MADE": "events",
    "DecisionMade": "events",
    "Difference": "analysis.diff",
    "DirectoryShelf": "versions.store",
    "EventDecisions": "events",
    "EventMapping": "events",
    "Gap": "analysis.gaps",
    "History": "versions.history",
    "MemoryShelf": "versions.store",
    "ModelChange": "analysis.diff",
    "ModelDiff": "analysis.diff",
    "Overlap": "analysis.gaps",
    "Published": "versions.history",
    "Replay": "versions.replaying",
    "SearchMethod": "analysis.diff",
    "Shelf": "versions.store",
    "TableAnalysis": "analysis.gaps",
    "TckDirectory": "tck.runner",
    "TckError": "tck.runner",
    "TckFailure": "tck.runner",
    "TckReport": "tck.runner",
    "Unreachable": "analysis.gaps",
    "VersionStore": "versions.store",
    "analyse": "analysis.gaps",
    "analyse_table": "analysis.gaps",
    "decode_made": "events",
    "diff_models": "analysis.diff",
    "encode_made": "events",
    "facts_of": "events",
    "replay": "versions.replaying",
    "run_tck": "tck.runner",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'federlib.dmn' has no attribute {name!r}")
    return getattr(importlib.import_module(f"federlib.dmn.{home}"), name)
