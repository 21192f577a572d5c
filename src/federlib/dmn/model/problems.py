"""What is wrong with a model, every problem at once, each with its decision, rule and column."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from federlib.errors import InvalidInput

__all__ = ["MAX_PROBLEMS", "ModelProblem", "ModelProblems", "Report"]

MAX_PROBLEMS = 100
"""How many problems of one model are spelled out; the rest are counted."""


class ModelProblem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with a model.

    Attributes:
        element: The decision, knowledge model, type or whatever it is in, for example
            `decision 'scaling'`.
        text: What is wrong.
        rule: The rule of its table, counted from 1; None: it is in no rule.
        column: The column of its table, or the part of a boxed expression; empty: in none.
    """

    element: str
    text: str
    rule: int | None = None
    column: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        where = [self.element]
        if self.rule is not None:
            where.append(f"rule {self.rule}")
        if self.column:
            where.append(self.column)
        return f"{', '.join(where)}: {self.text}"


class ModelProblems(InvalidInput):
    """A model cannot be used.

    Attributes:
        model: Its name.
        details: What is wrong, at most `MAX_PROBLEMS` of it.
        count: How much is wrong in all.
    """

    def __init__(self, model: str, details: Iterable[ModelProblem]) -> None:
        found = tuple(details)
        count = len(found)
        kept = found[:MAX_PROBLEMS]
        lines = tuple(str(problem) for problem in kept)
        if count > len(kept):
            lines = (*lines, f"… and {count - len(kept)} more")
        super().__init__(
            f"model {model!r}",
            expected="a model without problems",
            found=f"{count} problem{'' if count == 1 else 's'}",
            problems=lines,
        )
        self.model = model
        self.details = kept
        self.count = count


class Report(Protocol):
    """Receives what is wrong with a model."""

    def __call__(
        self, element: str, text: str, *, rule: int | None = None, column: str = ""
    ) -> None:
        """Take in one problem."""
