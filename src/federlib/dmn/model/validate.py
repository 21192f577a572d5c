"""What is wrong with the structure of a model: names, repetitions, and what excludes another.

References and cycles are seen in `federlib.dmn.model.requirements`, types in
`federlib.dmn.model.item_types`, texts where they are compiled;
`federlib.dmn.engine.compiled.find_problems` asks them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from federlib.dmn.model import (
    Binding,
    Context,
    DecisionTable,
    Definitions,
    Expression,
    FunctionDefinition,
    Invocation,
    ItemDefinition,
    Relation,
)
from federlib.dmn.model.parts import MAX_EXPRESSIONS, parts_of
from federlib.dmn.model.problems import Report

__all__ = ["check_structure"]


def check_structure(model: Definitions, report: Report) -> None:
    """Report what is wrong with a model apart from its references, types and texts.

    Args:
        model: What.
        report: Told what is wrong.
    """
    if not model.name:
        report("definitions", "it has no name")
    _check_names("input", (each.name for each in model.inputs), report)
    _check_names("decision", (each.name for each in model.decisions), report)
    _check_names("knowledge model", (each.name for each in model.knowledge_models), report)
    _check_names("service", (each.name for each in model.services), report)
    _check_repeats("imports", "the name", (each.name for each in model.imports), report)
    _check_repeats("types", "the name", (each.name for each in model.item_definitions), report)
    for item in model.item_definitions:
        _check_item(item, f"type {item.name!r}", report)
    for service in model.services:
        title = f"service {service.name!r}"
        _check_repeats(title, "the output", service.outputs, report)
        parameters = (*service.inputs, *service.input_decisions)
        _check_repeats(title, "the parameter", parameters, report)
        both = sorted({*service.outputs, *service.encapsulated} & {*service.input_decisions})
        for name in both:
            report(title, f"{name!r} is decided by the service, and by its caller")
    for decision in model.decisions:
        if decision.logic is not None:
            _check_expression(decision.logic, f"decision {decision.name!r}", report)
    for knowledge in model.knowledge_models:
        if knowledge.function is not None:
            _check_expression(knowledge.function, f"knowledge model {knowledge.name!r}", report)


def _check_names(kind: str, names: Iterable[str], report: Report) -> None:
    for number, name in enumerate(names, 1):
        if not name:
            report(f"{kind} {number}", "it has no name")
        elif name != " ".join(name.split()):
            report(f"{kind} {name!r}", "white space in a name is one space, and none at its ends")


def _check_repeats(element: str, what: str, names: Iterable[str], report: Report) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            report(element, f"{what} {name!r} is there {times} times")


def _check_item(item: ItemDefinition, element: str, report: Report, depth: int = 0) -> None:
    kinds = [bool(item.type_ref), bool(item.components), item.parameters is not None]
    if sum(kinds) > 1:
        report(element, "it is more than one of: another type, components, a function")
    _check_repeats(element, "the component", (each.name for each in item.components), report)
    if depth < _MAX_DEPTH:  # deeper ones are refused where types are resolved
        for part in item.components:
            _check_item(part, f"{element}, component {part.name!r}", report, depth + 1)


_MAX_DEPTH = 64


def _check_expression(root: Expression, element: str, report: Report) -> None:
    for expression in _all_parts(root):
        match expression:
            case DecisionTable():
                _check_table(expression, element, report)
            case Context(entries):
                names = (each.name for each in entries if each.name)
                _check_repeats(element, "the entry", names, report)
            case Relation(columns):
                _check_repeats(element, "the column", (each.name for each in columns), report)
            case Invocation(_, bindings):
                _check_repeats(element, "the parameter", map(_bound, bindings), report)
            case FunctionDefinition(parameters):
                names = (each.name for each in parameters)
                _check_repeats(element, "the parameter", names, report)
            case _:
                pass


def _bound(binding: Binding) -> str:
    return binding.name


def _all_parts(root: Expression) -> Iterator[Expression]:
    waiting = [root]
    # More than that is refused where expressions are compiled.
    for _ in range(MAX_EXPRESSIONS):
        if not waiting:
            return
        expression = waiting.pop()
        yield expression
        waiting += reversed(tuple(parts_of(expression)))


def _check_table(table: DecisionTable, element: str, report: Report) -> None:
    if table.aggregator is not None and table.hit_policy != "COLLECT":
        report(element, f"{table.aggregator} belongs to COLLECT, not to {table.hit_policy}")
    if table.aggregator is not None and len(table.outputs) > 1:
        report(element, f"{table.aggregator} of {len(table.outputs)} outputs: only one can be")
    if len(table.outputs) > 1:
        for number, output in enumerate(table.outputs, 1):
            if not output.name:
                report(element, "one of several outputs has no name", column=f"output {number}")
        _check_repeats(element, "the output", (each.name for each in table.outputs), report)
    _check_repeats(element, "the rule", (each.id for each in table.rules if each.id), report)
    for number, rule in enumerate(table.rules, 1):
        most = len(table.annotation_names)
        if len(rule.annotations) > most and most:
            found = f"{len(rule.annotations)} annotations for {most} columns of them"
            report(element, found, rule=number)
