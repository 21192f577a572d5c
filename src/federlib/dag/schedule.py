"""What the leader of a run decides: one batch of transitions at a time, pure.

`decide` looks at the state and at what has come in, and returns one `Draft`: transitions
for the log and what the same transaction must write and delete. It applies each transition
to the state as it goes, so the caller commits the draft or throws the state away.

Order within a batch: requests, claims of an older epoch (adopt or lose), finishes, claims
of dead workers, new claims, the end.

Source: design §5, dag; HA plan §4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from federlib.dag.handover import Handout
from federlib.dag.inbox import Draft, Inbox, WorkerView
from federlib.dag.records import (
    MAX_SLOTS,
    AskRecord,
    AssignRecord,
    Claim,
    Finish,
    ResultBatch,
    RunRecord,
)
from federlib.dag.runstate import Life, Running, RunState
from federlib.dag.transitions import (
    MAX_TRANSITIONS,
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
from federlib.skewclock import HlcTimestamp

__all__ = ["decide"]

# Room in a transaction of 64 writes: the log, the results, the run, the epoch, progress.
_MAX_DELETES = 26
_MAX_ASSIGNS = 30
# Room in a transaction of 1 MiB: a single `done` record may bring 512 KiB of results; the
# rest is split so that no value passes 512 KiB however long reasons and inputs are.
_MAX_RESULT_BYTES = 384 * 1024
_MAX_LOG_BYTES = 160 * 1024
_MAX_LONE_LOG_BYTES = 500 * 1024
_MAX_ASSIGN_BYTES = 300 * 1024
_MAX_REASON = 300
_MAX_RETRIED = MAX_TRANSITIONS // 2
# A worker of 1,000 slots gets at most 16 inputs a claim, one of 250 or fewer 64.
_MAX_INPUTS = 64
_INPUTS_BY_SLOTS = 16_000
_CLAIM_BYTES, _INPUT_BYTES, _TRANSITION_BYTES = 80, 13, 100
_SMALL = (Claimed, Succeeded, Adopted, Retried, Revoked)


def decide(
    state: RunState,
    inbox: Inbox,
    *,
    seq: int,
    now_ns: int,
    jitter: Callable[[], float],
    takeover: Epoch | None = None,
    hlc: HlcTimestamp | None = None,
) -> Draft | None:
    """Return the next batch, or None if there is nothing to say.

    Settled requests and finishes are taken out of `inbox`.

    Args:
        state: Changed in place.
        inbox: Changed in place.
        seq: Number of the log record that the batch will be.
        now_ns: The leader's wall clock; Unix nanoseconds.
        jitter: Draws from [0, 1).
        takeover: The first transition of a new leader.
        hlc: For the batch.
    """
    step = _Step(state, inbox, seq, now_ns, jitter)
    if takeover is not None:
        step.add(takeover)
    if step.answer_requests() and state.outcome == "running":
        step.adopt_or_lose()
        step.accept_beside()
        step.accept_finishes()
        step.lose_dead()
        step.claim_ready()
        step.end_if_done()
    elif state.outcome != "running":
        step.accept_beside()
        step.accept_finishes()
    return step.draft(hlc)


class _Step:
    def __init__(
        self,
        state: RunState,
        inbox: Inbox,
        seq: int,
        now_ns: int,
        jitter: Callable[[], float],
    ) -> None:
        self.state = state
        self.inbox = inbox
        self.seq = seq
        self.now_ns = now_ns
        self.jitter = jitter
        self.transitions: list[Transition] = []
        self.table: dict[str, int] = {}
        self.lives: list[Life] = []
        self.log_bytes = 0
        self.results: dict[int, msgspec.Raw] = {}
        self.result_bytes = 0
        self.settled: list[str] = []
        self.assign_bytes = 0
        self.touched: set[str] = set()
        # The worker beside the leader is told all its claims, or only what has changed.
        self.beside: Life | None = inbox.beside
        self.beside_id = _present_id(inbox)
        self.tells_all = False
        self.handed: list[int] = []
        self.heard: list[tuple[int, int]] = []

    def add(self, transition: Transition) -> None:
        self.transitions.append(transition)
        self.log_bytes += _log_bytes(transition)
        self.state.apply(transition, seq=self.seq, at_ns=self.now_ns, workers=self.lives)

    def has_room(self, transitions: int = 1, *, log_bytes: int = 6 * _MAX_REASON) -> bool:
        return (
            len(self.transitions) + transitions <= MAX_TRANSITIONS
            and self.log_bytes + log_bytes <= _MAX_LOG_BYTES
        )

    def touch(self, worker_id: str) -> bool:
        """Have a worker's assign record written with this batch; False if there is no room."""
        if worker_id == self.beside_id:
            self.tells_all = True
            return True
        if worker_id in self.touched:
            return True
        size = sum(self._claim_bytes(worker_id, node) for node in self._held(worker_id))
        full = self.assign_bytes + size > _MAX_ASSIGN_BYTES and self.assign_bytes > 0
        if full or len(self.touched) >= _MAX_ASSIGNS:
            return False
        self.touched.add(worker_id)
        self.assign_bytes += size
        return True

    def _held(self, worker_id: str) -> dict[int, Running]:
        """Return the claims of a worker's present life."""
        view = self.inbox.workers.get(worker_id)
        return {} if view is None else self.state.claims_by.get(_life(worker_id, view), {})

    def _max_inputs(self, worker_id: str) -> int:
        view = self.inbox.workers.get(worker_id)
        slots = 1 if view is None else max(1, min(view.slots, MAX_SLOTS))
        return min(_MAX_INPUTS, _INPUTS_BY_SLOTS // slots)

    def _claim_bytes(self, worker_id: str, node: int) -> int:
        inputs = len(self.state.input_seqs(node))
        return _CLAIM_BYTES + _INPUT_BYTES * min(self._max_inputs(worker_id), inputs)

    # Requests

    def answer_requests(self) -> bool:
        """Answer what people ask; False if that goes on in the next batch."""
        for key, ask in list(self.inbox.asks.items()):
            if len(self.settled) >= _MAX_DELETES or not self.has_room():
                return False
            if not self._answer(ask):
                return False
            self.settled.append(key)
            del self.inbox.asks[key]
        return True

    def _answer(self, ask: AskRecord) -> bool:
        running = self.state.outcome == "running"
        if ask.verb == "cancel":
            return not running or self._cancel(ask)
        return running or self._resume(ask)

    def _cancel(self, ask: AskRecord) -> bool:
        """Take every claim back; those beyond one batch one by one, before the run stops."""
        owners = sorted({worker_id for worker_id, _, _ in self.state.claims_by})
        if len(owners) > _MAX_ASSIGNS - len(self.touched):
            for life in sorted(self.state.claims_by):
                if not self.touch(life[0]):
                    return False
                for running in list(self.state.claims_by[life].values()):
                    if not self.has_room():
                        return False
                    self.add(Revoked(running.node, running.attempt))
        # All that is left is taken back by the transition itself, so nothing is written of it.
        self.tells_all = self.tells_all or self.beside_id in owners
        self.touched.update(owner for owner in owners if owner != self.beside_id)
        self.add(Cancelled(ask.by))
        return True

    def _resume(self, ask: AskRecord) -> bool:
        failed = self.state.failed_nodes() if ask.retry_failed else []
        # More than fit are retried in the batches that follow, before the run goes on.
        for node in failed[:_MAX_RETRIED]:
            if not self.has_room(2):
                return False
            self.add(Retried(node))
        if len(failed) > _MAX_RETRIED:
            return False
        self.add(Resumed(ask.by))
        return True

    # Takeover

    def adopt_or_lose(self) -> None:
        for running in self.state.claims_of_older_epochs():
            view = self.inbox.workers.get(running.worker_id)
            same_life = view is not None and _life(running.worker_id, view) == running.life
            if same_life and view is not None and view.state == "unknown":
                continue
            if not self.has_room() or not self.touch(running.worker_id):
                return
            lives = same_life and view is not None and view.state == "live"
            if lives and self.state.record.on_failover == "adopt":
                self.add(Adopted(running.node, running.attempt, running.epoch))
            else:
                self._lose(running, "taken over" if lives else "worker gone at takeover")

    # Finishes

    def accept_beside(self) -> None:
        """Settle what the worker beside the leader says; each finish is a record of its own."""
        finishes, life = self.inbox.finishes, self.beside
        while finishes and life is not None:
            size = len(finishes[0].result)
            full = self.result_bytes + size > _MAX_RESULT_BYTES and self.result_bytes > 0
            if full or not self.has_room():
                return
            finish = finishes.popleft()
            self._settle(life, self.state.epoch, finish)
            self.heard.append((finish.node, finish.attempt))

    def accept_finishes(self) -> None:
        for key, done in list(self.inbox.dones.items()):
            size = sum(len(finish.result) for finish in done.finishes)
            full = self.result_bytes + size > _MAX_RESULT_BYTES and self.result_bytes > 0
            log_bytes = sum(_finish_bytes(finish) for finish in done.finishes)
            if (
                full
                or len(self.settled) >= _MAX_DELETES
                or not self._has_room_for(len(done.finishes), log_bytes)
                or not self.touch(done.worker_id)
            ):
                return
            life = (done.worker_id, done.incarnation, done.token)
            for finish in done.finishes:
                self._settle(life, done.epoch, finish)
            self.settled.append(key)
            del self.inbox.dones[key]

    def _has_room_for(self, finishes: int, log_bytes: int) -> bool:
        # One record of any size must fit into a batch of its own.
        return self.has_room(finishes, log_bytes=log_bytes) or (
            not self.settled
            and len(self.transitions) + finishes <= MAX_TRANSITIONS
            and self.log_bytes + log_bytes <= _MAX_LONE_LOG_BYTES
        )

    def _settle(self, life: Life, epoch: int, finish: Finish) -> None:
        running = self.state.claims.get(finish.node)
        refusal = _refusal(running, life, epoch, finish, self.state.epoch)
        if refusal:
            self.add(Refused(finish.node, finish.attempt, epoch, refusal))
        elif finish.ok:
            has_result = finish.has_result
            if has_result:
                self.results[finish.node] = finish.result
                self.result_bytes += len(finish.result)
            self.add(Succeeded(finish.node, finish.attempt, int(has_result), _millis(finish.ms)))
        else:
            retry_ns = self._retry_ns(finish.node)
            reason = finish.reason[:_MAX_REASON]
            self.add(Failed(finish.node, finish.attempt, reason, retry_ns))

    def _retry_ns(self, node: int) -> int | None:
        failures = self.state.failures(node) + 1
        if failures > self.state.retries(node):
            return None
        record: RunRecord = self.state.record
        # The exponent is bounded before the power: 2.0 ** 5000 is not a number.
        pause_s = min(record.backoff_max_s, record.backoff_s * 2.0 ** min(failures - 1, 40))
        return self.now_ns + round(pause_s * (1.0 - self.jitter() / 2) * 1e9)

    # Dead workers

    def lose_dead(self) -> None:
        for life in list(self.state.claims_by):
            worker_id = life[0]
            view = self.inbox.workers.get(worker_id)
            same_life = view is not None and _life(worker_id, view) == life
            if same_life and view is not None and view.state != "dead":
                continue
            reason = "worker's lease expired" if same_life else "worker restarted or left"
            for running in list(self.state.claims_by[life].values()):
                if not self.has_room() or not self.touch(worker_id):
                    return
                self._lose(running, reason)

    def _lose(self, running: Running, reason: str) -> None:
        self.tells_all = self.tells_all or running.life == self.beside
        final = self.state.losses(running.node) + 1 > self.state.record.max_lost
        retry_ns = None if final else self.now_ns
        self.add(Lost(running.node, running.attempt, reason, retry_ns))

    # New claims

    def claim_ready(self) -> None:
        free = self._free_slots()
        # Looked for even if nobody is free: a retry that is due no longer waits for its time,
        # and its leader would wake for it again and again.
        node = self.state.next_ready(self.now_ns)
        while node is not None and free and self.has_room():
            # The worker with most room first: claims spread out before they pile up.
            worker_id = _most_free(free)
            if worker_id == self.beside_id:
                self.handed.append(node)
            elif not self._has_room_to_tell(worker_id, node):
                del free[worker_id]
                continue
            free[worker_id] -= 1
            if not free[worker_id]:
                del free[worker_id]
            self.add(Claimed(node, self.state.attempts(node) + 1, self._index(worker_id)))
            node = self.state.next_ready(self.now_ns)

    def _index(self, worker_id: str) -> int:
        """Say where in the batch's table of workers the present life of a worker stands."""
        index = self.table.get(worker_id)
        if index is None:
            index = self.table[worker_id] = len(self.lives)
            self.lives.append(_life(worker_id, self.inbox.workers[worker_id]))
        return index

    def _has_room_to_tell(self, worker_id: str, node: int) -> bool:
        """Make room for one claim in a worker's assign record; False if there is none."""
        size = self._claim_bytes(worker_id, node)
        if not self.touch(worker_id) or self.assign_bytes + size > _MAX_ASSIGN_BYTES:
            return False
        self.assign_bytes += size
        return True

    def _free_slots(self) -> dict[str, int]:
        room = max(0, _MAX_ASSIGNS - len(self.touched))
        chosen: dict[str, int] = {}
        for worker_id, view in sorted(self.inbox.workers.items()):
            slots = min(view.slots, MAX_SLOTS) - len(self._held(worker_id))
            if view.state != "live" or slots <= 0:
                continue
            if worker_id != self.beside_id and worker_id not in self.touched:
                if room == 0:
                    continue
                room -= 1
            chosen[worker_id] = slots
        return chosen

    # The end

    def end_if_done(self) -> None:
        if self.has_room() and self.state.is_drained():
            self.add(Ended("failed" if self.state.failed_nodes() else "success"))

    def draft(self, hlc: HlcTimestamp | None) -> Draft | None:
        if not self.transitions and not self.settled:
            return None
        state = self.state
        batch = LogBatch(
            epoch=state.epoch,
            at_ns=self.now_ns,
            t=tuple(self.transitions),
            workers=tuple(self.lives),
            hlc=hlc,
        )
        state.note_hlc(hlc)
        assigns = {worker_id: self._assign(worker_id) for worker_id in sorted(self.touched)}
        moved = any(isinstance(t, Cancelled | Resumed | Ended) for t in self.transitions)
        return Draft(
            batch=batch,
            results=ResultBatch(results=self.results) if self.results else None,
            settled=tuple(self.settled),
            assigns=assigns,
            outcome=state.outcome if moved else None,
            handout=self._handout(),
        )

    def _handout(self) -> AssignRecord | Handout | None:
        """Say what the worker beside the leader must hear."""
        life = self.beside
        if life is None:
            return None
        claims, limit = self.state.claims, self._max_inputs(life[0])
        if self.tells_all:
            held = self.state.claims_by.get(life, {})
            return self._assigned(life, [self._claim(r, limit) for r in held.values()])
        if not self.handed and not self.heard:
            return None
        return Handout(
            self.state.epoch,
            tuple(self._claim(claims[node], limit) for node in self.handed),
            tuple(self.heard),
        )

    def _assign(self, worker_id: str) -> AssignRecord:
        view = self.inbox.workers.get(worker_id)
        if view is None:
            # Nobody is there to read it: it only says that nothing is claimed.
            return self._assigned((worker_id, 0, 0), ())
        limit = self._max_inputs(worker_id)
        # What an earlier life of the worker still holds is about to be lost: not theirs.
        held = self._held(worker_id).values()
        return self._assigned(_life(worker_id, view), [self._claim(r, limit) for r in held])

    def _assigned(self, life: Life, claims: Sequence[Claim]) -> AssignRecord:
        return AssignRecord(
            epoch=self.state.epoch, incarnation=life[1], token=life[2], claims=tuple(claims)
        )

    def _claim(self, running: Running, limit: int) -> Claim:
        seqs = self.state.input_seqs(running.node)
        scan = len(seqs) > max(2, limit)
        return Claim(
            running.node,
            running.attempt,
            running.epoch,
            (seqs[0], seqs[-1]) if scan else seqs,
            scan,
        )


def _present_id(inbox: Inbox) -> str | None:
    """Name the worker beside the leader, unless a later life of it works elsewhere."""
    if inbox.beside is None:
        return None
    worker_id = inbox.beside[0]
    view = inbox.workers.get(worker_id)
    is_present = view is None or _life(worker_id, view) == inbox.beside
    return worker_id if is_present else None


def _most_free(free: Mapping[str, int]) -> str:
    if len(free) == 1:  # which it mostly is
        return next(iter(free))
    return max(free, key=lambda worker_id: (free[worker_id], worker_id))


def _life(worker_id: str, view: WorkerView) -> Life:
    return (worker_id, view.incarnation, view.token)


def _finish_bytes(finish: Finish) -> int:
    return _TRANSITION_BYTES + len(msgspec.json.encode(finish.reason[:_MAX_REASON]))


def _log_bytes(transition: Transition) -> int:
    if isinstance(transition, _SMALL):
        return _TRANSITION_BYTES
    if isinstance(transition, Failed | Lost | Refused):
        return _TRANSITION_BYTES + len(msgspec.json.encode(transition.reason))
    return 1_000


def _millis(ms: int) -> int:
    # As others wrote it; the state keeps 32 bits.
    return max(0, min(ms, 2**31 - 1))


def _refusal(
    running: Running | None, life: Life, epoch: int, finish: Finish, present_epoch: int
) -> str:
    """Say why a finish does not equal the present claim; "" if it does."""
    if running is None:
        return "no such claim"
    if running.life != life:
        return "claimed by another worker"
    if running.attempt != finish.attempt:
        return f"attempt {running.attempt} is current"
    if running.epoch != epoch or epoch != present_epoch:
        return f"epoch {running.epoch} is current"
    return ""
