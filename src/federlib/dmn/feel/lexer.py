r"""The lexical rules of FEEL: blanks, names, numbers, strings, and the names that are known.

There is no stream of tokens. A name may hold spaces, operators and keywords, so where it ends
depends on the names that are in scope at that place: `a - b` is a name where one is called
so. The parser asks for what may stand at a place, and knows the scope there.

Source: DMN 1.5, 10.3.1.2 (rules 27 to 38, 61 to 64) and 10.3.1.4 (names).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cache
from typing import TypeAlias

from federlib.errors import InvalidInput

__all__ = [
    "BLANK",
    "KEYWORDS",
    "MAX_TEXT",
    "NUMBER",
    "STOPPERS",
    "STRING",
    "WORD",
    "WORD_PART",
    "FeelSyntaxError",
    "NameIndex",
    "UnknownName",
    "match_declared",
    "match_variable",
    "name_parts",
    "normalised",
    "unescape",
]

MAX_TEXT = 1_000_000
"""Characters of one expression; a model's largest literal lists have a few thousand."""

KEYWORDS = frozenset(
    {
        "and",
        "between",
        "else",
        "every",
        "external",
        "false",
        "for",
        "function",
        "if",
        "in",
        "instance",
        "null",
        "or",
        "return",
        "satisfies",
        "some",
        "then",
        "true",
    }
)
"""No variable is called just so. Known names of several words may begin with one of them."""

STOPPERS = frozenset(
    {"and", "between", "else", "in", "instance", "or", "return", "satisfies", "then"}
)
"""Words that end a name nobody knows."""

_Ranges: TypeAlias = tuple[tuple[int, int], ...]

_SPACES: _Ranges = (
    *((0x09, 0x0D), (0x20, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680)),
    *((0x180E, 0x180E), (0x2000, 0x200B), (0x2028, 0x2029), (0x202F, 0x202F)),
    *((0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
# Rule 28, without the blanks of rule 61 that its ranges hold.
_STARTS: _Ranges = (
    *((0x3F, 0x3F), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6)),
    *((0xF8, 0x2FF), (0x370, 0x37D), (0x37F, 0x167F), (0x1681, 0x180D), (0x180F, 0x1FFF)),
    *((0x200C, 0x200D), (0x2070, 0x218F), (0x2C00, 0x2FEF), (0x3001, 0xD7FF)),
    *((0xF900, 0xFDCF), (0xFDF0, 0xFEFE), (0xFF00, 0xFFFD), (0x10000, 0xEFFFF)),
)
_PARTS: _Ranges = (
    *_STARTS,
    *((0x30, 0x39), (0xB7, 0xB7), (0x300, 0x36F), (0x203F, 0x2040)),
)
_SYMBOLS = frozenset("./-’'+*")  # noqa: RUF001 (the standard's own apostrophe)
_SYMBOL_RANGES: _Ranges = tuple((ord(symbol), ord(symbol)) for symbol in _SYMBOLS)


def _one_of(ranges: _Ranges) -> str:
    """Write a class of characters."""
    inside = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
    return f"[{inside}]"


def _none_outside(ranges: _Ranges) -> str:
    """Write a large class of characters by what is not in it, which compiles much faster."""
    outside: list[tuple[int, int]] = []
    after = 0
    for low, high in sorted(ranges):
        if low > after:
            outside.append((after, low - 1))
        after = max(after, high + 1)
    return f"[^{_one_of((*outside, (after, 0x10FFFF)))[1:]}"


_SPACE, _START, _PART = _one_of(_SPACES), _none_outside(_STARTS), _none_outside(_PARTS)
_LOOSE = _none_outside((*_PARTS, *_SPACES, *_SYMBOL_RANGES))

BLANK = re.compile(rf"(?:{_SPACE}+|//[^\n\r]*|/\*[\s\S]*?\*/)*")
WORD = re.compile(f"{_START}{_PART}*")
WORD_PART = re.compile(f"{_PART}+")
NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
STRING = re.compile(r'"((?:[^"\\\n\r\x0b\x0c]|\\[^\n\r\x0b\x0c])*)"')
_COMMENT = re.compile(r"/[/*]")
_GAP = re.compile(f"{_SPACE}*")
_TOKEN = re.compile(f"{_PART}+|{_one_of(_SYMBOL_RANGES)}|({_SPACE}+)")
_ESCAPE = re.compile(r"""\\(?:(['"\\nrt])|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{6}))""")
_SINGLE = {"'": "'", '"': '"', "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}


class FeelSyntaxError(InvalidInput):
    """A text is not FEEL.

    Attributes:
        line: Where, counted from 1.
        column: Where in that line, counted from 1.
    """

    def __init__(self, text: str, at: int, *, expected: str) -> None:
        before = text[:at]
        self.line: int = before.count("\n") + 1
        self.column: int = at - (before.rfind("\n") + 1) + 1
        found = text[at : at + 40]
        super().__init__(
            f"FEEL, line {self.line}, column {self.column}", expected=expected, found=found
        )

    def _sentence(self) -> str:
        found = self.found if self.found != "''" else "the end"
        return f"{self.field}: expected {self.expected}, found {found}"


class UnknownName(FeelSyntaxError):  # noqa: N818 (named for what happened)
    """A name is not in scope.

    Attributes:
        name: The name.
        suggestions: Names in scope that are spelled much like it.
    """

    def __init__(self, text: str, at: int, *, name: str, known: Iterable[str]) -> None:
        self.name: str = name
        self.suggestions: tuple[str, ...] = tuple(
            difflib.get_close_matches(name[:200], list(known), n=3)
        )
        hint = " or ".join(f"`{near}`" for near in self.suggestions)
        super().__init__(text, at, expected=f"a known name{hint and f': {hint}'}")


def name_parts(name: str) -> tuple[str, ...] | None:
    """Part a name into its words and symbols; None where no text can spell it.

    Args:
        name: A name as a model has it.
    """
    parts: list[str] = []
    at = 0
    while at < len(name):
        token = _TOKEN.match(name, at)
        if token is None:
            return None
        at = token.end()
        if token.group(1) is None:
            parts.append(token.group())
    return tuple(parts) if parts and WORD.fullmatch(parts[0]) else None


def normalised(name: str) -> str:
    """Spell a name with single spaces between its words, and none around symbols.

    Args:
        name: A name as a text has it.
    Source: DMN 1.5, 10.3.1.4.
    """
    spelled = ""
    for part in name_parts(name) or (name.strip(),):
        is_apart = spelled and spelled[-1] not in _SYMBOLS and part not in _SYMBOLS
        spelled += f" {part}" if is_apart else part
    return spelled


def unescape(body: str) -> str | None:
    r"""Resolve the escapes of a string literal; None where half a surrogate pair is left.

    Args:
        body: What stands between the quotes. A backslash before anything else stays, so that
            patterns such as `"\d"` read as they do elsewhere.
    Source: DMN 1.5, 10.3.1.2, rules 35 and 64.
    """
    if "\\" not in body:
        return body
    text = _ESCAPE.sub(_character, body)
    try:
        # Two escapes of UTF-16 make one character; half of one is none.
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return None


def _character(escape: re.Match[str]) -> str:
    single, short, long = escape.groups()
    if single:
        return _SINGLE[single]
    code = int(short or long, 16)
    return chr(code) if code <= 0x10FFFF else escape.group()


def match_declared(text: str, at: int) -> int:
    """Find where a name ends that a text declares, which may have blanks and symbols in it.

    Args:
        text: The text.
        at: Where the name begins.
    Returns:
        Where it ends, or `at` if there is none. A comment is no part of it.
    """
    found = _declared().match(text, at)
    if found is None:
        return at
    comment = _COMMENT.search(text, at, found.end())
    return found.end() if comment is None else comment.start()


def match_variable(text: str, at: int) -> tuple[str, int] | None:
    """Read the variable of a loop with its `in`; tell its name and where `in` ends.

    Args:
        text: The text.
        at: Where the name begins.
    """
    found = _variable().match(text, at)
    return None if found is None else (normalised(found.group(1)), found.end())


# Large classes of characters take milliseconds to compile, and few programs need these.
@cache
def _declared() -> re.Pattern[str]:
    return re.compile(f"{_START}{_LOOSE}*")


@cache
def _variable() -> re.Pattern[str]:
    return re.compile(f"({_START}{_LOOSE}*?){_SPACE}+in(?!{_PART})")


class NameIndex:
    """Names that are known somewhere, found in a text longest first.

    Args:
        names: The names; one that no text can spell is left out.
    """

    __slots__ = ("_by_word",)

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._by_word: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Add one name."""
        parts = name_parts(name)
        if parts is None:
            return
        known = self._by_word.setdefault(parts[0], [])
        known.append((parts, name))
        if len(known) > 1:
            known.sort(key=lambda entry: -len(entry[0]))

    def match(self, text: str, word: str, end: int) -> tuple[int, str] | None:
        """Find the longest known name that begins with a word of the text.

        Args:
            text: The text.
            word: The first word.
            end: Where the word ends.
        Returns:
            Where the name ends, and the name; None if none begins so.
        """
        known = self._by_word.get(word)
        if known is None:
            return None
        for parts, name in known:
            if len(parts) == 1:
                return end, name
            reached = _follow(text, end, parts)
            if reached is not None:
                return reached, name
        return None


def _follow(text: str, at: int, parts: tuple[str, ...]) -> int | None:
    for part in parts[1:]:
        blank = _GAP.match(text, at)
        at = blank.end() if blank else at
        word = WORD_PART.match(text, at)
        if word is None:
            if not text.startswith(part, at):
                return None
            at += 1
        elif word.group() == part:
            at = word.end()
        else:
            return None
    return at
