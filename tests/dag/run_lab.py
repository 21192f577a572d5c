"""Plans, inboxes and records for the tests of runs, made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from federlib.dag.inbox import Draft, Inbox, WorkerView
from federlib.dag.plan import Plan, join_chunks, split_plan
from federlib.dag.records import DoneRecord, Finish, RunRecord, decode, encode
from federlib.dag.runstate import RunState
from federlib.dag.schedule import decide
from federlib.dag.transitions import Claimed, Epoch, LogBatch, Transition
from federlib.dag.workflow import TaskSpec, Workflow
from federlib.storage import Put, Record, Transaction
from federlib.storage.limits import check_transaction

CHAIN: Mapping[str, Sequence[str]] = {"a": [], "b": ["a"], "c": ["b"]}


def workflow(tasks: Mapping[str, Sequence[str]], *, retries: int = 0) -> Workflow:
    specs = [TaskSpec(id=id_, needs=tuple(ids), retries=retries) for id_, ids in tasks.items()]
    return Workflow(name="", tasks=tuple(specs))


def run_record(tasks: int, chunks: int = 1, fields: Mapping[str, object] = {}) -> RunRecord:
    record = RunRecord(
        run_id="r", name="", plan_hash="", chunks=chunks, tasks=tasks, submitted_ns=0
    )
    return msgspec.structs.replace(record, **fields)


def plan(tasks: Mapping[str, Sequence[str]], *, retries: int = 0) -> Plan:
    chunks = split_plan(workflow(tasks, retries=retries))
    return join_chunks(chunks, run_record(len(tasks), len(chunks)), where="plan")


def new_state(
    tasks: Mapping[str, Sequence[str]], *, retries: int = 0, **fields: object
) -> RunState:
    return RunState(plan(tasks, retries=retries), run_record(len(tasks), fields=fields))


def live(*, slots: int = 4, incarnation: int = 1, token: int = 1) -> WorkerView:
    return WorkerView(incarnation, slots, "live", token)


def dead(*, slots: int = 4, incarnation: int = 1, token: int = 1) -> WorkerView:
    return WorkerView(incarnation, slots, "dead", token)


def finish(node: int, attempt: int = 1, **fields: object) -> Finish:
    return msgspec.structs.replace(Finish(node=node, attempt=attempt, ok=True), **fields)


def done(worker_id: str, epoch: int, *finishes: Finish, token: int = 1) -> DoneRecord:
    return DoneRecord(
        worker_id=worker_id, incarnation=1, token=token, epoch=epoch, finishes=finishes
    )


def stored(key: str, value: bytes) -> Record:
    return Record(key, value, 1, 1)


class Desk:
    """A leader without a store: decides, checks each draft against the limits, keeps the log."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.inbox = Inbox()
        self.log: list[LogBatch] = []
        self.now_ns = 1_000
        self.jitter = 0.0

    def decide(self, takeover: Epoch | None = None) -> Draft | None:
        draft = decide(
            self.state,
            self.inbox,
            seq=len(self.log) + 1,
            now_ns=self.now_ns,
            jitter=lambda: self.jitter,
            takeover=takeover,
        )
        if draft is not None:
            check_limits(draft)
            self.log.append(draft.batch)
        return draft

    def take_over(self, epoch: int) -> Draft:
        draft = self.decide(Epoch(epoch, "leader", 0))
        assert draft is not None
        return draft

    def settle(self) -> list[Draft]:
        """Decide until there is nothing to say."""
        drafts: list[Draft] = []
        while (draft := self.decide()) is not None:
            drafts.append(draft)
            assert len(drafts) < 1_000, "the leader never comes to rest"
        # It is not woken again for what it leaves behind.
        assert not (self.inbox.beside and self.inbox.finishes)
        return drafts

    def fold(self) -> RunState:
        return fold(self.state, self.log)


def fold(like: RunState, log: Sequence[LogBatch]) -> RunState:
    state = RunState(like.plan, like.record)
    for number, batch in enumerate(log):
        # Through its bytes, as a new leader reads it.
        state.apply_batch(decode(LogBatch, stored("log", encode(batch))), seq=number + 1)
    return state


def check_limits(draft: Draft) -> None:
    writes = [Put(f"{'l' * 100}/log", encode(draft.batch))]
    if draft.results is not None:
        writes.append(Put(f"{'l' * 100}/result", encode(draft.results)))
    writes.extend(
        Put(f"{'l' * 100}/assign/{name}", encode(record)) for name, record in draft.assigns.items()
    )
    # The run's record, the epoch and progress come on top of these.
    room = [Put(f"{'l' * 100}/{name}", b"x" * 1_000) for name in ("run", "epoch", "progress")]
    deletes = [Put(f"{'l' * 100}/delete/{key}", b"") for key in draft.settled]
    check_transaction(Transaction((*writes, *room, *deletes)))


def view(state: RunState) -> dict[str, object]:
    """Everything that a state says, but for what time alone has made of it.

    A retry that is due stands in the live leader's queue before it is claimed; the log says
    nothing of that.
    """
    open_again = {"pending", "ready"}
    size = len(state.plan.graph)
    return {
        "states": [
            "open" if state.state(n) in open_again and not blocked(state, n) else state.state(n)
            for n in range(size)
        ],
        "attempts": [state.attempts(n) for n in range(size)],
        "losses": [state.losses(n) for n in range(size)],
        "failures": [state.failures(n) for n in range(size)],
        "claims": dict(state.claims),
        "claims_by": {life: dict(held) for life, held in state.claims_by.items()},
        "unjudged": state.claims_of_older_epochs(),
        "outcome": state.outcome,
        "epoch": state.epoch,
        "epochs": state.epochs,
        "counts": (state.refused, state.adopted, state.total_attempts, state.transitions),
        "accepted": state.accepted(),
        "inputs": [state.input_seqs(n) for n in range(size)],
        "reasons": [state.reason(n) for n in range(size)],
        "drained": state.is_drained(),
        "critical": state.critical_path_s(),
    }


def blocked(state: RunState, node: int) -> bool:
    parents = state.plan.graph.parents_of(node)
    return any(state.state(parent) != "success" for parent in parents)


def claim_all(state: RunState, worker: tuple[str, int, int] = ("w", 1, 1)) -> list[Transition]:
    """Take a run over under epoch 1 and claim what is ready."""
    made: list[Transition] = [Epoch(state.epoch + 1, "leader", 0)]
    made += [Claimed(n, state.attempts(n) + 1, 0) for n in state.frontier.ready]
    for transition in made:
        state.apply(transition, seq=1, at_ns=1, workers=(worker,))
    return made
