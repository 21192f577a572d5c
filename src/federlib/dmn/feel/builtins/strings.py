"""Functions of strings. Positions count characters, that is code points, from 1.

Source: DMN 1.5, 10.3.4.3.
"""

from __future__ import annotations

from decimal import Decimal

from federlib.dmn.feel.builtins.declare import LIST, MAYBE_STRING, NUMBER, STRING, way
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.numbers import to_int
from federlib.dmn.feel.regex import BadPattern, Match, Pattern, compile_pattern, find
from federlib.dmn.feel.values import Function, Value

__all__ = ["WAYS", "span"]


def span(start: Decimal, length: Decimal | None, size: int) -> tuple[int, int] | None:
    """Say which part a start position and a length mean.

    Args:
        start: 1 is the first position, -1 the last.
        length: How many; None is all that follow. What is behind its point does not count.
        size: Of the whole.
    Returns:
        Where the part begins and ends, counted from 0; None: they lie outside.
    """
    first = to_int(start, bound=size)
    if not first:
        return None
    begin = first - 1 if first > 0 else size + first
    if length is None:
        return begin, size
    if not 1 <= length < size - begin + 1:
        return None
    return begin, begin + int(length)


def _substring(ev: Evaluation, string: str, start: Decimal, length: Decimal | None = None) -> Value:
    part = span(start, length, len(string))
    if part is None:
        return ev.fail("substring: position or length outside the string")
    return string[part[0] : part[1]]


def _length(_ev: Evaluation, string: str) -> Value:
    return Decimal(len(string))


def _upper(ev: Evaluation, string: str) -> Value:
    ev.check_size(len(string))
    return string.upper()


def _lower(ev: Evaluation, string: str) -> Value:
    ev.check_size(len(string))
    return string.lower()


def _before(_ev: Evaluation, string: str, match: str) -> Value:
    at = string.find(match)
    return string[:at] if at > 0 else ""


def _after(_ev: Evaluation, string: str, match: str) -> Value:
    at = string.find(match)
    return string[at + len(match) :] if at >= 0 else ""


def _contains(_ev: Evaluation, string: str, match: str) -> Value:
    return match in string


def _starts(_ev: Evaluation, string: str, match: str) -> Value:
    return string.startswith(match)


def _ends(_ev: Evaluation, string: str, match: str) -> Value:
    return string.endswith(match)


def _pattern(ev: Evaluation, name: str, text: str, flags: str | None) -> Pattern | None:
    ev.spend(len(text))
    try:
        pattern = compile_pattern(text, flags or "")
        ev.spend(len(pattern.steps))
        return pattern
    except BadPattern as error:
        return ev.fail(f"{name}: no regular expression: {error}")


def _matches(ev: Evaluation, string: str, text: str, flags: str | None) -> Value:
    pattern = _pattern(ev, "matches", text, flags)
    return None if pattern is None else find(ev, pattern, string) is not None


def _matches_nothing(ev: Evaluation, name: str, pattern: Pattern) -> bool:
    """Say whether a pattern matches the empty text, and note that as a problem.

    One that does not matches nothing empty in any text: only `^` and `$` look around.
    """
    if find(ev, pattern, "") is None:
        return False
    ev.fail(f"{name}: the pattern matches the empty string")
    return True


def _replace(ev: Evaluation, string: str, text: str, replacement: str, flags: str | None) -> Value:
    pattern = _pattern(ev, "replace", text, flags)
    if pattern is None or _matches_nothing(ev, "replace", pattern):
        return None
    pieces = _replacement(replacement, pattern.groups)
    if pieces is None:
        return ev.fail("replace: a $ or \\ in the replacement that stands for nothing")
    parts: list[str] = []
    at = size = 0
    while (match := find(ev, pattern, string, at)) is not None:
        put = "".join(_filled(each, string, match) for each in pieces)
        parts += [string[at : match.start], put]
        size += match.start - at + len(put)
        ev.check_size(size)
        at = match.end
    return "".join((*parts, string[at:]))


def _filled(piece: str | int, string: str, match: Match) -> str:
    if isinstance(piece, str):
        return piece
    start, end = (match.start, match.end) if piece == 0 else match.groups[piece - 1]
    return string[start:end] if start >= 0 else ""


def _replacement(text: str, groups: int) -> list[str | int] | None:
    """Read a replacement: texts, and numbers of groups; None: it is none."""
    pieces: list[str | int] = []
    at = 0
    while at < len(text):
        character, behind = text[at], text[at + 1 : at + 2]
        if character == "\\":
            if behind not in {"\\", "$"} or not behind:
                return None
            pieces.append(behind)
            at += 2
        elif character != "$":
            pieces.append(character)
            at += 1
        elif behind.isascii() and behind.isdigit():
            number = int(behind)
            at += 2
            while text[at : at + 1].isascii() and text[at : at + 1].isdigit():
                longer = number * 10 + int(text[at])
                if longer > groups:
                    break
                number = longer
                at += 1
            pieces.append(number if number <= groups else "")
        else:
            return None
    return pieces


def _split(ev: Evaluation, string: str, delimiter: str) -> Value:
    pattern = _pattern(ev, "split", delimiter, None)
    if pattern is None or _matches_nothing(ev, "split", pattern):
        return None
    parts: list[Value] = []
    at = 0
    while (match := find(ev, pattern, string, at)) is not None:
        parts.append(string[at : match.start])
        at = match.end
    parts.append(string[at:])
    return parts


def _join(ev: Evaluation, strings: list[Value], delimiter: str | None = None) -> Value:
    taken: list[str] = []
    for each in strings:
        if isinstance(each, str):
            taken.append(each)
        elif each is not None:
            return ev.fail("string join: takes a list of strings")
    size = sum(map(len, taken)) + len(delimiter or "") * len(taken)
    ev.check_size(size)
    ev.spend(len(strings) + size // 64)
    return (delimiter or "").join(taken)


_STRING = ("string", STRING)
_BOTH = (_STRING, ("match", STRING))
_START = ("start position", NUMBER)
_PATTERN = (("input", STRING), ("pattern", STRING))
_FLAGS = ("flags", MAYBE_STRING)

WAYS: tuple[Function, ...] = (
    way("substring", [_STRING, _START], _substring),
    way("substring", [_STRING, _START, ("length", NUMBER)], _substring),
    way("string length", [_STRING], _length),
    way("upper case", [_STRING], _upper),
    way("lower case", [_STRING], _lower),
    way("substring before", _BOTH, _before),
    way("substring after", _BOTH, _after),
    way("replace", [*_PATTERN, ("replacement", STRING), _FLAGS], _replace, optional=1),
    way("contains", _BOTH, _contains),
    way("starts with", _BOTH, _starts),
    way("ends with", _BOTH, _ends),
    way("matches", [*_PATTERN, _FLAGS], _matches, optional=1),
    way("split", [_STRING, ("delimiter", STRING)], _split),
    way("string join", [("list", LIST)], _join),
    way("string join", [("list", LIST), ("delimiter", MAYBE_STRING)], _join),
)
