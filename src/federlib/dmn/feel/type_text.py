"""Types as a text writes them: `list<number>`, `function<string, Any>->boolean`, `date and time`.

Source: DMN 1.5, 10.3.1.2, rule 54.
"""

from __future__ import annotations

from federlib.dmn.feel.cursor import Cursor
from federlib.dmn.feel.lexer import FeelSyntaxError, UnknownName
from federlib.dmn.feel.scope import Scope
from federlib.dmn.feel.types import (
    ContextType,
    FeelType,
    FunctionType,
    ListType,
    RangeType,
)

__all__ = ["parse_type", "read_type"]


def parse_type(text: str, scope: Scope | None = None) -> FeelType:
    """Read the name of a type.

    Args:
        text: The text.
        scope: The types that go by a name.
    Raises:
        FeelSyntaxError: It is no type, or names one that nobody knows.
    """
    cursor = Cursor(text, Scope() if scope is None else scope, Scope())
    start = cursor.at
    kind = read_type(cursor)
    if kind is None:
        raise UnknownName(text, start, name=text.strip(), known=cursor.scope.all_types)
    cursor.skip()
    if cursor.at < len(text):
        raise FeelSyntaxError(text, cursor.at, expected="the end")
    return kind


def read_type(cursor: Cursor) -> FeelType | None:
    """Read a type where a text has one.

    Args:
        cursor: What reads the text.
    Returns:
        The type; None: it goes by a name that nobody knows.
    Raises:
        FeelSyntaxError: There is no type here.
    """
    word = cursor.word()
    if not word:
        cursor.fail("a type")
    with cursor.nested():
        start = cursor.at
        if word in {"list", "range", "context", "function"}:
            cursor.at += len(word)
            if cursor.takes("<"):
                return _read_generic(cursor, word)
            cursor.at = start
        found = cursor.scope.type_index.match(cursor.text, word, start + len(word))
        if found is not None:
            cursor.at = found[0]
            return cursor.scope.all_types[found[1]]
        _pass_unknown(cursor)
        return None


def _read_generic(cursor: Cursor, word: str) -> FeelType | None:
    match word:
        case "context":
            return _read_entries(cursor)
        case "function":
            return _read_function(cursor)
        case _:
            element = read_type(cursor)
            cursor.expect(">")
            if element is None:
                return None
            return ListType(element) if word == "list" else RangeType(element)


def _read_entries(cursor: Cursor) -> FeelType | None:
    entries: dict[str, FeelType] = {}
    is_known = True
    while not cursor.takes(">"):
        if entries or not is_known:
            cursor.expect(",")
        name = cursor.declared_name("the name of an entry")
        cursor.expect(":")
        kind = read_type(cursor)
        if kind is None:
            is_known = False
        else:
            entries[name] = kind
    return ContextType(entries) if is_known else None


def _read_function(cursor: Cursor) -> FeelType | None:
    parameters: list[FeelType | None] = []
    while not cursor.takes(">"):
        if parameters:
            cursor.expect(",")
        parameters.append(read_type(cursor))
    cursor.expect("->")
    result = read_type(cursor)
    known = tuple(kind for kind in parameters if kind is not None)
    if result is None or len(known) < len(parameters):
        return None
    return FunctionType(known, result)


def _pass_unknown(cursor: Cursor) -> None:
    """Pass over a name that may have points in it."""
    cursor.unknown_name()
    while cursor.text.startswith(".", cursor.at):
        cursor.at += 1
        if not cursor.word():
            cursor.fail("the name of a type")
        cursor.unknown_name()
