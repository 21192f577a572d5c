"""What to do with a delivered command: pure.

Source: HA plan, phase 0 and §2; design §5, fencing.
"""

from __future__ import annotations

from typing import Literal

from federlib.fencing.records import Command, CommandStatus

__all__ = ["judge_delivery"]


def judge_delivery(
    command: Command, *, high_water: int, has_outcome: bool, is_started: bool, now_ns: int
) -> CommandStatus | Literal["act", "in_doubt"]:
    """Say what a delivery deserves.

    Refusals that clocks take no part in come first: an expired command of a stale epoch is
    stale. `in_doubt`: a consumer was about to act, and nobody knows whether it did.

    Args:
        command: As delivered.
        high_water: The highest epoch accepted in its scope.
        has_outcome: Whether an outcome is recorded.
        is_started: Whether a consumer has said that it acts.
        now_ns: The consumer's wall clock; Unix nanoseconds.
    """
    if has_outcome:
        return "rejected_duplicate"
    if is_started:
        return "in_doubt"
    if command.leader_epoch < 1:
        return "rejected_not_leader"
    if command.leader_epoch < high_water:
        return "rejected_stale_epoch"
    if command.deadline_ns is not None and now_ns >= command.deadline_ns:
        return "rejected_expired"
    return "act"
