"""From thousands of operations to the few that contradict each other.

Everything that is taken away makes a history easier to put in order: a read is left out, an
operation need no longer have taken effect, what came before is forgotten. So what still
has no order is itself a violation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from federlib.testing.history._search import Found, search
from federlib.testing.history.model import Move, Part, State
from federlib.testing.history.records import Operation

__all__ = ["Violation", "explain"]

_STEPS = 50_000
"""For each attempt to make it smaller; one that takes more is given up."""

_TRIMMED = 120
"""A window of more operations is shown as it is."""

_SHOWN = 40


@attrs.frozen(kw_only=True)
class Violation:
    """Operations that cannot be put in any order; as text it says why.

    Attributes:
        key: What they are about; None where it is everything.
        window: The operations that contradict each other, in the order of their beginnings.
        maybe: Others of the same time, which may have taken effect or not: it is no use.
        stuck: The one of the window that has no place.
        states: What the thing would have held where `stuck` must have its place, some cases.
    """

    key: str | None
    window: tuple[Operation, ...]
    maybe: tuple[Operation, ...]
    stuck: Operation
    states: tuple[str, ...]

    def __str__(self) -> str:
        what = "the whole" if self.key is None else f"key {self.key!r}"
        lines = [f"{what}: no order of these {len(self.window)} operations is possible:"]
        lines += _listed(self.window)
        if self.maybe:
            lines.append("  whether or not any of these took effect meanwhile:")
            lines += _listed(self.maybe)
        lines.append(f"  has no place: {self.stuck}")
        lines += [f"  by {self.stuck.returned}, {state}" for state in self.states]
        return "\n".join(lines)


def _listed(operations: Sequence[Operation]) -> list[str]:
    lines = []
    for operation in operations[:_SHOWN]:
        end = "…" if operation.outcome != "ok" else operation.returned
        lines.append(f"    [{operation.invoked} to {end}] {operation}")
    if len(operations) > _SHOWN:
        lines.append(f"    and {len(operations) - _SHOWN} more")
    return lines


def explain(part: Part[State], found: Found[State]) -> Violation | None:
    """Make a violation of where a search got stuck, as small as is quickly done.

    Returns:
        None if the search was stopped, and there is no violation close to where it came.
    """
    stuck = found.stuck
    assert stuck is not None
    assert stuck.returned is not None
    moves, initial = _until(part.moves, stuck.returned), part.initial
    cut = None if part.anything is None else _cut(moves, part.anything, part.covers)
    if cut is not None:
        assert part.anything is not None
        (moves, found), initial = cut, part.anything
    elif found.answer == "no":
        found = _smaller(moves, initial, part.covers) or found
    else:
        return None
    moves, found = _trimmed(moves, initial, part.covers, found)
    stuck = found.stuck
    assert stuck is not None
    return Violation(
        key=part.key,
        window=_operations(moves, is_must=True),
        maybe=_operations(moves, is_must=False),
        stuck=stuck.operation,
        states=tuple(map(part.show, found.states)),
    )


def _operations(moves: Sequence[Move[State]], *, is_must: bool) -> tuple[Operation, ...]:
    chosen = [move.operation for move in moves if (move.returned is not None) == is_must]
    return tuple(sorted(chosen, key=lambda operation: operation.invoked))


def _smaller(
    moves: Sequence[Move[State]], initial: State, covers: Callable[[State, State], bool]
) -> Found[State] | None:
    """Return what shows that these have no order either; None if that is not so, or not known."""
    found = search(moves, initial, covers=covers, max_steps=_STEPS)
    return found if found.answer == "no" else None


def _optional(move: Move[State]) -> list[Move[State]]:
    """Let a move have no end; a read that need not happen is none."""
    return [] if move.is_read else [attrs.evolve(move, returned=None)]


def _until(moves: Sequence[Move[State]], end: int) -> list[Move[State]]:
    """Leave out what began after the one that has no place had ended."""
    kept: list[Move[State]] = []
    for move in moves:
        if move.invoked <= end:
            is_later = move.returned is not None and move.returned > end
            kept += _optional(move) if is_later else [move]
    return kept


def _since(moves: Sequence[Move[State]], begin: int) -> list[Move[State]]:
    """Forget what had ended before; what was under way may have taken effect or not."""
    kept: list[Move[State]] = []
    for move in moves:
        if move.invoked >= begin or move.returned is None:
            kept.append(move)
        elif move.returned >= begin:
            kept += _optional(move)
    return kept


def _cut(
    moves: Sequence[Move[State]], anything: State, covers: Callable[[State, State], bool]
) -> tuple[list[Move[State]], Found[State]] | None:
    """Find the latest instant from which on there is no order whatever was there before."""
    begins = sorted({move.invoked for move in moves if move.returned is not None}, reverse=True)

    def tried(count: int) -> Found[State] | None:
        return _smaller(_since(moves, begins[count - 1]), anything, covers)

    count = 1
    while tried(count) is None:
        if count == len(begins):
            return None
        count = min(2 * count, len(begins))
    count = _least(count // 2 + 1, count, lambda count: tried(count) is not None)
    found = tried(count)
    return None if found is None else (_since(moves, begins[count - 1]), found)


def _least(low: int, high: int, is_enough: Callable[[int], bool]) -> int:
    while low < high:
        middle = (low + high) // 2
        if is_enough(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _trimmed(
    moves: list[Move[State]],
    initial: State,
    covers: Callable[[State, State], bool],
    found: Found[State],
) -> tuple[list[Move[State]], Found[State]]:
    """Let go of one after the other, as long as there is no order."""
    if sum(move.returned is not None for move in moves) > _TRIMMED:
        return moves, found
    for move in list(moves):
        if move.returned is None:
            continue
        place = moves.index(move)
        fewer = [*moves[:place], *_optional(move), *moves[place + 1 :]]
        if (smaller := _smaller(fewer, initial, covers)) is not None:
            moves, found = fewer, smaller
    return moves, found
