"""Requirement graphs: which element needs which, across models that import each other.

Nothing here recurses: a chain of a million decisions is a hostile model, not a deep stack.

Source: DMN 1.5, clause 6 (requirements) and 6.3.3 (imports).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs

from federlib.dmn.model import (
    DecisionNode,
    DecisionService,
    Definitions,
    InputData,
    KnowledgeModel,
)
from federlib.dmn.problems import Report

__all__ = ["Element", "Graph", "Record", "Unit", "link"]

Record: TypeAlias = InputData | DecisionNode | KnowledgeModel | DecisionService

_KINDS: Mapping[type, str] = {
    InputData: "input",
    DecisionNode: "decision",
    KnowledgeModel: "knowledge model",
    DecisionService: "service",
}


@attrs.define(eq=False)
class Element:
    """Something that a requirement graph is made of.

    Attributes:
        record: As the model has it.
        unit: The model that it is in.
        needs: What its logic may use, by the path of its name there: of one part, or of two
            where it comes from an import with a name.
    """

    record: Record
    unit: Unit
    needs: dict[tuple[str, ...], Element] = attrs.field(factory=dict)

    @property
    def name(self) -> str:
        """How it is called in its own model."""
        return self.record.name

    @property
    def title(self) -> str:
        """What it is, for problems."""
        return f"{_KINDS[type(self.record)]} {self.record.name!r}"


@attrs.define(eq=False)
class Unit:
    """One of the models that are compiled together.

    Attributes:
        definitions: The model.
        imports: The models that it imports, by the name that each has here.
        elements: Its inputs, decisions, knowledge models and services.
        by_name: The first of each name.
        by_id: Those with an id.
    """

    definitions: Definitions
    imports: dict[str, Unit] = attrs.field(factory=dict)
    elements: list[Element] = attrs.field(factory=list)
    by_name: dict[str, Element] = attrs.field(factory=dict)
    by_id: dict[str, Element] = attrs.field(factory=dict)

    def find(self, reference: str) -> tuple[str, Element] | None:
        """Find what a reference means here, and the name of the import that it comes from."""
        local = self.by_id.get(reference) or self.by_name.get(reference)
        if local is not None:
            return "", local
        namespace, mark, name = reference.rpartition("#")
        if not mark:
            return self._find_imported(reference)
        for prefix, unit in self.imports.items():
            if unit.definitions.namespace == namespace:
                found = unit.by_id.get(name) or unit.by_name.get(name)
                return None if found is None else (prefix, found)
        return None

    def _find_imported(self, reference: str) -> tuple[str, Element] | None:
        # By the name that expressions use for it: `import.element`.
        for prefix, unit in self.imports.items():
            if reference.startswith(f"{prefix}."):
                found = unit.by_name.get(reference[len(prefix) + 1 :])
                if found is not None:
                    return prefix, found
        return None


@attrs.frozen(eq=False)
class Graph:
    """Every element of some models, linked.

    Attributes:
        unit: The model that is run.
        units: It and the models that it imports, directly or not; imported ones first.
        order: Their elements, each after those that it needs.
    """

    unit: Unit
    units: tuple[Unit, ...]
    order: tuple[Element, ...]


class _Linker:
    def __init__(self, report: Report) -> None:
        self.report = report

    def units(self, definitions: Definitions, others: Iterable[Definitions]) -> list[Unit]:
        """Build the models that are needed; the one that is run is the last."""
        by_namespace = {other.namespace: other for other in others if other.namespace}
        made: dict[int, Unit] = {}
        order: list[Unit] = []
        open_: set[int] = set()
        stack = [(definitions, False)]
        while stack:
            model, is_done = stack.pop()
            if is_done:
                open_.discard(id(model))
                order.append(self.unit(model, by_namespace, made))
                made[id(model)] = order[-1]
                continue
            if id(model) in made or id(model) in open_:
                continue
            open_.add(id(model))
            stack.append((model, True))
            for imported in model.imports:
                other = by_namespace.get(imported.namespace)
                if other is not None and id(other) in open_:
                    title = f"model {model.name!r}"
                    self.report(title, f"it imports {other.name!r}, which imports it")
                elif other is not None:
                    stack.append((other, False))
        return order

    def unit(
        self, model: Definitions, known: Mapping[str, Definitions], made: Mapping[int, Unit]
    ) -> Unit:
        unit = Unit(model)
        for imported in model.imports:
            other = known.get(imported.namespace)
            if imported.import_type and other is None and "DMN" not in imported.import_type:
                continue  # a schema or a predictive model: nothing that a reference can mean
            if other is None:
                title = f"import {imported.name or imported.namespace!r}"
                self.report(title, f"no model of the namespace {imported.namespace!r} was given")
            elif id(other) in made:
                unit.imports[imported.name] = made[id(other)]
        records: Sequence[Record] = (
            *model.inputs,
            *model.decisions,
            *model.knowledge_models,
            *model.services,
        )
        for record in records:
            element = Element(record, unit)
            unit.elements.append(element)
            if record.name in unit.by_name:
                first = unit.by_name[record.name].title
                self.report(element.title, f"another element has this name: {first}")
            unit.by_name.setdefault(record.name, element)
            if record.id:
                if record.id in unit.by_id:
                    self.report(element.title, f"another element has its id {record.id!r}")
                unit.by_id.setdefault(record.id, element)
        return unit

    def connect(self, element: Element) -> None:
        record = element.record
        if isinstance(record, DecisionNode):
            self.need(element, record.inputs, InputData, "an input")
            self.need(element, record.decisions, DecisionNode, "a decision")
        if isinstance(record, DecisionNode | KnowledgeModel):
            self.need(element, record.knowledge, (KnowledgeModel, DecisionService), "a function")
        if isinstance(record, DecisionService):
            self.need(element, record.inputs, InputData, "an input")
            for references in (record.outputs, record.encapsulated, record.input_decisions):
                self.need(element, references, DecisionNode, "a decision")

    def need(
        self,
        element: Element,
        references: Iterable[str],
        kind: type | tuple[type, ...],
        wanted: str,
    ) -> None:
        for reference in references:
            found = element.unit.find(reference)
            if found is None:
                self.report(element.title, f"it requires {reference!r}, which is not there")
                continue
            prefix, needed = found
            if not isinstance(needed.record, kind):
                self.report(element.title, f"it requires {needed.title} where {wanted} belongs")
                continue
            element.needs[(prefix, needed.name) if prefix else (needed.name,)] = needed


def link(definitions: Definitions, imported: Iterable[Definitions], report: Report) -> Graph:
    """Link the elements of a model, and of the models that it imports.

    What cannot be linked, and every cycle, is reported and left out, so that the rest can be
    looked at too.

    Args:
        definitions: The model that is run.
        imported: The models that it may import, found by their namespaces.
        report: Told what is wrong.
    """
    linker = _Linker(report)
    units = linker.units(definitions, imported)
    elements = [element for unit in units for element in unit.elements]
    for element in elements:
        linker.connect(element)
    return Graph(units[-1], tuple(units), tuple(_order(elements, report)))


def _order(elements: Iterable[Element], report: Report) -> Iterator[Element]:
    """Put each element after those that it needs; break cycles, and report them."""
    done: set[Element] = set()
    for start in elements:
        if start in done:
            continue
        path = {start: iter(list(start.needs.items()))}
        while path:
            element = next(reversed(path))
            step = next(path[element], None)
            if step is None:
                del path[element]
                done.add(element)
                yield element
            elif step[1] in path:
                nodes = list(path)
                cycle = [*nodes[nodes.index(step[1]) :], step[1]]
                report(element.title, "cycle: " + " → ".join(node.name for node in cycle))
                del element.needs[step[0]]
            elif step[1] not in done:
                path[step[1]] = iter(list(step[1].needs.items()))
