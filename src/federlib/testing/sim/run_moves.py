"""What must hold of each transition in a run's log: small functions, each asked by name.

Source: design §5, dag; HA plan §4 (claim contract, node states).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from federlib.dag.runstate import Life
from federlib.dag.transitions import (
    Adopted,
    Claimed,
    Ended,
    Epoch,
    Failed,
    LogBatch,
    Lost,
    Refused,
    Resumed,
    Retried,
    Revoked,
    Succeeded,
    Transition,
)
from federlib.testing.sim.run_book import RunBook

__all__ = ["MOVES", "Move", "Said"]

Said = tuple[Life, int, int, bool, int]
"""What a worker says: its life, the node, the attempt, whether it is good, the epoch."""

_NS = 1_000_000_000
_ROUNDING_NS = 1_000


@attrs.frozen(kw_only=True)
class Move:
    """One transition.

    Attributes:
        book: The run before it.
        batch: Its log record.
        transition: What happens.
        said: What the finishes say that its commit settles.
    """

    book: RunBook
    batch: LogBatch
    transition: Transition
    said: frozenset[Said]


def claims_wait_for_their_parents(move: Move) -> str | None:
    """Nobody is given a task before each of its parents' success is recorded."""
    if not isinstance(move.transition, Claimed):
        return None
    node, book = move.transition.node, move.book
    early = [parent for parent in book.parents[node] if parent not in book.accepted]
    return f"node {node} is claimed before its parents {early}" if early else None


def nodes_are_released_once(move: Move) -> str | None:
    """A node that is claimed, that succeeded or that failed for good is given to nobody."""
    if not isinstance(move.transition, Claimed):
        return None
    node, book = move.transition.node, move.book
    if node in book.claims:
        return f"node {node} is claimed by {book.claims[node].life[0]} and claimed again"
    if node in book.accepted or node in book.failed:
        return f"node {node} is claimed after its end"
    return None


def attempts_count_up(move: Move) -> str | None:
    """Each attempt has the number behind the last one's."""
    if not isinstance(move.transition, Claimed):
        return None
    node, attempt = move.transition.node, move.transition.attempt
    last = move.book.attempts.get(node, 0)
    return None if attempt == last + 1 else f"node {node}: attempt {attempt} after {last}"


def retries_wait_for_their_time(move: Move) -> str | None:
    """Who was set aside is not claimed before it is due, by its leader's clock."""
    if not isinstance(move.transition, Claimed) or move.book.has_odd_clocks:
        return None  # What was due once may be claimed, though the clock was set back since.
    due_ns = move.book.due_ns.get(move.transition.node, 0)
    early_ns = due_ns - move.batch.at_ns
    return f"node {move.transition.node} is claimed {early_ns} ns early" if early_ns > 0 else None


def finishes_equal_their_claim(move: Move) -> str | None:
    """What is accepted is of the present claim: its attempt, under the present epoch."""
    if not isinstance(move.transition, Succeeded | Failed):
        return None
    node, attempt = move.transition.node, move.transition.attempt
    held = move.book.claims.get(node)
    if held is None:
        return f"attempt {attempt} of node {node} is accepted, and nobody has it"
    if (held.attempt, held.epoch) != (attempt, move.batch.epoch):
        return f"attempt {attempt} of node {node} under {move.batch.epoch}, claimed as {held}"
    return None


def finishes_were_said(move: Move) -> str | None:
    """What is accepted was said by the very life that has the claim."""
    if not isinstance(move.transition, Succeeded | Failed):
        return None
    node, attempt = move.transition.node, move.transition.attempt
    held = move.book.claims.get(node)
    if held is None:
        return None
    is_good = isinstance(move.transition, Succeeded)
    # Without a record: only by the worker in the leader's own process.
    if (held.life, node, attempt, is_good, held.epoch) in move.said:
        return None
    return None if held.life[0] == move.book.leader else f"nobody said how {node} ended"


def successes_follow_their_effect(move: Move) -> str | None:
    """A success is recorded only of a body that came to a good end."""
    if not isinstance(move.transition, Succeeded):
        return None
    node, attempt = move.transition.node, move.transition.attempt
    effect = move.book.effects.get((node, attempt))
    if effect is None or effect.is_good is not True:
        return f"attempt {attempt} of node {node} is a success, and what it did is {effect}"
    return None


def failures_have_a_cause(move: Move) -> str | None:
    """A failure is recorded only of a body that failed, or had its time and was cut off."""
    if not isinstance(move.transition, Failed):
        return None
    node, attempt = move.transition.node, move.transition.attempt
    effect = move.book.effects.get((node, attempt))
    if effect is None or effect.took_ns is None or effect.is_good:
        return f"attempt {attempt} of node {node} failed, and what it did is {effect}"
    if effect.is_good is None:
        timeout_s = move.book.workflow.tasks[node].timeout_s
        if timeout_s is None or effect.took_ns < timeout_s * _NS - _ROUNDING_NS:
            return f"attempt {attempt} of node {node} was cut off after {effect.took_ns} ns"
    return None


def failures_keep_to_the_budget(move: Move) -> str | None:
    """A task is tried again as often as its plan says, and no more."""
    if not isinstance(move.transition, Failed):
        return None
    node, book = move.transition.node, move.book
    failures, retries = book.failures.get(node, 0) + 1, book.workflow.tasks[node].retries
    if (failures > retries) == (move.transition.retry_ns is None):
        return None
    return f"node {node} failed {failures} times of {retries} forgiven: {move.transition}"


def losses_keep_to_the_budget(move: Move) -> str | None:
    """A task is lost as often as the policy says before that counts as failure."""
    if not isinstance(move.transition, Lost) or move.book.record is None:
        return None
    node, most = move.transition.node, move.book.record.max_lost
    losses = move.book.losses.get(node, 0) + 1
    if (losses > most) == (move.transition.retry_ns is None):
        return None
    return f"node {node} was lost {losses} times of {most}: {move.transition}"


def retries_back_off(move: Move) -> str | None:
    """The pause before a retry doubles, less at most half of it."""
    record = move.book.record
    if not isinstance(move.transition, Failed) or record is None:
        return None
    node, retry_ns = move.transition.node, move.transition.retry_ns
    if retry_ns is None:
        return None
    full_s = min(record.backoff_max_s, record.backoff_s * 2.0 ** move.book.failures.get(node, 0))
    pause_ns = retry_ns - move.batch.at_ns
    if full_s / 2 * _NS - 1 <= pause_ns <= full_s * _NS + 1:
        return None
    return f"node {node} pauses {pause_ns} ns, of {full_s} s"


def attempts_end_once(move: Move) -> str | None:
    """What is lost, revoked or adopted is the present claim."""
    if not isinstance(move.transition, Lost | Revoked | Adopted):
        return None
    node, attempt = move.transition.node, move.transition.attempt
    held = move.book.claims.get(node)
    if held is None or held.attempt != attempt:
        return f"{move.transition}, claimed as {held}"
    if isinstance(move.transition, Adopted) and held.epoch != move.transition.from_epoch:
        return f"{move.transition}, claimed as {held}"
    return None


def new_leaders_judge_every_claim(move: Move) -> str | None:
    """Nothing is adopted twice, or from the present epoch."""
    if not isinstance(move.transition, Adopted):
        return None
    is_older = move.transition.from_epoch < move.batch.epoch
    return None if is_older else f"{move.transition} under epoch {move.batch.epoch}"


def nothing_moves_after_the_end(move: Move) -> str | None:
    """A run that has ended only refuses, until it is resumed; one that goes on is not resumed."""
    is_over = move.book.outcome != "running"
    if is_over and isinstance(move.transition, Epoch | Refused | Retried | Resumed):
        return None
    if is_over or isinstance(move.transition, Retried | Resumed):
        return f"{move.transition} of a run that is {move.book.outcome}"
    return None


def the_end_is_the_end(move: Move) -> str | None:
    """A run ends when each task succeeded, failed for good, or waits for one that did."""
    if not isinstance(move.transition, Ended):
        return None
    book = move.book
    settled = book.accepted.keys() | book.failed | book.blocked
    left = sorted(set(range(len(book.parents))) - settled)
    if left or book.claims:
        return f"it ends, and {left} are not settled, {sorted(book.claims)} are claimed"
    expected = "failed" if book.failed else "success"
    return None if move.transition.state == expected else f"{move.transition}, not {expected}"


def only_what_failed_is_retried(move: Move) -> str | None:
    """A fresh start is given to nodes that failed for good."""
    if not isinstance(move.transition, Retried) or move.transition.node in move.book.failed:
        return None
    return f"node {move.transition.node} has not failed"


MOVES: Mapping[str, Callable[[Move], str | None]] = {
    check.__name__: check
    for check in (
        claims_wait_for_their_parents,
        nodes_are_released_once,
        attempts_count_up,
        retries_wait_for_their_time,
        finishes_equal_their_claim,
        finishes_were_said,
        successes_follow_their_effect,
        failures_have_a_cause,
        failures_keep_to_the_budget,
        losses_keep_to_the_budget,
        retries_back_off,
        attempts_end_once,
        new_leaders_judge_every_claim,
        nothing_moves_after_the_end,
        the_end_is_the_end,
        only_what_failed_is_retried,
    )
}
"""Asked of each transition, before it is taken in."""
