"""The unary tests of a cell, from a text to a tree.

Source: DMN 1.5, 10.3.1.2, rules 7 and 13 to 15.
"""

from __future__ import annotations

from federlib.dmn.feel.lexer import FeelSyntaxError
from federlib.dmn.feel.parser import Parser
from federlib.dmn.feel.scope import Scope
from federlib.dmn.feel.tree import Node, Tests
from federlib.dmn.feel.types import ANY

__all__ = ["parse_unary_tests"]


def parse_unary_tests(text: str, scope: Scope, builtins: Scope) -> tuple[Tests, int]:
    """Read the unary tests of a cell.

    Args:
        text: The text; one without anything in it is `-`.
        scope: The names that come with the facts; `?` is the value that is tested.
        builtins: The functions that are built in.
    Returns:
        The tests, and how many places a frame needs.
    Raises:
        FeelSyntaxError: The text is no unary test; `UnknownName` where the scope is strict.
    """
    parser = Parser(text, scope, builtins)
    try:
        tests = _read_tests(parser)
    except RecursionError:
        raise FeelSyntaxError(text, parser.at, expected="fewer levels") from None
    return tests, parser.size


def _read_tests(parser: Parser) -> Tests:
    parser.is_cell = True
    parser.declare("?", parser.scope.all_names.get("?", ANY))
    if parser.is_at_end():
        return Tests(())
    if parser.takes("-"):
        if parser.is_at_end():
            return Tests(())
        parser.at = 0
    start = parser.at
    if parser.word() == "not":
        parser.at += len("not")
        if parser.takes("("):
            tests = _read_each(parser)
            parser.expect(")")
            if parser.is_at_end():
                return Tests(tests.tests, is_negated=True, asking=tests.asking)
        parser.at = start  # It was the function, as in `not(a) and b`.
    tests = _read_each(parser)
    parser.expect_end()
    return tests


def _read_each(parser: Parser) -> Tests:
    tests: list[Node] = []
    asking: list[bool] = []
    while not tests or parser.takes(","):
        asked = parser.inputs
        tests.append(parser.expression())
        asking.append(parser.inputs > asked)
    return Tests(tuple(tests), asking=tuple(asking))
