"""`RunAudit`: follows one run's records and its tasks' bodies, and says what must not have been.

It is asked nothing, refuses nothing, and no fault reaches it. What it knows is in its `RunBook`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import attrs

from federlib.dag import RunState, Workflow
from federlib.dag.records import (
    DoneRecord,
    EpochRecord,
    RunRecord,
    SnapshotHead,
    WorkerRecord,
    decode,
)
from federlib.dag.transitions import LogBatch
from federlib.lease.records import decode_lease, lease_key
from federlib.storage import Batch, Record
from federlib.testing.sim.run_book import Effect, RunBook
from federlib.testing.sim.run_commits import AFTERWARDS, COMMITS, Act
from federlib.testing.sim.run_moves import MOVES, Move

__all__ = ["BODIES", "ENDS", "Beginning", "Ending", "RunAudit"]

_T = TypeVar("_T")


@attrs.frozen(kw_only=True)
class Beginning:
    """A task's body is called.

    Attributes:
        book: The run.
        member: In which process: its name and incarnation.
        node: The task's number.
        attempt: As its handler is told.
        inputs: What it is given.
        expected: What its parents gave.
    """

    book: RunBook
    member: tuple[str, int]
    node: int
    attempt: int
    inputs: Mapping[str, object]
    expected: Mapping[str, object]


def bodies_are_claimed(begun: Beginning) -> str | None:
    """A body is called by whom its attempt was given to."""
    owner = begun.book.owners.get((begun.node, begun.attempt))
    if owner is not None and owner[:2] == begun.member:
        return None
    return f"attempt {begun.attempt} of node {begun.node} runs in {begun.member}, is {owner}'s"


def bodies_run_once(begun: Beginning) -> str | None:
    """An attempt's body is called once."""
    is_again = (begun.node, begun.attempt) in begun.book.effects
    return f"attempt {begun.attempt} of node {begun.node} runs twice" if is_again else None


def bodies_follow_their_parents(begun: Beginning) -> str | None:
    """No body is called before each parent's success is recorded."""
    book = begun.book
    early = [parent for parent in book.parents[begun.node] if parent not in book.accepted]
    return f"node {begun.node} begins before its parents {early}" if early else None


def bodies_are_given_what_parents_gave(begun: Beginning) -> str | None:
    """A body is given the results of its parents, and nothing else."""
    if begun.inputs == begun.expected:
        return None
    return f"node {begun.node} is given {begun.inputs}, not {begun.expected}"


BODIES: Mapping[str, Callable[[Beginning], str | None]] = {
    check.__name__: check
    for check in (
        bodies_are_claimed,
        bodies_run_once,
        bodies_follow_their_parents,
        bodies_are_given_what_parents_gave,
    )
}
"""Asked of each call of a task's body."""


@attrs.frozen(kw_only=True)
class Ending:
    """A run that should be over, and what it is said to be.

    Attributes:
        book: The run.
        folded: What its log and snapshot say.
        lived: What the last leader knows; None where it lives no more.
        is_calm: Nothing went wrong all the time.
    """

    book: RunBook
    folded: RunState
    lived: RunState | None
    is_calm: bool


def every_run_ends(end: Ending) -> str | None:
    """Once nothing fails any more, a run comes to its end."""
    book = end.book
    if book.outcome != "running" and book.stated == book.outcome:
        return None
    return f"the run is {book.stated}, its log says {book.outcome}"


def every_task_is_settled(end: Ending) -> str | None:
    """Each task succeeded, failed for good, or waits for one that did; unless it was cancelled."""
    book = end.book
    settled = book.accepted.keys() | book.failed | book.blocked
    left = sorted(set(range(len(book.parents))) - settled)
    if book.claims:
        return f"{sorted(book.claims)} are claimed"
    return f"{left} are left" if left and book.outcome != "cancelled" else None


def the_log_replays(end: Ending) -> str | None:
    """Whoever folds the log finds what was recorded."""
    book, state = end.book, end.folded
    found = _picture(state)
    expected = {
        "accepted": [(node, *of) for node, of in book.accepted.items()],
        "claims": sorted((n, h.attempt, h.epoch, h.life) for n, h in book.claims.items()),
        "failed": sorted(book.failed),
        "blocked": sorted(book.blocked),
        "attempts": [book.attempts.get(node, 0) for node in range(len(book.parents))],
        # A finished attempt that succeeded is one more of those that are not forgiven.
        "failures": [
            book.failures.get(node, 0) + (node in book.accepted)
            for node in range(len(book.parents))
        ],
        "losses": [book.losses.get(node, 0) for node in range(len(book.parents))],
        "outcome": book.outcome,
        "epoch": book.epoch,
        "counts": (book.refused, book.moves),
    }
    return _difference(found, expected)


def the_leader_knows_what_the_log_says(end: Ending) -> str | None:
    """What the last leader knows is what its log replays to."""
    return None if end.lived is None else _difference(_picture(end.lived), _picture(end.folded))


def _picture(state: RunState) -> dict[str, object]:
    nodes = range(len(state.plan.graph))
    return {
        "accepted": state.accepted(),
        "claims": sorted((r.node, r.attempt, r.epoch, r.life) for r in state.claims.values()),
        "failed": state.failed_nodes(),
        "blocked": state.frontier.nodes_in("blocked"),
        "attempts": [state.attempts(node) for node in nodes],
        "failures": [state.failures(node) for node in nodes],
        "losses": [state.losses(node) for node in nodes],
        "outcome": state.outcome,
        "epoch": state.epoch,
        "counts": (state.refused, state.transitions),
    }


def _difference(found: Mapping[str, object], expected: Mapping[str, object]) -> str | None:
    for name, value in expected.items():
        if found[name] != value:
            return f"{name}: {found[name]}, not {value}"
    return None


def nothing_is_done_again_without_cause(end: Ending) -> str | None:
    """Where nothing goes wrong, nothing is lost, refused or taken over."""
    book = end.book
    if not end.is_calm or not (book.lost or book.refused or book.reigns > 1):
        return None
    return f"{book.lost} lost, {book.refused} refused, {book.reigns} reigns"


ENDS: Mapping[str, Callable[[Ending], str | None]] = {
    check.__name__: check
    for check in (
        every_run_ends,
        every_task_is_settled,
        the_log_replays,
        the_leader_knows_what_the_log_says,
        nothing_is_done_again_without_cause,
    )
}
"""Asked of each run at the end."""


class RunAudit:
    """Follows one run.

    Args:
        run_id: Which.
        workflow: Its tasks.
        accuse: Told the name of an invariant that does not hold, and what was found.

    Attributes:
        book: What is known of it.
    """

    def __init__(
        self, run_id: str, workflow: Workflow, accuse: Callable[[str, str], object]
    ) -> None:
        self.book: RunBook = RunBook(run_id, workflow)
        self._accuse = accuse
        self._lease_key = lease_key(self.book.keys.lease)

    def hear(self, batch: Batch) -> None:
        """Judge one commit, and take it in."""
        root = self.book.keys.root
        puts: dict[str, Record] = {}
        gone: list[str] = []
        for event in batch.events:
            if event.key == self._lease_key:
                self._grant(event.record)
            elif event.key.startswith(root):
                if event.record is None:
                    gone.append(event.key)
                else:
                    puts[event.key] = event.record
        if puts or gone:
            self._judge(self._read(puts, tuple(gone)))

    def _grant(self, record: Record | None) -> None:
        lease = None if record is None else decode_lease(record.key, record.value).lease
        self.book.holder = None if lease is None else lease.holder_id
        if lease is not None:
            self.book.grants.add((lease.fencing_token, lease.holder_id))

    def _read(self, puts: Mapping[str, Record], gone: tuple[str, ...]) -> Act:
        keys, dones = self.book.keys, self.book.dones
        log = next((key for key in puts if key.startswith(keys.logs)), None)
        epoch = puts.get(keys.epoch)
        return Act(
            book=self.book,
            puts=puts,
            gone=gone,
            log=None if log is None else (log, decode(LogBatch, puts[log])),
            epoch=None if epoch is None else decode(EpochRecord, epoch),
            settled=tuple(dones[key] for key in gone if key in dones),
        )

    def _judge(self, act: Act) -> None:
        self._ask(COMMITS, act)
        self._take(act)
        self._ask(AFTERWARDS, act)

    def _ask(self, checks: Mapping[str, Callable[[_T], str | None]], of: _T) -> None:
        for name, check in checks.items():
            wrong = check(of)
            if wrong is not None:
                self._accuse(name, f"run {self.book.keys.run_id}: {wrong}")

    def _take(self, act: Act) -> None:
        book, keys = self.book, self.book.keys
        if act.epoch is not None:
            book.epoch, book.leader = act.epoch.epoch, act.epoch.leader
            book.reigns += 1
        for key, record in act.puts.items():
            if key == keys.run:
                run = decode(RunRecord, record)
                book.record, book.stated = book.record or run, run.state
            elif key == keys.snap_head:
                book.snapped = decode(SnapshotHead, record).seq
            elif key.startswith(keys.workers):
                worker = decode(WorkerRecord, record)
                life = (worker.worker_id, worker.incarnation, worker.token)
                book.slots[life] = worker.slots
            elif key.startswith(keys.dones):
                book.dones[key] = decode(DoneRecord, record)
        for key in act.gone:
            book.dones.pop(key, None)
        if act.log is not None:
            self._append(act, act.log[1])

    def _append(self, act: Act, batch: LogBatch) -> None:
        self.book.seq += 1
        said = frozenset(
            ((done.worker_id, done.incarnation, done.token), f.node, f.attempt, f.ok, done.epoch)
            for done in act.settled
            for f in done.finishes
        )
        for transition in batch.t:
            move = Move(book=self.book, batch=batch, transition=transition, said=said)
            self._ask(MOVES, move)
            self.book.move(transition, batch)

    def begin(self, begun: Beginning, began_ns: int) -> Effect:
        """Judge the call of a task's body; what comes of it is noted in the answer."""
        self._ask(BODIES, begun)
        effect = Effect(begun.member, begun.node, begun.attempt, began_ns)
        self.book.begin(effect)
        return effect

    def end(self, ending: Ending) -> None:
        """Judge a run that should be over."""
        self._ask(ENDS, ending)
