"""Cells that say plainly for which values they are true, read without the parser.

Most cells of real tables are a constant, a comparison, an interval, a list of those, `not(…)`
of them, or `-`. They are read here, into sets of numbers, strings, booleans and null; whatever
else a cell may be is left to the language (`federlib.dmn.feel`), and means the same there: a
property test holds the two together.

A number is kept as a *bound*: a float that stands before or after it. A constant of at most
15 significant digits is the shortest spelling of its float, so every float and every int below
2**53 compares with the float as the number that it spells compares with the constant. Longer
constants are left to the language.

Source: DMN 1.5, 7.3.6 (simple unary tests), tables 43 and 55 (null, and values of other types).
"""

from __future__ import annotations

import re
import sys
from decimal import Context, Decimal
from math import copysign, inf, isinf, nextafter

import attrs

__all__ = ["ANY", "MAX_DIGITS", "Cell", "bound_of", "read_cell"]

MAX_DIGITS = 15
"""Significant digits that survive the way through a float and back (IEEE 754 binary64)."""

_NO_STRINGS: frozenset[str] = frozenset()
_LINE = ((-inf, inf),)

Span = tuple[float, float]


@attrs.frozen
class Cell:
    """For which values a cell is true.

    Attributes:
        numbers: Disjoint spans of bounds in order, each with its first bound, without its last.
        strings: Strings.
        is_but: Whether it is true for every string but those.
        true: Whether it is true for true.
        false: Whether it is true for false.
        null: Whether it is true for null.
        is_any: Whether it is true for whatever there may be.
    """

    numbers: tuple[Span, ...] = ()
    strings: frozenset[str] = _NO_STRINGS
    is_but: bool = False
    true: bool = False
    false: bool = False
    null: bool = False
    is_any: bool = False

    def holds(self, value: Decimal | str | bool | None) -> bool:  # noqa: FBT001 (a value like others)
        """Say whether it is true for a number, string, boolean or null."""
        if value is None:
            return self.null
        if isinstance(value, bool):
            return self.true if value else self.false
        if isinstance(value, str):
            return (value in self.strings) != self.is_but
        bound = bound_of(value)
        return any(low <= bound < high for low, high in self.numbers)


_SHORT = Context(prec=MAX_DIGITS)


def bound_of(value: Decimal) -> float:
    """Return a float that lies on the same side of every bound as the number.

    Rounding to a float keeps the order, so only a bound that belongs to that very float can be
    on the wrong side. It belongs to a constant only if the float's own spelling is a short one;
    then that spelling is the constant, and the neighbour of the float is beyond it.
    """
    near = float(value)
    if isinf(near):
        # Beyond all floats, and so beyond all bounds; what has no end ends at infinity.
        return copysign(sys.float_info.max, near)
    spelled = Decimal(repr(near))
    if spelled == value or _SHORT.plus(spelled) != spelled:
        return near
    return nextafter(near, inf if value > spelled else -inf)


ANY = Cell(_LINE, is_but=True, true=True, false=True, null=True, is_any=True)
"""The cell `-`."""

# No exponent, no escape, no comment: those are the parser's. At most 17 digits as written, so
# that the look at them costs nothing; how many count is seen afterwards.
_NUMBER = r"-?(?:[0-9]{1,17}(?:\.[0-9]{1,17})?|\.[0-9]{1,17})"
_ITEM = re.compile(
    rf"""[ \t\r\n]*(?:
      "(?P<text>[^"\\\x00-\x1f]*)"
    | (?P<word>true|false|null)
    | (?P<than><=|>=|<|>)?[ \t]*(?P<number>{_NUMBER})
    | (?P<opens>[\[(\]])[ \t]*(?P<low>{_NUMBER})[ \t]*\.\.[ \t]*(?P<high>{_NUMBER})[ \t]*
      (?P<closes>[\])\[])
    )[ \t\r\n]*(?:,|\Z)""",
    re.VERBOSE,
)
_NOT = re.compile(r"not[ \t]*\((?P<inside>.*)\)", re.DOTALL)

# Longer than any cell that is worth an index, and short enough for `_NOT` to cost nothing.
_MAX_TEXT = 4_096


def read_cell(text: str) -> Cell | None:
    """Read a cell that is plain.

    Args:
        text: Unary tests as somebody wrote them.
    Returns:
        For which values it is true; None where only the language can tell.
    """
    text = text.strip(" \t\r\n")
    if text in {"", "-"}:
        return ANY
    if len(text) > _MAX_TEXT:
        return None
    negated = _NOT.fullmatch(text) if text.startswith("not") else None
    found = _Found()
    if not found.read(text if negated is None else negated["inside"]):
        return None
    return found.cell() if negated is None else found.opposite()


class _Found:
    """What the items of one cell are true for, and for what they are neither true nor false."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.texts: list[str] = []
        self.true = self.false = self.null = False
        # Each kind of items is null, not false, for values of the other kinds; a comparison
        # is null for null, where a constant is false.
        self.kinds: set[str] = set()
        self.compares = False

    def read(self, text: str) -> bool:
        position, end = 0, len(text)
        while True:
            item = _ITEM.match(text, position)
            if item is None or not self._take(item):
                return False
            position = item.end()
            if text[position - 1] != ",":
                # `\Z` was met, or the text ends in what was no comma.
                return position == end
            if position == end:
                return False

    def _take(self, item: re.Match[str]) -> bool:
        kind = item.lastgroup
        if kind == "text":
            self.texts.append(item["text"])
            self.kinds.add("string")
        elif kind == "word":
            self._take_word(item["word"])
        elif kind == "number":
            point = _float(item["number"])
            if point is None:
                return False
            self._take_number(item["than"], point)
        else:
            return self._take_span(item)
        return True

    def _take_word(self, word: str) -> None:
        if word == "null":
            self.null = True
            return
        self.kinds.add("boolean")
        self.true |= word == "true"
        self.false |= word == "false"

    def _take_number(self, than: str | None, point: float) -> None:
        self.kinds.add("number")
        after = nextafter(point, inf)
        self.compares |= than is not None
        if than is None:
            self.spans.append((point, after))
        elif than[0] == "<":
            self.spans.append((-inf, after if than == "<=" else point))
        else:
            self.spans.append((point if than == ">=" else after, inf))

    def _take_span(self, item: re.Match[str]) -> bool:
        low, high = _float(item["low"]), _float(item["high"])
        # What the language makes of an empty interval is its own affair.
        if low is None or high is None or low >= high:
            return False
        self.kinds.add("number")
        self.compares = True
        begins = low if item["opens"] == "[" else nextafter(low, inf)
        ends = nextafter(high, inf) if item["closes"] == "]" else high
        self.spans.append((begins, ends))
        return True

    def cell(self) -> Cell:
        return Cell(
            _united(self.spans), frozenset(self.texts), is_but=False,
            true=self.true, false=self.false, null=self.null,
        )  # fmt: skip

    def opposite(self) -> Cell:
        """Return where `not` of the items is true: where all of them are false, not null."""
        # A value of one kind against an item of another is null, whatever the other items are.
        decided = {kind for kind in ("number", "string", "boolean") if self.kinds <= {kind}}
        has_booleans = "boolean" in decided
        return Cell(
            _rest(_united(self.spans)) if "number" in decided else (),
            frozenset(self.texts) if "string" in decided else _NO_STRINGS,
            is_but="string" in decided,
            true=has_booleans and not self.true,
            false=has_booleans and not self.false,
            null=not self.null and not self.compares,
        )


def _float(text: str) -> float | None:
    """Return the number as a float, or None where that is not quite it."""
    if len(text) > MAX_DIGITS and len(text.lstrip("-0.").replace(".", "")) > MAX_DIGITS:
        return None
    # Zero has one bound, however it is spelled.
    return float(text) + 0.0


def _united(spans: list[Span]) -> tuple[Span, ...]:
    if len(spans) < 2:
        return tuple(spans)
    united: list[Span] = []
    for low, high in sorted(spans):
        if united and low <= united[-1][1]:
            united[-1] = (united[-1][0], max(high, united[-1][1]))
        else:
            united.append((low, high))
    return tuple(united)


def _rest(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    rest: list[Span] = []
    begin = -inf
    for low, high in spans:
        if begin < low:
            rest.append((begin, low))
        begin = high
    if begin < inf:
        rest.append((begin, inf))
    return tuple(rest)
