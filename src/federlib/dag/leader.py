"""The leader of a run: the only writer of its log. Shell around `schedule.decide`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.lowlevel
import attrs
from anyio.abc import TaskGroup

from federlib._tasks import open_task_group
from federlib.dag.handover import Handover
from federlib.dag.inbox import Draft, Inbox, WorkerView
from federlib.dag.patience import read_surely
from federlib.dag.records import (
    MAX_FINISHES,
    AskRecord,
    DoneRecord,
    EpochRecord,
    ProgressRecord,
    RunOutcome,
    WorkerRecord,
    decode,
)
from federlib.dag.runlog import SNAPSHOT_EVERY, Fold, RunLog, Seat
from federlib.dag.runstate import RunState
from federlib.dag.schedule import decide
from federlib.dag.transitions import Epoch
from federlib.errors import CorruptRecord, Fenced, InvalidInput, OutcomeUnknown, Unavailable
from federlib.lease import LeaseBackend
from federlib.skewclock import UNSTAMPED, Clock, Stamps
from federlib.storage import (
    AtRevision,
    Batch,
    Conflicted,
    Delete,
    Page,
    Record,
    Resync,
    Transaction,
)
from federlib.telemetry import SILENT, Metric, Telemetry

__all__ = ["RunLeader"]

TRANSITIONS = Metric(
    "federlib_dag_transitions_total", "counter", "Transitions appended to run logs.", ("kind",)
)

_PROGRESS_S = 0.5
_KEPT_SETTLED = 65_536
_T = TypeVar("_T", DoneRecord, AskRecord, WorkerRecord)
_Take = Callable[[str, Record | None], None]


@attrs.frozen(kw_only=True)
class RunLeader:
    """Leads one run under one epoch at a time.

    Attributes:
        log: The run's records.
        leases: Says which workers live.
        leader_id: Who we are.
        clock: Wall clock for retry times and for people.
        jitter: Draws from [0, 1), for the pause before a retry.
        inspect_s: How often the workers' leases are looked at; seconds.
        handover: Where the worker of this process is met.
        snapshot_every: Transitions between snapshots.
        stamps: Stamp what is appended.
        telemetry: Where it is told.
    """

    log: RunLog
    leases: LeaseBackend
    leader_id: str
    clock: Clock
    jitter: Callable[[], float]
    inspect_s: float
    handover: Handover = attrs.field(factory=Handover)
    snapshot_every: int = SNAPSHOT_EVERY
    stamps: Stamps = UNSTAMPED
    telemetry: Telemetry = SILENT

    async def lead(self, epoch: int, check: Callable[[], object]) -> RunOutcome:
        """Take the run over, and lead it until it ends.

        Args:
            epoch: Our fencing token.
            check: Raises `Fenced` once our lease is lost; asked before every append.
        Returns:
            How the run ended.
        Raises:
            Fenced: Another leader took over, or our lease is lost.
        """
        reign = _Reign(self, epoch, check)
        self.handover.open(epoch, reign.notice)
        try:
            async with open_task_group() as group:
                outcome = await reign.run(group)
                group.cancel_scope.cancel()
        finally:
            self.handover.close()
        return outcome


class _Reign:
    """One epoch of one leader."""

    def __init__(self, leader: RunLeader, epoch: int, check: Callable[[], object]) -> None:
        self.log = leader.log
        self.leases = leader.leases
        self.leader_id = leader.leader_id
        self.clock = leader.clock
        self.jitter = leader.jitter
        self.inspect_s = leader.inspect_s
        self.handover = leader.handover
        self.snapshot_every = leader.snapshot_every
        self.stamps = leader.stamps
        self.telemetry = leader.telemetry
        self.epoch = epoch
        self.check = check
        self.inbox = Inbox(finishes=leader.handover.finishes)
        self.records: dict[str, tuple[WorkerRecord, int]] = {}
        # What we have settled and of whose deletion the watch has not told yet, oldest first.
        self.settled: dict[str, None] = {}
        self.wake = anyio.Event()
        self.told_ns = 0
        self.appended = 0
        self.seat = Seat(epoch, 0, 1)
        self.state: RunState

    async def run(self, group: TaskGroup) -> RunOutcome:
        keys = self.log.keys
        self._begin_from(await self.log.fold_whole())
        for prefix, take in (
            (keys.dones, self._take_done),
            (keys.asks, self._take_ask),
            (keys.workers, self._take_worker),
        ):
            group.start_soon(self._follow, prefix, take, await self._load(prefix, take))
        if self._is_over():
            # An older leader may have resumed the run between the two looks, and answered it.
            self._begin_from(await self.log.fold_whole())
            if self._is_over():
                return self.state.outcome
        await self._inspect()
        await self._take_over()
        group.start_soon(self._keep_inspecting)
        while True:
            draft = self._decide()
            if draft is not None:
                await self._append(draft)
                if draft.handout is not None:
                    # Tasks that never wait are done by the time we are back: one append
                    # then tells of their ends and of the next claims.
                    await anyio.lowlevel.checkpoint()
            elif self._is_over():
                return self.state.outcome
            else:
                await self._sleep()

    def _is_over(self) -> bool:
        return self.state.outcome != "running" and not self.inbox.asks

    def notice(self) -> None:
        """Come and look: something has come in."""
        self.wake.set()

    def _begin_from(self, fold: Fold) -> None:
        self.state, self.seat.next_seq = fold.state, fold.next_seq
        self.seat.snap_revision = fold.snap_revision
        self.stamps.observe(fold.state.last_hlc, of=self.log.keys.logs)

    # What comes in

    async def _load(self, prefix: str, take: _Take) -> int:
        """Take in all that lies under a prefix; return from where to watch."""
        revision: int | None = None
        after: str | None = None
        while True:
            page = await self._page(prefix, after)
            revision = page.revision if revision is None else revision
            for record in page.records:
                take(record.key, record)
            if page.next is None:
                return revision
            after = page.next

    async def _page(self, prefix: str, after: str | None) -> Page:
        return await read_surely(lambda: self.log.store.scan(prefix, after=after))

    async def _follow(self, prefix: str, take: _Take, after: int) -> None:
        async with self.log.store.watch(prefix, after=after) as changes:
            while True:
                try:
                    item = await anext(changes)
                except Unavailable:
                    await anyio.sleep(0.2)
                    continue
                if isinstance(item, Batch):
                    for event in item.events:
                        take(event.key, event.record)
                    self.wake.set()
                elif isinstance(item, Resync):
                    for key in self._known(prefix):
                        take(key, None)
                    await self._load(prefix, take)
                    self.wake.set()

    def _known(self, prefix: str) -> list[str]:
        """List what we believe to lie under a prefix; after missed changes it may be gone."""
        known = (*self.inbox.dones, *self.inbox.asks, *self.records)
        return [key for key in known if key.startswith(prefix)]

    def _read(self, kind: type[_T], record: Record) -> _T | None:
        """Read what others wrote; what cannot be read is told, left alone and skipped."""
        try:
            return decode(kind, record)
        except CorruptRecord as error:
            self.telemetry.log("error", "record_refused", key=record.key, reason=str(error))
            return None

    def _take_done(self, key: str, record: Record | None) -> None:
        self.inbox.dones.pop(key, None)
        if record is None:
            self.settled.pop(key, None)
        elif key not in self.settled:
            done = self._read(DoneRecord, record)
            if done is not None and self._is_in_place(key, done):
                self.inbox.dones[key] = done

    def _take_ask(self, key: str, record: Record | None) -> None:
        self.inbox.asks.pop(key, None)
        if record is None:
            self.settled.pop(key, None)
        elif key not in self.settled:
            ask = self._read(AskRecord, record)
            if ask is not None:
                self.inbox.asks[key] = ask

    def _is_in_place(self, key: str, record: DoneRecord | WorkerRecord) -> bool:
        """Say whether a worker's record lies under its own name and keeps to its limits."""
        keys = self.log.keys
        try:
            if isinstance(record, WorkerRecord):
                fits = key == keys.worker(record.worker_id)
            else:
                named = key.startswith(keys.done_by(record.worker_id))
                fits = named and len(record.finishes) <= MAX_FINISHES
        except InvalidInput:
            fits = False
        if not fits:
            self.telemetry.log("error", "record_refused", key=key, reason="foreign or oversized")
        return fits

    def _take_worker(self, key: str, record: Record | None) -> None:
        worker = self._read(WorkerRecord, record) if record is not None else None
        known = self.records.pop(key, None)
        if worker is None or record is None or not self._is_in_place(key, worker):
            if known is not None:
                self.inbox.workers.pop(known[0].worker_id, None)
            return
        self.records[key] = (worker, record.revision)
        # A worker writes its record while it holds its lease: it lives until seen otherwise.
        self.inbox.workers[worker.worker_id] = WorkerView(
            worker.incarnation,
            worker.slots,
            "live" if self.seat.epoch_revision else "unknown",
            worker.token,
        )

    async def _keep_inspecting(self) -> None:
        while True:
            await anyio.sleep(self.inspect_s)
            await self._inspect()

    async def _inspect(self) -> None:
        """Judge every worker's lease; a store that is away judges nobody dead."""
        for key, (worker, revision) in list(self.records.items()):
            name = self.log.keys.worker_lease(worker.worker_id, worker.incarnation)
            try:
                seen = await self.leases.inspect(name)
            except (Unavailable, OutcomeUnknown):
                continue
            held = seen.lease is not None and seen.lease.fencing_token == worker.token
            live = held and seen.is_live
            view = self.inbox.workers.get(worker.worker_id)
            life = (worker.incarnation, worker.token)
            if view is None or (view.incarnation, view.token) != life:
                continue
            self.inbox.workers[worker.worker_id] = WorkerView(
                worker.incarnation, worker.slots, "live" if live else "dead", worker.token
            )
            if view.state != ("live" if live else "dead"):
                self.wake.set()
            leading = self.seat.epoch_revision > 0
            if not live and leading and not self._has_claims(worker.worker_id):
                await self._forget(key, revision)

    def _has_claims(self, worker_id: str) -> bool:
        return any(life[0] == worker_id for life in self.state.claims_by)

    async def _forget(self, key: str, revision: int) -> None:
        """Remove a dead worker's record, unless it has just come back."""
        fence = AtRevision(self.log.keys.epoch, self.seat.epoch_revision)
        try:
            await self.log.store.commit(
                Transaction((Delete(key),), (AtRevision(key, revision), fence))
            )
        except (Unavailable, OutcomeUnknown):
            return  # The next look tries again.

    # What is decided

    async def _take_over(self) -> None:
        while True:
            current = await self.log.epoch()
            if current is not None and current[0].epoch >= self.epoch:
                raise Fenced(
                    f"run {self.log.run_id!r}",
                    reason=f"epoch {current[0].epoch} leads it, ours is {self.epoch}",
                )
            last_act_ns = await self._last_act_ns()
            draft = self._decide(Epoch(self.epoch, self.leader_id, last_act_ns))
            assert draft is not None
            record = EpochRecord(epoch=self.epoch, leader=self.leader_id)
            if await self._append(draft, (record, current[1] if current else None)):
                return
            # The old leader was quicker by one append, or another took over: look again.
            # What was taken from the inbox for this draft is still in the store.
            self.settled.clear()
            for prefix, take in (
                (self.log.keys.dones, self._take_done),
                (self.log.keys.asks, self._take_ask),
            ):
                await self._load(prefix, take)
            self._begin_from(await self.log.fold_whole())

    async def _last_act_ns(self) -> int:
        record = await self.log.store.get(self.log.keys.progress)
        told_ns = decode(ProgressRecord, record).at_ns if record is not None else 0
        return max(told_ns, self.state.last_append_ns)

    def _decide(self, takeover: Epoch | None = None) -> Draft | None:
        self.inbox.beside = self.handover.life
        return decide(
            self.state,
            self.inbox,
            seq=self.seat.next_seq,
            now_ns=self.clock.wall_ns(),
            jitter=self.jitter,
            takeover=takeover,
            hlc=self.stamps.now(),
        )

    async def _append(
        self, draft: Draft, takeover: tuple[EpochRecord, int | None] | None = None
    ) -> bool:
        self.check()
        self.settled.update(dict.fromkeys(draft.settled))
        while len(self.settled) > _KEPT_SETTLED:
            del self.settled[next(iter(self.settled))]
        run = self.state.record_with_outcome(draft.batch.at_ns)
        asked = any(key.startswith(self.log.keys.asks) for key in draft.settled)
        due = draft.outcome is not None or self._progress_is_due()
        done = await self.log.append(
            self.seat,
            draft,
            # Whoever waits for the answer to a request follows the run's record: it is
            # touched even if the answer is that nothing changes.
            run=run if draft.outcome is not None or asked else None,
            progress=self._progress() if due else None,
            takeover=takeover,
        )
        if isinstance(done, Conflicted):
            if takeover is not None:
                return False
            raise Fenced(f"run {self.log.run_id!r}", reason="another leader took over")
        if draft.handout is not None:
            self.handover.give(draft.handout, self.inbox.beside)
        kinds = Counter(map(type, draft.batch.t))
        for kind, count in kinds.items():
            self.telemetry.emit(TRANSITIONS, float(count), kind=kind.__name__.lower())
        await self._maybe_snapshot(len(draft.batch.t))
        return True

    async def _maybe_snapshot(self, appended: int) -> None:
        self.appended += appended
        if self.appended >= self.snapshot_every:
            self.appended = 0
            await self.log.snapshot(self.seat, self.state)

    def _progress_is_due(self) -> bool:
        return self.clock.monotonic_ns() - self.told_ns >= _PROGRESS_S * 1e9

    def _progress(self) -> ProgressRecord:
        self.told_ns = self.clock.monotonic_ns()
        state = self.state
        return ProgressRecord(
            epoch=self.epoch,
            leader=self.leader_id,
            at_ns=self.clock.wall_ns(),
            counts=state.counts(),
            attempts=state.total_attempts,
            refused=state.refused,
            workers=sum(view.state == "live" for view in self.inbox.workers.values()),
            started_ns=state.started_ns,
        )

    async def _sleep(self) -> None:
        """Wait for news, for a retry that is due, or to tell how things stand."""
        timeout_s = 2 * _PROGRESS_S
        retry_ns = self.state.next_retry_ns()
        if retry_ns is not None:
            timeout_s = min(timeout_s, max(0.0, (retry_ns - self.clock.wall_ns()) / 1e9))
        with anyio.move_on_after(timeout_s) as scope:
            await self.wake.wait()
        if not scope.cancelled_caught:
            self.wake = anyio.Event()
        if self._progress_is_due():
            await self._tell()

    async def _tell(self) -> None:
        self.check()
        await self.log.tell(self.seat, self._progress())
