"""Names, strings and errors as the lexical rules have them."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.dmn.feel.lexer import (
    FeelSyntaxError,
    NameIndex,
    UnknownName,
    name_parts,
    normalised,
    unescape,
)
from federlib.errors import InvalidInput


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a", ("a",)),
        ("a1", ("a1",)),
        ("Full Name", ("Full", "Name")),
        ("K-MatchesFunc-1", ("K", "-", "MatchesFunc", "-", "1")),
        ("Approved/Declined", ("Approved", "/", "Declined")),
        ("decision A 2.1", ("decision", "A", "2", ".", "1")),
        (" a \u00a0 b ", ("a", "b")),
        ("🐎", ("🐎",)),
        ("横綱", ("横綱",)),
        ("1a", None),  # a name begins with no digit
        ("+a", None),
        ("a(b", None),
        ("", None),
        (" ", None),
    ],
)
def test_a_name_parts_into_words_and_symbols(name: str, parts: tuple[str, ...] | None) -> None:
    assert name_parts(name) == parts


@pytest.mark.parametrize(
    ("name", "spelled"),
    [("a  b", "a b"), (" a + b ", "a+b"), ("a - 1", "a-1"), ("x\n y", "x y"), ("((", "((")],
)
def test_a_name_is_spelled_one_way(name: str, spelled: str) -> None:
    assert normalised(name) == spelled


def test_the_longest_known_name_is_found_first() -> None:
    index = NameIndex(["a", "a b", "a-b", "a b c"])
    for text, end, name in [
        ("a", 1, "a"),
        ("a x", 1, "a"),
        ("a b", 3, "a b"),
        ("a  b   c", 8, "a b c"),
        ("a b cd", 3, "a b"),
        ("a - b", 5, "a-b"),
        ("a -bc", 1, "a"),
    ]:
        assert index.match(text, "a", 1) == (end, name), text
    assert index.match("ab", "ab", 2) is None


@given(st.lists(st.sampled_from(["a", "b", "in", "if", "1", "-", "/", "."]), max_size=6))
def test_a_known_name_is_found_however_it_is_spaced(parts: list[str]) -> None:
    name = " ".join(["x", *parts])
    index = NameIndex([name])
    for blank in (" ", "  ", "\n\t", "\u00a0"):
        text = blank.join(["x", *parts])
        assert index.match(text + " rest", "x", 1) == (len(text), name)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"a\"b", 'a"b'),
        (r"\\u0041", r"\u0041"),
        (r"\u0041\n\t\r\'", "A\n\t\r'"),
        (r"\U01F40E", "🐎"),
        (r"\ud83d\udc0e", "🐎"),
        (r"\uD83D\uDCA9\ud83d\udc0e", "💩🐎"),
        (r"\d+\.", r"\d+\."),  # no escape of the standard's: it stays
        (r"\U110000", r"\U110000"),  # no character has that number
        (r"\ud83d", None),
        (r"\udc0e\ud83d", None),
    ],
)
def test_escapes_are_resolved(body: str, text: str | None) -> None:
    assert unescape(body) == text


def test_an_error_says_where_it_is_and_what_was_expected() -> None:
    error = FeelSyntaxError("1 +\n  )", 6, expected="an expression")
    assert (error.line, error.column, error.found) == (2, 3, "')'")
    assert str(error) == "FEEL, line 2, column 3: expected an expression, found ')'"
    assert isinstance(error, InvalidInput)
    assert "the end" in str(FeelSyntaxError("1 +", 3, expected="an expression"))


def test_errors_survive_pickle_and_copy() -> None:
    for error in (
        FeelSyntaxError("1 +", 3, expected="an expression"),
        UnknownName("qeue", 0, name="qeue", known=["queue", "cpu"]),
    ):
        for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert type(twin) is type(error)
            assert (str(twin), vars(twin)) == (str(error), vars(error))


def test_an_unknown_name_comes_with_those_that_are_spelled_like_it() -> None:
    error = UnknownName("qeue > 1", 0, name="qeue", known=["cpu", "queue"])
    assert error.suggestions == ("queue",)
    assert "`queue`" in str(error)
    assert str(UnknownName("zz", 0, name="zz", known=["queue"])).endswith(
        "expected a known name, found 'zz'"
    )
