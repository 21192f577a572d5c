"""Sheets for a terminal: boxes of lines, as wide as asked for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import attrs

from federlib.dmn.render.sheet import Cell, Sheet, visible

__all__ = ["MIN_WIDTH", "draw_text", "width_of"]

MIN_WIDTH = 20
"""Columns of a terminal; what is told to be narrower is drawn as wide as this."""

_LEAST = 3
"""Characters of a cell before a table grows wider than it should rather than narrower."""
_LONG_WORD = 20
"""Characters of a word that is broken as soon as there is no room."""
_EMPTY = "(empty)"

# By whether the line across is double, whether the line down is, and where the latter goes on:
# above only, below only, both.
_JOINTS = {
    (False, False): "┴┬┼",
    (False, True): "╨╥╫",
    (True, False): "╧╤╪",
    (True, True): "╩╦╬",
}
_ENDS = {"top": "┌┐", "bottom": "└┘", "single": "├┤", "double": "╞╡"}


def draw_text(sheet: Sheet, *, width: int = 100) -> str:
    """Draw a sheet with lines; long texts are broken, and nothing is left out.

    Args:
        sheet: What to draw.
        width: The most characters of a line, where that can be had: a table of very many
            columns is wider.
    Returns:
        Lines without an end of line at the last; control characters are shown, not sent.
    """
    lines = _draw(sheet, max(width, MIN_WIDTH))
    title = [line for line in (sheet.title and visible(sheet.title)).split("\n") if line]
    return "\n".join([*title, *lines])


def width_of(text: str) -> int:
    """Return how many columns of a terminal one line of text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _draw(sheet: Sheet, width: int) -> list[str]:
    rows = (*sheet.head, *sheet.body)
    if not sheet.columns:
        return [_EMPTY]
    widths = _widths(sheet, width)
    drawn = [_row_lines(sheet, row, widths) for row in rows]
    chosen = {len(sheet.head) + position for position in sheet.chosen}
    lines = [_rule_line(sheet, None, rows[0], widths, "top")]
    for position, cells in enumerate(drawn):
        lines += [f"▐{line[1:]}" for line in cells] if position in chosen else cells
        if position + 1 < len(rows):
            kind = "double" if position + 1 == len(sheet.head) else "single"
            lines.append(_rule_line(sheet, rows[position], rows[position + 1], widths, kind))
    lines.append(_rule_line(sheet, rows[-1], None, widths, "bottom"))
    return lines


@attrs.frozen
class _Bounds:
    """Of the columns of a sheet: how narrow and how wide they may get.

    Attributes:
        least: Words are broken.
        words: Texts are broken between words.
        whole: Nothing is broken.
    """

    least: list[int]
    words: list[int]
    whole: list[int]

    @classmethod
    def of(cls, sheet: Sheet) -> _Bounds:
        """Measure a sheet without drawing it: boxes lie in boxes, each would be drawn twice."""
        bounds = cls([1] * sheet.columns, [1] * sheet.columns, [1] * sheet.columns)
        placed = [each for row in (*sheet.head, *sheet.body) for each in _placed(row)]
        # What spans columns last: it widens one of them only if they are too narrow together.
        for start, cell in sorted(placed, key=lambda each: each[1].span):
            for widths, found in zip(bounds.all, _needs(cell), strict=True):
                last = start + cell.span - 1
                others = sum(widths[start:last]) + 3 * (cell.span - 1)
                widths[last] = max(widths[last], found - others)
        return bounds

    @property
    def all(self) -> tuple[list[int], list[int], list[int]]:
        """From the narrowest to the widest."""
        return self.least, self.words, self.whole


def _needs(cell: Cell) -> tuple[int, int, int]:
    if isinstance(cell.content, Sheet):
        if not cell.content.columns:
            return len(_EMPTY), len(_EMPTY), len(_EMPTY)
        least, words, whole = (
            sum(each) + 3 * len(each) + 1 for each in _Bounds.of(cell.content).all
        )
        return least, words, whole
    lines = _text_lines(cell)
    whole = max(width_of(line) for line in lines)
    longest = max((width_of(word) for line in lines for word in line.split()), default=0)
    return min(whole, _LEAST), min(longest, _LONG_WORD), whole


def _widths(sheet: Sheet, width: int) -> list[int]:
    """Choose how wide each column is: as wide as its texts, or as far as there is room."""
    bounds = _Bounds.of(sheet)
    room = width - 3 * len(bounds.whole) - 1
    # Words are broken only when breaking between them is not enough.
    words = [max(pair) for pair in zip(bounds.least, bounds.words, strict=True)]
    return _narrowed(_narrowed(bounds.whole, words, room), bounds.least, room)


def _narrowed(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Take from the widest columns, never below `least`, until all together fit."""
    widths = list(widths)
    while sum(widths) > room:
        able = [index for index, each in enumerate(widths) if each > least[index]]
        if not able:
            break
        widest = max(widths[index] for index in able)
        at = [index for index in able if widths[index] == widest]
        floors = [widths[index] for index in able if widths[index] < widest]
        floors += [least[index] for index in at]
        # All the widest at once, down to the next one: a step each would take for ever.
        step = max(1, min(widest - max(floors), (sum(widths) - room) // len(at)))
        for index in at:
            if sum(widths) > room:
                widths[index] -= step
    return widths


def _placed(row: Sequence[Cell]) -> Iterator[tuple[int, Cell]]:
    start = 0
    for cell in row:
        yield start, cell
        start += cell.span


def _row_lines(sheet: Sheet, row: Sequence[Cell], widths: Sequence[int]) -> list[str]:
    blocks: list[tuple[int, list[str]]] = []
    for start, cell in _placed(row):
        inside = sum(widths[start : start + cell.span]) + 3 * (cell.span - 1)
        blocks.append((inside, _cell_lines(cell, inside)))
    height = max(len(block) for _, block in blocks)
    borders = ["║" if start in sheet.doubles else "│" for start, _ in _placed(row)]
    lines: list[str] = []
    for number in range(height):
        line = ""
        for (inside, block), border in zip(blocks, borders, strict=True):
            text = block[number] if number < len(block) else ""
            line += f"{border} {text}{' ' * (inside - width_of(text))} "
        lines.append(line + "│")
    return lines


def _cell_lines(cell: Cell, width: int) -> list[str]:
    if isinstance(cell.content, Sheet):
        return _draw(cell.content, width)
    return [part for line in _text_lines(cell) for part in _broken(line, width)]


def _text_lines(cell: Cell) -> list[str]:
    assert isinstance(cell.content, str)
    mark = "" if cell.held is None else ("✓ " if cell.held else "✗ ")
    return visible(mark + cell.content).split("\n")


def _broken(line: str, width: int) -> Iterator[str]:
    """Break a line at spaces where there are any, else where it is full."""
    while width_of(line) > width:
        taken, used = 0, 0
        while taken < len(line) and used + _columns(line[taken]) <= width:
            used += _columns(line[taken])
            taken += 1
        taken = max(taken, 1)
        space = line.rfind(" ", 1, taken + 1)
        at = space if space > 0 else taken
        yield line[:at].rstrip(" ")
        line = line[at:].lstrip(" ")
    yield line


def _rule_line(
    sheet: Sheet,
    above: Sequence[Cell] | None,
    below: Sequence[Cell] | None,
    widths: Sequence[int],
    kind: str,
) -> str:
    """Draw the line between two rows, each of which may go on through it or not."""
    up = {start for start, _ in _placed(above or ())}
    down = {start for start, _ in _placed(below or ())}
    is_double = kind == "double"
    fill = "═" if is_double else "─"
    line = _ENDS[kind][0] + fill * (widths[0] + 2)
    for column in range(1, len(widths)):
        goes = (1 if column in up else 0) + (2 if column in down else 0)
        joints = _JOINTS[is_double, column in sheet.doubles]
        line += (joints[goes - 1] if goes else fill) + fill * (widths[column] + 2)
    return line + _ENDS[kind][1]
