"""The search for an order: Wing and Gong's, with Lowe's memory of what was seen.

What has been put in order is told by how far all of it goes, and by bits for the rest: few
operations are under way at once, so the words are short however long the history is.

Three rules spare most of the work. A read that is right now is taken now: later it could at
best be right as well, and nothing hangs on it. An operation of unknown outcome is put in
order only right before one whose result it explains: without that, an order without it
exists too. And of two unknown ones that are alike, the earlier is tried first.

Source: Wing and Gong 1993; Lowe 2017, "Testing for linearizability".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, Literal

import attrs

from federlib.testing.history.model import Move, State

__all__ = ["Found", "search"]

_NEVER = 2**64
_SHOWN_STATES = 4
_KEPT = 1_000
"""States of which it is remembered what operations of unknown outcome make of them."""

_Config = tuple[int, int, int, State]
"""All before the first are in order; bits of those after it; bits of the unknown; the state."""


@attrs.define(eq=False)
class Found(Generic[State]):
    """What a search found.

    Attributes:
        answer: `yes`: there is an order. `no`: there is none. `stopped`: too many steps.
        steps: How often the model was asked.
        stuck: Which operation had no place in the order that came furthest.
        states: In which states it then had to be, some of them.
    """

    answer: Literal["yes", "no", "stopped"]
    steps: int
    stuck: Move[State] | None = None
    states: tuple[State, ...] = ()


def search(
    moves: Sequence[Move[State]],
    initial: State,
    *,
    covers: Callable[[State, State], bool],
    max_steps: int,
) -> Found[State]:
    """Look for an order of all moves that must be in one."""
    return _Search(moves, initial, covers, max_steps).run()


class _Search(Generic[State]):
    def __init__(
        self,
        moves: Sequence[Move[State]],
        initial: State,
        covers: Callable[[State, State], bool],
        max_steps: int,
    ) -> None:
        self._musts = sorted((m for m in moves if m.returned is not None), key=_invoked)
        self._mays = sorted((m for m in moves if m.returned is None), key=_invoked)
        self._begins = [move.invoked for move in self._musts]
        self._ends = [_end(move) for move in self._musts]
        self._twins = _twins(self._mays)
        self._initial = initial
        self._max_steps = max_steps
        self._covers = covers
        self._is_vast = False
        self._steps = 0
        self._wall = -1
        self._stuck = 0
        self._states: dict[State, None] = {}
        self._seen: dict[tuple[int, int, State], list[int]] = {}
        self._outcomes: dict[State, list[State | None]] = {}
        self._needs: dict[tuple[State | None, State], list[tuple[int, State]]] = {}
        self._goals: dict[tuple[int, State], bool] = {}
        self._closures: dict[State, Sequence[State]] = {}

    def run(self) -> Found[State]:
        """Go deep first; what was seen is not entered again."""
        config = self._settle((0, 0, 0, self._initial))
        if config is None:
            return self._found("yes")
        stack = [self._next(config)]
        while stack:
            if self._steps > self._max_steps:
                return self._found("stopped")
            entered = next(stack[-1], None)
            if entered is None:
                stack.pop()
                continue
            config = self._settle(entered)
            if config is None:
                return self._found("yes")
            if self._is_new(config):
                stack.append(self._next(config))
        return self._found("no")

    def _is_new(self, config: _Config[State]) -> bool:
        """Say whether it is worth a look: not if it was seen with fewer of the unknown used up."""
        first, bits, mays, state = config
        seen = self._seen.setdefault((first, bits, state), [])
        for fewer in seen:
            if fewer & mays == fewer:
                return False
        seen.append(mays)
        self._steps += len(seen)
        return True

    def _found(self, answer: Literal["yes", "no", "stopped"]) -> Found[State]:
        if answer == "yes" or not self._musts:
            return Found(answer, self._steps)
        return Found(answer, self._steps, self._musts[self._stuck], tuple(self._states))

    def _candidates(self, config: _Config[State]) -> tuple[list[int], int, int]:
        """Return what may come next, by when something must, and which that is."""
        first, bits, _, _ = config
        begins, ends = self._begins, self._ends
        found: list[int] = []
        wall, last = _NEVER, first
        index, count = first, len(begins)
        while index < count and begins[index] <= wall:
            if not bits & 1:
                found.append(index)
                if ends[index] < wall:
                    wall, last = ends[index], index
            bits >>= 1
            index += 1
        return [index for index in found if begins[index] <= wall], wall, last

    def _settle(self, config: _Config[State]) -> _Config[State] | None:
        """Take every read that is right now; None when all is in order."""
        while True:
            first, _, mays, state = config
            if first == len(self._musts):
                return None
            for index in self._candidates(config)[0]:
                move = self._musts[index]
                if move.is_read:
                    self._steps += 1
                    if move.step(state) == state:
                        config = _take(config, index, mays, state)
                        break
            else:
                return config

    def _next(self, config: _Config[State]) -> Iterator[_Config[State]]:
        """Give every way to go on from a settled configuration, the likeliest first."""
        _, _, mays, state = config
        candidates, wall, last = self._candidates(config)
        musts = self._musts
        after: dict[int, State | None] = {}
        for index in sorted(candidates, key=lambda index: musts[index].rank):
            self._steps += 1
            moved = after[index] = musts[index].step(state)
            if moved is not None:
                yield _take(config, index, mays, moved)
        if after[last] is None:
            self._note(wall, last, state)
        goals = [index for index in candidates if self._is_goal(index, state, after[index])]
        if goals:
            yield from self._helped_on(config, goals, after, wall)

    def _helped_on(
        self,
        config: _Config[State],
        goals: Sequence[int],
        after: dict[int, State | None],
        wall: int,
    ) -> Iterator[_Config[State]]:
        """Put unknown ones in order, each needed by the next, and one that needs the last.

        No state comes twice among them: what led from it to itself could be left out.
        """
        _, _, mays, state = config
        covers = self._covers
        paths: list[tuple[int, tuple[State, ...], list[tuple[int, State]]]]
        paths = [(mays, (state,), self._chains(None, state))]
        while paths and self._steps <= self._max_steps:
            used, path, chains = paths.pop()
            for may, helped in chains:
                if not self._is_free(may, used, wall):
                    continue
                if any(covers(one, helped) for one in path):
                    continue
                bits = used | 1 << may
                for index in goals:
                    self._steps += 1
                    moved = self._musts[index].step(helped)
                    before = after[index]
                    if moved is None or (before is not None and covers(before, moved)):
                        continue
                    yield _take(config, index, bits, moved)
                paths.append((bits, (*path, helped), self._chains(path[-1], helped)))

    def _is_goal(self, index: int, state: State, after: State | None) -> bool:
        """Say whether any of unknown outcome, used any number of times, could help this one."""
        if self._is_vast:
            return True
        key = (index, state)
        found = self._goals.get(key)
        if found is None:
            if len(self._goals) > _KEPT:
                self._goals.clear()
            step = self._musts[index].step
            reached = self._closure(state)
            self._steps += len(reached)
            moved = map(step, reached)
            is_helped = any(one is not None and one != after for one in moved)
            found = is_helped or len(reached) >= _KEPT
            self._goals[key] = found
        return found

    def _closure(self, state: State) -> Sequence[State]:
        """Return every state that those of unknown outcome lead to, as far as is quickly seen."""
        found = self._closures.get(state)
        if found is None:
            if len(self._closures) > _KEPT:
                self._closures.clear()
            reached = {state: None}
            waiting = [state]
            while waiting and not self._is_vast:
                for one in self._helped(waiting.pop()):
                    if one is not None and one not in reached:
                        reached[one] = None
                        waiting.append(one)
                # A thing that counts has no end of states: then this spares nothing.
                self._is_vast = len(reached) > _KEPT
            found = self._closures[state] = list(reached)[1:]
        return found

    def _is_free(self, may: int, mays: int, wall: int) -> bool:
        """Say whether it may come next: not yet in order, begun, and no twin before it."""
        twin = self._twins[may]
        is_first = twin < 0 or mays >> twin & 1
        return bool(is_first and not mays >> may & 1 and self._mays[may].invoked <= wall)

    def _helped(self, state: State) -> list[State | None]:
        """Return what each of unknown outcome makes of a state."""
        found = self._outcomes.get(state)
        if found is None:
            if len(self._outcomes) > _KEPT:
                self._outcomes.clear()
            self._steps += len(self._mays)
            found = self._outcomes[state] = [move.step(state) for move in self._mays]
        return found

    def _chains(self, before: State | None, state: State) -> list[tuple[int, State]]:
        """Return those of unknown outcome that change a state, and to what.

        With a state before it, only those that would not have made the same of that.
        """
        found = self._needs.get((before, state))
        if found is None:
            if len(self._needs) > _KEPT:
                self._needs.clear()
            self._steps += len(self._mays)
            covers, news = self._covers, self._helped(state)
            olds = [None] * len(news) if before is None else self._helped(before)
            found = self._needs[before, state] = [
                (may, new)
                for may, (old, new) in enumerate(zip(olds, news, strict=True))
                if new is not None
                and not covers(state, new)
                and not (old is not None and covers(old, new))
            ]
        return found

    def _note(self, wall: int, last: int, state: State) -> None:
        """Remember who was stuck where the order came furthest."""
        if wall > self._wall:
            self._wall, self._stuck = wall, last
            self._states.clear()
        if wall == self._wall and len(self._states) < _SHOWN_STATES:
            self._states[state] = None


def _take(config: _Config[State], index: int, mays: int, state: State) -> _Config[State]:
    first, bits, _, _ = config
    bits |= 1 << (index - first)
    if bits & 1:
        done = (~bits & (bits + 1)).bit_length() - 1
        return first + done, bits >> done, mays, state
    return first, bits, mays, state


def _twins(mays: Sequence[Move[State]]) -> list[int]:
    """Return for each the one before it that is alike, or -1."""
    before: dict[Hashable, int] = {}
    twins: list[int] = []
    for index, move in enumerate(mays):
        twins.append(before.get(move.kind, -1))
        before[move.kind] = index
    return twins


def _invoked(move: Move[State]) -> int:
    return move.invoked


def _end(move: Move[State]) -> int:
    assert move.returned is not None
    return move.returned
