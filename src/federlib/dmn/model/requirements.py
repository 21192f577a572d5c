"""Requirement graphs: which element needs which, across models that import each other.

Nothing here recurses: a chain of a million decisions is a hostile model, not a deep stack.

Source: DMN 1.5, clause 6 (requirements) and 6.3.3 (imports).
"""

from __future__ import annotations

from collections import deque
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
from federlib.dmn.model.problems import Report

__all__ = ["MAX_UNITS", "Element", "Graph", "Record", "Unit", "link"]

MAX_UNITS = 256
"""How many models one model may import, each counted on every way on which it is imported."""

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
        needs: What its logic may use, by the path of its name there: its own name, behind the
            names of the imports that it comes through.
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

    A model that is imported on two ways is there twice: its inputs may be given different
    values on each, by their paths.

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

    def find(self, reference: str) -> tuple[tuple[str, ...], Element] | None:
        """Find what a reference means here, and the path of its name in expressions."""
        local = self.by_id.get(reference) or self.by_name.get(reference)
        if local is not None:
            return (local.name,), local
        namespace, mark, name = reference.rpartition("#")
        for path, unit in self.imported():
            found = None
            if mark and unit.definitions.namespace == namespace:
                found = unit.by_id.get(name) or unit.by_name.get(name)
            elif not mark and reference.startswith(prefix := ".".join((*path, ""))):
                found = unit.by_name.get(reference[len(prefix) :])
            if found is not None:
                return (*path, found.name), found
        return None

    def imported(self) -> Iterator[tuple[tuple[str, ...], Unit]]:
        """Go through the models that it imports, the nearest first, each with its path.

        An import without a name adds nothing to the path.
        """
        waiting = deque[tuple[tuple[str, ...], Unit]]([((), self)])
        while waiting:
            path, unit = waiting.popleft()
            for name, inner in unit.imports.items():
                found = ((*path, name) if name else path, inner)
                yield found
                waiting.append(found)


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
        """Build the models that are needed; each after those that it imports."""
        by_namespace = {other.namespace: other for other in others if other.namespace}
        root = Unit(definitions)
        order = [root]
        paths: dict[Unit, tuple[Definitions, ...]] = {root: (definitions,)}
        for unit in order:  # grows while it is gone through
            model = unit.definitions
            for imported in model.imports:
                other = by_namespace.get(imported.namespace)
                title = f"model {model.name!r}"
                if other is None:
                    if not imported.import_type or "DMN" in imported.import_type:
                        missing = f"no model of the namespace {imported.namespace!r} was given"
                        self.report(title, missing)
                elif other in paths[unit]:
                    self.report(title, f"it imports {other.name!r}, which imports it")
                elif len(order) >= MAX_UNITS:
                    self.report(title, f"more than {MAX_UNITS} imports of imports")
                    return order[::-1]
                else:
                    inner = unit.imports[imported.name] = Unit(other)
                    paths[inner] = (*paths[unit], other)
                    order.append(inner)
        return order[::-1]

    def fill(self, unit: Unit) -> None:
        """Give a unit its elements."""
        model = unit.definitions
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
            path, needed = found
            if not isinstance(needed.record, kind):
                self.report(element.title, f"it requires {needed.title} where {wanted} belongs")
                continue
            element.needs[path] = needed


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
    for unit in units:
        linker.fill(unit)
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
