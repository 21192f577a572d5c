"""`RunBook`: what became of one run, told by its stored records and by what its tasks did.

Knows the claim contract and nothing of how it is kept: no fold, no frontier, no inbox. So what
it says may be held against what the leaders say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import attrs

from federlib.dag import RunRecord, Workflow
from federlib.dag.keys import RunKeys
from federlib.dag.records import DoneRecord, RunOutcome
from federlib.dag.runstate import Life
from federlib.dag.transitions import (
    Adopted,
    Cancelled,
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

__all__ = ["Effect", "Held", "RunBook", "Try"]

Try = tuple[int, int]
"""A node and its attempt."""


@attrs.define
class Effect:
    """One call of a task's body.

    Attributes:
        member: In which process: its name and incarnation.
        node: The task's number.
        attempt: As its handler was told.
        began_ns: By the clock of its machine; nanoseconds.
        took_ns: The same; None while it runs.
        is_good: Whether it came to a good end, a bad one, or, None, was cut off.
    """

    member: tuple[str, int]
    node: int
    attempt: int
    began_ns: int
    took_ns: int | None = None
    is_good: bool | None = None


@attrs.define
class Held:
    """A present claim.

    Attributes:
        attempt: Which.
        epoch: Under which it counts.
        life: Whose it is.
    """

    attempt: int
    epoch: int
    life: Life


class RunBook:
    """Everything that happened to one run.

    Attributes:
        keys: Its records' places.
        workflow: Its tasks, by number.
        parents: Of each task.
        record: As it was first submitted; None before.
        stated: What the run's record says of its end.
        epoch: The stored one; 0 before any.
        leader: Who wrote it.
        reigns: How many there were.
        holder: Who has the leader's lease; None where it is free.
        grants: Token and holder of each grant of it.
        slots: How many claims each life of a worker takes.
        dones: Finishes that are not settled, by key.
        seq: Number of the last log record.
        snapped: Up to where the newest snapshot goes.
        outcome: By the transitions.
        accepted: Attempt and epoch of each accepted success, in order.
        failed: Nodes that failed for good.
        claims: The present ones, by node.
        attempts: Of each node.
        failures: Of each node, since its last fresh start.
        losses: The same.
        due_ns: When a node that was set aside may be claimed again.
        owners: Whose each attempt was.
        effects: What the tasks did, by attempt.
        lost: Attempts that were lost.
        refused: How many finishes were refused.
        moves: How many transitions there were.
        has_odd_clocks: A clock has left the bounds that were promised.
    """

    def __init__(self, run_id: str, workflow: Workflow) -> None:
        self.keys: RunKeys = RunKeys(run_id)
        self.workflow: Workflow = workflow
        numbers = {task.id: number for number, task in enumerate(workflow.tasks)}
        self.parents: list[tuple[int, ...]] = [
            tuple(numbers[parent] for parent in task.needs) for task in workflow.tasks
        ]
        self.record: RunRecord | None = None
        self.stated: RunOutcome | None = None
        self.epoch: int = 0
        self.leader: str = ""
        self.reigns: int = 0
        self.holder: str | None = None
        self.grants: set[tuple[int, str]] = set()
        self.slots: dict[Life, int] = {}
        self.dones: dict[str, DoneRecord] = {}
        self.seq: int = 0
        self.snapped: int = 0
        self.outcome: RunOutcome = "running"
        self.accepted: dict[int, tuple[int, int]] = {}
        self.failed: set[int] = set()
        self.claims: dict[int, Held] = {}
        self.attempts: dict[int, int] = {}
        self.failures: dict[int, int] = {}
        self.losses: dict[int, int] = {}
        self.due_ns: dict[int, int] = {}
        self.owners: dict[Try, Life] = {}
        self.effects: dict[Try, Effect] = {}
        self.lost: list[Try] = []
        self.refused: int = 0
        self.moves: int = 0
        self.has_odd_clocks: bool = False

    @property
    def blocked(self) -> set[int]:
        """Nodes that wait for one that failed, however far above."""
        found: set[int] = set()
        for node in self._in_order():
            if node not in self.failed and any(
                parent in self.failed or parent in found for parent in self.parents[node]
            ):
                found.add(node)
        return found

    def _in_order(self) -> Mapping[int, None]:
        """List the nodes, parents first."""
        placed: dict[int, None] = {}
        waiting = list(range(len(self.parents)))
        while waiting:
            placed.update({n: None for n in waiting if all(p in placed for p in self.parents[n])})
            waiting = [node for node in waiting if node not in placed]
        return placed

    def held_by(self, life: Life) -> dict[int, Held]:
        """Return the present claims of a worker's life."""
        return {node: held for node, held in self.claims.items() if held.life == life}

    def begin(self, effect: Effect) -> None:
        """Note that a task's body was called."""
        self.effects[effect.node, effect.attempt] = effect

    def move(self, transition: Transition, batch: LogBatch) -> None:
        """Take in one transition of the log."""
        self.moves += 1
        match transition:
            case Claimed(node, attempt, worker):
                life = batch.workers[worker]
                self.claims[node] = Held(attempt, self.epoch, life)
                self.owners[node, attempt] = life
                self.attempts[node] = attempt
                self.due_ns.pop(node, None)
            case Succeeded(node, attempt):
                self.claims.pop(node, None)
                self.accepted[node] = (attempt, self.epoch)
            case Failed(node, _, _, retry_ns):
                self.failures[node] = self.failures.get(node, 0) + 1
                self._set_aside(node, retry_ns)
            case Lost(node, attempt, _, retry_ns):
                self.losses[node] = self.losses.get(node, 0) + 1
                self.lost.append((node, attempt))
                self._set_aside(node, retry_ns)
            case Revoked(node, _):
                self.claims.pop(node, None)
            case Adopted(node):
                if node in self.claims:
                    self.claims[node].epoch = self.epoch
            case Retried(node):
                self.failed.discard(node)
                self.failures.pop(node, None)
                self.losses.pop(node, None)
            case Cancelled():
                self.claims.clear()
                self.outcome = "cancelled"
            case Resumed():
                self.outcome = "running"
            case Ended(state):
                self.outcome = state
            case Refused():
                self.refused += 1
            case Epoch():
                pass
            case _:
                assert_never(transition)

    def _set_aside(self, node: int, retry_ns: int | None) -> None:
        self.claims.pop(node, None)
        if retry_ns is None:
            self.failed.add(node)
        else:
            self.due_ns[node] = retry_ns
