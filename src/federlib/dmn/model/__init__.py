"""Models as they are written, and what is wrong with them: what XML, JSON and YAML load to.

Nothing here is compiled: texts are FEEL as somebody wrote it. `validate` says what is wrong with
the structure of a model, `requirements` with its references, `item_types` with its types;
`federlib.dmn.engine` compiles and runs it.

Source: DMN 1.5, clauses 6 (requirements), 7 (expressions), 8 (tables), 10.5 (boxed).
"""

from __future__ import annotations

from federlib.dmn.model.definitions import (
    DecisionNode,
    DecisionService,
    Definitions,
    Import,
    InputData,
    ItemDefinition,
    KnowledgeModel,
)
from federlib.dmn.model.expressions import (
    Aggregator,
    Binding,
    Column,
    Conditional,
    Context,
    ContextEntry,
    DecisionTable,
    Expression,
    Filter,
    For,
    FunctionDefinition,
    FunctionKind,
    HitPolicy,
    InputClause,
    Invocation,
    ListExpression,
    LiteralExpression,
    OutputClause,
    Parameter,
    Quantified,
    Relation,
    Rule,
)

__all__ = [
    "Aggregator",
    "Binding",
    "Column",
    "Conditional",
    "Context",
    "ContextEntry",
    "DecisionNode",
    "DecisionService",
    "DecisionTable",
    "Definitions",
    "Expression",
    "Filter",
    "For",
    "FunctionDefinition",
    "FunctionKind",
    "HitPolicy",
    "Import",
    "InputClause",
    "InputData",
    "Invocation",
    "ItemDefinition",
    "KnowledgeModel",
    "ListExpression",
    "LiteralExpression",
    "OutputClause",
    "Parameter",
    "Quantified",
    "Relation",
    "Rule",
]
