"""From the text of a regular expression to its program.

Source: XML Schema Part 2, appendix F, with what XPath 2.0 adds in 7.6.1: `^`, `$`, reluctant
quantifiers, back-references and flags.
"""

from __future__ import annotations

from functools import lru_cache

from federlib.dmn.feel.regex.characters import Characters, block, category, escape, variants
from federlib.dmn.feel.regex.program import Op, Pattern, Step

__all__ = ["BadPattern", "compile_pattern"]

_MAX_TEXT = 5_000
_MAX_STEPS = 20_000
"""`(a{100}){100}` stands for ten thousand steps; more than twice that is refused."""
_MAX_DEPTH = 100
_MAX_REPEAT = 10_000
_SPACE = " \t\n\r"
_PLAIN_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_ESCAPABLE = frozenset("\\|.-^?*+{}()[]$")
_SPECIAL = frozenset(".?*+()|[]{}^$\\")


class BadPattern(Exception):  # noqa: N818 (never leaves `federlib.dmn`)
    """A regular expression, or its flags, that the standard does not allow."""


@lru_cache(maxsize=256)
def compile_pattern(text: str, flags: str = "") -> Pattern:
    """Read a regular expression.

    Args:
        text: As XPath has it.
        flags: Any of `s` (a point matches line ends), `m` (lines), `i` (case), `x` (spaces
            in the pattern mean nothing).
    Raises:
        BadPattern: It is none, or too large.
    """
    if len(text) > _MAX_TEXT:
        raise BadPattern(f"longer than {_MAX_TEXT:,} characters")
    if wrong := set(flags) - set("smix"):
        raise BadPattern(f"no flags: {''.join(sorted(wrong))}")
    return _Reader(_without_space(text) if "x" in flags else text, flags).pattern()


def _without_space(text: str) -> str:
    """Take out the spaces that are not in a class."""
    kept: list[str] = []
    depth = 0
    is_escaped = False
    for each in text:
        if each in _SPACE and depth == 0:
            continue
        kept.append(each)
        if is_escaped:
            is_escaped = False
        elif each == "\\":
            is_escaped = True
        elif each in "[]":
            depth = max(0, depth + (1 if each == "[" else -1))
    return "".join(kept)


class _Reader:
    """Reads one pattern; methods give the steps of what they read."""

    def __init__(self, text: str, flags: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._size = 0
        self._opened = 0
        self._closed: set[int] = set()
        self._refers_back = False
        self._flags = flags
        self._ignores_case = "i" in flags

    def pattern(self) -> Pattern:
        steps = self._branches()
        if self._at < len(self._text):
            raise BadPattern(f"a {self._text[self._at]!r} too many")
        program: list[Step] = [*steps, (Op.MATCH, 0, 0, None)]
        # Branches are relative while read, since repeated parts are copied.
        absolute = tuple(
            (op, at + one, at + other, characters)
            if op in {Op.SPLIT, Op.JUMP}
            else (op, one, other, characters)
            for at, (op, one, other, characters) in enumerate(program)
        )
        return Pattern(
            absolute, self._opened, "m" in self._flags, self._ignores_case, self._refers_back
        )

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _next(self) -> str:
        if self._at == len(self._text):
            raise BadPattern("ends too early")
        self._at += 1
        return self._text[self._at - 1]

    def _bound(self, steps: list[Step]) -> list[Step]:
        if len(steps) > _MAX_STEPS:
            raise BadPattern("too large")
        return steps

    def _branches(self) -> list[Step]:
        branches = [self._branch()]
        while self._peek() == "|":
            self._at += 1
            branches.append(self._branch())
        # From the last to the first, since each must know how far it is to the end.
        chunks = [branches.pop()]
        size = len(chunks[0])
        for branch in reversed(branches):
            chunk = [_split(1, len(branch) + 2), *branch, _jump(size + 1)]
            chunks.append(chunk)
            size += len(chunk)
        return self._bound([step for chunk in reversed(chunks) for step in chunk])

    def _branch(self) -> list[Step]:
        steps: list[Step] = []
        while self._peek() not in {"", "|", ")"}:
            steps.extend(self._piece())
            self._bound(steps)
        return steps

    def _piece(self) -> list[Step]:
        atom = self._atom()
        if self._peek() not in {"?", "*", "+", "{"}:
            return atom
        least, most = self._counts()
        is_reluctant = self._peek() == "?"
        if is_reluctant:
            self._at += 1
        if self._peek() in {"?", "*", "+", "{"}:
            raise BadPattern("two quantifiers")
        return self._repeated(atom, least, most, is_reluctant=is_reluctant)

    def _counts(self) -> tuple[int, int | None]:
        sign = self._next()
        if sign != "{":
            return {"?": (0, 1), "*": (0, None), "+": (1, None)}[sign]
        end = self._text.find("}", self._at)
        inner = self._text[self._at : end] if end >= 0 else ""
        self._at = end + 1
        least, comma, most = inner.partition(",")
        if not _is_count(least) or (comma and most and not _is_count(most)):
            raise BadPattern("a quantifier that counts nothing")
        low = int(least)
        high = (int(most) if most else None) if comma else low
        if high is not None and high < low:
            raise BadPattern("a quantifier from more to less")
        return low, high

    def _repeated(
        self, atom: list[Step], least: int, most: int | None, *, is_reluctant: bool
    ) -> list[Step]:
        if len(atom) * max(least, most or 0) > _MAX_STEPS:
            raise BadPattern("too large")
        steps = atom * least
        size = len(atom)
        if most is None:
            loop = _split(1, size + 2, is_reluctant=is_reluctant)
            return self._bound([*steps, loop, *atom, _jump(-size - 1)])
        rest = most - least
        for position in range(rest):
            # Each copy that may be there can also end the whole.
            behind = (rest - position) * (size + 1)
            steps += [_split(1, behind, is_reluctant=is_reluctant), *atom]
        return steps

    def _atom(self) -> list[Step]:
        character = self._next()
        if character == "(":
            return self._group()
        if character == "[":
            return [_one(self._class())]
        if character == "\\":
            return self._escaped()
        if character == ".":
            anything = Characters(is_negated=True)
            ends = Characters(single=frozenset("\n\r"), is_negated=True)
            return [_one(anything if "s" in self._flags else ends)]
        if character == "^":
            return [(Op.LINE_START, 0, 0, None)]
        if character == "$":
            return [(Op.LINE_END, 0, 0, None)]
        if character in _SPECIAL:
            raise BadPattern(f"a {character!r} that quantifies or closes nothing")
        return [_one(self._only(character))]

    def _only(self, character: str) -> Characters:
        if not self._ignores_case:
            return Characters(frozenset(character))
        return Characters(variants(character), ignores_case=True)

    def _group(self) -> list[Step]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise BadPattern(f"groups nested deeper than {_MAX_DEPTH}")
        number = 0
        if self._text.startswith("?:", self._at):
            self._at += 2
        else:
            self._opened += 1
            number = self._opened
        steps = self._branches()
        self._next()  # a ), or the text has ended
        self._depth -= 1
        if not number:
            return steps
        self._closed.add(number)
        start, end = 2 * number - 2, 2 * number - 1
        return [(Op.SAVE, start, 0, None), *steps, (Op.SAVE, end, 0, None)]

    def _escaped(self) -> list[Step]:
        letter = self._next()
        if letter.isascii() and letter.isdigit():
            return [self._back(letter)]
        return [_one(self._escape(letter))]

    def _back(self, digit: str) -> Step:
        number = int(digit)
        # More digits belong to it as long as there are so many groups.
        while self._peek().isascii() and self._peek().isdigit():
            longer = number * 10 + int(self._peek())
            if longer > self._opened:
                break
            number = longer
            self._at += 1
        if number not in self._closed:
            raise BadPattern(f"there is no group {number} before its reference")
        self._refers_back = True
        return (Op.BACK, number, 0, None)

    def _escape(self, letter: str) -> Characters:
        """Give what an escape stands for, in a class or outside."""
        if letter in _PLAIN_ESCAPES:
            return Characters(frozenset(_PLAIN_ESCAPES[letter]))
        if letter in _ESCAPABLE:
            return self._only(letter)
        if letter in {"p", "P"}:
            return self._property(is_negated=letter == "P")
        test = escape(letter)
        if test is None:
            raise BadPattern(f"there is no escape \\{letter}")
        return Characters(tests=(test,))

    def _property(self, *, is_negated: bool) -> Characters:
        end = self._text.find("}", self._at)
        if self._peek() != "{" or end < 0:
            raise BadPattern("a category without braces")
        name = self._text[self._at + 1 : end]
        self._at = end + 1
        test = category(name)
        if test is not None:
            return Characters(tests=(test,), is_negated=is_negated)
        limits = block(name[2:]) if name.startswith("Is") else None
        if limits is None:
            raise BadPattern(f"there is no category or block {name!r}")
        return Characters(ranges=(limits,), is_negated=is_negated)

    def _class(self) -> Characters:
        """Read a class behind its `[`."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise BadPattern(f"classes nested deeper than {_MAX_DEPTH}")
        is_negated = self._peek() == "^"
        if is_negated:
            self._at += 1
        single: set[str] = set()
        ranges: list[tuple[int, int]] = []
        tests: list[Characters] = []
        without: Characters | None = None
        is_first = True
        while self._peek() != "]":
            if self._text.startswith("-[", self._at) and not is_first:
                self._at += 2
                without = self._class()
                if self._peek() != "]":
                    raise BadPattern("a subtraction that is not the end of its class")
                break
            self._member(single, ranges, tests)
            is_first = False
        if is_first:
            raise BadPattern("an empty class")
        self._at += 1
        self._depth -= 1
        return Characters(
            frozenset(single).union(*(variants(each) for each in single))
            if self._ignores_case
            else frozenset(single),
            tuple(ranges),
            tuple(each.has for each in tests),
            is_negated,
            without,
            self._ignores_case,
        )

    def _member(
        self, single: set[str], ranges: list[tuple[int, int]], tests: list[Characters]
    ) -> None:
        low = self._class_character()
        is_range = self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in {
            "[",
            "]",
            "",
        }
        if isinstance(low, Characters):
            tests.append(low)
            return
        if not is_range:
            single.add(low)
            return
        self._at += 1
        high = self._class_character()
        if isinstance(high, Characters) or ord(high) < ord(low):
            raise BadPattern("a range of characters that is none")
        ranges.append((ord(low), ord(high)))

    def _class_character(self) -> str | Characters:
        character = self._next()
        if character == "[":
            raise BadPattern("a [ in a class")
        if character != "\\":
            return character
        letter = self._next()
        if letter in _PLAIN_ESCAPES:
            return _PLAIN_ESCAPES[letter]
        return letter if letter in _ESCAPABLE else self._escape(letter)


def _one(characters: Characters) -> Step:
    return (Op.CHARACTER, 0, 0, characters)


def _jump(offset: int) -> Step:
    return (Op.JUMP, offset, 0, None)


def _split(one: int, other: int, *, is_reluctant: bool = False) -> Step:
    return (Op.SPLIT, other, one, None) if is_reluctant else (Op.SPLIT, one, other, None)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= _MAX_REPEAT
