"""How texts are read: ranks of operators, names that depend on the scope, limits, bad texts."""

from __future__ import annotations

import sys
import time
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from federlib.dmn.feel import (
    ANY,
    LIST,
    NUMBER,
    STRING,
    ContextType,
    Evaluation,
    Exhausted,
    FeelSyntaxError,
    FunctionType,
    ListType,
    Scope,
    UnknownName,
    Value,
    compile_expression,
    compile_unary_tests,
)
from federlib.dmn.feel import tree as t

SCOPE = Scope(
    {
        "a": NUMBER,
        "b": NUMBER,
        "a-b": NUMBER,
        "x y": NUMBER,
        "x": NUMBER,
        "xs": LIST,
        "values in a list": LIST,
        "for sure": NUMBER,
        "in": NUMBER,
        "f": FunctionType((NUMBER,), ContextType({"given-by function": ANY})),
        "(no name)": ANY,
        "people": ListType(ContextType({"first name": STRING, "Full/Part-time": STRING})),
        "who": ContextType({"first name": STRING, "if": NUMBER, "home": ContextType({"a b": ANY})}),
    },
    strict=False,
)


def tree(text: str, scope: Scope = SCOPE) -> t.Node:
    """Read a text."""
    return compile_expression(text, scope).tree


# Each pair is one tree, by the ranks of rules 2 and 4.
@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("1 + 2 * 3", "1 + (2 * 3)"),
        ("1 - 2 - 3", "(1 - 2) - 3"),
        ("8 / 4 / 2", "(8 / 4) / 2"),
        ("2 ** 3 ** 2", "(2 ** 3) ** 2"),
        ("-2 ** 2", "(-2) ** 2"),
        ("2 ** -1", "2 ** (-1)"),
        ("-a * b", "(-a) * b"),
        ("--2", "-(-2)"),
        ("- 2", "-2"),
        ("-(2)", "-2"),
        ("1 + 2 < 3 + 4", "(1 + 2) < (3 + 4)"),
        ("1 = 1 and 2 = 2 or 3 = 4", "((1 = 1) and (2 = 2)) or (3 = 4)"),
        ("true or false and null", "true or (false and null)"),
        ("1 < 2 = true", "(1 < 2) = true"),
        ("a between 1 and 2 and true", "(a between 1 and 2) and true"),
        ("a between 1 + 1 and 2 + 2", "a between (1 + 1) and (2 + 2)"),
        ("1 + a in 2 + 3", "(1 + a) in (2 + 3)"),
        ("a in (1 + 2) * 3", "a in ((1 + 2) * 3)"),
        ("a in (xs)[1]", "a in (xs[1])"),
        ("a in (1..2) and true", "(a in (1..2)) and true"),
        ("a in < 5 and true", "(a in (< 5)) and true"),
        ("1 + a instance of number", "1 + (a instance of number)"),
        ("if true then 1 else 2 + 3", "if true then 1 else (2 + 3)"),
        ("1 + if true then 1 else 2", "1 + (if true then 1 else 2)"),
        ("for i in xs return i + 1", "for i in xs return (i + 1)"),
        ("some i in xs satisfies i > 1 or true", "some i in xs satisfies (i > 1 or true)"),
        ("function(q) q + 1", "function(q) (q + 1)"),
        ("xs[1].a b", "(xs[1]).a b"),
        ("1/* c */+// d\n2", "1 + 2"),
        ("1 + 2 // the end", "1 + 2"),
        ("/**/ 1", "1"),
        ("1\u00a0+\u20032", "1 + 2"),
        ("{a b /* c */ : /* : */ 1}", "{a b: 1}"),
        ("f(p q /* : */: 1, // r: 2\n s: 3)", "f(p q: 1, s: 3)"),
        ("function(a // b\n, c /* : */ : number) a", "function(a, c: number) a"),
    ],
)
def test_two_texts_say_the_same(text: str, same: str) -> None:
    def value(of: str) -> Value:
        facts = {name: Decimal(7) for name in SCOPE.all_names}
        return compile_expression(of, SCOPE).evaluate(Evaluation(), facts)

    if "**" in text or " - " in text or "/ 4" in text or "=" in text.rsplit("<", maxsplit=1)[-1]:
        assert value(text) == value(same)  # a chain is one node, brackets make two
    else:
        assert tree(text) == tree(same)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a-b", ["a-b"]),
        ("a - b", ["a-b"]),  # blanks around a symbol say nothing
        ("b-a", ["b", "a"]),
        ("x y", ["x y"]),
        ("x\n  y", ["x y"]),
        ("x + y", ["x", "y"]),
        ("values in a list", ["values in a list"]),
        ("a in values in a list", ["a", "values in a list"]),
        ("for sure + 1", ["for sure"]),
        ("some i in values in a list satisfies i = 1", ["values in a list", "i"]),
        ("no such name + a", ["no such name", "a"]),
        ("no such and a", ["no such", "a"]),
        ('date and time("2020-01-01T00:00:00")', ["date and time"]),
        ("string length(a)", ["string length", "a"]),
    ],
)
def test_names_are_read_by_what_is_known(text: str, names: list[str]) -> None:
    assert _names(tree(text)) == names


def _names(node: object) -> list[str]:
    if isinstance(node, t.Name):
        return [node.name]
    if isinstance(node, tuple):
        return [name for part in node for name in _names(part)]
    if type(node).__module__ == t.__name__:
        return [
            name
            for field in type(node).__match_args__  # type: ignore[attr-defined] # attrs makes it
            for name in _names(getattr(node, field))
        ]
    return []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("who.first name", "first name"),
        ("who.first  name ", "first name"),
        ("who.if", "if"),
        ("who.home.a b", "a b"),
        ("people.Full/Part-time", "Full/Part-time"),
        ("people[1].Full / Part - time", "Full/Part-time"),
        ("(for p in people return p)[1].Full/Part-time", "Full/Part-time"),
        ("(if true then people else people).Full/Part-time", "Full/Part-time"),
        ("sort(people, function(p, q) true).Full/Part-time", "Full/Part-time"),
        ("{k-1: {l+2: 1}}.k-1.l+2", "l+2"),
        ("xs.Full/Part-time", "Full/Part-time"),  # some context has it, so it is known by sight
        ("xs.some thing other", "some thing other"),
        ("xs.time offset", "time offset"),
        ("xs.given-by function", "given-by function"),
    ],
)
def test_entries_are_read_by_the_type_before_the_point(text: str, name: str) -> None:
    node = tree(text)
    assert isinstance(node, t.Path)
    assert node.name == name


def test_in_a_filter_the_entries_of_the_element_are_names() -> None:
    node = tree("people[Full/Part-time = a]")
    assert isinstance(node, t.Filter)
    assert isinstance(node.condition, t.Comparison)
    assert node.condition.left == t.Name("Full/Part-time", t.UNKNOWN, (node.item,), type=STRING)
    right = node.condition.right
    assert isinstance(right, t.Name)
    assert (right.place, right.items) == (t.FACTS, ())


@pytest.mark.parametrize(
    ("text", "has_low", "has_high"),
    [
        ("[1..2]", True, True),
        ("(1..2)", False, False),
        ("]1..2[", False, False),
        ("[1..2[", True, False),
        ("]1..2]", False, True),
        ("[1..a[", True, False),
        ("[1..xs[1]]", True, True),
        ("[1..xs[1][", True, False),
        ("[xs[1]..(xs[2])[", True, False),
    ],
)
def test_brackets_of_ranges(text: str, has_low: bool, has_high: bool) -> None:
    node = tree(text)
    assert isinstance(node, t.Interval)
    assert (node.has_low, node.has_high) == (has_low, has_high)


@pytest.mark.parametrize(
    "text", ["a in ]1..a[ and true", "[]1..a[, ]1..b[]", "{r: ]1..a[}.r", "f(]1..a[)", "]1..a[ = 1"]
)
def test_an_open_end_is_no_filter(text: str) -> None:
    assert tree(text) is not None


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("", 1, "an expression"),
        ("1 +", 4, "an expression"),
        ("1 2", 3, "an operator or the end"),
        ("(1", 3, "`)`"),
        ("[1, 2", 6, "`]`"),
        ("]1, 2]", 3, "`..`"),
        ("[1..2", 6, "`[`"),
        ("{a 1}", 5, "`:`"),
        ("{1: 2}", 2, "the name of an entry"),
        ("{a: 1 b: 2}", 7, "`,`"),
        ("if 1 then 2", 12, "`else`"),
        ("if 1 else 2", 6, "`then`"),
        ("for i return 1", 5, "a variable and `in`"),
        ("for i in xs", 12, "`return`"),
        ("some i in xs return 1", 14, "`satisfies`"),
        ("a between 1", 12, "`and`"),
        ("a instance number", 12, "`of`"),
        ("a.", 3, "the name of an entry"),
        ("a.1", 3, "the name of an entry"),
        ('"a', 1, "a string in quotes, on one line"),
        ('"a\nb"', 1, "a string in quotes, on one line"),
        (r'"\ud83d"', 1, "a string in quotes, on one line"),
        ("1a", 1, "a number"),
        ("1.5.5", 5, "the name of an entry"),
        ("1e", 1, "a number"),
        ("@1", 2, "a string"),
        ("f(a: 1, 2)", 9, "all arguments with a name, or none"),
        ("f(1, a: 2)", 8, "all arguments with a name, or none"),
        ("function(p, p) 1", 14, "another name than that of a parameter before it"),
        ("and", 1, "an expression"),
        ("then", 1, "an expression"),
        ("%", 1, "an expression"),
        ("!", 1, "an expression"),
        ("1 == 1", 4, "an operand; FEEL compares with `=`"),
        ("/* 1", 1, "an expression"),
    ],
)
def test_bad_texts_say_where_and_what_was_expected(text: str, column: int, expected: str) -> None:
    with pytest.raises(FeelSyntaxError) as caught:
        tree(text)
    assert (caught.value.column, caught.value.expected) == (column, expected)


@pytest.mark.parametrize(
    ("text", "name", "near"),
    [
        ("qeue > 1", "qeue", ("queue",)),
        ("1 + nothing like it", "nothing like it", ()),
        ("queue instance of nmber", "nmber", ("number",)),
        ("function(q: nmber) q", "nmber", ("number",)),
        ("{depth: 1, b: detph}", "detph", ("depth",)),
        ("pool[nme = 1]", "nme", ("name",)),
    ],
)
def test_unknown_names_are_errors_where_the_scope_is_strict(
    text: str, name: str, near: tuple[str, ...]
) -> None:
    scope = Scope({"queue": NUMBER, "pool": ContextType({"name": STRING})})
    with pytest.raises(UnknownName) as caught:
        compile_expression(text, scope)
    assert caught.value.name == name
    assert caught.value.suggestions[: len(near)] == near


@pytest.mark.parametrize(
    "text",
    [
        "(" * 1000,
        "[" * 1000,
        "{a:" * 1000,
        "-" * 1000,
        "1 in (" * 1000,
        "if " * 1000,
        "for i in " * 1000,
        "function(a) " * 1000,
        "a(" * 1000,
        "a[" * 1000,
        "< " * 1000,
        "a" + ".a" * 1000,
        "a" + "[1]" * 1000,
        "a" + "()" * 1000,
        "1" + "=1" * 1000,
        "a" + " instance of number" * 1000,
        "for " + ",".join(f"x{i} in a" for i in range(1000)) + " return 1",
        "1 or 1 and 1 = 1 + 1 * 1 ** (" * 60 + "1" + ")" * 60,
    ],
)
def test_what_nests_too_deep_is_refused_and_not_crashed_on(text: str) -> None:
    for compiled in (compile_expression, compile_unary_tests):
        with pytest.raises(FeelSyntaxError):
            compiled(text, SCOPE)


def test_a_stack_that_is_nearly_full_is_no_crash() -> None:
    def at_depth(depth: int, text: str) -> bool:
        if depth > 0:
            return at_depth(depth - 1, text)
        try:
            compile_unary_tests(text, SCOPE)
            return compile_expression(text, SCOPE).text == text
        except FeelSyntaxError as error:
            return "levels" not in error.expected

    limit = sys.getrecursionlimit()
    for text in ("(" * 50 + "1" + ")" * 50, "a" + ".a" * 59):
        outcomes = []
        for depth in range(0, limit, 20):
            try:
                outcomes.append(at_depth(depth, text))
            except RecursionError:  # of this test's own frames
                break
        assert outcomes[0] is True
        assert False in outcomes


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("+".join(["1"] * 5000), Decimal(5000)),
        (" or ".join(["false"] * 5000), False),
        (" and ".join(["true"] * 5000), True),
        ("(" * 50 + "1" + ")" * 50, Decimal(1)),
        ("count([" + ",".join(["1"] * 5000) + "])", Decimal(5000)),
    ],
)
def test_long_texts_are_no_deep_ones(text: str, value: Value) -> None:
    assert compile_expression(text).evaluate(Evaluation(), {}) == value


def test_a_text_has_a_largest_size() -> None:
    with pytest.raises(FeelSyntaxError, match="at most 1,000,000 characters"):
        compile_expression('"' + "a" * 10_000_000 + '"')


def test_a_long_text_is_read_in_linear_time() -> None:
    def seconds(text: str) -> float:
        start = time.process_time()
        try:
            compile_expression(text, SCOPE)
        except FeelSyntaxError:
            pass
        return time.process_time() - start

    for piece in (
        "1,",
        "a b c ",
        "f(",
        "{a:1},",
        "/*",
        '"\\',
        "a:",
        "x in ",
        "..",
        "<",
        "1.5",
        "[",
    ):
        short = max(seconds("[" + piece * (3_000 // len(piece))), 0.002)
        assert seconds("[" + piece * (30_000 // len(piece))) < 60 * short, piece


WORDS = """
    ( ) [ ] { } .. . , : " "a" @"2020-01-01" @ 1 2.5 .5 1e400 - + * / ** = != < <= > >= and or
    not in between if then else for return some every satisfies function instance of list
    <number> context a b x y item ? partial null true false external date time
    // /* */ xs people who.home f( a-b first name 🐎 \\ ' %
"""
PIECES = st.sampled_from([*WORDS.split(), "\x00", "\ud800", "\n"])
HOSTILE = st.one_of(
    st.lists(PIECES, max_size=12).map("".join),
    st.lists(PIECES, max_size=12).map(" ".join),
    st.text(max_size=30),
)


@settings(max_examples=300, deadline=None)
@example("\n")
@example("-")
@example("not(")
@example("a\u200bb")
@example("[1..")
@given(HOSTILE)
def test_whatever_is_read_raises_nothing_but_syntax_errors(text: str) -> None:
    facts: dict[str, Value] = {"a": Decimal(3), "x": None, "xs": [Decimal(1), {"y": "s"}]}
    for scope in (SCOPE, Scope({"a": ANY})):
        for compiled in (compile_expression, compile_unary_tests):
            try:
                program = compiled(text, scope)
            except FeelSyntaxError:
                continue
            ev = Evaluation(steps=10_000)
            try:
                if isinstance(program.tree, t.Tests):
                    compile_unary_tests(text, scope).matches(ev, facts, Decimal(3))
                else:
                    compile_expression(text, scope).evaluate(ev, facts)
            except Exhausted:
                pass


NUMBERS = st.integers(-9, 9).map(str)
SUMS = st.recursive(
    NUMBERS,
    lambda inner: st.one_of(
        inner.map("({})".format),
        inner.map("-({})".format),
        st.tuples(inner, st.sampled_from("+-*"), inner).map(" ".join),
    ),
    max_leaves=12,
)
CLAIMS = st.recursive(
    st.tuples(SUMS, st.sampled_from(["<", "<=", ">", ">=", "!="]), SUMS).map(" ".join),
    lambda inner: st.one_of(
        inner.map("({})".format),
        inner.map("not({})".format),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
    ),
    max_leaves=5,
)


@given(SUMS)
def test_sums_and_products_are_read_as_python_reads_them(text: str) -> None:
    assert compile_expression(text).evaluate(Evaluation(), {}) == eval(text)


@given(CLAIMS)
def test_claims_are_read_as_python_reads_them(text: str) -> None:
    assert compile_expression(text).evaluate(Evaluation(), {}) is eval(text)
