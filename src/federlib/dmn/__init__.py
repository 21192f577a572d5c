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

from federlib.dmn.decider import Decider
from federlib.dmn.decision import (
    Decision,
    DecisionSource,
    hash_inputs,
    read_decision,
    write_decision,
)
from federlib.dmn.documents import (
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
from federlib.dmn.engine import Model, compile_model, find_problems
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
from federlib.dmn.problems import ModelProblem, ModelProblems
from federlib.dmn.table import CompiledTable
from federlib.dmn.trace import CellTrace, RuleTrace, TableTrace

if TYPE_CHECKING:
    from federlib.dmn.diff import Difference, ModelChange, ModelDiff, SearchMethod, diff_models
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
    from federlib.dmn.gaps import Gap, Overlap, TableAnalysis, Unreachable, analyse, analyse_table
    from federlib.dmn.history import Change, ChangeKind, History, Published
    from federlib.dmn.replaying import Replay, replay
    from federlib.dmn.tck import TckDirectory, TckError, TckFailure, TckReport, run_tck
    from federlib.dmn.versions import DirectoryShelf, MemoryShelf, Shelf, VersionStore

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
    "Change": "history",
    "ChangeKind": "history",
    "DECISIONS": "events",
    "DECISION_MADE": "events",
    "DecisionMade": "events",
    "Difference": "diff",
    "DirectoryShelf": "versions",
    "EventDecisions": "events",
    "EventMapping": "events",
    "Gap": "gaps",
    "History": "history",
    "MemoryShelf": "versions",
    "ModelChange": "diff",
    "ModelDiff": "diff",
    "Overlap": "gaps",
    "Published": "history",
    "Replay": "replaying",
    "SearchMethod": "diff",
    "Shelf": "versions",
    "TableAnalysis": "gaps",
    "TckDirectory": "tck",
    "TckError": "tck",
    "TckFailure": "tck",
    "TckReport": "tck",
    "Unreachable": "gaps",
    "VersionStore": "versions",
    "analyse": "gaps",
    "analyse_table": "gaps",
    "decode_made": "events",
    "diff_models": "diff",
    "encode_made": "events",
    "facts_of": "events",
    "replay": "replaying",
    "run_tck": "tck",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'federlib.dmn' has no attribute {name!r}")
    return getattr(importlib.import_module(f"federlib.dmn.{home}"), name)
