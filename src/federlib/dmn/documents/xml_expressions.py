"""Expressions and tables from XML: the part that stands in decisions and functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast, get_args

from federlib.dmn.documents.xml_tree import Node
from federlib.dmn.model import (
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
from federlib.dmn.model.problems import ModelProblem

__all__ = ["FEEL_LANGUAGES", "ExpressionReader", "fold_rule", "name_of"]

FEEL_LANGUAGES: Final = frozenset(
    {
        "",
        "feel",
        "http://www.omg.org/spec/DMN/20180521/FEEL/",
        "https://www.omg.org/spec/DMN/20191111/FEEL/",
        "https://www.omg.org/spec/DMN/20211108/FEEL/",
        "https://www.omg.org/spec/DMN/20230324/FEEL/",
    }
)
"""How models say that an expression is FEEL."""

# What stands beside the logic of an element and is none itself.
_BESIDE = frozenset(
    {
        "description",
        "extensionElements",
        "question",
        "allowedAnswers",
        "variable",
        "informationRequirement",
        "knowledgeRequirement",
        "authorityRequirement",
        "supportedObjective",
        "impactedPerformanceIndicator",
        "decisionMaker",
        "decisionOwner",
        "usingProcess",
        "usingTask",
        "formalParameter",
        "parameter",
        "binding",
    }
)


def name_of(node: Node) -> str:
    """Return the name of an element; the white space in it is one space (DMN 1.5, 10.3.1.4)."""
    return " ".join(node.get("name").split())


def fold_rule(node: Node) -> Rule | None:
    """Make a row of a decision table of its element; None: it is something else."""
    table = node.parent
    if table is None or table.name != "decisionTable" or table.namespace != node.namespace:
        return None
    texts: dict[str, list[str]] = {"inputEntry": [], "outputEntry": [], "annotationEntry": []}
    for entry in node.children:
        if entry.name in texts and entry.namespace == node.namespace:
            texts[entry.name].append(entry.text_of("text"))
    conditions, conclusions, annotations = map(tuple, texts.values())
    return Rule(conditions, conclusions, annotations, node.get("id"), node.text_of("description"))


class ExpressionReader:
    """Turns elements into records, and notes what is wrong with them on the way.

    Args:
        language: What expressions are in that do not say it; empty: FEEL.

    Attributes:
        problems: What is wrong.
        element: What is being read, for problems.
    """

    def __init__(self, language: str) -> None:
        self.default_language: str = language
        self.problems: list[ModelProblem] = []
        self.element: str = "definitions"
        self.readers: dict[str, Callable[[Node], Expression]] = {
            "literalExpression": self.literal,
            "decisionTable": self.table,
            "invocation": self.invocation,
            "context": self.context,
            "relation": self.relation,
            "list": self.list_,
            "functionDefinition": self.function,
            "conditional": self.conditional,
            "filter": self.filter_,
            "for": self.for_,
            "every": self.quantified,
            "some": self.quantified,
        }

    def fault(self, node: Node, text: str) -> None:
        """Note what is wrong, with its line."""
        self.problems.append(ModelProblem(self.element, f"{text} (line {node.line})"))

    def variable_type(self, node: Node) -> str:
        """Return the type that the variable of an element has."""
        variable = node.first("variable")
        return "" if variable is None else variable.get("typeRef")

    def flag(self, node: Node, name: str) -> bool:
        """Read an attribute that is true or false."""
        found = node.get(name)
        if found not in {"", "true", "false", "1", "0"}:
            self.fault(node, f"{name} is {found!r}: expected true or false")
        return found in {"true", "1"}

    def choice(self, node: Node, name: str, allowed: object, default: str) -> str:
        """Read an attribute that is one of a Literal."""
        # The schema writes FEEL, Java and PMML; everything else is in capitals.
        found = node.get(name).upper()
        if found and found not in get_args(allowed):
            self.fault(node, f"{name} is {found!r}: expected one of {', '.join(get_args(allowed))}")
            return default
        return found or default

    def unary(self, node: Node, name: str) -> str:
        """Read the text of an element of unary tests."""
        child = node.first(name)
        return "" if child is None else child.text_of("text")

    def expressions(self, node: Node) -> list[Expression]:
        """Read all the expressions in an element."""
        found = []
        for child in node.children:
            if child.namespace != node.namespace or child.name in _BESIDE:
                continue
            reader = self.readers.get(child.name)
            if reader is None:
                self.fault(child, f"{child.name} is no expression that is known here")
            else:
                found.append(reader(child))
        return found

    def only_expression(self, node: Node) -> Expression | None:
        """Read the one expression in an element; None: there is none."""
        found = self.expressions(node)
        if len(found) > 1:
            self.fault(node, f"{node.name} has {len(found)} expressions: expected one")
        return found[0] if found else None

    def part(self, node: Node, name: str) -> Expression:
        """Read a part that must be there."""
        child = node.first(name)
        found = None if child is None else self.only_expression(child)
        if found is None:
            self.fault(node, f"{node.name} has no {name}")
            return LiteralExpression("null")
        return found

    def language(self, node: Node) -> str:
        """Return the language of an expression, empty for FEEL."""
        found = node.get("expressionLanguage") or self.default_language
        return "" if found.lower() in FEEL_LANGUAGES or found in FEEL_LANGUAGES else found

    def literal(self, node: Node) -> LiteralExpression:
        """Read a literal expression."""
        if node.first("importedValues") is not None:
            self.fault(node, "imported values are not supported")
        return LiteralExpression(
            node.text_of("text"), node.get("typeRef"), self.language(node), node.get("id")
        )

    def invocation(self, node: Node) -> Invocation:
        """Read an invocation."""
        function = self.only_expression(node)
        if function is None:
            self.fault(node, "an invocation calls nothing")
            function = LiteralExpression("null")
        bindings = []
        for child in node.all("binding"):
            parameter = child.first("parameter")
            if parameter is None:
                self.fault(child, "a binding without parameter")
            else:
                bindings.append(Binding(name_of(parameter), self.only_expression(child)))
        return Invocation(function, tuple(bindings), node.get("typeRef"), node.get("id"))

    def context(self, node: Node) -> Context:
        """Read a boxed context."""
        entries = []
        for child in node.all("contextEntry"):
            variable = child.first("variable")
            name = "" if variable is None else name_of(variable)
            entries.append(
                ContextEntry(self.only_expression(child), name, self.variable_type(child))
            )
        return Context(tuple(entries), node.get("typeRef"), node.get("id"))

    def relation(self, node: Node) -> Relation:
        """Read a relation."""
        return Relation(
            tuple(Column(name_of(column), column.get("typeRef")) for column in node.all("column")),
            tuple(tuple(self.expressions(row)) for row in node.all("row")),
            node.get("typeRef"),
            node.get("id"),
        )

    def list_(self, node: Node) -> ListExpression:
        """Read a boxed list."""
        return ListExpression(tuple(self.expressions(node)), node.get("typeRef"), node.get("id"))

    def function(self, node: Node) -> FunctionDefinition:
        """Read a boxed function."""
        kind = self.choice(node, "kind", FunctionKind, "FEEL")
        return FunctionDefinition(
            tuple(
                Parameter(name_of(parameter), parameter.get("typeRef"))
                for parameter in node.all("formalParameter")
            ),
            self.only_expression(node),
            cast("FunctionKind", kind),
            node.get("typeRef"),
            node.get("id"),
        )

    def conditional(self, node: Node) -> Conditional:
        """Read a boxed `if`."""
        return Conditional(
            self.part(node, "if"),
            self.part(node, "then"),
            self.part(node, "else"),
            node.get("typeRef"),
            node.get("id"),
        )

    def filter_(self, node: Node) -> Filter:
        """Read a boxed filter."""
        return Filter(
            self.part(node, "in"), self.part(node, "match"), node.get("typeRef"), node.get("id")
        )

    def for_(self, node: Node) -> For:
        """Read a boxed `for`."""
        return For(
            " ".join(node.get("iteratorVariable").split()),
            self.part(node, "in"),
            self.part(node, "return"),
            node.get("typeRef"),
            node.get("id"),
        )

    def quantified(self, node: Node) -> Quantified:
        """Read a boxed `every` or `some`."""
        return Quantified(
            " ".join(node.get("iteratorVariable").split()),
            self.part(node, "in"),
            self.part(node, "satisfies"),
            node.name == "every",
            node.get("typeRef"),
            node.get("id"),
        )

    def table(self, node: Node) -> DecisionTable:
        """Read a decision table."""
        aggregation = self.choice(node, "aggregation", Aggregator, "")
        return DecisionTable(
            inputs=tuple(map(self.input_clause, node.all("input"))),
            outputs=tuple(map(self.output_clause, node.all("output"))),
            rules=tuple(each.made for each in node.all("rule") if isinstance(each.made, Rule)),
            hit_policy=cast("HitPolicy", self.choice(node, "hitPolicy", HitPolicy, "UNIQUE")),
            aggregator=cast("Aggregator | None", aggregation or None),
            annotation_names=tuple(name_of(child) for child in node.all("annotation")),
            output_label=node.get("outputLabel"),
            type_ref=node.get("typeRef"),
            id=node.get("id"),
        )

    def input_clause(self, node: Node) -> InputClause:
        """Read a column of conditions."""
        expression = node.first("inputExpression")
        if expression is None:
            self.fault(node, "an input clause without expression")
        return InputClause(
            expression="null" if expression is None else expression.text_of("text"),
            label=node.get("label"),
            type_ref="" if expression is None else expression.get("typeRef"),
            allowed=self.unary(node, "inputValues"),
            id=node.get("id"),
        )

    def output_clause(self, node: Node) -> OutputClause:
        """Read a column of conclusions."""
        return OutputClause(
            name=name_of(node),
            label=node.get("label"),
            type_ref=node.get("typeRef"),
            allowed=self.unary(node, "outputValues"),
            default=self.unary(node, "defaultOutputEntry"),
            id=node.get("id"),
        )
