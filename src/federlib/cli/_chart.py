"""A chart of lines on logarithmic axes, as a PNG: no library is needed for one picture.

Source: PNG (W3C 2003) §5 and §11; the letters are the five columns of the old 5 by 7 fonts.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import attrs

__all__ = ["Colour", "Line", "draw_chart"]

Colour = tuple[int, int, int]
Point = tuple[float, float]

_WIDTH, _HEIGHT = 960, 600
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 24, 56, 64
_SCALE = 2
"""Pixels of a dot of a letter."""
_ADVANCE = 6 * _SCALE
_INK, _GRID, _PAPER = (40, 40, 40), (224, 224, 224), (255, 255, 255)
_STEPS = (1, 2, 5)

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz.,%()/-="
_COLUMNS = bytes.fromhex(
    "3E5149453E 00427F4000 4261514946 2141454B31 1814127F10 2745454539 3C4A494930 0171090503 "
    "3649494936 064949291E 2054545478 7F48444438 3844444420 384444487F 3854545418 087E090102 "
    "0C5252523E 7F08040478 00447D4000 2040443D00 7F10284400 00417F4000 7C04180478 7C08040478 "
    "3844444438 7C14141408 081414187C 7C08040408 4854545420 043F444020 3C4040207C 1C2040201C "
    "3C4030403C 4428102844 0C5050503C 4464544C44 0060600000 0050300000 2313086462 001C224100 "
    "0041221C00 2010080402 0808080808 1414141414"
)
_FONT = {letter: _COLUMNS[5 * n : 5 * n + 5] for n, letter in enumerate(_LETTERS)}


@attrs.frozen
class Line:
    """One line of a chart.

    Attributes:
        name: For the legend; in lower case.
        colour: Red, green and blue; 0 to 255.
        points: From left to right; both coordinates above 0.
        marks: Those that get a dot.
    """

    name: str
    colour: Colour
    points: Sequence[Point]
    marks: Sequence[Point] = ()


def draw_chart(lines: Sequence[Line], *, title: str, x_name: str, y_name: str) -> bytes:
    """Draw lines on two logarithmic axes.

    Args:
        lines: At least one, with at least one point among them.
        title: Above; in lower case, as all text.
        x_name: Below the axis.
        y_name: Above the axis.
    Returns:
        A PNG of 960 by 600 pixels.
    """
    points = [point for line in lines for point in (*line.points, *line.marks)]
    page = _Page(_Axis.around([x for x, _ in points]), _Axis.around([y for _, y in points]))
    page.axes()
    for line in lines:
        page.line(line)
    page.text(_LEFT, 12, title)
    page.text(_LEFT, 34, y_name)
    page.text(_WIDTH - _RIGHT - _ADVANCE * len(x_name), _HEIGHT - 24, x_name)
    for number, line in enumerate(lines):
        left, top = _WIDTH - 260, _TOP + 16 + 24 * number
        page.box(left, top + 5, 28, 4, line.colour)
        page.text(left + 40, top, line.name)
    return page.png()


@attrs.frozen
class _Axis:
    """From `low` to `high`, both above 0, in equal steps of the logarithm."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Sequence[float]) -> _Axis:
        low, high = min(values), max(values)
        ticks = [tick for tick in _ticks(low, high) if tick <= low]
        over = [tick for tick in _ticks(low, high) if tick >= high]
        return cls(max(ticks), min(over) if min(over) > max(ticks) else 2 * max(ticks))

    def share(self, value: float) -> float:
        return math.log(value / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        return [each for each in _ticks(self.low, self.high) if self.low <= each <= self.high]


def _ticks(low: float, high: float) -> Iterator[float]:
    """Give 1, 2 and 5 times each power of ten, from below `low` to above `high`."""
    for power in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2):
        # Divided, so that 0.05 is 5 / 100 and compares as written.
        yield from (step * 10.0**power if power >= 0 else step / 10.0**-power for step in _STEPS)


class _Page:
    def __init__(self, x_axis: _Axis, y_axis: _Axis) -> None:
        self._x, self._y = x_axis, y_axis
        self._rows = [bytearray(bytes(_PAPER) * _WIDTH) for _ in range(_HEIGHT)]

    def box(self, left: int, top: int, width: int, height: int, colour: Colour) -> None:
        left, right = max(left, 0), min(left + width, _WIDTH)
        if right > left:
            for row in self._rows[max(top, 0) : max(top + height, 0)]:
                row[3 * left : 3 * right] = bytes(colour) * (right - left)

    def text(self, left: int, top: int, text: str) -> None:
        for letter in text:
            for number, column in enumerate(_FONT.get(letter, b"")):
                for dot in range(7):
                    if column >> dot & 1:
                        x, y = left + number * _SCALE, top + dot * _SCALE
                        self.box(x, y, _SCALE, _SCALE, _INK)
            left += _ADVANCE

    def axes(self) -> None:
        for tick in self._x.ticks():
            x, name = self._across(tick), f"{tick:g}"
            self.box(x, _TOP, 1, _HEIGHT - _TOP - _BOTTOM, _GRID)
            self.text(x - _ADVANCE * len(name) // 2, _HEIGHT - _BOTTOM + 10, name)
        for tick in self._y.ticks():
            y, name = self._down(tick), f"{tick:g}"
            self.box(_LEFT, y, _WIDTH - _LEFT - _RIGHT, 1, _GRID)
            self.text(_LEFT - 10 - _ADVANCE * len(name), y - 7, name)
        self.box(_LEFT, _TOP, 2, _HEIGHT - _TOP - _BOTTOM, _INK)
        self.box(_LEFT, _HEIGHT - _BOTTOM, _WIDTH - _LEFT - _RIGHT, 2, _INK)

    def _across(self, value: float) -> int:
        return _LEFT + round(self._x.share(value) * (_WIDTH - _LEFT - _RIGHT))

    def _down(self, value: float) -> int:
        return _HEIGHT - _BOTTOM - round(self._y.share(value) * (_HEIGHT - _TOP - _BOTTOM))

    def line(self, line: Line) -> None:
        places = [(self._across(x), self._down(y)) for x, y in line.points]
        for (x0, y0), (x1, y1) in pairwise(places):
            steps = max(abs(x1 - x0), abs(y1 - y0), 1)
            for step in range(steps + 1):
                x, y = x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps
                self.box(round(x) - 1, round(y) - 1, 3, 3, line.colour)
        for x, y in line.marks:
            self.box(self._across(x) - 4, self._down(y) - 4, 9, 9, line.colour)

    def png(self) -> bytes:
        header = struct.pack("!IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
        # Each row says first how it is filtered: not at all.
        pixels = zlib.compress(b"".join(b"\0" + row for row in self._rows), 9)
        chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + kind + body + struct.pack("!I", zlib.crc32(kind + body))
