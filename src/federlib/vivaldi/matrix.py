"""Matrices of round trips, read from text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

import attrs

from federlib.errors import InvalidInput

__all__ = ["MAX_LINE", "MAX_NODES", "RttMatrix", "read_matrix"]

MAX_NODES = 4_096
"""A trial in Python takes hours beyond."""

MAX_LINE = 1_048_576
"""Characters of one line: more than `MAX_NODES` numbers take."""

_MOST_CELLS = 2 * MAX_NODES * MAX_NODES
"""Of all slices; 256 MiB. A short file can name a distant node and many instants."""

_LEAST_MS, _MOST_MS = 1e-6, 1e9
"""No network is faster, nor slower by the week: what lies beyond is in another unit."""

Rows = Sequence[Sequence[float]]


@attrs.frozen
class RttMatrix:
    """Round trips between nodes, at one or several instants.

    Attributes:
        slices: For each instant rows of milliseconds; 0 where nothing was measured.
        truth: Each pair's median over the slices; milliseconds, 0 where it was never measured.
    """

    slices: tuple[Rows, ...]
    truth: Rows

    @property
    def nodes(self) -> int:
        """How many nodes it is about."""
        return len(self.truth)


def read_matrix(lines: Iterable[str], *, name: str = "matrix") -> RttMatrix:
    """Read comma-separated round trips in milliseconds.

    Either a square without a header, row i from node i to every other; or a header
    ``i,j,t1,…`` and a line for each pair, symmetric, with one column for each instant. An
    empty field, ``nan``, 0 and less are missing.

    Args:
        lines: The text, line by line, for example an open file.
        name: Names it in errors.
    Raises:
        InvalidInput: It is neither, has fewer than 2 or more than `MAX_NODES` nodes or more
            than 33 million values, a line longer than `MAX_LINE`, or a round trip below a
            nanosecond or above 10⁹ ms.
    """
    if isinstance(lines, str):
        # Its characters would be taken for lines, and a path for the text.
        raise InvalidInput(name, expected="lines of text, as an open file", found=lines)
    rows = _fields(lines, name)
    first = next(rows, (0, []))[1]
    if [each.strip().lower() for each in first[:2]] == ["i", "j"]:
        slices = _pairs(rows, instants=len(first) - 2, name=name)
    else:
        slices = (_square(first, rows, name=name),) if first else ((),)
    size = len(slices[0])
    if not 2 <= size <= MAX_NODES:
        raise InvalidInput(name, expected=f"2 to {MAX_NODES} nodes", found=size)
    truth = slices[0] if len(slices) == 1 else [
        [_median([each[i][j] for each in slices]) for j in range(size)] for i in range(size)
    ]  # fmt: skip
    if not any(map(any, truth)):
        raise InvalidInput(name, expected="a round trip above 0", found="none")
    return RttMatrix(slices, truth)


def _median(values: list[float]) -> float:
    return median([value for value in values if value > 0] or [0.0])


def _fields(lines: Iterable[str], name: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, 1):
        if not isinstance(line, str):
            raise InvalidInput(f"{name}, line {number}", expected="text", found=line)
        if len(line) > MAX_LINE:
            raise InvalidInput(
                f"{name}, line {number}", expected=f"at most {MAX_LINE} characters", found=len(line)
            )
        if line.strip():
            yield number, line.strip().split(",")


def _square(first: list[str], rest: Iterator[tuple[int, list[str]]], *, name: str) -> Rows:
    size = len(first)
    if size > MAX_NODES:
        raise InvalidInput(name, expected=f"at most {MAX_NODES} nodes", found=size)
    found = [_numbers(first, 1, name)]
    for number, fields in rest:
        if len(fields) != size or len(found) == size:
            raise InvalidInput(
                f"{name}, line {number}",
                expected=f"{size} lines of {size} fields",
                found=f"{len(fields)} fields" if len(fields) != size else "a line more",
            )
        found.append(_numbers(fields, number, name))
    if len(found) != size:
        raise InvalidInput(name, expected=f"{size} lines of {size} fields", found=len(found))
    for i, row in enumerate(found):
        row[i] = 0.0  # a node is no peer of itself
    return found


def _pairs(rest: Iterator[tuple[int, list[str]]], *, instants: int, name: str) -> tuple[Rows, ...]:
    pairs: dict[tuple[int, int], list[float]] = {}
    size = 0
    for number, fields in rest:
        if len(fields) != instants + 2:
            raise InvalidInput(
                f"{name}, line {number}", expected=f"{instants + 2} fields", found=len(fields)
            )
        i, j = (_node(text, number, name) for text in fields[:2])
        size = max(size, i + 1, j + 1)
        if size * size * instants > _MOST_CELLS:
            raise InvalidInput(
                f"{name}, line {number}",
                expected=f"at most {_MOST_CELLS} values, nodes times nodes times instants",
                found=f"{size} nodes at {instants} instants",
            )
        pairs[i, j] = _numbers(fields[2:], number, name)
    if not instants or not pairs:
        raise InvalidInput(name, expected="pairs at one instant or more", found=len(pairs))
    slices = [[[0.0] * size for _ in range(size)] for _ in range(instants)]
    for (i, j), values in pairs.items():
        if i != j:
            for rows, value in zip(slices, values, strict=True):
                rows[i][j] = rows[j][i] = value
    return tuple(slices)


def _node(text: str, number: int, name: str) -> int:
    found = int(text) if text.strip().isascii() and text.strip().isdigit() else -1
    if not 0 <= found < MAX_NODES:
        raise InvalidInput(
            f"{name}, line {number}", expected=f"a node from 0 to {MAX_NODES - 1}", found=text
        )
    return found


def _numbers(fields: list[str], number: int, name: str) -> list[float]:
    return [_number(text, number, name) for text in fields]


def _number(text: str, number: int, name: str) -> float:
    if not text.strip():
        return 0.0
    try:
        found = float(text)
    except ValueError:
        found = math.inf
    # Less than 0, and NaN, is a pair that was not measured.
    if math.isinf(found) or 0 < found < _LEAST_MS or found > _MOST_MS:
        raise InvalidInput(
            f"{name}, line {number}",
            expected=f"milliseconds, {_LEAST_MS:g} to {_MOST_MS:g}",
            found=text,
        )
    return found if found > 0 else 0.0
