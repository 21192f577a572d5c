"""Lease safety by a witness: what must be refused, and what must not."""

from __future__ import annotations

from typing import Any

import pytest

from federlib.errors import InvalidInput
from federlib.testing.history import History, Operation, Outcome, Word, lease_safety

MS = 1_000_000


def op(
    begin: int,
    end: int | None,
    process: str,
    verb: str,
    *arguments: Word,
    result: tuple[Word, ...] = (),
    outcome: Outcome = "ok",
) -> Operation:
    return Operation(
        process=process,
        verb=verb,
        key="job",
        arguments=arguments,
        invoked=begin,
        returned=end,
        outcome=outcome,
        result=result,
    )


def granted(begin: int, end: int, who: str, token: int, *, session: str = "1") -> Operation:
    result = ("granted", who, session, token, 1)
    return op(begin, end, who, "acquire", who, session, result=result)


def renewed(
    begin: int, end: int, who: str, token: int, *, to: int | None = None, by: str | None = None
) -> Operation:
    result = ("granted", by or who, "1", token if to is None else to, 1)
    return op(begin, end, who, "renew", who, "1", token, result=result)


def released(begin: int, end: int, who: str, token: int) -> Operation:
    return op(begin, end, who, "release", who, "1", token, result=("released", token))


def wrote(begin: int, end: int, who: str, token: int) -> Operation:
    return op(begin, end, who, "accept", token)


def unanswered(begin: int, who: str) -> Operation:
    return op(begin, None, who, "acquire", who, "1", outcome="info")


WRONG: dict[str, tuple[str, list[Operation]]] = {
    "a write under an older token": ("token_order", [wrote(0, 1, "a", 2), wrote(2, 3, "b", 1)]),
    "a write under an older token, much later": (
        "token_order",
        [wrote(0, 1, "a", 1), wrote(2, 3, "b", 2), wrote(4, 5, "b", 2), wrote(6, 7, "a", 1)],
    ),
    "two writers under one token": ("one_holder", [wrote(0, 1, "a", 1), wrote(2, 3, "b", 1)]),
    "two writers under one token at once": (
        "one_holder",
        [wrote(0, 9, "a", 1), wrote(1, 8, "b", 1)],
    ),
    "one token for two": ("one_holder", [granted(0, 1, "a", 1), granted(2, 3, "b", 1)]),
    "one token for two sessions": (
        "one_holder",
        [granted(0, 1, "a", 1), granted(2, 3, "a", 1, session="2")],
    ),
    "a write under a token of another": (
        "one_holder",
        [granted(0, 1, "a", 1), wrote(2, 3, "b", 1)],
    ),
    "a token that goes back": ("token_rises", [granted(0, 1, "a", 5), granted(2, 3, "b", 4)]),
    "a token that goes back for its own holder": (
        "token_rises",
        [granted(0, 1, "a", 4), granted(2, 3, "b", 5), granted(4, 5, "a", 4)],
    ),
    "a token again after its release": (
        "token_rises",
        [granted(0, 1, "a", 1), released(2, 3, "a", 1), granted(4, 5, "a", 1)],
    ),
    "a token of nothing": ("token_rises", [granted(0, 1, "a", 0)]),
    "a renewal that raises the token": (
        "renew_keeps",
        [granted(0, 1, "a", 1), renewed(2, 3, "a", 1, to=2)],
    ),
    "a renewal for somebody else": (
        "renew_keeps",
        [granted(0, 1, "a", 1), renewed(2, 3, "a", 2, by="b")],
    ),
    "a renewal of what is lost": (
        "renew_lost",
        [granted(0, 1, "a", 1), granted(2, 3, "b", 2), renewed(4, 5, "a", 1)],
    ),
    "a write under a token from nowhere": (
        "granted",
        [granted(0, 1, "a", 1), wrote(2, 3, "b", 2)],
    ),
    "a write before its grant": ("granted", [wrote(0, 1, "a", 1), granted(2, 3, "a", 1)]),
    "a write under a token that another may have got": (
        "granted",
        [granted(0, 1, "a", 1), unanswered(2, "b"), wrote(4, 5, "c", 2)],
    ),
    "a write before the attempt that may have got the token": (
        "granted",
        [granted(0, 1, "a", 1), wrote(2, 3, "b", 2), unanswered(4, "b")],
    ),
}

RIGHT: dict[str, list[Operation]] = {
    "nothing": [],
    "one after the other": [
        granted(0, 1, "a", 1),
        wrote(2, 3, "a", 1),
        renewed(4, 5, "a", 1),
        released(6, 7, "a", 1),
        granted(8, 9, "b", 2),
        wrote(10, 11, "b", 2),
    ],
    "the same session again, its token kept": [granted(0, 1, "a", 1), granted(2, 3, "a", 1)],
    "writes at once have no order": [wrote(0, 9, "a", 2), wrote(1, 8, "b", 1)],
    "grants at once have none either": [granted(0, 9, "a", 2), granted(1, 8, "b", 1)],
    "a renewal under way while it is lost": [
        granted(0, 1, "a", 1),
        renewed(2, 9, "a", 1),
        granted(3, 4, "b", 2),
    ],
    "a token that an unanswered attempt got": [
        granted(0, 1, "a", 1),
        unanswered(2, "b"),
        wrote(4, 5, "b", 2),
    ],
    "a write that was refused": [
        wrote(0, 1, "a", 2),
        op(2, 3, "b", "accept", 1, outcome="fail"),
    ],
    "writes of a resource whose leases were not recorded": [wrote(0, 1, "a", 7)],
    "busy and lost": [
        op(0, 1, "b", "acquire", "b", "1", result=("busy", "a")),
        op(2, 3, "b", "acquire", "b", "1", result=("busy", None)),
        op(4, 5, "b", "renew", "b", "1", 3, result=("not_held", "a")),
        op(6, 7, "b", "release", "b", "1", 3, result=("not_held", None)),
    ],
    "what is no lease": [op(0, 1, "a", "get")],
}


@pytest.mark.parametrize(("rule", "operations"), WRONG.values(), ids=WRONG)
def test_what_breaks_a_rule_is_told_by_its_name(rule: str, operations: list[Operation]) -> None:
    report = lease_safety.check(History(operations))
    assert not report.is_safe
    assert rule in {breach.rule for breach in report.breaches}, str(report)
    for breach in report.breaches:
        assert set(breach.operations) <= set(operations)
        assert f"lease 'job': {breach.rule}: " in str(report)


@pytest.mark.parametrize("operations", RIGHT.values(), ids=RIGHT)
def test_what_breaks_none_is_safe(operations: list[Operation]) -> None:
    report = lease_safety.check(History(operations))
    assert report.is_safe, str(report)


def test_leases_do_not_touch_each_other() -> None:
    operations = [wrote(0, 1, "a", 2), wrote(2, 3, "b", 1)]
    moved = [*operations[:1], Operation(**{**fields(operations[1]), "key": "other"})]
    assert lease_safety.check(History(moved)).is_safe


def fields(operation: Operation) -> dict[str, Any]:
    return {name: getattr(operation, name) for name in operation.__struct_fields__}


# Beliefs: a ttl of 1 ms, counted from the question.


def test_two_who_believe_at_once_are_reported_and_break_no_rule() -> None:
    operations = [granted(0, 10, "a", 1), granted(400_000, 500_000, "b", 2)]
    report = lease_safety.check(History(operations), beliefs=True)
    assert report.is_safe
    (overlap,) = report.overlaps
    assert overlap.holders == (("a", 1), ("b", 2))
    assert (overlap.begin, overlap.end) == (500_000, MS)
    assert "both believed to have it for 500000 ns" in str(report)
    assert lease_safety.check(History(operations)).overlaps == ()


@pytest.mark.parametrize(
    ("between", "believes_until"),
    [
        ([], MS),
        ([renewed(600_000, 700_000, "a", 1)], 1_600_000),
        ([released(300_000, 400_000, "a", 1)], None),
        ([op(300_000, 400_000, "a", "renew", "a", "1", 1, result=("not_held", "b"))], None),
        ([op(300_000, None, "a", "release", "a", "1", 1, outcome="info")], None),
        # Unanswered, it pushes nobody's own deadline.
        ([op(600_000, None, "a", "renew", "a", "1", 1, outcome="info")], MS),
    ],
)
def test_a_belief_ends_by_the_holder_s_own_deadline_or_sooner(
    between: list[Operation], believes_until: int | None
) -> None:
    other = granted(800_000, 900_000, "b", 2)
    history = History([granted(0, 10, "a", 1), *between, other])
    found = lease_safety.check(history, beliefs=True).overlaps
    assert [one.end for one in found] == ([] if believes_until is None else [believes_until])


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        (op(0, 1, "a", "accept"), "arguments"),
        (op(0, 1, "a", "accept", "seven"), "arguments"),
        (op(0, 1, "a", "acquire", "a"), "arguments"),
        (op(0, 1, "a", "renew", "a", "1"), "arguments"),
        (op(0, 1, "a", "acquire", "a", "1", result=("granted", "a")), "result"),
        (op(0, 1, "a", "renew", "a", "1", 1), "result"),
    ],
)
def test_what_no_recorder_wrote_is_refused(operation: Operation, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        lease_safety.check(History([operation]))
    assert caught.value.field == field
