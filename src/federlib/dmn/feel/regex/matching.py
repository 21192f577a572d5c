"""Running a pattern over a text."""

from __future__ import annotations

import attrs

from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.regex.characters import variants
from federlib.dmn.feel.regex.program import Op, Pattern

__all__ = ["Match", "find"]

# The evaluation is asked for steps in lumps: asking costs more than a step.
_LUMP = 256


@attrs.frozen
class Match:
    """Where a pattern matches.

    Attributes:
        start: Of the first character.
        end: Behind the last.
        groups: Start and end of each group; -1 for one that took no part.
    """

    start: int
    end: int
    groups: tuple[tuple[int, int], ...]


def find(ev: Evaluation, pattern: Pattern, text: str, start: int = 0) -> Match | None:
    """Find the first match at or behind a position.

    Raises:
        Exhausted: It takes more steps than the evaluation has.
    """
    seen: set[object] = set()
    for begin in range(start, len(text) + 1):
        ev.spend()
        match = _run(ev, pattern, text, begin, seen)
        if match is not None:
            return match
    return None


def _run(
    ev: Evaluation, pattern: Pattern, text: str, begin: int, seen: set[object]
) -> Match | None:
    steps, length, width = pattern.steps, len(text), len(text) + 1
    saved: tuple[int, ...] = (-1,) * (2 * pattern.groups)
    waiting = [(0, begin, saved)]
    taken = 0
    while waiting:
        at, position, saved = waiting.pop()
        while True:
            taken += 1
            if taken == _LUMP:
                ev.spend(taken)
                taken = 0
            op, one, other, characters = steps[at]
            if op is Op.CHARACTER:
                assert characters is not None
                if position == length or not characters.has(text[position]):
                    break
                position += 1
            elif op is Op.SPLIT:
                # What failed from here before fails again; that is also the end of empty loops.
                # Only where groups are read again do they belong to the state.
                place = at * width + position
                state: object = (place, saved) if pattern.refers_back else place
                if state in seen:
                    break
                seen.add(state)
                waiting.append((other, position, saved))
                at = one
                continue
            elif op is Op.JUMP:
                at = one
                continue
            elif op is Op.SAVE:
                saved = (*saved[:one], position, *saved[one + 1 :])
            elif op is Op.LINE_START:
                if not _is_line_start(pattern, text, position):
                    break
            elif op is Op.LINE_END:
                if not (position == length or (pattern.is_multiline and text[position] == "\n")):
                    break
            elif op is Op.BACK:
                end = _back(pattern, text, position, saved[2 * one - 2 : 2 * one])
                if end is None:
                    break
                position = end
            else:
                ev.spend(taken)
                groups = tuple(zip(saved[::2], saved[1::2], strict=True))
                return Match(begin, position, groups)
            at += 1
    ev.spend(taken)
    return None


def _is_line_start(pattern: Pattern, text: str, position: int) -> bool:
    if position == 0:
        return True
    # A newline at the very end begins no line.
    return pattern.is_multiline and position < len(text) and text[position - 1] == "\n"


def _back(pattern: Pattern, text: str, position: int, group: tuple[int, ...]) -> int | None:
    """Match what a group matched again; one that took no part is the empty text."""
    if -1 in group:
        return position
    wanted = text[group[0] : group[1]]
    found = text[position : position + len(wanted)]
    if wanted == found:
        return position + len(wanted)
    if not pattern.ignores_case or len(wanted) != len(found):
        return None
    alike = all(b in variants(a) for a, b in zip(wanted, found, strict=True))
    return position + len(wanted) if alike else None
