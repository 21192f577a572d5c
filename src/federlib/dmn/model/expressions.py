"""Boxed expressions and decision tables as they are written.

Source: DMN 1.5, clauses 7 (expressions), 8 (tables), 10.5 (boxed).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

__all__ = [
    "Aggregator",
    "Binding",
    "Column",
    "Conditional",
    "Context",
    "ContextEntry",
    "DecisionTable",
    "Expression",
    "Filter",
    "For",
    "FunctionDefinition",
    "FunctionKind",
    "HitPolicy",
    "InputClause",
    "Invocation",
    "ListExpression",
    "LiteralExpression",
    "ModelPart",
    "OutputClause",
    "Parameter",
    "Quantified",
    "Relation",
    "Rule",
]

HitPolicy: TypeAlias = Literal[
    "UNIQUE", "ANY", "PRIORITY", "FIRST", "RULE ORDER", "OUTPUT ORDER", "COLLECT"
]
"""Which of the matching rules decide (DMN 1.5, 8.2.8)."""

Aggregator: TypeAlias = Literal["SUM", "MIN", "MAX", "COUNT"]
"""What COLLECT makes of them: C+, C<, C>, C#."""

FunctionKind: TypeAlias = Literal["FEEL", "JAVA", "PMML"]
"""In what a function is written; only FEEL is run."""


class ModelPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How every record of a model behaves: never changed, and no field that nobody knows."""


class Parameter(ModelPart, frozen=True):
    """A formal parameter.

    Attributes:
        name: How the body calls it.
        type_ref: Its type; empty: any.
    """

    name: str
    type_ref: str = ""


class Column(ModelPart, frozen=True):
    """A column of a relation.

    Attributes:
        name: The key that each row has for it.
        type_ref: Its type; empty: any.
    """

    name: str
    type_ref: str = ""


class InputClause(ModelPart, frozen=True):
    """A column of conditions.

    Attributes:
        expression: What is tested: FEEL.
        label: What people call it; empty: the expression is shown.
        type_ref: The type of the expression; empty: any.
        allowed: Unary tests that every value must pass; empty: any value.
        id: Its id; may be empty.
    """

    expression: str
    label: str = ""
    type_ref: str = ""
    allowed: str = ""
    id: str = ""


class OutputClause(ModelPart, frozen=True):
    """A column of conclusions.

    Attributes:
        name: The key of the output; may be empty where there is only one.
        label: What people call it.
        type_ref: Its type; empty: any.
        allowed: The values that it may have, from the highest priority to the lowest; empty: any.
        default: What it is where no rule matches: FEEL; empty: none.
        id: Its id; may be empty.
    """

    name: str = ""
    label: str = ""
    type_ref: str = ""
    allowed: str = ""
    default: str = ""
    id: str = ""


class Rule(ModelPart, frozen=True):
    """A row.

    Attributes:
        conditions: Unary tests, one for each input clause; `-` and nothing match all.
        conclusions: FEEL, one for each output clause; nothing is null.
        annotations: Remarks, at most one for each annotation name.
        id: Its id; where it is empty, the number of the rule serves, counted from 1.
        description: What it is for.
    """

    conditions: tuple[str, ...]
    conclusions: tuple[str, ...]
    annotations: tuple[str, ...] = ()
    id: str = ""
    description: str = ""


class DecisionTable(ModelPart, frozen=True, tag_field="kind", tag="table"):
    """A decision table (DMN 1.5, clause 8).

    Attributes:
        inputs: The columns of conditions; there may be none.
        outputs: The columns of conclusions, at least one.
        rules: The rows, in their order.
        hit_policy: Which of the matching rules decide.
        aggregator: What COLLECT makes of them; None: a list.
        annotation_names: The columns of remarks.
        output_label: What people call what it decides.
        type_ref: The type of the result; empty: any.
        id: Its id; may be empty.
    """

    inputs: tuple[InputClause, ...]
    outputs: tuple[OutputClause, ...]
    rules: tuple[Rule, ...]
    hit_policy: HitPolicy = "UNIQUE"
    aggregator: Aggregator | None = None
    annotation_names: tuple[str, ...] = ()
    output_label: str = ""
    type_ref: str = ""
    id: str = ""


class LiteralExpression(ModelPart, frozen=True, tag_field="kind", tag="literal"):
    """An expression as text.

    Attributes:
        text: FEEL.
        type_ref: The type of the result; empty: any.
        language: Of the text, as a URI; empty: FEEL.
        id: Its id; may be empty.
    """

    text: str
    type_ref: str = ""
    language: str = ""
    id: str = ""


class Binding(ModelPart, frozen=True):
    """What a parameter of an invocation is bound to.

    Attributes:
        name: The parameter.
        value: What it is given; None: null.
    """

    name: str
    value: Expression | None = None


class Invocation(ModelPart, frozen=True, tag_field="kind", tag="invocation"):
    """A call with its parameters by name.

    Attributes:
        function: What is called.
        bindings: With what.
        type_ref: The type of the result; empty: any.
        id: Its id; may be empty.
    """

    function: Expression
    bindings: tuple[Binding, ...] = ()
    type_ref: str = ""
    id: str = ""


class ContextEntry(ModelPart, frozen=True):
    """An entry of a boxed context.

    Attributes:
        value: What it is; None: null.
        name: Its key; empty: it is the result of the context.
        type_ref: The type of the entry; empty: any.
    """

    value: Expression | None = None
    name: str = ""
    type_ref: str = ""


class Context(ModelPart, frozen=True, tag_field="kind", tag="context"):
    """A boxed context: each entry knows the entries above it.

    Attributes:
        entries: In their order.
        type_ref: The type of the result; empty: any.
        id: Its id; may be empty.
    """

    entries: tuple[ContextEntry, ...] = ()
    type_ref: str = ""
    id: str = ""


class Relation(ModelPart, frozen=True, tag_field="kind", tag="relation"):
    """A list of contexts, written as a table.

    Attributes:
        columns: The keys.
        rows: Of each row one expression a column; None: null.
        type_ref: The type of the result; empty: any.
        id: Its id; may be empty.
    """

    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[Expression | None, ...], ...] = ()
    type_ref: str = ""
    id: str = ""


class ListExpression(ModelPart, frozen=True, tag_field="kind", tag="list"):
    """A boxed list.

    Attributes:
        items: Its elements; None: null.
        type_ref: The type of the result; empty: any.
        id: Its id; may be empty.
    """

    items: tuple[Expression | None, ...] = ()
    type_ref: str = ""
    id: str = ""


class FunctionDefinition(ModelPart, frozen=True, tag_field="kind", tag="function"):
    """A boxed function.

    Attributes:
        parameters: In their order.
        body: What it computes; None: null.
        function_kind: In what it is written.
        type_ref: The type of the function; empty: any.
        id: Its id; may be empty.
    """

    parameters: tuple[Parameter, ...] = ()
    body: Expression | None = None
    function_kind: FunctionKind = "FEEL"
    type_ref: str = ""
    id: str = ""


class Conditional(ModelPart, frozen=True, tag_field="kind", tag="if"):
    """A boxed `if`.

    Attributes:
        condition: What is asked.
        then: The result where it is true.
        otherwise: The result where it is false or null.
        type_ref: The type of the result; empty: any.
        id: Its id; may be empty.
    """

    condition: Expression
    then: Expression
    otherwise: Expression
    type_ref: str = ""
    id: str = ""


class Filter(ModelPart, frozen=True, tag_field="kind", tag="filter"):
    """A boxed filter.

    Attributes:
        source: The list.
        match: Of which elements it keeps those for which this is true; or which, by number.
        type_ref: The type of the result; empty: any.
        id: Its id; may be empty.
    """

    source: Expression
    match: Expression
    type_ref: str = ""
    id: str = ""


class For(ModelPart, frozen=True, tag_field="kind", tag="for"):
    """A boxed `for`.

    Attributes:
        variable: How the result calls the element.
        source: The list, or range, that is gone through.
        result: The element of the new list.
        type_ref: The type of the result; empty: any.
        id: Its id; may be empty.
    """

    variable: str
    source: Expression
    result: Expression
    type_ref: str = ""
    id: str = ""


class Quantified(ModelPart, frozen=True, tag_field="kind", tag="quantified"):
    """A boxed `every` or `some`.

    Attributes:
        variable: How the condition calls the element.
        source: The list, or range, that is gone through.
        satisfies: The condition.
        is_every: Whether all must satisfy it, or one.
        type_ref: The type of the result; empty: any.
        id: Its id; may be empty.
    """

    variable: str
    source: Expression
    satisfies: Expression
    is_every: bool
    type_ref: str = ""
    id: str = ""


Expression: TypeAlias = (
    LiteralExpression
    | DecisionTable
    | Invocation
    | Context
    | Relation
    | ListExpression
    | FunctionDefinition
    | Conditional
    | Filter
    | For
    | Quantified
)
"""The logic of a decision or knowledge model, and of every part of a boxed one."""
