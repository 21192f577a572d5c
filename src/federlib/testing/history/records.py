"""`Operation` and `History`: who called what, when, and what came of it.

A history says nothing of how it came about. What one thread, one simulation or one fleet of
programs did is told in the same words, and the checkers read nothing else.

Source: Herlihy and Wing 1990, histories; Jepsen's words for outcomes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from federlib.errors import CorruptRecord, InvalidInput

__all__ = ["History", "Operation", "Outcome", "Word"]

Word = int | str | None
"""What arguments and results are made of."""

Outcome = Literal["ok", "fail", "info"]
"""A call took effect, did not, or nobody knows (`info`)."""

_INT64 = range(-(2**63), 2**63)


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One call, from its beginning to its end.

    Attributes:
        process: Who called. One process may have several calls under way.
        verb: What was called, for example ``write``.
        key: On what; "" where there are several things, named among the arguments.
        arguments: What it was called with.
        invoked: When it began: an integer of any clock that is one for the whole history.
        returned: When it ended; None where no end was seen.
        outcome: `ok`: it took effect between `invoked` and `returned`, with this result.
            `fail`: it had no effect. `info`: nobody knows; it may take effect at any time
            after `invoked`, however late, or never.
        result: What came back.
    """

    process: str
    verb: str
    key: str
    invoked: int
    returned: int | None = None
    outcome: Outcome = "info"
    arguments: tuple[Word, ...] = ()
    result: tuple[Word, ...] = ()

    def __str__(self) -> str:
        what = " ".join([self.verb, *map(_shown, self.arguments)])
        if self.outcome == "ok":
            result = " ".join(map(_shown, self.result))
            return f"{self.process}: {what}" + (f" -> {result}" if result else "")
        return f"{self.process}: {what} -> {'failed' if self.outcome == 'fail' else 'unknown'}"


def _shown(word: Word) -> str:
    if word is None:
        return "nothing"
    return repr(word) if isinstance(word, str) and (not word or " " in word) else str(word)


class _Line(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="event"
):
    process: str
    call: int
    time: int


class _Invoke(_Line, tag="invoke", frozen=True, kw_only=True):
    verb: str
    key: str
    arguments: tuple[Word, ...] = ()


class _Ok(_Line, tag="ok", frozen=True, kw_only=True):
    result: tuple[Word, ...] = ()


class _Fail(_Line, tag="fail", frozen=True, kw_only=True):
    result: tuple[Word, ...] = ()


class _Info(_Line, tag="info", frozen=True, kw_only=True):
    result: tuple[Word, ...] = ()


_ENDS: dict[Outcome, type[_Ok | _Fail | _Info]] = {"ok": _Ok, "fail": _Fail, "info": _Info}
_Event = _Invoke | _Ok | _Fail | _Info
_decoder = msgspec.json.Decoder(_Event)
_encoder = msgspec.json.Encoder()


class History:
    """Operations, in the order in which they began.

    Args:
        operations: In any order.
    Attributes:
        operations: In the order of `Operation.invoked`.
    Raises:
        InvalidInput: An operation ends before it begins, an `ok` has no end, or a field is
            not of its type; a number beyond 64 bits and a boolean are not.
    """

    def __init__(self, operations: Iterable[Operation] = ()) -> None:
        found = list(operations)
        for operation in found:
            _check(operation)
        found.sort(key=_beginning)
        self.operations: tuple[Operation, ...] = tuple(found)

    def __len__(self) -> int:
        return len(self.operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self.operations == other.operations

    def __hash__(self) -> int:
        return hash(self.operations)

    def __repr__(self) -> str:
        return f"<History of {len(self.operations)} operations>"

    @classmethod
    def merge(cls, histories: Iterable[History]) -> History:
        """Make one history of those of several recorders, which must have used one clock.

        Where their clocks differ by up to n, take `widened(n)` of the result.
        """
        return cls(operation for history in histories for operation in history)

    def widened(self, by: int) -> History:
        """Return a history whose operations may have begun earlier and ended later.

        For instants that are not certain: the clocks of two machines differ, or a clock
        ticks coarsely. Wider calls allow more orders, so no violation is made up; some may
        no longer show.

        Args:
            by: How far each instant may be wrong; 0 or more.
        Raises:
            InvalidInput: `by` is negative, or not an integer.
        """
        if type(by) is not int or by < 0:
            raise InvalidInput("by", expected="an integer, 0 or more", found=by)
        return History(
            msgspec.structs.replace(
                operation,
                invoked=operation.invoked - by,
                returned=None if operation.returned is None else operation.returned + by,
            )
            for operation in self.operations
        )

    def to_lines(self) -> Iterator[bytes]:
        """Give the history as lines of JSON: a beginning and an end for each operation.

        Each line ends with a line feed. An operation without an end has one line.
        """
        events: list[tuple[int, int, bytes]] = []
        for number, operation in enumerate(self.operations):
            first, last = event_lines(operation, number)
            events.append((operation.invoked, 0, first))
            if last is not None and operation.returned is not None:
                events.append((operation.returned, 1, last))
        events.sort(key=lambda event: event[:2])
        return (line for _, _, line in events)

    @classmethod
    def from_lines(cls, lines: Iterable[bytes | str], *, drop_torn_end: bool = False) -> History:
        """Read what `to_lines` or a recorder's `sink` wrote.

        A beginning without an end is an operation of unknown outcome: its process died.

        Args:
            lines: Of one recorder; `merge` puts several together.
            drop_torn_end: Overlook a last line that cannot be read: who wrote it was killed
                in the middle of it. An operation that it began was never sent.
        Raises:
            CorruptRecord: A line is not an event, an end has no beginning, or a call begins
                or ends twice; the error says which line.
        """
        begun: dict[tuple[str, int], Operation] = {}
        ended: set[tuple[str, int]] = set()
        fault: CorruptRecord | None = None
        for number, line in enumerate(lines, start=1):
            if fault is not None:
                raise fault
            where = f"line {number} of the history"
            try:
                event = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeError) as error:
                fault = CorruptRecord(where, expected=f"an event ({error})", found=line)
                continue
            _take(event, begun, ended, where)
        if fault is not None and not drop_torn_end:
            raise fault
        return cls(begun.values())


def event_lines(operation: Operation, call: int) -> tuple[bytes, bytes | None]:
    """Return the lines of its beginning and, where it has one, of its end."""
    process = operation.process
    first = _Invoke(
        process=process,
        call=call,
        time=operation.invoked,
        verb=operation.verb,
        key=operation.key,
        arguments=operation.arguments,
    )
    if operation.returned is None:
        return _encoder.encode(first) + b"\n", None
    last = _ENDS[operation.outcome](
        process=process, call=call, time=operation.returned, result=operation.result
    )
    return _encoder.encode(first) + b"\n", _encoder.encode(last) + b"\n"


def _take(
    event: _Event,
    begun: dict[tuple[str, int], Operation],
    ended: set[tuple[str, int]],
    where: str,
) -> None:
    call = (event.process, event.call)
    if isinstance(event, _Invoke):
        if call in begun:
            raise CorruptRecord(where, expected="a call that has not begun", found=call)
        begun[call] = Operation(
            process=event.process,
            verb=event.verb,
            key=event.key,
            arguments=event.arguments,
            invoked=event.time,
        )
        return
    before = begun.get(call)
    if before is None or call in ended:
        raise CorruptRecord(where, expected="a call that has begun and not ended", found=call)
    if event.time < before.invoked:
        raise CorruptRecord(
            where, expected=f"an end at {before.invoked} or later", found=event.time
        )
    ended.add(call)
    outcome: Outcome = "ok" if isinstance(event, _Ok) else "info"
    if isinstance(event, _Fail):
        outcome = "fail"
    begun[call] = msgspec.structs.replace(
        before, returned=event.time, outcome=outcome, result=event.result
    )


def _beginning(operation: Operation) -> int:
    return operation.invoked


def _check(operation: Operation) -> None:
    if type(operation) is not Operation:
        raise InvalidInput("operations", expected="Operation values", found=operation)
    for field in ("process", "verb", "key"):
        _check_text(field, getattr(operation, field))
    for field in ("arguments", "result"):
        words = getattr(operation, field)
        if type(words) is not tuple:
            raise InvalidInput(field, expected="a tuple", found=words)
        for word in words:
            if type(word) is int:
                _check_number(field, word)
            elif word is not None:
                _check_text(field, word)
    _check_number("invoked", operation.invoked)
    if operation.outcome not in _ENDS:
        raise InvalidInput("outcome", expected="ok, fail or info", found=operation.outcome)
    if operation.returned is None:
        if operation.outcome != "info":
            raise InvalidInput(
                "returned", expected=f"an end of what is {operation.outcome}", found=None
            )
        return
    _check_number("returned", operation.returned)
    if operation.returned < operation.invoked:
        expected = f"{operation.invoked} or later, as it began then"
        raise InvalidInput("returned", expected=expected, found=operation.returned)


def _check_text(field: str, text: object) -> None:
    if type(text) is not str:
        raise InvalidInput(field, expected="text, an integer or None", found=text)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(field, expected="text that UTF-8 can hold", found=ascii(text)) from error


def _check_number(field: str, number: object) -> None:
    if type(number) is not int or number not in _INT64:
        raise InvalidInput(field, expected="an integer of 64 bits", found=number)
