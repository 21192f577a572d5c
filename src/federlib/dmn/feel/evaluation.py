"""`Evaluation`: what one evaluation may use, and what went wrong in it.

Evaluating never raises because of data. Whatever the standard calls an error gives null and
is told here; steps and sizes are counted here, so that a hostile table ends in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Never, Protocol

import attrs

__all__ = [
    "DEFAULT_STEPS",
    "MAX_CALLS",
    "MAX_PROBLEMS",
    "MAX_SIZE",
    "Evaluation",
    "Exhausted",
    "Witness",
]

DEFAULT_STEPS = 1_000_000
"""Of one evaluation; a step is a node of an expression, or an element of a list looked at."""

MAX_SIZE = 1_000_000
"""Characters of a string and elements of a list that an expression may build."""

MAX_CALLS = 100
"""How many functions may be in the middle of calling each other; Python's own stack ends soon
after, at a depth that would depend on who began the evaluation."""

MAX_PROBLEMS = 100
"""How many problems of one evaluation are kept; the rest are counted."""


class Exhausted(Exception):  # noqa: N818 (never leaves `federlib.dmn`)
    """The evaluation took more steps, or built something larger, than it may.

    Raised by `Evaluation.spend` and `Evaluation.check_size`, and turned into a problem by
    whoever began the evaluation.
    """


class Witness(Protocol):
    """Is told of each decision table that an evaluation asks."""

    def asked(self, table: object, names: Mapping[str, object], result: object) -> None:
        """Take in one.

        Args:
            table: A `federlib.dmn.tables.table.CompiledTable`.
            names: The values that its expressions might use.
            result: Its `federlib.dmn.tables.table.TableResult`.
        """


@attrs.define(eq=False)
class Evaluation:
    """One evaluation: its clock, its limits and its problems.

    Attributes:
        now_ns: What `now()` and `today()` say; Unix nanoseconds, or None: they are errors.
        steps: Steps that are left.
        problems: What the standard calls errors, in words, at most `MAX_PROBLEMS` of them.
        uncounted: Problems beyond those.
        calls: Functions that are in the middle of calling each other.
        witness: Who is told of the tables that it asks; None: nobody.
    """

    now_ns: int | None = None
    steps: int = DEFAULT_STEPS
    problems: list[str] = attrs.field(factory=list)
    uncounted: int = 0
    calls: int = 0
    witness: Witness | None = None

    def fail(self, reason: str) -> Never | None:  # noqa: RUF020 (mypy passes no None on)
        """Note an error; its value is null, so callers return what this returns.

        Never anything but None; `Never` only lets type checkers pass that on.
        """
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(reason)
        else:
            self.uncounted += 1
        return None

    def spend(self, steps: int = 1) -> None:
        """Take steps.

        Raises:
            Exhausted: None are left.
        """
        self.steps -= steps
        if self.steps < 0:
            raise Exhausted("more steps than an evaluation may take")

    def check_size(self, size: int) -> None:
        """See that something of this size may be built.

        Raises:
            Exhausted: It may not.
        """
        if size > MAX_SIZE:
            raise Exhausted(f"a value of more than {MAX_SIZE:,} elements or characters")
