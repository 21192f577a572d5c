"""A pattern as a list of steps.

An expression becomes one program in which a step goes on to the next, branches, or fails.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import attrs

from federlib.dmn.feel.regex.characters import Characters

__all__ = ["Op", "Pattern", "Step"]


class Op(IntEnum):
    """What a step does."""

    CHARACTER = 0  # one character of a set
    SPLIT = 1  # try the first, then the second
    JUMP = 2
    SAVE = 3  # note the position
    LINE_START = 4
    LINE_END = 5
    BACK = 6  # what a group matched
    MATCH = 7


Step: TypeAlias = "tuple[Op, int, int, Characters | None]"


@attrs.frozen
class Pattern:
    """A compiled regular expression.

    Attributes:
        steps: The program.
        groups: How many groups it captures.
        is_multiline: Whether `^` and `$` hold at every line.
        ignores_case: Whether `A` is `a`.
        refers_back: Whether it has back-references.
    """

    steps: tuple[Step, ...]
    groups: int
    is_multiline: bool
    ignores_case: bool
    refers_back: bool
