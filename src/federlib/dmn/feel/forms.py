"""What has brackets or keywords of its own: lists, ranges, contexts, functions, `if`, `for`.

Source: DMN 1.5, 10.3.1.2, rules 8, 41 to 48, 55 to 61 and 67.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from federlib.dmn.feel import lexer
from federlib.dmn.feel.cursor import MAX_DEPTH, Declared, element_of
from federlib.dmn.feel.tree import (
    BUILTIN,
    Broken,
    ContextEntry,
    ContextLiteral,
    For,
    FunctionLiteral,
    If,
    Interval,
    Iteration,
    ListLiteral,
    Name,
    Node,
    Parameter,
    Quantified,
)
from federlib.dmn.feel.type_text import read_type
from federlib.dmn.feel.types import (
    ANY,
    LIST,
    ContextType,
    FeelType,
    FunctionType,
    ListType,
    RangeType,
    bounded,
    join,
)

if TYPE_CHECKING:
    from federlib.dmn.feel.parser import Parser

__all__ = [
    "arguments",
    "choice",
    "context",
    "function",
    "interval_from",
    "is_builtin",
    "iteration",
    "list_or_interval",
    "parenthesis",
    "quantified",
]


def is_builtin(node: Node, names: AbstractSet[str]) -> bool:
    """Say whether a node names one of some functions that are built in."""
    return isinstance(node, Name) and node.place == BUILTIN and node.name in names


def parenthesis(parser: Parser) -> Node:
    """Read an expression in parentheses, or a range that begins so."""
    parser.at += 1
    node = parser.bracketed()
    if parser.sees(".."):
        return interval_from(parser, node, has_low=False)
    parser.expect(")")
    return node


def list_or_interval(parser: Parser) -> Node:
    """Read what begins with `[`, or a range that begins with `]`."""
    is_closed = parser.text[parser.at] == "["
    parser.at += 1
    if is_closed and parser.sees("]") and not _begins_open(parser):
        parser.at += 1
        return ListLiteral((), LIST)
    first = parser.bracketed()
    if not is_closed or parser.sees(".."):
        return interval_from(parser, first, has_low=is_closed)
    is_in_end, parser.is_in_end = parser.is_in_end, False
    elements = [first]
    while parser.takes(","):
        elements.append(parser.expression())
    parser.is_in_end = is_in_end
    parser.expect("]")
    return ListLiteral(tuple(elements), bounded(ListType(join(node.type for node in elements))))


def _begins_open(parser: Parser) -> bool:
    """Say whether `]` begins the range `]1..2[`, as the first element of a list."""
    blank = lexer.BLANK.match(parser.text, parser.at + 1)
    after = blank.end() if blank else parser.at + 1
    if parser.text[after : after + 1] in {'"', "@"} or lexer.NUMBER.match(parser.text, after):
        return True
    word = lexer.WORD.match(parser.text, after)
    return word is not None and word.group() not in lexer.STOPPERS


def interval_from(parser: Parser, low: Node, *, has_low: bool) -> Node:
    """Read a range whose lower end is known, from `..` on."""
    parser.expect("..")
    is_in_end, parser.is_in_end = parser.is_in_end, True
    high = parser.expression()
    parser.is_in_end = is_in_end
    has_high = parser.takes("]")
    if not has_high and not parser.takes(")"):
        parser.expect("[")
    return Interval(low, high, has_low, has_high, bounded(RangeType(join((low.type, high.type)))))


def context(parser: Parser) -> Node:
    """Read a context."""
    parser.at += 1
    mark = parser.mark()
    is_in_end, parser.is_in_end = parser.is_in_end, False
    declared = Declared(parser)
    entries: list[ContextEntry] = []
    twice: str | None = None
    while not parser.takes("}"):
        if entries:
            parser.expect(",")
        key = _key(parser)
        parser.expect(":")
        if key in declared:
            twice = twice or key
        if parser.word() == "function":
            declared.add(key, ANY)  # A function may call itself.
        value = parser.expression()
        entries.append(ContextEntry(key, declared.add(key, value.type), value))
    parser.is_in_end = is_in_end
    parser.forget(mark)
    if twice is not None:
        return Broken(f"a context has two entries {twice[:40]!r}")
    return ContextLiteral(tuple(entries), bounded(ContextType(declared.types)))


def _key(parser: Parser) -> str:
    parser.skip()
    if parser.sees('"'):
        return parser.string()
    return parser.declared_name("the name of an entry")


def arguments(parser: Parser) -> tuple[tuple[str, ...] | None, tuple[Node, ...]]:
    """Read the arguments of a call up to the parenthesis: names if they have any, and values."""
    if parser.takes(")"):
        return None, ()
    names: list[str] = []
    values: list[Node] = []
    while not values or parser.takes(","):
        parser.skip()
        start = parser.at
        parser.at = end = lexer.match_declared(parser.text, start)
        if end > start and parser.takes(":"):
            names.append(lexer.normalised(parser.text[start:end]))
        else:
            parser.at = start
        if len(names) not in {0, len(values) + 1}:
            parser.fail("all arguments with a name, or none")
        values.append(parser.expression())
    parser.expect(")")
    return (tuple(names) if names else None), tuple(values)


def choice(parser: Parser) -> Node:
    """Read `if`."""
    parser.at += len("if")
    condition = parser.bracketed()
    parser.expect_word("then")
    then = parser.bracketed()
    parser.expect_word("else")
    otherwise = parser.expression()
    return If(condition, then, otherwise, bounded(join((then.type, otherwise.type))))


def _iterations(parser: Parser, *, has_ranges: bool) -> tuple[Iteration, ...]:
    found: list[Iteration] = []
    while not found or parser.takes(","):
        parser.skip()
        variable = lexer.match_variable(parser.text, parser.at)
        if variable is None:
            parser.fail("a variable and `in`")
        if len(found) == MAX_DEPTH:
            parser.fail(f"at most {MAX_DEPTH} variables")
        name, parser.at = variable
        source = parser.bracketed()
        end = None
        kind: FeelType = source.type
        if has_ranges and parser.takes(".."):
            end = parser.bracketed()
        elif isinstance(kind, RangeType):
            kind = kind.element
        place = parser.declare(name, element_of(kind))
        found.append(Iteration(name, place, source, end))
    return tuple(found)


def iteration(parser: Parser) -> Node:
    """Read `for`."""
    parser.at += len("for")
    mark = parser.mark()
    # Its place is kept while the later sources are evaluated, which may have loops themselves.
    partial = parser.take_place()
    iterations = _iterations(parser, has_ranges=True)
    parser.declare("partial", LIST, is_partial=True, place=partial)
    parser.expect_word("return")
    body = parser.expression()
    parser.forget(mark)
    return For(iterations, partial, body, ListType(body.type))


def quantified(parser: Parser) -> Node:
    """Read `some` or `every`."""
    is_every = parser.word() == "every"
    parser.at += len("every" if is_every else "some")
    mark = parser.mark()
    iterations = _iterations(parser, has_ranges=True)
    parser.expect_word("satisfies")
    condition = parser.expression()
    parser.forget(mark)
    return Quantified(is_every, iterations, condition)


def function(parser: Parser) -> Node:
    """Read the definition of a function."""
    parser.at += len("function")
    parser.expect("(")
    mark = parser.mark()
    declared = Declared(parser)
    parameters: list[Parameter] = []
    while not parser.takes(")"):
        if parameters:
            parser.expect(",")
        name = parser.declared_name("the name of a parameter")
        if name in declared:
            parser.fail("another name than that of a parameter before it")
        kind: FeelType = ANY
        if parser.takes(":"):
            start = parser.at
            known = read_type(parser)
            if known is None and parser.scope.strict:
                text = parser.text[start : parser.at].strip()
                types = parser.scope.all_types
                raise lexer.UnknownName(parser.text, start, name=text, known=types)
            kind = ANY if known is None else known
        parameters.append(Parameter(name, declared.add(name, kind), kind))
    is_external = parser.word() == "external"
    if is_external:
        parser.at += len("external")
    body = parser.expression()
    if is_external:
        body = Broken("functions in Java and PMML are not supported")
    parser.forget(mark)
    kinds = tuple(parameter.type for parameter in parameters)
    names = tuple(parameter.name for parameter in parameters)
    result = bounded(FunctionType(kinds, body.type, names))
    if not isinstance(result, FunctionType):
        result = FunctionType((ANY,) * len(kinds), ANY, names)
    return FunctionLiteral(tuple(parameters), body, result)
