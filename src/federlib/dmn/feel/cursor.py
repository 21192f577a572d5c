"""A place in a text, and the names that are in scope there.

Source: DMN 1.5, 10.3.1.4 and 10.3.2.11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import attrs

from federlib.dmn.feel import lexer
from federlib.dmn.feel.lexer import FeelSyntaxError, NameIndex, UnknownName
from federlib.dmn.feel.scope import Scope
from federlib.dmn.feel.tree import BUILTIN, FACTS, UNKNOWN, Name
from federlib.dmn.feel.types import ANY, ContextType, FeelType, ListType

__all__ = ["MAX_DEPTH", "Cursor", "Declared", "element_of"]

MAX_DEPTH = 60
"""How deep brackets and the like may nest. What people write has no more than about 10."""


def element_of(kind: FeelType) -> FeelType:
    """Tell the type of what is in a list; anything else counts as a list of itself."""
    return kind.element if isinstance(kind, ListType) else kind


@attrs.define(eq=False)
class _Layer:
    """Names that came into scope together.

    They are all at one place of the frame, or each at its own. The entries of an element that
    is filtered are a layer that `is_item`; it `is_open` if there may be entries nobody knows.
    """

    index: NameIndex
    types: Mapping[str, FeelType]
    place: int
    places: Mapping[str, int] | None = None
    is_item: bool = False
    is_open: bool = False
    is_partial: bool = False


class Declared:
    """Names that a context or a list of parameters brings into scope, one after the other.

    Args:
        cursor: What reads the text.
    """

    def __init__(self, cursor: Cursor) -> None:
        self._cursor: Cursor = cursor
        self._index: NameIndex = NameIndex()
        self.types: dict[str, FeelType] = {}
        self._places: dict[str, int] = {}
        cursor.add_layer(_Layer(self._index, self.types, 0, self._places))

    def __contains__(self, name: str) -> bool:
        return name in self.types

    def add(self, name: str, kind: FeelType) -> int:
        """Bring one more name into scope, and tell its place in the frame."""
        if name not in self.types:
            self._index.add(name)
            self._places[name] = self._cursor.take_place()
        self.types[name] = kind
        return self._places[name]


class Cursor:
    """Reads a text from left to right.

    Args:
        text: The text.
        scope: The names that come with the facts.
        builtins: The functions that are built in.

    Attributes:
        at: Where it stands.
        depth: How deep it is nested.
        size: How many places a frame needs.
        inputs: How often `?` was named.
    """

    def __init__(self, text: str, scope: Scope, builtins: Scope) -> None:
        if len(text) > lexer.MAX_TEXT:
            raise FeelSyntaxError(
                text, lexer.MAX_TEXT, expected=f"at most {lexer.MAX_TEXT:,} characters"
            )
        self.text: str = text
        self.scope: Scope = scope
        self.at: int = 0
        self.depth: int = 0
        self.size: int = 1
        self.inputs: int = 0
        self._top: int = 1
        self._layers: list[_Layer] = [
            _Layer(builtins.index, builtins.names, BUILTIN),
            _Layer(scope.index, scope.all_names, FACTS),
        ]

    # What stands here

    def skip(self) -> None:
        """Pass over blanks and comments."""
        if " " < self.text[self.at : self.at + 1] < "\x7f" and self.text[self.at] != "/":
            return
        blank = lexer.BLANK.match(self.text, self.at)
        if blank is not None:
            self.at = blank.end()

    def sees(self, symbol: str) -> bool:
        """Say whether a symbol comes next, after blanks."""
        self.skip()
        return self.text.startswith(symbol, self.at)

    def takes(self, symbol: str) -> bool:
        """Pass over a symbol if it comes next, and say whether it did."""
        if not self.sees(symbol):
            return False
        self.at += len(symbol)
        return True

    def expect(self, symbol: str) -> None:
        """Pass over a symbol that must come next."""
        if not self.takes(symbol):
            self.fail(f"`{symbol}`")

    def word(self) -> str:
        """Tell the word that comes next, after blanks; empty if none does."""
        self.skip()
        found = lexer.WORD.match(self.text, self.at)
        return found.group() if found else ""

    def expect_word(self, word: str) -> None:
        """Pass over a word that must come next."""
        if self.word() != word:
            self.fail(f"`{word}`")
        self.at += len(word)

    def fail(self, expected: str, at: int | None = None) -> NoReturn:
        """Say that something else was expected here.

        Raises:
            FeelSyntaxError: Always.
        """
        raise FeelSyntaxError(self.text, self.at if at is None else at, expected=expected)

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Go one level deeper.

        Raises:
            FeelSyntaxError: That is too deep.
        """
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"at most {MAX_DEPTH} levels")
        yield
        self.depth -= 1

    # Names that the text declares

    def mark(self) -> tuple[int, int]:
        """Remember which names are in scope."""
        return len(self._layers), self._top

    def forget(self, mark: tuple[int, int]) -> None:
        """Leave the scope of all names declared since."""
        count, self._top = mark
        del self._layers[count:]

    def declare(
        self, name: str, kind: FeelType = ANY, *, is_partial: bool = False, place: int = 0
    ) -> int:
        """Bring a name into scope, and tell its place in the frame.

        Args:
            name: The name.
            kind: The type of its values.
            is_partial: It is the list that a `for` is building.
            place: The place, if it was taken already.
        """
        place = place or self.take_place()
        self._layers.append(_Layer(NameIndex((name,)), {name: kind}, place, is_partial=is_partial))
        return place

    def add_layer(self, layer: _Layer) -> None:
        """Bring names into scope."""
        self._layers.append(layer)

    def take_place(self) -> int:
        """Take a place in the frame, until `forget`."""
        place = self._top
        self._top += 1
        self.size = max(self.size, self._top)
        return place

    def declare_item(self, kind: FeelType) -> int:
        """Bring into scope the element of a list that is filtered: `item`, and its entries.

        Args:
            kind: The type of the element.
        """
        place = self.declare("item", kind)
        if isinstance(kind, ContextType):
            layer = _Layer(kind.index, kind.entries, place, is_item=True, is_open=kind.is_open)
            self._layers.append(layer)
        elif kind == ANY:
            self._layers.append(_Layer(NameIndex(), {}, place, is_item=True, is_open=True))
        return place

    def declared_name(self, expected: str) -> str:
        """Read a name that the text declares."""
        self.skip()
        start = self.at
        self.at = lexer.match_declared(self.text, start)
        if self.at == start:
            self.fail(expected)
        return lexer.normalised(self.text[start : self.at])

    # Names that the text uses

    def name(self) -> Name | None:
        """Read a name, the longest that is known; None if no name comes next."""
        word = self.word()
        if not word:
            return None
        start = self.at
        end = self.at + len(word)
        best: tuple[int, str] | None = None
        for layer in reversed(self._layers):
            found = layer.index.match(self.text, word, end)
            if found is not None and (best is None or found[0] > best[0]):
                best = found
        if best is not None and (best[0] > end or word not in lexer.KEYWORDS):
            self.at = best[0]
            self.inputs += best[1] == "?"
            return self._resolve(best[1], start)
        if word in lexer.KEYWORDS:
            return None
        return self._resolve(self.unknown_name(), start)

    def unknown_name(self) -> str:
        """Read a name of which nothing is known: all the words that stand here.

        Names that some context has somewhere are known by sight.
        """
        word = self.word()
        found = self.scope.member_index.match(self.text, word, self.at + len(word))
        if found is not None:
            self.at = found[0]
            return found[1]
        words = [word]
        self.at += len(word)
        while True:
            before = self.at
            self.skip()
            part = lexer.WORD_PART.match(self.text, self.at)
            if part is None or part.group() in lexer.STOPPERS:
                self.at = before
                return " ".join(words)
            words.append(part.group())
            self.at = part.end()

    def _resolve(self, name: str, start: int) -> Name:
        items: list[int] = []
        kind: FeelType | None = None
        for layer in reversed(self._layers):
            known = layer.types.get(name)
            if layer.is_item:
                if known is not None or layer.is_open:
                    items.append(layer.place)
                    kind = kind or known
            elif known is not None:
                place = layer.place if layer.places is None else layer.places[name]
                return Name(name, place, tuple(items), layer.is_partial, kind or known)
        if self.scope.strict and not items:
            known_names = [name for layer in self._layers for name in layer.types]
            raise UnknownName(self.text, start, name=name, known=known_names)
        # A context may have more entries than its type says.
        items = [layer.place for layer in reversed(self._layers) if layer.is_item]
        return Name(name, UNKNOWN, tuple(items), type=kind or ANY)
