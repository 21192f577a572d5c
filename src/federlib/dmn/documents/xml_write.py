"""Models as XML: DMN 1.5."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial

from federlib.dmn.documents.normal import normalised
from federlib.dmn.model import (
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
from federlib.errors import InvalidInput

__all__ = ["dump_xml"]

_NAMESPACE = "https://www.omg.org/spec/DMN/20230324/MODEL/"


def dump_xml(model: Definitions) -> bytes:
    """Write a model as XML, DMN 1.5, in UTF-8.

    Elements without an id get one, see `federlib.dmn.documents.normal.normalised`.

    Args:
        model: What.
    Raises:
        InvalidInput: A text has characters that XML cannot hold.
    """
    writer = _Writer()
    writer.definitions(normalised(model))
    return "".join(writer.pieces).encode()


class _Writer:
    def __init__(self) -> None:
        self.pieces: list[str] = ['<?xml version="1.0" encoding="UTF-8"?>\n']
        self.depth = 0

    def element(
        self, name: str, inside: Callable[[], None] | None = None, /, **attributes: str
    ) -> None:
        """Write an element; attributes without a value are left out."""
        written = "".join(
            f" {key.replace('__', ':')}={_quoted(value)}"
            for key, value in attributes.items()
            if value
        )
        indent = "  " * self.depth
        if inside is None:
            self.pieces.append(f"{indent}<{name}{written}/>\n")
            return
        self.pieces.append(f"{indent}<{name}{written}>\n")
        self.depth += 1
        inside()
        self.depth -= 1
        self.pieces.append(f"{indent}</{name}>\n")

    def text(self, name: str, text: str, *, always: bool = False) -> None:
        if text or always:
            indent = "  " * self.depth
            self.pieces.append(f"{indent}<{name}>{_escaped(text)}</{name}>\n")

    def tests(self, name: str, text: str) -> None:
        if text:
            self.element(name, lambda: self.text("text", text))

    def definitions(self, model: Definitions) -> None:
        def inside() -> None:
            self.text("description", model.description)
            for imported in model.imports:
                self.element(
                    "import",
                    name=imported.name,
                    namespace=imported.namespace,
                    importType=imported.import_type,
                )
            for item in model.item_definitions:
                self.item("itemDefinition", item)
            for data in model.inputs:
                self.input_data(data)
            for decision in model.decisions:
                self.decision(decision)
            for knowledge in model.knowledge_models:
                self.knowledge(knowledge)
            for service in model.services:
                self.service(service)

        extension = {"xmlns__federlib": "urn:federlib:dmn", "federlib__version": model.version}
        self.element(
            "definitions",
            inside,
            xmlns=_NAMESPACE,
            id=model.id,
            name=model.name,
            namespace=model.namespace,
            **(extension if model.version else {}),
        )

    def item(self, element: str, item: ItemDefinition) -> None:
        def inside() -> None:
            self.text("description", item.description)
            self.text("typeRef", item.type_ref)
            self.tests("allowedValues", item.allowed)
            self.tests("typeConstraint", item.constraint)
            for component in item.components:
                self.item("itemComponent", component)
            parameters = item.parameters
            if parameters is not None:
                self.element(
                    "functionItem",
                    lambda: self.named("parameters", parameters),
                    outputTypeRef=item.result_type,
                )

        collection = "true" if item.is_collection else ""
        self.element(element, inside, id=item.id, name=item.name, isCollection=collection)

    def named(self, element: str, things: Iterable[Parameter | Column]) -> None:
        for thing in things:
            self.element(element, name=thing.name, typeRef=thing.type_ref)

    def references(self, element: str, references: Iterable[str], around: str = "") -> None:
        for reference in references:
            href = reference if "#" in reference else f"#{reference}"
            if around:
                self.element(around, partial(self.element, element, href=href))
            else:
                self.element(element, href=href)

    def variable(self, name: str, type_ref: str) -> None:
        self.element("variable", name=name, typeRef=type_ref)

    def input_data(self, data: InputData) -> None:
        def inside() -> None:
            self.text("description", data.description)
            self.variable(data.name, data.type_ref)

        self.element("inputData", inside, id=data.id, name=data.name)

    def decision(self, decision: DecisionNode) -> None:
        def inside() -> None:
            self.text("description", decision.description)
            self.text("question", decision.question)
            self.text("allowedAnswers", decision.allowed_answers)
            self.variable(decision.name, decision.type_ref)
            self.references("requiredInput", decision.inputs, "informationRequirement")
            self.references("requiredDecision", decision.decisions, "informationRequirement")
            self.references("requiredKnowledge", decision.knowledge, "knowledgeRequirement")
            self.expression(decision.logic)

        self.element("decision", inside, id=decision.id, name=decision.name)

    def knowledge(self, knowledge: KnowledgeModel) -> None:
        def inside() -> None:
            self.text("description", knowledge.description)
            self.variable(knowledge.name, knowledge.type_ref)
            if knowledge.function is not None:
                self.function("encapsulatedLogic", knowledge.function)
            self.references("requiredKnowledge", knowledge.knowledge, "knowledgeRequirement")

        self.element("businessKnowledgeModel", inside, id=knowledge.id, name=knowledge.name)

    def service(self, service: DecisionService) -> None:
        def inside() -> None:
            self.text("description", service.description)
            self.variable(service.name, service.type_ref)
            self.references("outputDecision", service.outputs)
            self.references("encapsulatedDecision", service.encapsulated)
            self.references("inputDecision", service.input_decisions)
            self.references("inputData", service.inputs)

        self.element("decisionService", inside, id=service.id, name=service.name)

    def function(self, element: str, function: FunctionDefinition) -> None:
        def inside() -> None:
            self.named("formalParameter", function.parameters)
            self.expression(function.body)

        kind = {"FEEL": "", "JAVA": "Java", "PMML": "PMML"}[function.function_kind]
        self.element(element, inside, id=function.id, typeRef=function.type_ref, kind=kind)

    def expression(self, expression: Expression | None) -> None:
        attributes = (
            {} if expression is None else {"id": expression.id, "typeRef": expression.type_ref}
        )
        match expression:
            case None:
                pass
            case LiteralExpression(text):
                self.element(
                    "literalExpression",
                    lambda: self.text("text", text, always=True),
                    **attributes,
                    expressionLanguage=expression.language,
                )
            case FunctionDefinition():
                self.function("functionDefinition", expression)
            case DecisionTable():
                self.table(expression)
            case ListExpression(items):
                self.element("list", lambda: self.all(items), **attributes)
            case Invocation():
                self.element("invocation", lambda: self.invocation(expression), **attributes)
            case Context():
                self.element("context", lambda: self.context(expression), **attributes)
            case Relation():
                self.element("relation", lambda: self.relation(expression), **attributes)
            case Conditional(condition, then, otherwise):
                parts = {"if": condition, "then": then, "else": otherwise}
                self.element("conditional", lambda: self.parts(parts), **attributes)
            case Filter(source, match):
                parts = {"in": source, "match": match}
                self.element("filter", lambda: self.parts(parts), **attributes)
            case For(variable, source, result):
                parts = {"in": source, "return": result}
                self.element(
                    "for", lambda: self.parts(parts), **attributes, iteratorVariable=variable
                )
            case Quantified(variable, source, satisfies, is_every):
                parts = {"in": source, "satisfies": satisfies}
                self.element(
                    "every" if is_every else "some",
                    lambda: self.parts(parts),
                    **attributes,
                    iteratorVariable=variable,
                )

    def all(self, expressions: Iterable[Expression | None]) -> None:
        for expression in expressions:
            self.expression(expression)

    def parts(self, parts: Mapping[str, Expression]) -> None:
        for name, part in parts.items():
            self.element(name, partial(self.expression, part))

    def invocation(self, invocation: Invocation) -> None:
        self.expression(invocation.function)
        for binding in invocation.bindings:

            def inside(binding: Binding = binding) -> None:
                self.element("parameter", name=binding.name)
                self.expression(binding.value)

            self.element("binding", inside)

    def context(self, context: Context) -> None:
        for entry in context.entries:

            def inside(entry: ContextEntry = entry) -> None:
                if entry.name or entry.type_ref:
                    self.variable(entry.name, entry.type_ref)
                self.expression(entry.value)

            self.element("contextEntry", inside)

    def relation(self, relation: Relation) -> None:
        self.named("column", relation.columns)
        for row in relation.rows:
            self.element("row", partial(self.all, row))

    def table(self, table: DecisionTable) -> None:
        self.element(
            "decisionTable",
            lambda: self.table_parts(table),
            id=table.id,
            typeRef=table.type_ref,
            hitPolicy=table.hit_policy,
            aggregation=table.aggregator or "",
            outputLabel=table.output_label,
        )

    def table_parts(self, table: DecisionTable) -> None:
        for clause in table.inputs:

            def inside_input(clause: InputClause = clause) -> None:
                self.element(
                    "inputExpression",
                    lambda: self.text("text", clause.expression, always=True),
                    typeRef=clause.type_ref,
                )
                self.tests("inputValues", clause.allowed)

            self.element("input", inside_input, id=clause.id, label=clause.label)
        for output in table.outputs:

            def inside_output(output: OutputClause = output) -> None:
                self.tests("outputValues", output.allowed)
                self.tests("defaultOutputEntry", output.default)

            self.element(
                "output",
                inside_output,
                id=output.id,
                name=output.name,
                label=output.label,
                typeRef=output.type_ref,
            )
        for name in table.annotation_names:
            self.element("annotation", name=name)
        for rule in table.rules:
            self.element("rule", partial(self.rule, rule), id=rule.id)

    def rule(self, rule: Rule) -> None:
        self.text("description", rule.description)
        entries = {
            "inputEntry": rule.conditions,
            "outputEntry": rule.conclusions,
            "annotationEntry": rule.annotations,
        }
        for name, texts in entries.items():
            for text in texts:
                self.element(name, partial(self.text, "text", text, always=True))


@cache
def _unwritable() -> re.Pattern[str]:
    # XML 1.0 has no way at all to write these.
    return re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def _checked(text: str) -> str:
    found = _unwritable().search(text)
    if found is not None:
        raise InvalidInput("model", expected="characters that XML can hold", found=found.group())
    return text


# `xml.sax.saxutils` does this too, and takes a network library along.
_IN_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_IN_ATTRIBUTES = _IN_TEXT | str.maketrans({'"': "&quot;", "\n": "&#10;", "\t": "&#9;"})


def _escaped(text: str) -> str:
    return _checked(text).translate(_IN_TEXT)


def _quoted(text: str) -> str:
    return f'"{_checked(text).translate(_IN_ATTRIBUTES)}"'
