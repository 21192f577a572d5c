"""Compiling texts of FEEL: once, to closures from a tree in which every name is resolved.

Source: DMN 1.5, 10.3.1 and 10.3.2; unary tests are 7.3 and 10.3.2.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import cast

import attrs

from federlib.dmn.feel import operators
from federlib.dmn.feel.closures import Builtins, Code, Compiler, Frame, Predicate
from federlib.dmn.feel.evaluation import Evaluation, Exhausted
from federlib.dmn.feel.lexer import FeelSyntaxError
from federlib.dmn.feel.parser import parse_expression
from federlib.dmn.feel.scope import Scope
from federlib.dmn.feel.tree import INPUT, Interval, Literal, Node, Test, Tests
from federlib.dmn.feel.types import ANY
from federlib.dmn.feel.unary import parse_unary_tests
from federlib.dmn.feel.values import Value

__all__ = ["Expression", "UnaryTests", "compile_expression", "compile_unary_tests"]


@attrs.frozen(eq=False)
class Expression:
    """An expression that was compiled.

    Attributes:
        text: What it was compiled from.
        tree: What it says.
    """

    text: str
    tree: Node
    _code: Code
    _size: int

    def evaluate(self, ev: Evaluation, names: Mapping[str, Value]) -> Value:
        """Evaluate it.

        Args:
            ev: Its clock and limits; takes its problems.
            names: The facts; only those that it uses are looked up.
        Returns:
            Its value; null where the standard calls something an error.
        Raises:
            Exhausted: It takes more steps, or builds something larger, than it may.
        """
        frame: Frame = [None] * self._size
        frame[0] = cast("Value", names)
        try:
            return self._code(ev, frame)
        except RecursionError:
            raise Exhausted("functions call each other too deeply") from None


@attrs.frozen(eq=False)
class UnaryTests:
    """The unary tests of a cell, compiled.

    Attributes:
        text: What they were compiled from.
        tree: What they say.
    """

    text: str
    tree: Tests
    _tests: tuple[Predicate, ...]
    _size: int

    def matches(self, ev: Evaluation, names: Mapping[str, Value], value: Value) -> bool | None:
        """Test a value.

        Args:
            ev: Its clock and limits; takes its problems.
            names: The facts.
            value: What is tested, which the text calls `?`.
        Returns:
            Whether one test holds, or with `not(...)` none; None where neither can be said.
        Raises:
            Exhausted: They take more steps, or build something larger, than they may.
        """
        if not self._tests:
            return True
        frame: Frame = [None] * self._size
        frame[0] = cast("Value", names)
        frame[INPUT] = value
        result: bool | None = False
        try:
            for test in self._tests:
                result = operators.or_(result, test(ev, frame, value))
                if result is True:
                    break
        except RecursionError:
            raise Exhausted("functions call each other too deeply") from None
        return operators.not_(result) if self.tree.is_negated else result


def compile_expression(text: str, scope: Scope | None = None) -> Expression:
    """Compile an expression.

    Args:
        text: The text.
        scope: The names that come with the facts; without it there are none.
    Raises:
        FeelSyntaxError: The text is no expression. `UnknownName` names what nothing is called,
            unless the scope is not strict.
    """
    builtins, known = _builtins()
    tree, size = parse_expression(text, Scope() if scope is None else scope, known)
    compiler = Compiler(builtins)
    try:
        return Expression(text, tree, compiler.code(tree), size)
    except RecursionError:
        raise FeelSyntaxError(text, 0, expected="fewer levels") from None


def compile_unary_tests(text: str, scope: Scope | None = None) -> UnaryTests:
    """Compile the unary tests of a cell.

    Args:
        text: The text; an empty one is `-`.
        scope: The names that come with the facts. A type of the name `?` is that of the value
            which is tested.
    Raises:
        FeelSyntaxError: The text is no unary test. `UnknownName` names what nothing is called,
            unless the scope is not strict.
    """
    builtins, known = _builtins()
    tree, size = parse_unary_tests(text, Scope() if scope is None else scope, known)
    compiler = Compiler(builtins)
    try:
        tests = tuple(
            _test(compiler, node, is_asking=is_asking)
            for node, is_asking in zip(tree.tests, tree.asking, strict=True)
        )
    except RecursionError:
        raise FeelSyntaxError(text, 0, expected="fewer levels") from None
    return UnaryTests(text, tree, tests, size)


def _test(compiler: Compiler, node: Node, *, is_asking: bool) -> Predicate:
    """Make of a node what tests a value, as a cell does.

    That is what `in` does, and one thing more: an expression that gives a boolean decides by
    itself if it asks for `?`, or if the value is of another type.
    """
    if isinstance(node, Test | Interval | Literal):
        return compiler.test(node)
    code = compiler.code(node)

    def by_itself(ev: Evaluation, frame: Frame, value: Value) -> bool | None:
        result = code(ev, frame)
        if isinstance(result, bool):
            if is_asking or not (value is None or isinstance(value, bool)):
                return result
        elif is_asking and result is None:
            return None
        return operators.is_in(ev, value, result)

    return by_itself


@cache
def _builtins() -> tuple[Builtins, Scope]:
    # Not at the top: what is built in needs what is compiled.
    from federlib.dmn.feel.builtins import BUILTINS

    return BUILTINS, Scope(dict.fromkeys(BUILTINS, ANY))
