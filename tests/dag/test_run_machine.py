"""Leaders that die or wake too late, workers that die or dawdle: one log, judged by a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from federlib.dag.claims import Acknowledged, ClaimBook, Effect, Present, Start, Stop
from federlib.dag.handover import Handout, Handover
from federlib.dag.inbox import Draft, Inbox, WorkerView
from federlib.dag.records import (
    AskRecord,
    AssignRecord,
    DoneRecord,
    Finish,
    SnapshotHead,
    SnapshotPart,
    decode,
    encode,
)
from federlib.dag.runstate import RunState
from federlib.dag.schedule import decide
from federlib.dag.transitions import (
    Adopted,
    Cancelled,
    Claimed,
    Ended,
    Epoch,
    Failed,
    LogBatch,
    Lost,
    Retried,
    Revoked,
    Succeeded,
    Transition,
)

from .run_lab import check_limits, new_state, stored, view

GRAPHS: list[dict[str, list[str]]] = [
    {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["d"]},
    {"a": [], "b": [], "c": ["a", "b"], "d": ["b"], "e": ["c", "d"], "f": []},
    {f"t{n}": [f"t{m}" for m in range(max(0, n - 4), n - 2)] for n in range(14)},
    {f"t{n}": [] for n in range(10)} | {"join": [f"t{n}" for n in range(10)]},
]
WORKERS = ("v", "w", "x")
MAX_RETRIES = 2
picks = st.integers(min_value=0, max_value=10**6)
fates = st.sampled_from(["lives"] * 6 + ["dies before its append", "dies after its append"])
rarely = st.sampled_from([True] + [False] * 7)
mostly = st.sampled_from([False] + [True] * 3)


@attrs.define
class Worker:
    """One life of a worker; `delivered`: how many of its assign records it has seen."""

    name: str
    incarnation: int
    token: int
    delivered: int
    book: ClaimBook = attrs.field(factory=ClaimBook)
    running: set[tuple[int, int]] = attrs.field(factory=set)
    outbox: list[Present] = attrs.field(factory=list)
    handover: Handover = attrs.field(factory=Handover)

    @property
    def life(self) -> tuple[str, int, int]:
        return (self.name, self.incarnation, self.token)


@attrs.define
class Leader:
    """One reign; a leader whose epoch is no longer the stored one is a zombie.

    `handover`: of the worker in its process, if there is one; where it has none it is alone.
    """

    epoch: int
    state: RunState
    seq: int
    handover: Handover
    inbox: Inbox = attrs.field(factory=Inbox)
    settled: set[str] = attrs.field(factory=set)


class RunMachine(RuleBasedStateMachine):
    """The store is a list and a few dicts; every commit is checked as the store checks it."""

    @initialize(graph=st.sampled_from(GRAPHS), rerun=st.booleans())
    def begin(self, graph: dict[str, list[str]], rerun: bool) -> None:
        fields = {"on_failover": "rerun" if rerun else "adopt", "backoff_s": 1.0, "max_lost": 100}
        self.blank: Callable[[], RunState] = lambda: new_state(graph, retries=MAX_RETRIES, **fields)
        self.log: list[bytes] = []
        self.first_seq = 1
        self.snap: tuple[bytes, list[bytes]] | None = None
        self.epoch = 0
        self.next_epoch = 1
        self.now_ns = 1
        self.leaders: list[Leader] = []
        self.workers: dict[str, Worker] = {}
        self.lives: dict[str, int] = {}
        self.assigns: dict[str, list[AssignRecord]] = {name: [] for name in WORKERS}
        self.dones: dict[str, DoneRecord] = {}
        self.asks: dict[str, AskRecord] = {}
        self.keys = 0
        # What workers have said to the leader beside them: life, epoch, node, attempt, ok.
        self.said: set[tuple[str, int, int, int, int, int, bool]] = set()
        # The model.
        self.parents = {n: self.blank().plan.graph.parents_of(n) for n in range(len(graph))}
        self.succeeded: set[int] = set()
        self.attempts: Counter[int] = Counter()
        self.present: dict[int, tuple[int, int, tuple[str, int, int]]] = {}
        self.executions: Counter[tuple[int, int]] = Counter()
        self.ended = False
        self.rival_due = False

    # Workers

    @precondition(lambda self: len(self.workers) < len(WORKERS))
    @rule(pick=picks, new_process=st.booleans())
    def start_worker(self, pick: int, new_process: bool) -> None:
        absent = [name for name in WORKERS if name not in self.workers]
        name = absent[pick % len(absent)]
        life = self.lives[name] = self.lives.get(name, 0) + 1
        # A new process has a new incarnation; one that lost its lease a new token.
        incarnation, token = (life, 1) if new_process else (1, life + 1)
        seen = max(0, len(self.assigns[name]) - 1)  # It reads the newest, then follows.
        worker = self.workers[name] = Worker(name, incarnation, token, seen)
        worker.handover.enter(worker.life, partial(self.hand, worker))

    @precondition(lambda self: self.workers)
    @rule(pick=picks, dies=rarely)
    def kill_worker(self, pick: int, dies: bool) -> None:
        if not dies:
            return
        worker = self.workers.pop(sorted(self.workers)[pick % len(self.workers)])
        worker.handover.leave()

    @precondition(lambda self: self.workers)
    @rule(pick=picks, most=st.integers(1, 5))
    def deliver(self, pick: int, most: int) -> None:
        worker = self.pick_worker(pick)
        for record in self.assigns[worker.name][worker.delivered :][:most]:
            worker.delivered += 1
            if (record.incarnation, record.token) == (worker.incarnation, worker.token):
                self.perform(worker, worker.book.assign(record))

    @precondition(lambda self: any(worker.running for worker in self.workers.values()))
    @rule(pick=picks, ok=mostly)
    def finish_task(self, pick: int, ok: bool) -> None:
        busy = sorted((w.name, *key) for w in self.workers.values() for key in w.running)
        name, node, attempt = busy[pick % len(busy)]
        worker = self.workers[name]
        worker.running.discard((node, attempt))
        finish = Finish(node=node, attempt=attempt, ok=ok, reason="" if ok else "no")
        self.perform(worker, worker.book.finish(finish))

    @precondition(lambda self: any(worker.outbox for worker in self.workers.values()))
    @rule(pick=picks, copies=st.integers(1, 2), late=st.booleans())
    def present_finish(self, pick: int, copies: int, late: bool) -> None:
        full = [w for w in self.workers.values() if w.outbox]
        worker = full[pick % len(full)]
        present = worker.outbox.pop(-1 if late else 0)
        if present.epoch != self.epoch:
            self.perform(worker, worker.book.refused(present.epoch))
            return
        for _ in range(copies):
            self.keys += 1
            # Reordered: a key says nothing of when a finish was written.
            key = f"{pick % 97:02d}-{self.keys}"
            self.dones[key] = DoneRecord(
                worker_id=worker.name,
                incarnation=worker.incarnation,
                token=worker.token,
                epoch=present.epoch,
                finishes=(present.finish,),
            )

    def perform(self, worker: Worker, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case Start(claim):
                    key = (claim.node, claim.attempt)
                    self.executions[key] += 1
                    assert self.executions[key] == 1, f"attempt {key} ran twice"
                    worker.running.add(key)
                case Stop(node, attempt):
                    worker.running.discard((node, attempt))
                case Present(finish, epoch):
                    if worker.handover.present(finish, epoch):
                        self.said.add((*worker.life, epoch, finish.node, finish.attempt, finish.ok))
                    else:
                        worker.outbox.append(effect)
                case Acknowledged():
                    pass

    def hand(self, worker: Worker, told: AssignRecord | Handout) -> None:
        book = worker.book
        self.perform(worker, book.hand(told) if isinstance(told, Handout) else book.assign(told))

    def pick_worker(self, pick: int) -> Worker:
        return self.workers[sorted(self.workers)[pick % len(self.workers)]]

    # People

    @rule(retry_failed=st.booleans(), cancel=rarely)
    def ask(self, retry_failed: bool, cancel: bool) -> None:
        self.keys += 1
        self.asks[f"{self.keys:06d}"] = AskRecord(
            verb="cancel" if cancel else "resume", by="", at_ns=0, retry_failed=retry_failed
        )

    @rule(seconds=st.integers(1, 3))
    def time_passes(self, seconds: int) -> None:
        self.now_ns += seconds * 10**9

    # Leaders

    def fold(self) -> RunState:
        state = self.blank()
        if self.snap is not None:
            head = decode(SnapshotHead, stored("head", self.snap[0]))
            parts = [decode(SnapshotPart, stored("part", part)) for part in self.snap[1]]
            state.restore(head, parts)
        for number, batch in enumerate(self.log):
            record = decode(LogBatch, stored("log", batch))
            state.apply_batch(record, seq=self.first_seq + number)
        return state

    @property
    def next_seq(self) -> int:
        return self.first_seq + len(self.log)

    @precondition(lambda self: self.sitting() is None or self.rival_due)
    @rule(fate=fates, pick=picks, alone=st.booleans())
    def take_over(self, fate: str, pick: int, alone: bool) -> None:
        self.rival_due = False
        beside = alone or not self.workers
        handover = Handover() if beside else self.pick_worker(pick).handover
        leader = Leader(self.next_epoch, self.fold(), self.next_seq, handover)
        leader.inbox.finishes = handover.finishes
        # A process has one leader at most: an older one of it has ended.
        self.leaders = [other for other in self.leaders if other.handover is not handover]
        handover.open(leader.epoch, lambda: None)
        self.next_epoch += 1
        self.hear(leader)
        draft = self.decide(leader, Epoch(leader.epoch, "leader", 0))
        assert draft is not None
        if fate != "dies before its append":
            assert self.commit(leader, draft, takeover=True)
        if fate == "lives":
            self.leaders.append(leader)
        else:
            self.end_reign(leader)

    def end_reign(self, leader: Leader) -> None:
        """Its process goes on without it, or dies as a whole, worker and all."""
        leader.handover.close()

    @rule()
    def suspect_the_leader(self) -> None:
        """Its lease ran out in somebody's eyes; it may go on for all that."""
        self.rival_due = True

    @precondition(lambda self: self.sitting() is not None)
    @rule(fate=fates, news=mostly)
    def lead(self, fate: str, news: bool) -> None:
        leader = self.sitting()
        assert leader is not None
        if news:
            self.hear(leader)
        draft = self.decide(leader)
        if draft is None:
            return
        if fate != "dies before its append":
            assert self.commit(leader, draft)
        if fate != "lives":
            self.leaders.remove(leader)
            self.end_reign(leader)

    @rule(pick=picks, ok=mostly, heard=st.booleans())
    def all_goes_well_for_a_while(self, pick: int, ok: bool, heard: bool) -> None:
        if self.sitting() is None:
            self.take_over(fate="lives", pick=pick, alone=pick % 2 == 0)
        if not self.workers:
            self.start_worker(pick=pick, new_process=True)
        for number in range(len(self.workers)):
            self.deliver(pick=number, most=100)
        if any(worker.running for worker in self.workers.values()):
            self.finish_task(pick=pick, ok=ok)
        if any(worker.outbox for worker in self.workers.values()):
            self.present_finish(pick=pick, copies=1, late=False)
        if heard:
            self.lead(fate="lives", news=True)

    @precondition(lambda self: self.leaders)
    @rule(pick=picks)
    def zombie_wakes(self, pick: int) -> None:
        """An old leader's append fails by its epoch, with whatever it comes."""
        old = [leader for leader in self.leaders if leader.epoch < self.epoch]
        if not old:
            return
        leader = old[pick % len(old)]
        self.hear(leader)
        before = list(self.log)
        draft = self.decide(leader)
        if draft is not None:
            assert not self.commit(leader, draft)
        assert self.log == before
        self.leaders.remove(leader)
        self.end_reign(leader)

    @precondition(lambda self: self.sitting() is not None)
    @rule()
    def snapshot(self) -> None:
        leader = self.sitting()
        assert leader is not None
        head, parts = leader.state.snapshot(leader.seq - 1)
        self.snap = (encode(head), [encode(part) for part in parts])
        self.log, self.first_seq = [], leader.seq

    def sitting(self) -> Leader | None:
        found = [leader for leader in self.leaders if leader.epoch == self.epoch]
        return found[0] if found else None

    def hear(self, leader: Leader) -> None:
        unsettled = {key: d for key, d in self.dones.items() if key not in leader.settled}
        leader.inbox.dones = dict(sorted(unsettled.items()))
        leader.inbox.asks = {k: a for k, a in self.asks.items() if k not in leader.settled}
        leader.inbox.workers = {
            w.name: WorkerView(w.incarnation, 2, "live", w.token) for w in self.workers.values()
        }

    def decide(self, leader: Leader, takeover: Epoch | None = None) -> Draft | None:
        leader.inbox.beside = leader.handover.life
        draft = decide(
            leader.state,
            leader.inbox,
            seq=leader.seq,
            now_ns=self.now_ns,
            jitter=lambda: 0.5,
            takeover=takeover,
        )
        if draft is not None:
            check_limits(draft)
            leader.settled.update(draft.settled)
        elif leader.inbox.beside is not None:
            assert not leader.inbox.finishes, "nobody wakes the leader again for these"
        return draft

    def commit(self, leader: Leader, draft: Draft, *, takeover: bool = False) -> bool:
        """Append as the store does: by the epoch record and the absent log record only."""
        if leader.seq != self.next_seq or (leader.epoch != self.epoch and not takeover):
            return False
        # By what lies in the store, not by what the leader believes.
        dones = [self.dones[key] for key in draft.settled if key in self.dones]
        if takeover:
            self.epoch = leader.epoch
        for transition in draft.batch.t:
            self.judge(transition, draft.batch, dones)
        self.log.append(encode(draft.batch))
        leader.seq += 1
        for key in draft.settled:
            self.dones.pop(key, None)
            self.asks.pop(key, None)
        for name, record in draft.assigns.items():
            self.assigns[name].append(record)
        if draft.handout is not None:
            leader.handover.give(draft.handout, leader.inbox.beside)
        return True

    def judge(self, transition: Transition, batch: LogBatch, dones: list[DoneRecord]) -> None:
        match transition:
            case Claimed(node, attempt, worker):
                assert not self.ended
                assert node not in self.present
                assert self.succeeded.issuperset(self.parents[node]), "started before a parent"
                assert attempt == self.attempts[node] + 1
                self.attempts[node] = attempt
                self.present[node] = (attempt, batch.epoch, batch.workers[worker])
            case Succeeded(node, attempt) | Failed(node, attempt):
                claim = self.present.pop(node)
                assert claim[0] == attempt
                assert claim[1] == batch.epoch == self.epoch, "accepted from a stale claim"
                ok = isinstance(transition, Succeeded)
                said = [
                    (d.worker_id, d.incarnation, d.token, d.epoch)
                    for d in dones
                    for f in d.finishes
                    if (f.node, f.attempt, f.ok) == (node, attempt, ok)
                ]
                by_word = (*claim[2], claim[1], node, attempt, ok) in self.said
                assert by_word or (*claim[2], claim[1]) in said, "no holder of the claim said so"
                if ok:
                    assert node not in self.succeeded, "accepted twice"
                    self.succeeded.add(node)
            case Lost(node, attempt) | Revoked(node, attempt):
                assert self.present.pop(node)[0] == attempt
            case Adopted(node, attempt, from_epoch):
                held_attempt, epoch, life = self.present[node]
                assert (held_attempt, epoch) == (attempt, from_epoch)
                self.present[node] = (attempt, batch.epoch, life)
            case Retried(node):
                assert node not in self.succeeded
            case Cancelled():
                self.present.clear()
                self.ended = True
            case Ended():
                assert not self.present
                self.ended = True
            case _ if type(transition).__name__ == "Resumed":
                self.ended = False
            case _:
                pass

    # What always holds

    @invariant()
    def what_is_stored_folds_to_what_the_leader_has(self) -> None:
        folded = self.fold()
        assert {n: (r.attempt, r.epoch, r.life) for n, r in folded.claims.items()} == self.present
        accepted = [node for node, _, _ in folded.accepted()]
        assert sorted(accepted) == sorted(self.succeeded)
        leader = self.sitting()
        if leader is not None:
            assert view(leader.state) == view(folded)

    def teardown(self) -> None:
        """Faults stop: one leader, one worker that succeeds, and the run ends."""
        if not hasattr(self, "log"):
            return
        for old in self.leaders:
            self.end_reign(old)
        self.leaders.clear()
        self.asks.clear()
        for name in WORKERS:
            if name in self.workers:
                self.workers.pop(name).handover.leave()
        self.start_worker(pick=0, new_process=True)
        self.take_over(fate="lives", pick=0, alone=self.next_epoch % 2 == 0)
        leader = self.leaders[0]
        for _ in range(100):
            if leader.state.outcome != "running":
                break
            self.time_passes(seconds=60)
            self.all_goes_well_for_a_while(pick=0, ok=True, heard=True)
        assert leader.state.outcome != "running", "the run never ends"
        self.what_is_stored_folds_to_what_the_leader_has()


RunMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=70, deadline=None)
TestRun = RunMachine.TestCase
