"""Models with an id for every element, and references by id: as XML has them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from federlib.dmn.model import (
    Binding,
    Conditional,
    Context,
    ContextEntry,
    DecisionNode,
    DecisionService,
    Definitions,
    Expression,
    Filter,
    For,
    FunctionDefinition,
    InputData,
    Invocation,
    KnowledgeModel,
    ListExpression,
    LiteralExpression,
    Quantified,
    Relation,
)

__all__ = ["normalised"]

_Element = TypeVar("_Element", InputData, DecisionNode, KnowledgeModel, DecisionService)
_NULL = LiteralExpression("null")


def normalised(model: Definitions) -> Definitions:
    """Give every element an id, and refer to elements by it; the same model, as XML writes it.

    Ids that are there stay as they are. Empty places of lists and relations become `null`.
    Doing it twice changes nothing more.

    Args:
        model: What.
    """
    elements: tuple[InputData | DecisionNode | KnowledgeModel | DecisionService, ...] = (
        *model.inputs,
        *model.decisions,
        *model.knowledge_models,
        *model.services,
    )
    taken = {element.id for element in elements if element.id}
    by_id = {element.id for element in elements if element.id}
    ids: dict[str, str] = {}
    for element in elements:
        if element.name not in ids:
            ids[element.name] = element.id or _free_id(element.name, taken)

    def refer(references: Iterable[str]) -> tuple[str, ...]:
        return tuple(
            reference if reference in by_id else ids.get(reference, reference)
            for reference in references
        )

    def named(element: _Element) -> _Element:
        return msgspec.structs.replace(element, id=element.id or ids[element.name])

    return msgspec.structs.replace(
        model,
        inputs=tuple(map(named, model.inputs)),
        decisions=tuple(
            msgspec.structs.replace(
                named(each),
                logic=_filled(each.logic),
                inputs=refer(each.inputs),
                decisions=refer(each.decisions),
                knowledge=refer(each.knowledge),
            )
            for each in model.decisions
        ),
        knowledge_models=tuple(
            msgspec.structs.replace(
                named(each),
                function=None if each.function is None else _function(each.function),
                knowledge=refer(each.knowledge),
            )
            for each in model.knowledge_models
        ),
        services=tuple(
            msgspec.structs.replace(
                named(each),
                outputs=refer(each.outputs),
                encapsulated=refer(each.encapsulated),
                input_decisions=refer(each.input_decisions),
                inputs=refer(each.inputs),
            )
            for each in model.services
        ),
    )


def _free_id(name: str, taken: set[str]) -> str:
    """Make an id that XML allows out of a name."""
    base = "_" + re.sub(r"[^0-9A-Za-z_.-]+", "-", name).strip("-")
    found, number = base, 1
    while found in taken:
        number += 1
        found = f"{base}-{number}"
    taken.add(found)
    return found


def _filled(expression: Expression | None) -> Expression | None:
    return None if expression is None else _part(expression)


def _function(function: FunctionDefinition) -> FunctionDefinition:
    return msgspec.structs.replace(function, body=_filled(function.body))


def _part(expression: Expression) -> Expression:
    replace = msgspec.structs.replace
    match expression:
        case Invocation(function, bindings):
            bound = tuple(Binding(each.name, _filled(each.value)) for each in bindings)
            return replace(expression, function=_part(function), bindings=bound)
        case Context(entries):
            filled = tuple(
                ContextEntry(_filled(each.value), each.name, each.type_ref) for each in entries
            )
            return replace(expression, entries=filled)
        case Relation(_, rows):
            return replace(
                expression,
                rows=tuple(tuple(_filled(cell) or _NULL for cell in row) for row in rows),
            )
        case ListExpression(items):
            return replace(expression, items=tuple(_filled(item) or _NULL for item in items))
        case FunctionDefinition():
            return _function(expression)
        case Conditional(condition, then, otherwise):
            return replace(
                expression,
                condition=_part(condition),
                then=_part(then),
                otherwise=_part(otherwise),
            )
        case Filter(source, match):
            return replace(expression, source=_part(source), match=_part(match))
        case For(_, source, result):
            return replace(expression, source=_part(source), result=_part(result))
        case Quantified(_, source, satisfies):
            return replace(expression, source=_part(source), satisfies=_part(satisfies))
        case _:
            return expression
