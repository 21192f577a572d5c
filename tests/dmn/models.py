"""Small models for tests, written short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from federlib.dmn.engine.compiled import Model, compile_model
from federlib.dmn.feel.convert import from_python
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.values import Value
from federlib.dmn.model import (
    DecisionNode,
    Definitions,
    Expression,
    InputData,
    KnowledgeModel,
    LiteralExpression,
)

__all__ = ["ask", "decision", "literal", "model", "number"]

_NONE: Mapping[str, object] = {}


def literal(text: str, type_ref: str = "") -> LiteralExpression:
    """Build a literal expression."""
    return LiteralExpression(text, type_ref)


def number(value: object) -> Decimal:
    """Build a number of FEEL."""
    return Decimal(str(value))


def decision(
    name: str,
    logic: Expression | str | None,
    *needs: str,
    type_ref: str = "",
    **more: Sequence[str],
) -> DecisionNode:
    """Build a decision; `needs` are inputs."""
    expression = literal(logic) if isinstance(logic, str) else logic
    return DecisionNode(
        name,
        expression,
        type_ref,
        inputs=needs,
        decisions=tuple(more.get("decisions", ())),
        knowledge=tuple(more.get("knowledge", ())),
    )


def model(
    *decisions: DecisionNode,
    inputs: Mapping[str, str] = {},
    functions: Sequence[KnowledgeModel] = (),
    **more: object,
) -> Definitions:
    """Build a model; `inputs` are types by name."""
    return Definitions(
        "model",
        namespace="urn:model",
        inputs=tuple(InputData(name, kind) for name, kind in inputs.items()),
        decisions=decisions,
        knowledge_models=tuple(functions),
        **more,  # type: ignore[arg-type] # fields of the record, by name
    )


def ask(
    asked: Definitions | Model, name: str, facts: Mapping[str, object] = _NONE
) -> tuple[Value, list[str]]:
    """Evaluate a decision; return its value and the problems."""
    compiled = asked if isinstance(asked, Model) else compile_model(asked)
    ev = Evaluation(now_ns=0)
    values = {key: from_python(value) for key, value in facts.items()}
    return compiled.evaluate(ev, name, values), ev.problems
