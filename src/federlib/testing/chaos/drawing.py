"""The picture of a run as SVG: one lane for the leader, one for each process, one for commands.

Colours come from the page's style, so that one drawing serves light and dark. All text is
escaped; nothing is loaded from anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

import attrs

from federlib.testing.chaos.picture import Picture, Span

__all__ = ["COLOURS", "draw"]

COLOURS = 8
"""So many processes are told apart by colour; the next ones begin anew."""

_LABELS = 104
_LEAST, _MOST, _PER_S = 980, 24_000, 14
_TOP, _LEADER, _LANE, _ROW, _GAP, _BARS = 26, 34, 22, 16, 10, 54
_LETTER = 6.4
_BIN_PX, _BIN_S = 8, 0.25


@attrs.frozen
class _Lane:
    """Where something is drawn: one row for itself, and one for each kind of fault below it."""

    who: str
    top: int
    kinds: tuple[str, ...]

    @property
    def bottom(self) -> int:
        return self.top + _LANE + _ROW * len(self.kinds)

    def row(self, kind: str) -> int:
        return self.top + _LANE + _ROW * self.kinds.index(kind)


def draw(picture: Picture) -> str:
    """Return the drawing: the names stay where they are while the rest is scrolled."""
    width = min(_MOST, max(_LEAST, round(picture.length_s * _PER_S)))
    canvas = _Canvas(picture, width)
    body = "\n".join(canvas.body())
    names = "\n".join(canvas.names())
    return (
        '<div class="picture">'
        f'<svg class="names" width="{_LABELS}" height="{canvas.height}" aria-hidden="true">'
        f"{names}</svg>"
        '<div class="scroll">'
        f'<svg width="{width}" height="{canvas.height}" role="img" '
        f'aria-label="who led when, and what struck"><defs>{_HATCH}</defs>{body}</svg>'
        "</div></div>"
    )


_HATCH = (
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect width="6" height="6" class="gap"/>'
    '<line x1="0" y1="0" x2="0" y2="6" class="stripe"/></pattern>'
)


class _Canvas:
    def __init__(self, picture: Picture, width: int) -> None:
        self._picture = picture
        self._width = width
        self._scale = (width - 12) / max(picture.length_s, 0.001)
        self._colour = {who: n % COLOURS for n, who in enumerate(picture.people)}
        self._leader_top = _TOP + 8
        top = self._leader_top + _LEADER + _GAP
        self._lanes: dict[str, _Lane] = {}
        for who in ("", *picture.people):
            kinds = tuple(dict.fromkeys(span.text for span in picture.strikes.get(who, ())))
            if not who and not kinds:
                continue
            lane = self._lanes[who] = _Lane(who, top, kinds)
            top = lane.bottom + _GAP
        self._bars_top = top
        self._floor = top + _BARS
        self.height: int = self._floor + 8

    def names(self) -> Iterator[str]:
        yield _text(_LABELS - 8, self._leader_top + 21, "leader", "name", anchor="end")
        for who, lane in self._lanes.items():
            yield _text(_LABELS - 8, lane.top + 15, who or "all", "name", anchor="end")
            for kind in lane.kinds:
                yield _text(_LABELS - 8, lane.row(kind) + 12, kind, "struck", anchor="end")
        yield _text(_LABELS - 8, self._floor - 22, "accepted", "name", anchor="end")
        yield _text(_LABELS - 8, self._floor - 8, "a second", "small", anchor="end")

    def body(self) -> Iterator[str]:
        yield from self._axis()
        yield from self._leaders()
        for lane in self._lanes.values():
            if lane.who:
                yield from self._life(lane)
            yield from self._faults(lane)
        yield from self._acts()
        yield from self._bars()

    def _x(self, at_s: float) -> float:
        return round(at_s * self._scale + 1, 1)

    def _axis(self) -> Iterator[str]:
        healed = self._picture.healed_s
        if healed is not None:
            x = self._x(healed)
            rest = self._width - x
            yield _rect(x, _TOP, rest, self._floor - _TOP, "healed")
            if rest > 44:
                yield _text(x + 4, _TOP + 1, "healed", "small")
        step = _step(_LEAST / self._scale)
        for number in range(int(self._picture.length_s / step) + 1):
            x = self._x(number * step)
            yield f'<line x1="{x}" y1="{_TOP - 6}" x2="{x}" y2="{self._floor}" class="grid"/>'
            anchor = "start" if number == 0 else "middle"
            yield _text(x, 14, f"{number * step:g} s", "small", anchor=anchor)

    def _leaders(self) -> Iterator[str]:
        top = self._leader_top
        for span in self._picture.leaderless:
            x, width = self._extent(span.begin_s, span.end_s)
            yield _rect(x, top, width, _LEADER, "leaderless", _told(span))
        for reign in self._picture.reigns:
            x, width = self._extent(reign.begin_s, reign.end_s)
            told = (
                f"{reign.who} led under epoch {reign.epoch}, "
                f"{reign.begin_s:.2f} s to {reign.end_s:.2f} s"
            )
            yield _rect(x, top, width, _LEADER, f"block c{self._colour.get(reign.who, 0)}", told)
            labels = (f"{reign.who} · epoch {reign.epoch}", f"{reign.who}·{reign.epoch}", reign.who)
            for label in labels:
                if len(label) * _LETTER + 6 < width:
                    yield _text(x + 4, top + 21, label, "on")
                    break

    def _life(self, lane: _Lane) -> Iterator[str]:
        middle = lane.top + _LANE / 2
        yield (
            f'<line x1="1" y1="{middle}" x2="{self._x(self._picture.length_s)}" y2="{middle}" '
            f'class="life"/>'
        )
        for span in self._picture.dead.get(lane.who, ()):
            x, width = self._extent(span.begin_s, span.end_s)
            yield _rect(x, lane.top + 5, width, _LANE - 10, "dead", _told(span))
        for reign in self._picture.reigns:
            if reign.who == lane.who:
                x, width = self._extent(reign.begin_s, reign.end_s)
                told = f"{reign.who} leads under epoch {reign.epoch}"
                colour = f"block c{self._colour[reign.who]}"
                yield _rect(x, lane.top + 2, width, _LANE - 4, colour, told)

    def _faults(self, lane: _Lane) -> Iterator[str]:
        for span in self._picture.strikes.get(lane.who, ()):
            x, width = self._extent(span.begin_s, span.end_s)
            yield _rect(x, lane.row(span.text) + 3, max(width, 3), _ROW - 6, "fault", _told(span))

    def _acts(self) -> Iterator[str]:
        """Draw one path for each process and kind of act: a tick for each of them."""
        paths: dict[tuple[str, str], list[str]] = {}
        for act in self._picture.acts:
            lane = self._lanes.get(act.who)
            if lane is None or not act.who:
                continue
            low, high = (2, 10) if act.what == "issued" else (12, 20)
            paths.setdefault((act.who, act.what), []).append(
                f"M{self._x(act.at_s)} {lane.top + low}V{lane.top + high}"
            )
        for (_, what), ticks in paths.items():
            yield f'<path d="{"".join(ticks)}" class="{what}"/>'

    def _bars(self) -> Iterator[str]:
        bin_s = max(_BIN_PX / self._scale, _BIN_S)
        counts: dict[int, int] = {}
        for act in self._picture.acts:
            if act.what == "issued":
                place = int(act.at_s / bin_s)
                counts[place] = counts.get(place, 0) + 1
        if not counts:
            return
        most = max(counts.values())
        for place, count in sorted(counts.items()):
            height = round((_BARS - 14) * count / most, 1)
            told = f"{count / bin_s:.1f} a second at {place * bin_s:.1f} s"
            x = self._x(place * bin_s)
            width = round(bin_s * self._scale - 1.5, 1)
            yield _rect(x, self._floor - height, width, height, "bar", told)
        y = self._floor
        yield f'<line x1="1" y1="{y}" x2="{self._width}" y2="{y}" class="life"/>'
        yield _text(4, self._bars_top + 8, f"{most / bin_s:.0f}", "small")

    def _extent(self, begin_s: float, end_s: float) -> tuple[float, float]:
        x = self._x(begin_s)
        return x, max(1.0, round(self._x(end_s) - x, 1))


def _told(span: Span) -> str:
    return f"{span.text}, {span.begin_s:.2f} s to {span.end_s:.2f} s"


def _step(length_s: float) -> float:
    """Return how far apart marks are, of which about fifteen stand in a length; a round number."""
    rough = max(length_s / 15, 0.1)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= rough)


def _text(x: float, y: float, text: str, kind: str, *, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, kind: str, told: str = "") -> str:
    inner = f"<title>{escape(told)}</title>" if told else ""
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" class="{kind}">{inner}</rect>'
