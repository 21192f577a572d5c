"""The checker: histories that are wrong, histories that are right, and every small one."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.testing.history import (
    History,
    Model,
    Operation,
    Register,
    Word,
    linearizability,
    samples,
)

ABSENT: Word = None


def op(begin: int, end: int | None, verb: str, *words: Word, key: str = "x") -> Operation:
    """Make an operation: arguments, and for an answered one its result last."""
    count = {"read": 0, "write": 1, "cas": 2}[verb]
    is_known = end is not None
    return Operation(
        process=f"p{begin}",
        verb=verb,
        key=key,
        arguments=words[:count],
        invoked=begin,
        returned=end,
        outcome="ok" if is_known else "info",
        result=words[count:],
    )


def failed(begin: int, end: int, verb: str, *words: Word) -> Operation:
    return Operation(
        process="f",
        verb=verb,
        key="x",
        arguments=words,
        invoked=begin,
        returned=end,
        outcome="fail",
    )


def read(begin: int, end: int, value: Word, key: str = "x") -> Operation:
    return op(begin, end, "read", value, key=key)


def write(begin: int, end: int | None, value: Word, key: str = "x") -> Operation:
    return op(begin, end, "write", value, key=key)


def cas(begin: int, end: int | None, old: Word, new: Word, *done: Word) -> Operation:
    return op(begin, end, "cas", old, new, *done)


WRONG = {
    "a stale read": [write(0, 1, 1), write(2, 3, 2), read(4, 5, 1)],
    "a read of the first value after a write": [write(0, 1, 1), read(2, 3, ABSENT)],
    "a value that nobody wrote": [write(0, 1, 1), read(2, 3, 7)],
    "a value before it is written": [read(0, 1, 1), write(2, 3, 1)],
    "a lost update": [
        write(0, 1, 1),
        cas(2, 3, 1, 2, 1),
        cas(4, 5, 2, 3, 1),
        read(6, 7, 2),
    ],
    "a swap that succeeded twice": [write(0, 1, 1), cas(2, 5, 1, 2, 1), cas(3, 6, 1, 3, 1)],
    "a swap from a value that was not there": [write(0, 1, 1), cas(2, 3, 9, 2, 1)],
    "a swap refused though the value was there": [write(0, 1, 1), cas(2, 3, 1, 2, 0)],
    "a refused swap that took effect": [
        write(0, 1, 1),
        cas(2, 3, 9, 2, 0),
        read(4, 5, 2),
    ],
    "two reads that go back": [write(0, 1, 1), write(2, 9, 2), read(3, 4, 2), read(5, 6, 1)],
    "reads of two processes that disagree on an order": [
        write(0, 9, 1),
        write(0, 9, 2),
        read(10, 11, 1),
        read(12, 13, 2),
    ],
    "an unknown write seen, then unseen": [
        write(0, 1, 1),
        write(2, None, 2),
        read(3, 4, 2),
        read(5, 6, 1),
    ],
    "an unknown write seen before it began": [
        write(0, 1, 1),
        read(2, 3, 2),
        write(4, None, 2),
    ],
    "an unknown write that took effect twice": [
        write(0, None, 2),
        read(1, 2, 2),
        write(3, 4, 1),
        read(5, 6, 2),
    ],
    "an unknown swap without what it needs": [
        write(0, 1, 1),
        cas(2, None, 5, 6),
        read(3, 4, 6),
    ],
    "a failed write that is seen": [failed(0, 1, "write", 3), read(2, 3, 3)],
    "two swaps of a chain, the second without the first": [
        write(0, 1, 1),
        cas(2, None, 1, 2),
        cas(3, None, 2, 3),
        read(4, 5, 3),
        read(6, 7, 2),
    ],
    "a write lost between two of a longer one": [
        write(0, 20, 1),
        write(1, 2, 2),
        read(3, 4, 1),
        read(5, 6, 2),
        read(7, 8, 1),
    ],
    "a fault on one key of two": [
        write(0, 1, 1, key="y"),
        read(2, 3, 1, key="y"),
        write(0, 1, 1),
        read(2, 3, ABSENT),
    ],
    "a read under way that cannot help": [
        write(0, 1, 1),
        write(2, 3, 2),
        read(4, 9, 1),
        read(4, 9, 2),
    ],
    "a write that came back": [
        write(0, 1, 1),
        write(2, 3, 2),
        read(4, 5, 2),
        write(6, 7, 3),
        read(8, 9, 2),
    ],
}

RIGHT = {
    "nothing": [],
    "one after the other": [write(0, 1, 1), read(2, 3, 1), cas(4, 5, 1, 2, 1), read(6, 7, 2)],
    "a read during a write, old and new": [
        write(0, 1, 1),
        write(2, 9, 2),
        read(3, 4, 1),
        read(5, 6, 2),
    ],
    "writes at once, in the other order": [write(0, 9, 1), write(1, 8, 2), read(10, 11, 1)],
    "an unknown write that never was": [write(0, 1, 1), write(2, None, 2), read(3, 4, 1)],
    "an unknown write long after its end": [
        write(0, 1, 1),
        write(2, None, 2),
        read(3, 4, 1),
        write(5, 6, 3),
        read(7, 8, 3),
        read(9, 10, 2),
    ],
    "unknown swaps, each on the one before": [
        write(0, 1, 1),
        cas(2, None, 3, 4),
        cas(3, None, 2, 3),
        cas(4, None, 1, 2),
        read(5, 6, 1),
        read(7, 8, 4),
    ],
    "equal instants are not one after the other": [write(0, 5, 1), read(5, 9, ABSENT)],
    "two keys do not touch each other": [write(0, 1, 1), read(2, 3, ABSENT, key="y")],
    "an unanswered read": [write(0, 1, 1), op(2, None, "read")],
    "a failed swap is not one": [write(0, 1, 1), failed(2, 3, "cas", 1, 5), read(4, 5, 1)],
    "a swap that rightly finds another value": [
        write(0, 9, 1),
        cas(1, 8, 1, 2, 0),
        read(10, 11, 1),
    ],
    "one long write, and reads on both sides of it": [
        write(0, 100, 1),
        *(read(2 * n, 2 * n + 1, ABSENT if n < 20 else 1) for n in range(1, 40)),
    ],
}


@pytest.mark.parametrize("operations", WRONG.values(), ids=WRONG)
def test_a_wrong_history_is_a_violation(operations: list[Operation]) -> None:
    verdict = linearizability.check(History(operations), Register())
    assert (verdict.answer, verdict.is_linearizable) == ("violation", False)
    assert [violation.key for violation in verdict.violations] == ["x"]
    assert set(verdict.violations[0].window) <= set(operations)


@pytest.mark.parametrize("operations", RIGHT.values(), ids=RIGHT)
def test_a_right_history_is_none(operations: list[Operation]) -> None:
    verdict = linearizability.check(History(operations), Register())
    assert verdict.is_linearizable, verdict


def test_there_are_twenty_wrong_histories() -> None:
    assert len(WRONG) >= 20


@pytest.mark.parametrize("operations", WRONG.values(), ids=WRONG)
def test_the_window_of_a_violation_is_one_by_itself(operations: list[Operation]) -> None:
    (violation,) = linearizability.check(History(operations), Register()).violations
    shown = History([*violation.window, *violation.maybe])
    alone = linearizability.check(shown, Register(is_known=False))
    from_start = linearizability.check(shown, Register())
    assert "violation" in {alone.answer, from_start.answer}
    assert violation.stuck in violation.window
    assert str(violation.stuck) in str(violation)


# Every small history, against every order of it.


def orders(operations: Sequence[Operation]) -> Iterator[tuple[Operation, ...]]:
    """Give every order that time allows, with and without those of unknown outcome."""
    musts = [one for one in operations if one.outcome == "ok"]
    mays = [one for one in operations if one.outcome == "info"]
    for count in range(len(mays) + 1):
        for chosen in itertools.combinations(mays, count):
            for order in itertools.permutations([*musts, *chosen]):
                if not any(
                    later.outcome == "ok" and (later.returned or 0) < one.invoked
                    for one, later in itertools.combinations(order, 2)
                ):
                    yield order


def is_right(operations: Sequence[Operation]) -> bool:
    return any(map(plays, orders(operations)))


def plays(order: Sequence[Operation]) -> bool:
    value: Word = None
    for one in order:
        if one.verb == "read":
            if one.outcome == "ok" and one.result != (value,):
                return False
        elif one.verb == "write":
            value = one.arguments[0]
        else:
            swaps = one.arguments[0] == value
            if one.outcome == "ok" and one.result != (int(swaps),):
                return False
            value = one.arguments[1] if swaps else value
    return True


VALUES = st.integers(0, 2)


@st.composite
def small_histories(draw: st.DrawFn) -> list[Operation]:
    found = []
    for number in range(draw(st.integers(1, 6))):
        verb = draw(st.sampled_from(["read", "write", "cas"]))
        begin = draw(st.integers(0, 12))
        outcome: Any = draw(st.sampled_from(["ok", "ok", "ok", "info", "fail"]))
        arguments = tuple(draw(VALUES) for _ in range({"read": 0, "write": 1, "cas": 2}[verb]))
        result: tuple[Word, ...] = ()
        if outcome == "ok" and verb != "write":
            result = (draw(VALUES | st.none() if verb == "read" else st.integers(0, 1)),)
        found.append(
            Operation(
                process=f"p{number % 3}",
                verb=verb,
                key="x",
                arguments=arguments,
                invoked=begin,
                returned=begin + draw(st.integers(0, 6)),
                outcome=outcome,
                result=result,
            )
        )
    return found


@given(small_histories())
@settings(max_examples=1_500, deadline=None)
def test_the_answer_is_that_of_trying_every_order(operations: list[Operation]) -> None:
    counted = [one for one in operations if one.outcome != "fail"]
    verdict = linearizability.check(History(operations), Register())
    assert verdict.answer == ("linearizable" if is_right(counted) else "violation")
    for violation in verdict.violations:
        assert set(violation.window) <= set(counted)


@given(st.integers(0, 2**32), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_what_was_made_right_is_found_right(seed: int, unknown: int) -> None:
    history = samples.register_history(
        random.Random(seed).randrange,
        operations=200,
        processes=6,
        keys=2,
        unknown_per_mille=unknown,
    )
    verdict = linearizability.check(history, Register())
    assert verdict.is_linearizable, verdict


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_one_read_of_a_value_never_written_is_found_in_a_long_history(seed: int) -> None:
    rng = random.Random(seed)
    history = samples.register_history(rng.randrange, operations=300, unknown_per_mille=5)
    operations = list(history)
    reads = [n for n, one in enumerate(operations) if one.verb == "read" and one.outcome == "ok"]
    place = rng.choice(reads)
    one = operations[place]
    operations[place] = read(one.invoked, one.returned or 0, 1_000, key=one.key)
    verdict = linearizability.check(History(operations), Register())
    assert [violation.key for violation in verdict.violations] == [one.key]
    assert operations[place] in verdict.violations[0].window
    assert len(verdict.violations[0].window) < 10


# What is said, and when it is too much.


def test_a_violation_says_what_contradicts_what() -> None:
    before = [write(n, n + 1, n) for n in range(-4_000, -2, 2)]
    after = [write(n, n + 1, n) for n in range(10, 4_000, 2)]
    verdict = linearizability.check(History([*before, *WRONG["a stale read"], *after]), Register())
    assert str(verdict) == "\n".join(
        [
            f"violation: 3997 operations, {verdict.steps} steps",
            "key 'x': no order of these 2 operations is possible:",
            "    [2 to 3] p2: write 2",
            "    [4 to 5] p4: read -> 1",
            "  has no place: p4: read -> 1",
            "  by 5, the value is 2",
        ]
    )


def test_a_long_history_is_checked_without_recursion_and_in_a_moment() -> None:
    history = samples.register_history(random.Random(1).randrange, operations=10_000)
    began = time.perf_counter()
    assert linearizability.check(history, Register()).is_linearizable
    assert time.perf_counter() - began < 10


def hard(count: int) -> list[Operation]:
    """Many writes at once, and a read that no order of them explains."""
    return [*(write(0, 100, n) for n in range(count)), read(0, 100, 5), read(101, 102, -1)]


def test_too_many_steps_are_undecided_and_never_a_yes() -> None:
    verdict = linearizability.check(History(hard(24)), Register(), max_steps=2_000)
    assert (verdict.answer, verdict.is_linearizable) == ("undecided", False)
    assert verdict.undecided == ("x",)
    assert "undecided, too many steps" in str(verdict)
    assert verdict.steps < 4_000


def test_a_violation_is_one_though_another_key_is_too_much() -> None:
    operations = [*hard(24), write(0, 1, 1, key="y"), read(2, 3, 2, key="y")]
    verdict = linearizability.check(History(operations), Register(), max_steps=2_000)
    assert verdict.answer == "violation"
    assert (verdict.violations[0].key, verdict.undecided) == ("y", ("x",))


def test_a_register_in_use_before_may_have_held_anything_but_only_one_value() -> None:
    model = Register(is_known=False)
    assert linearizability.check(History([read(0, 1, 7), read(2, 3, 7)]), model).is_linearizable
    verdict = linearizability.check(History([read(0, 1, 7), read(2, 3, 8)]), model)
    assert verdict.answer == "violation"
    assert linearizability.check(History([read(0, 1, 7)]), Register(7)).is_linearizable


class Mutex(Model[str]):
    """A model of one's own, whose steps go by who calls."""

    @property
    def initial(self) -> str:
        return ""

    def step(self, state: str, operation: Operation) -> str | None:
        if operation.verb == "lock":
            return None if state else operation.process
        return "" if state == operation.process else None


def held(process: str, verb: str, begin: int, end: int | None) -> Operation:
    return Operation(
        process=process,
        verb=verb,
        key="m",
        invoked=begin,
        returned=end,
        outcome="info" if end is None else "ok",
    )


def test_a_model_of_one_s_own_needs_two_methods() -> None:
    right = [held("a", "lock", 0, 1), held("a", "unlock", 2, None), held("b", "lock", 3, 4)]
    assert linearizability.check(History(right), Mutex()).is_linearizable
    wrong = [held("a", "lock", 0, 1), held("c", "unlock", 2, None), held("b", "lock", 3, 4)]
    verdict = linearizability.check(History(wrong), Mutex())
    assert verdict.answer == "violation"
    assert "b: lock" in str(verdict)


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        (Operation(process="p", verb="append", key="x", invoked=0), "verb"),
        (Operation(process="p", verb="write", key="x", invoked=0), "arguments"),
        (op(0, 1, "read"), "result"),
        (op(0, 1, "cas", 1, 2, 2), "result"),
    ],
)
def test_what_is_no_register_is_refused(operation: Operation, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        linearizability.check(History([operation]), Register())
    assert caught.value.field == field


@pytest.mark.parametrize("steps", [0, -1, 1.5, True, None])
def test_a_bound_that_is_none_is_refused(steps: Any) -> None:
    with pytest.raises(InvalidInput, match="max_steps"):
        linearizability.check(History(), Register(), max_steps=steps)


@pytest.mark.parametrize("field", ["operations", "processes", "keys", "values"])
def test_a_sample_of_nothing_is_refused(field: str) -> None:
    numbers: dict[str, Any] = {"operations": 10, field: 0}
    with pytest.raises(InvalidInput, match=field):
        samples.register_history(random.Random(1).randrange, **numbers)
    with pytest.raises(InvalidInput, match="unknown_per_mille"):
        samples.store_history(random.Random(1).randrange, operations=1, unknown_per_mille=-1)
