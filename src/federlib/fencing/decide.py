"""The two decisions of fencing, as pure functions.

A token is judged against the high-water mark of its resource; a delivered command against
what is recorded of it, the clock and the mark of its scope. Neither reads anything.

Source: HA plan, phase 0 (stale-epoch rejection); design §5, fencing.
"""

from __future__ import annotations

from typing import Literal

import attrs

from federlib.errors import InvalidInput
from federlib.fencing.records import MAX_TOKEN, Command, CommandStatus, FenceMark, Outcome, Started

__all__ = [
    "Decision",
    "Duplicate",
    "Refuse",
    "Seen",
    "Start",
    "Verdict",
    "check_token",
    "decide_command",
    "decide_token",
]

Verdict = Literal["stale", "equal", "higher"]


def check_token(token: int) -> int:
    """Return `token` if it can be a fencing token.

    Raises:
        InvalidInput: Not an integer from 1 to the largest int64.
    """
    # `type`, because True is an int too.
    if type(token) is not int or not 1 <= token <= MAX_TOKEN:
        raise InvalidInput("token", expected=f"an integer from 1 to {MAX_TOKEN}", found=token)
    return token


def decide_token(mark: FenceMark | None, token: int) -> Verdict:
    """Judge `token` against the mark of a resource; None is a resource without one yet.

    Returns:
        `stale`: refuse. `equal`: accept, if the mark stays. `higher`: accept and raise it.
    Raises:
        InvalidInput: Not a token.
    """
    check_token(token)
    if mark is None or token > mark.high_water:
        return "higher"
    return "equal" if token == mark.high_water else "stale"


@attrs.frozen(kw_only=True)
class Seen:
    """What is recorded of one command, read at one revision of the store.

    Attributes:
        issued: As it was issued; None where it came to us in another way.
        issued_revision: When, as a revision of the store; 0 where it was not.
        started: Who began to act on it.
        outcome: What became of it.
        duplicates: The deliveries too many that are recorded.
    """

    issued: Command | None = None
    issued_revision: int = 0
    started: Started | None = None
    outcome: Outcome | None = None
    duplicates: tuple[Outcome, ...] = ()


@attrs.frozen
class Start:
    """Write `started` under the command's epoch, then act."""


@attrs.frozen
class Refuse:
    """Record this outcome; never act."""

    status: CommandStatus
    reason: str
    detail: str = ""


@attrs.frozen
class Duplicate:
    """Leave the command's records as they are: this delivery is one too many."""

    reason: str


Decision = Start | Refuse | Duplicate


def decide_command(
    command: Command, seen: Seen, *, high_water: int, now_ns: int, is_leader: bool = True
) -> Decision:
    """Decide what is to be done with one delivery of a command.

    Whether it came before is asked first: a recorded outcome stands, whatever the clock or
    the mark say by now.

    Args:
        command: As delivered.
        seen: What is recorded under its id.
        high_water: The mark of its scope; 0 where there is none.
        now_ns: The consumer's wall clock; Unix nanoseconds.
        is_leader: Whether its issuer led in its epoch, as far as the consumer can tell.
    """
    if seen.outcome is not None:
        return Duplicate(f"already {seen.outcome.status}")
    if seen.started is not None:
        # Somebody acts, or died acting. Either way a second call is not ours to make.
        return Duplicate("already started")
    if seen.issued is not None and seen.issued != command:
        # The id is taken. The command that was issued under it may still come.
        return Duplicate("issued with other content")
    if command.deadline_ns is not None and now_ns >= command.deadline_ns:
        return Refuse("rejected_expired", "deadline passed")
    if command.leader_epoch == 0 or not is_leader:
        return Refuse("rejected_not_leader", "its issuer did not lead")
    if command.leader_epoch < high_water:
        return Refuse("rejected_stale_epoch", f"epoch {command.leader_epoch} is below {high_water}")
    return Start()
