"""Long histories that are right by construction: to time a checker, and to break one's own.

Each call takes effect at one instant, in a thing of which there is one copy; some answers are
lost, and some of those calls take effect much later or never.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from federlib.errors import InvalidInput
from federlib.testing.history.records import History, Operation, Outcome, Word

__all__ = ["register_history", "store_history"]

Below = Callable[[int], int]

_PER_MILLE = 1_000


@attrs.define(eq=False)
class _Call:
    """A call under way."""

    process: str
    verb: str
    key: str
    arguments: tuple[Word, ...]
    invoked: int
    is_done: bool = False
    result: tuple[Word, ...] = ()

    def ended(self, outcome: Outcome, returned: int | None) -> Operation:
        return Operation(
            process=self.process,
            verb=self.verb,
            key=self.key,
            arguments=self.arguments,
            invoked=self.invoked,
            returned=returned,
            outcome=outcome,
            result=self.result if outcome == "ok" else (),
        )


class _Registers:
    """Draws calls of a register, and has them take effect."""

    def __init__(self, below: Below, values: int) -> None:
        self._below = below
        self._values = values
        self._held: dict[str, Word] = {}

    def draw(self, key: str) -> tuple[str, tuple[Word, ...]]:
        kind = self._below(4)
        if kind < 2:
            return "read", ()
        new = self._below(self._values)
        if kind == 2:
            return "write", (new,)
        # Half of the swaps know what is there, or was a moment ago.
        is_told = self._below(2)
        return "cas", (self._held.get(key) if is_told else self._below(self._values), new)

    def do(self, call: _Call) -> None:
        held = self._held.get(call.key)
        if call.verb == "read":
            call.result = (held,)
        elif call.verb == "write":
            self._held[call.key] = call.arguments[0]
        else:
            expected, new = call.arguments
            call.result = (int(held == expected),)
            if held == expected:
                self._held[call.key] = new


class _Store:
    """Draws gets and commits of a record store, and has them take effect."""

    def __init__(self, below: Below, keys: Sequence[str]) -> None:
        self._below = below
        self._keys = keys
        self._revision = 0
        self._held: dict[str, tuple[str, int, int]] = {}

    def draw(self, key: str) -> tuple[str, tuple[Word, ...]]:
        kind = self._below(4)
        if kind < 2:
            return "get", ()
        words: list[Word] = ["id", None]
        chosen = {key: None}
        if self._below(3) == 0:
            chosen[self._keys[self._below(len(self._keys))]] = None
        for one in chosen:
            held = self._held.get(one)
            if self._below(3):
                words += ("absent", one) if held is None else ("at", one, held[1])
        for one in chosen:
            is_gone = self._below(8) == 0
            words += ("delete", one) if is_gone else ("put", one, str(self._below(1_000)))
        return "commit", tuple(words)

    def do(self, call: _Call) -> None:
        if call.verb == "get":
            call.result = self._held.get(call.key, ())
            return
        failed: list[Word] = []
        writes: list[tuple[str, str | None]] = []
        words = iter(call.arguments[2:])
        for word in words:
            key = str(next(words))
            held = self._held.get(key)
            found = None if held is None else held[1]
            if word in {"at", "absent"}:
                expected = next(words) if word == "at" else None
                failed += () if found == expected else (key, expected, found)
            else:
                writes.append((key, str(next(words)) if word == "put" else None))
        if failed:
            call.result = ("conflicted", *failed)
            return
        self._revision += 1
        for key, value in writes:
            held = self._held.pop(key, None)
            if value is not None:
                created = self._revision if held is None else held[2]
                self._held[key] = (value, self._revision, created)
        call.result = ("committed", self._revision)


def register_history(
    below: Below,
    *,
    operations: int,
    processes: int = 10,
    keys: int = 8,
    values: int = 100,
    unknown_per_mille: int = 10,
) -> History:
    """Return a right history of registers, whose first value is None.

    Args:
        below: Draws an integer from 0 up to its argument, as ``Random(seed).randrange``.
        operations: How many calls.
        processes: How many call at the same time.
        keys: How many registers; half of the calls go to the first one.
        values: How many different values are written.
        unknown_per_mille: How many of a thousand answers are lost.
    Raises:
        InvalidInput: A number is below 1, or `unknown_per_mille` below 0.
    """
    registers = _Registers(below, values)
    names = _names(operations=operations, processes=processes, keys=keys, values=values)
    return _play(below, operations, processes, names, registers, unknown_per_mille)


def store_history(
    below: Below,
    *,
    operations: int,
    processes: int = 10,
    keys: int = 8,
    unknown_per_mille: int = 10,
) -> History:
    """Return a right history of a new record store, as `Recorder.store` records one.

    Args:
        below: Draws an integer from 0 up to its argument, as ``Random(seed).randrange``.
        operations: How many calls.
        processes: How many call at the same time.
        keys: How many; half of the calls go to the first one, some commits write two.
        unknown_per_mille: How many of a thousand answers are lost.
    Raises:
        InvalidInput: A number is below 1, or `unknown_per_mille` below 0.
    """
    names = _names(operations=operations, processes=processes, keys=keys)
    return _play(below, operations, processes, names, _Store(below, names), unknown_per_mille)


def _names(*, keys: int, **others: int) -> list[str]:
    for field, number in {"keys": keys, **others}.items():
        if type(number) is not int or number < 1:
            raise InvalidInput(field, expected="an integer above 0", found=number)
    return [f"k{number}" for number in range(keys)]


def _play(
    below: Below,
    operations: int,
    processes: int,
    keys: Sequence[str],
    thing: _Registers | _Store,
    unknown_per_mille: int,
) -> History:
    if type(unknown_per_mille) is not int or unknown_per_mille < 0:
        raise InvalidInput("unknown_per_mille", expected="0 or more", found=unknown_per_mille)
    now = begun = 0
    calls: list[_Call | None] = [None] * processes
    unheard: list[_Call] = []
    ended: list[Operation] = []
    while len(ended) < operations:
        now += 1
        slot = below(processes)
        call = calls[slot]
        if call is None:
            if begun < operations:
                begun += 1
                key = keys[below(len(keys)) if below(2) else 0]
                verb, arguments = thing.draw(key)
                name = "" if verb == "commit" else key
                calls[slot] = _Call(f"p{slot}", verb, name, arguments, now)
        elif below(_PER_MILLE) < unknown_per_mille:
            ended.append(call.ended("info", now))
            calls[slot] = None
            if not call.is_done and below(2):
                unheard.append(call)
        elif call.is_done:
            ended.append(call.ended("ok", now))
            calls[slot] = None
        else:
            thing.do(call)
            call.is_done = True
        if unheard and below(50) == 0:
            thing.do(unheard.pop(below(len(unheard))))
    return History(ended)
