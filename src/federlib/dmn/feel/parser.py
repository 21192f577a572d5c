"""From a text to a tree.

A hand-written precedence parser: what a name is depends on what the text itself declared so
far, which no table of states can ask (decision 0025).

Source: DMN 1.5, 10.3.1.2; the ranks of the operators are its rules 2a to 2h and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NoReturn, cast

from federlib.dmn.feel import forms, lexer
from federlib.dmn.feel.cursor import Cursor, element_of
from federlib.dmn.feel.lexer import FeelSyntaxError
from federlib.dmn.feel.lexical import parse_temporal, zone_hint
from federlib.dmn.feel.numbers import parse_number
from federlib.dmn.feel.scope import Scope
from federlib.dmn.feel.tree import (
    Arithmetic,
    ArithmeticOperator,
    Between,
    Broken,
    Call,
    Comparison,
    ComparisonOperator,
    Conjunction,
    Disjunction,
    Filter,
    In,
    InstanceOf,
    Literal,
    Negation,
    Node,
    Path,
    Test,
)
from federlib.dmn.feel.type_text import read_type
from federlib.dmn.feel.types import (
    ANY,
    BOOLEAN,
    NAMED_TYPES,
    NULL,
    NUMBER,
    STRING,
    ContextType,
    FeelType,
    FunctionType,
    ListType,
    RangeType,
    type_of,
)

__all__ = ["Parser", "parse_expression"]

_OR, _AND, _COMPARISON, _ADDITION, _MULTIPLICATION, _POWER, _OPERAND = range(1, 8)

_SYMBOLS: Mapping[str, int] = {
    "=": _COMPARISON,
    "!=": _COMPARISON,
    "<": _COMPARISON,
    "<=": _COMPARISON,
    ">": _COMPARISON,
    ">=": _COMPARISON,
    "+": _ADDITION,
    "-": _ADDITION,
    "*": _MULTIPLICATION,
    "/": _MULTIPLICATION,
    "**": _POWER,
}
_WORDS: Mapping[str, int] = {
    "or": _OR,
    "and": _AND,
    "between": _COMPARISON,
    "in": _COMPARISON,
}
_TEST_STARTS = frozenset("<>=!")
_LITERALS: Mapping[str, Literal] = {
    "true": Literal(True, BOOLEAN),  # noqa: FBT003 (the value itself)
    "false": Literal(False, BOOLEAN),  # noqa: FBT003 (as above)
    "null": Literal(None, NULL),
}
# Such chains make a tree deep, each link one level.
_MAX_LINKS = 60

# What these give has elements like those of the list they are given first.
_KEEPERS = frozenset(
    {
        "append",
        "concatenate",
        "distinct values",
        "flatten",
        "insert before",
        "list replace",
        "remove",
        "reverse",
        "sort",
        "sublist",
        "union",
    }
)
# Types that say nothing without their parameters.
_GENERIC = frozenset({"context", "function", "list", "range"})
# After `[`, these tell the open end of a range from a filter.
_AFTER_END = frozenset(")],}=<>!+*/.")


def parse_expression(text: str, scope: Scope, builtins: Scope) -> tuple[Node, int]:
    """Read an expression.

    Args:
        text: The text.
        scope: The names that come with the facts.
        builtins: The functions that are built in.
    Returns:
        The tree, and how many places a frame needs.
    Raises:
        FeelSyntaxError: The text is no expression; `UnknownName` where the scope is strict.
    """
    parser = Parser(text, scope, builtins)
    try:
        node = parser.expression()
    except RecursionError:
        raise FeelSyntaxError(text, parser.at, expected="fewer levels") from None
    parser.expect_end()
    return node, parser.size


class Parser(Cursor):
    """Reads expressions.

    Attributes:
        is_in_end: It reads the upper end of a range, where `[` may close the range.
        is_cell: It reads a cell, which calls what it tests `?`.
    """

    at: int  # Moved here too, so its type is said again.
    is_in_end: bool = False
    is_cell: bool = False

    def is_at_end(self) -> bool:
        """Say whether nothing but blanks is left."""
        self.skip()
        return self.at >= len(self.text)

    def expect_end(self) -> None:
        """See that nothing but blanks is left."""
        if not self.is_at_end():
            self.fail("an operator or the end")

    def expression(self, rank: int = _OR) -> Node:
        """Read an expression whose operators are at least of a rank."""
        return self.operators(self._signed(), rank)

    def bracketed(self) -> Node:
        """Read an expression inside brackets."""
        is_in_end, self.is_in_end = self.is_in_end, False
        node = self.expression()
        self.is_in_end = is_in_end
        return node

    def operators(self, left: Node, rank: int) -> Node:
        """Read what follows an operand."""
        links = 0
        while True:
            operator, found = self._operator()
            if found < rank:
                return left
            if found == _COMPARISON:
                links += 1
                if links > _MAX_LINKS:
                    self.fail(f"at most {_MAX_LINKS} comparisons in a row")
                left = self._comparison(left, operator)
            elif found <= _AND:
                left = self._logic(left, operator, found)
            else:
                left = self._arithmetic(left, found)

    def _operator(self) -> tuple[str, int]:
        """Tell the operator that comes next, and its rank; rank 0: there is none."""
        self.skip()
        two = self.text[self.at : self.at + 2]
        rank = _SYMBOLS.get(two)
        if rank is not None and len(two) == 2:
            return two, rank
        one = two[:1]
        if one in _SYMBOLS:
            return one, _SYMBOLS[one]
        if one.isalpha():
            word = self.word()
            return word, _WORDS.get(word, 0)
        return "", 0

    def _logic(self, left: Node, operator: str, rank: int) -> Node:
        operands = [left]
        while self._operator() == (operator, rank):
            self.at += len(operator)
            operands.append(self.expression(rank + 1))
        return (Conjunction if rank == _AND else Disjunction)(tuple(operands))

    def _arithmetic(self, first: Node, rank: int) -> Node:
        rest: list[tuple[ArithmeticOperator, Node]] = []
        while (found := self._operator())[1] == rank:
            self.at += len(found[0])
            rest.append((cast("ArithmeticOperator", found[0]), self.expression(rank + 1)))
        kind = first.type
        is_closed = kind is NUMBER or (kind is STRING and rank == _ADDITION)
        if not is_closed or any(node.type is not kind for _, node in rest):
            kind = ANY
        return Arithmetic(first, tuple(rest), kind)

    def _comparison(self, left: Node, operator: str) -> Node:
        self.at += len(operator)
        if operator == "between":
            low = self.expression(_ADDITION)
            self.expect_word("and")
            return Between(left, low, self.expression(_ADDITION))
        if operator == "in":
            return self._in(left)
        if operator == "=" and self.text.startswith("=", self.at):
            self.fail("an operand; FEEL compares with `=`")
        right = self.expression(_ADDITION)
        return Comparison(cast("ComparisonOperator", operator), left, right)

    def _in(self, value: Node) -> Node:
        """Read what stands after `in`; there `?` is the value, unless a cell has its own.

        That of the cell stays: `"a" in ?` asks about what the cell tests, not about `"a"`.
        """
        if self.is_cell:
            return In(value, self._tests([]))
        mark, inputs = self.mark(), self.inputs
        place = self.declare("?", value.type)
        asking: list[bool] = []
        tests = self._tests(asking)
        self.forget(mark)
        self.inputs = inputs
        return In(value, tests, place, tuple(asking)) if any(asking) else In(value, tests)

    def _tests(self, asking: list[bool]) -> tuple[Node, ...]:
        """Read one test, or some in parentheses, and tell of each whether it names `?`."""
        asked = self.inputs
        if not self.sees("("):
            test = self.expression(_ADDITION)
            asking.append(self.inputs > asked)
            return (test,)
        with self.nested():
            self.at += 1
            first = self.bracketed()
            if self.sees(".."):
                node = forms.interval_from(self, first, has_low=False)
            elif self.sees(","):
                is_in_end, self.is_in_end = self.is_in_end, False
                tests = [first]
                asking.append(self.inputs > asked)
                while self.takes(","):
                    asked = self.inputs
                    tests.append(self.expression())
                    asking.append(self.inputs > asked)
                self.expect(")")
                self.is_in_end = is_in_end
                return tuple(tests)
            else:
                self.expect(")")
                node = first
        # It was an operand in parentheses if more of it follows: `x in (a + b) * c`.
        test = self.operators(self._suffixed(node), _ADDITION)
        asking.append(self.inputs > asked)
        return (test,)

    def _signed(self) -> Node:
        """Read an operand that may have signs before it."""
        if not self.sees("-"):
            return self._suffixed(self._primary())
        self.at += 1
        if lexer.NUMBER.match(self.text, self.at):
            return self._suffixed(self._number("-"))
        with self.nested():
            operand = self._signed()
        if isinstance(operand, Literal) and isinstance(operand.value, Decimal):
            return Literal(operand.value.copy_negate(), NUMBER)
        return Negation(operand, operand.type)

    def _suffixed(self, node: Node) -> Node:
        """Read what clings to an operand: entries, filters, arguments, `instance of`."""
        links = 0
        while True:
            self.skip()
            sign = self.text[self.at : self.at + 1]
            if sign == ".":
                if self.text.startswith("..", self.at):
                    break
                self.at += 1
                node = self._path(node)
            elif sign == "[":
                if self.is_in_end and self._closes_range(node):
                    break
                node = self._filter(node)
            elif sign == "(":
                node = self._call(node)
            else:
                break
            links += 1
            if links > _MAX_LINKS:
                self.fail(f"at most {_MAX_LINKS} entries, filters and arguments in a row")
        while self.text.startswith("instance", self.at) and self.word() == "instance":
            self.at += len("instance")
            self.expect_word("of")
            self.skip()
            start = self.at
            wanted = read_type(self)
            text = self.text[start : self.at]
            bare = text.strip()
            if bare in _GENERIC and self.scope.all_types[bare] is NAMED_TYPES[bare]:
                wanted = None  # Such a type has parameters: Table 61 has `instance of list`.
            elif wanted is None and self.scope.strict:
                known = self.scope.all_types
                raise lexer.UnknownName(self.text, start, name=text, known=known)
            node = InstanceOf(node, wanted, text)
            links += 1
            if links > _MAX_LINKS:
                self.fail(f"at most {_MAX_LINKS} of these in a row")
        return node

    def _closes_range(self, node: Node) -> bool:
        """Say whether `[` ends the range, rather than begins a filter of its upper end."""
        if isinstance(node, Literal):
            return True
        blank = lexer.BLANK.match(self.text, self.at + 1)
        after = blank.end() if blank else self.at + 1
        if self.text[after : after + 1] in _AFTER_END or after >= len(self.text):
            return True
        word = lexer.WORD.match(self.text, after)
        return word is not None and word.group() in lexer.STOPPERS

    def _path(self, source: Node) -> Node:
        word = self.word()
        if not word:
            self.fail("the name of an entry")
        element = element_of(source.type)
        if isinstance(element, ContextType):
            found = element.index.match(self.text, word, self.at + len(word))
            if found is not None:
                self.at, name = found
                kind = element.entries[name]
                is_list = element is not source.type
                return Path(source, name, ListType(kind) if is_list else kind)
        return Path(source, self.unknown_name())

    def _filter(self, source: Node) -> Node:
        with self.nested():
            self.at += 1
            mark = self.mark()
            element = element_of(source.type)
            item = self.declare_item(element)
            condition = self.bracketed()
            self.expect("]")
            self.forget(mark)
        is_one = condition.type == NUMBER
        return Filter(source, condition, item, element if is_one else ListType(element))

    def _call(self, function: Node) -> Node:
        with self.nested():
            self.at += 1
            is_in_end, self.is_in_end = self.is_in_end, False
            names, arguments = forms.arguments(self)
            self.is_in_end = is_in_end
        kind: FeelType = ANY
        if isinstance(function.type, FunctionType):
            kind = function.type.result
        elif forms.is_builtin(function, _KEEPERS) and arguments:
            kind = arguments[0].type
        return Call(function, arguments, names, kind)

    def _number(self, sign: str = "") -> Node:
        found = lexer.NUMBER.match(self.text, self.at)
        assert found is not None
        if lexer.WORD_PART.match(self.text, found.end()):
            self.fail("a number")
        self.at = found.end()
        value = parse_number(sign + found.group())
        if value is None:
            return Broken(f"{found.group()[:40]} is larger than a number may be", NUMBER)
        return Literal(value, NUMBER)

    def string(self) -> str:
        """Read a string literal."""
        found = lexer.STRING.match(self.text, self.at)
        value = None if found is None else lexer.unescape(found.group(1))
        if found is None or value is None:
            self.fail("a string in quotes, on one line")
        self.at = found.end()
        return value

    def _primary(self) -> Node:
        sign = self.text[self.at : self.at + 1]
        if sign == '"':
            return Literal(self.string(), STRING)
        if lexer.NUMBER.match(self.text, self.at):
            return self._number()
        if sign == "@":
            self.at += 1
            if not self.sees('"'):
                self.fail("a string")
            text = self.string()
            value = parse_temporal(text)
            if value is None:
                return Broken(f'@"{text[:40]}" is no date, time or duration{zone_hint(text)}')
            return Literal(value, type_of(value))
        name = self.name()
        if name is not None:
            return name
        with self.nested():
            if sign == "(":
                return forms.parenthesis(self)
            if sign in {"[", "]"}:
                return forms.list_or_interval(self)
            if sign == "{":
                return forms.context(self)
            if sign in _TEST_STARTS:
                return self._test()
            return self._keyword()

    def _test(self) -> Node:
        operator, rank = self._operator()
        if rank != _COMPARISON:
            self.fail("an expression")
        self.at += len(operator)
        operand = self.expression(_ADDITION)
        return Test(cast("ComparisonOperator", operator), operand, RangeType(operand.type))

    def _keyword(self) -> Node:
        word = self.word()
        literal = _LITERALS.get(word)
        if literal is not None:
            self.at += len(word)
            return literal
        match word:
            case "if":
                return forms.choice(self)
            case "for":
                return forms.iteration(self)
            case "some" | "every":
                return forms.quantified(self)
            case "function":
                return forms.function(self)
            case _:
                return self._no_operand()

    def _no_operand(self) -> NoReturn:
        self.fail("an expression")
