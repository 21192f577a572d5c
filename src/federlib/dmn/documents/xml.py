"""Models from XML: DMN 1.2 to 1.5.

The four versions differ by their namespaces and by what has been added; whatever one of them
has is read in all of them. What people draw (DMNDI), knowledge sources, artefacts and
extensions are not part of the model and are left out.

Source: DMN 1.5, the schema DMN15.xsd; DMN 1.2 (20180521), 1.3 (20191111), 1.4 (20211108).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from federlib.dmn.documents.xml_expressions import ExpressionReader, fold_rule, name_of
from federlib.dmn.documents.xml_tree import Node, parse_xml
from federlib.dmn.model import (
    DecisionNode,
    DecisionService,
    Definitions,
    Import,
    InputData,
    ItemDefinition,
    KnowledgeModel,
    Parameter,
)
from federlib.dmn.model.problems import ModelProblems
from federlib.errors import InvalidInput

__all__ = ["DMN_NAMESPACES", "VERSION_ATTRIBUTE", "parse_dmn_xml"]

DMN_NAMESPACES: Final[Mapping[str, str]] = {
    "http://www.omg.org/spec/DMN/20180521/MODEL/": "1.2",
    "https://www.omg.org/spec/DMN/20191111/MODEL/": "1.3",
    "https://www.omg.org/spec/DMN/20211108/MODEL/": "1.4",
    "https://www.omg.org/spec/DMN/20230324/MODEL/": "1.5",
}
"""The namespaces of a model, and the version of DMN that each is."""

VERSION_ATTRIBUTE: Final = "urn:federlib:dmn version"
"""DMN has no place for a version of a model; it is kept in an attribute of our own."""


def parse_dmn_xml(data: bytes, where: str = "model") -> Definitions:
    """Read a model from XML.

    Args:
        data: The document.
        where: What it is, for errors.
    Returns:
        The model, as it is written: nothing of it is compiled.
    Raises:
        InvalidInput: It is not XML that may be read, or not DMN 1.2 to 1.5.
        ModelProblems: It is, but not by its schema; every problem at once.
    """
    root = parse_xml(data, where, {"rule": fold_rule})
    if root.name != "definitions" or root.namespace not in DMN_NAMESPACES:
        expected = "the definitions of a model of DMN 1.2 to 1.5"
        raise InvalidInput(where, expected=expected, found=f"{root.name} in {root.namespace!r}")
    reader = _Reader(root)
    model = reader.definitions()
    if reader.problems:
        raise ModelProblems(model.name, reader.problems)
    return model


class _Reader(ExpressionReader):
    """Turns the elements of a requirement graph into records."""

    def __init__(self, root: Node) -> None:
        super().__init__(root.get("expressionLanguage"))
        self.root = root
        self.namespace = root.get("namespace")

    def definitions(self) -> Definitions:
        root = self.root
        return Definitions(
            name=name_of(root),
            namespace=self.namespace,
            id=root.get("id"),
            version=root.get(VERSION_ATTRIBUTE),
            description=root.text_of("description"),
            imports=tuple(
                Import(node.get("namespace"), name_of(node), node.get("importType"))
                for node in root.all("import")
            ),
            item_definitions=tuple(map(self.item_definition, root.all("itemDefinition"))),
            inputs=tuple(map(self.input_data, root.all("inputData"))),
            decisions=tuple(map(self.decision, root.all("decision"))),
            knowledge_models=tuple(map(self.knowledge, root.all("businessKnowledgeModel"))),
            services=tuple(map(self.service, root.all("decisionService"))),
        )

    def enter(self, kind: str, node: Node) -> str:
        name = name_of(node)
        self.element = f"{kind} {name!r}"
        if not name:
            self.fault(node, "it has no name")
        return name

    def item_definition(self, node: Node) -> ItemDefinition:
        name = self.enter("type", node)
        function = node.first("functionItem")
        components = tuple(map(self.item_definition, node.all("itemComponent")))
        self.element = f"type {name!r}"
        return ItemDefinition(
            name=name,
            type_ref=node.text_of("typeRef"),
            is_collection=self.flag(node, "isCollection"),
            components=components,
            allowed=self.unary(node, "allowedValues"),
            constraint=self.unary(node, "typeConstraint"),
            parameters=None
            if function is None
            else tuple(
                Parameter(name_of(parameter), parameter.get("typeRef"))
                for parameter in function.all("parameters")
            ),
            result_type="" if function is None else function.get("outputTypeRef"),
            id=node.get("id"),
            description=node.text_of("description"),
        )

    def input_data(self, node: Node) -> InputData:
        name = self.enter("input", node)
        return InputData(
            name, self.variable_type(node), node.get("id"), node.text_of("description")
        )

    def decision(self, node: Node) -> DecisionNode:
        name = self.enter("decision", node)
        return DecisionNode(
            name=name,
            logic=self.only_expression(node),
            type_ref=self.variable_type(node),
            inputs=self.required(node, "informationRequirement", "requiredInput"),
            decisions=self.required(node, "informationRequirement", "requiredDecision"),
            knowledge=self.required(node, "knowledgeRequirement", "requiredKnowledge"),
            id=node.get("id"),
            description=node.text_of("description"),
            question=node.text_of("question"),
            allowed_answers=node.text_of("allowedAnswers"),
        )

    def knowledge(self, node: Node) -> KnowledgeModel:
        name = self.enter("knowledge model", node)
        logic = node.first("encapsulatedLogic")
        return KnowledgeModel(
            name=name,
            function=None if logic is None else self.function(logic),
            type_ref=self.variable_type(node),
            knowledge=self.required(node, "knowledgeRequirement", "requiredKnowledge"),
            id=node.get("id"),
            description=node.text_of("description"),
        )

    def service(self, node: Node) -> DecisionService:
        name = self.enter("service", node)
        return DecisionService(
            name=name,
            outputs=self.references(node, "outputDecision"),
            encapsulated=self.references(node, "encapsulatedDecision"),
            input_decisions=self.references(node, "inputDecision"),
            inputs=self.references(node, "inputData"),
            type_ref=self.variable_type(node),
            id=node.get("id"),
            description=node.text_of("description"),
        )

    def required(self, node: Node, requirement: str, kind: str) -> tuple[str, ...]:
        return tuple(
            reference
            for child in node.all(requirement)
            for reference in self.references(child, kind)
        )

    def references(self, node: Node, kind: str) -> tuple[str, ...]:
        return tuple(self.reference(child) for child in node.all(kind))

    def reference(self, node: Node) -> str:
        namespace, mark, name = node.get("href").rpartition("#")
        if not mark or not name:
            self.fault(node, f"the reference {node.get('href')!r} names no element: expected #id")
        return name if namespace in {"", self.namespace} else f"{namespace}#{name}"
