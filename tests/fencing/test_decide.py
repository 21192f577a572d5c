"""What a delivery deserves, in which order of questions."""

from __future__ import annotations

import pytest

from federlib.fencing import Outcome, Started, decide_command
from federlib.fencing.decide import Decision, Duplicate, Refuse, Seen, Start
from fencing.worlds import a_command

STARTED = Started(command_id="c1", epoch=1, consumer="m", at_ns=5)
OUTCOME = Outcome(command_id="c1", status="noop", epoch=1, consumer="m", at_ns=5)


def kind(decision: Decision) -> str:
    if isinstance(decision, Refuse):
        return decision.status
    return type(decision).__name__


@pytest.mark.parametrize(
    ("epoch", "high_water", "now_ns", "expected"),
    [
        (5, 0, 0, "Start"),
        (5, 5, 0, "Start"),  # its own reign
        (5, 4, 0, "Start"),  # a newer reign than any before
        (5, 6, 0, "rejected_stale_epoch"),
        (0, 0, 0, "rejected_not_leader"),
        (0, 6, 0, "rejected_not_leader"),  # no epoch at all is not an old one
        (5, 5, 99, "Start"),
        (5, 5, 100, "rejected_expired"),  # from that instant on
        (5, 6, 100, "rejected_expired"),
    ],
)
def test_a_fresh_command(epoch: int, high_water: int, now_ns: int, expected: str) -> None:
    command = a_command(epoch=epoch, deadline_ns=100)
    assert kind(decide_command(command, Seen(), high_water=high_water, now_ns=now_ns)) == expected


@pytest.mark.parametrize(
    "seen",
    [
        Seen(outcome=OUTCOME),
        Seen(started=STARTED),
        Seen(started=STARTED, outcome=OUTCOME),
        Seen(issued=a_command(action="other")),
    ],
)
def test_what_came_before_is_asked_first(seen: Seen) -> None:
    command = a_command(epoch=1, deadline_ns=100)
    decision = decide_command(command, seen, high_water=9, now_ns=100, is_leader=False)
    assert isinstance(decision, Duplicate)


def test_a_command_waiting_as_it_was_issued_is_started() -> None:
    decision = decide_command(a_command(), Seen(issued=a_command()), high_water=1, now_ns=0)
    assert decision == Start()


def test_an_issuer_known_not_to_have_led_is_refused() -> None:
    decision = decide_command(a_command(), Seen(), high_water=1, now_ns=0, is_leader=False)
    assert kind(decision) == "rejected_not_leader"
