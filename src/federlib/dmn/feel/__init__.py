"""FEEL, the expression language of DMN.

    >>> from federlib.dmn.feel import evaluate
    >>> evaluate("sum(for d in depths return d ** 2) < limit", {"depths": [1, 2], "limit": 10})
    True

A text is compiled once, against a `Scope` that says which names there are, and evaluated many
times:

    >>> from federlib.dmn.feel import NUMBER, Evaluation, Scope, compile_unary_tests
    >>> tests = compile_unary_tests("< high water mark, 100", Scope({"high water mark": NUMBER}))

Does not promise: functions in Java or PMML.
"""

from __future__ import annotations

from federlib.dmn.feel.compile import (
    Expression,
    UnaryTests,
    compile_expression,
    compile_unary_tests,
)
from federlib.dmn.feel.evaluation import Evaluation, Exhausted
from federlib.dmn.feel.lexer import FeelSyntaxError, UnknownName
from federlib.dmn.feel.quick import evaluate
from federlib.dmn.feel.scope import Scope
from federlib.dmn.feel.temporal import Date, DateTime, Days, Months, Time
from federlib.dmn.feel.type_text import parse_type
from federlib.dmn.feel.types import (
    ANY,
    BOOLEAN,
    CONTEXT,
    DATE,
    DATE_AND_TIME,
    DAYS_DURATION,
    LIST,
    MONTHS_DURATION,
    NULL,
    NUMBER,
    STRING,
    TIME,
    ContextType,
    FeelType,
    FunctionType,
    ListType,
    RangeType,
    SimpleType,
    coerce,
    conforms,
    is_instance,
    type_of,
)
from federlib.dmn.feel.values import Function, Overloads, Range, Value

__all__ = [
    "ANY",
    "BOOLEAN",
    "CONTEXT",
    "DATE",
    "DATE_AND_TIME",
    "DAYS_DURATION",
    "LIST",
    "MONTHS_DURATION",
    "NULL",
    "NUMBER",
    "STRING",
    "TIME",
    "ContextType",
    "Date",
    "DateTime",
    "Days",
    "Evaluation",
    "Exhausted",
    "Expression",
    "FeelSyntaxError",
    "FeelType",
    "Function",
    "FunctionType",
    "ListType",
    "Months",
    "Overloads",
    "Range",
    "RangeType",
    "Scope",
    "SimpleType",
    "Time",
    "UnaryTests",
    "UnknownName",
    "Value",
    "coerce",
    "compile_expression",
    "compile_unary_tests",
    "conforms",
    "evaluate",
    "is_instance",
    "parse_type",
    "type_of",
]
