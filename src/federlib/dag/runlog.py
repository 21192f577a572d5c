"""A run's records in the store: read them, fold them, append to them.

Shell around `runstate`. Only the leader appends; `append` is one transaction that checks
the epoch record, so an old leader's append fails by token, whatever the clocks say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from contextlib import aclosing

import anyio
import attrs
import msgspec

from federlib.dag.inbox import Draft
from federlib.dag.keys import RunKeys
from federlib.dag.patience import create_surely
from federlib.dag.plan import Plan, join_chunks
from federlib.dag.records import (
    EpochRecord,
    PlanChunk,
    ProgressRecord,
    ResultBatch,
    RunRecord,
    SnapshotHead,
    SnapshotPart,
    decode,
    encode,
)
from federlib.dag.runstate import RunState
from federlib.dag.transitions import LogBatch
from federlib.errors import CorruptRecord, Fenced, InvalidInput, OutcomeUnknown, Unavailable
from federlib.storage import (
    Absent,
    AtRevision,
    Check,
    Committed,
    Conflicted,
    Delete,
    Put,
    RecordStore,
    Transaction,
    Write,
)
from federlib.storage.scanning import scan_all

__all__ = ["Fold", "RunLog", "Seat", "transaction_id"]

SNAPSHOT_EVERY = 65_536
"""Transitions between snapshots; design §5."""

_DELETE_CHUNK = 60
_MAX_CHECKED_CHUNKS = 62
_UNKNOWN_PAUSE_S, _AWAY_PAUSE_S = 0.05, 0.2


def transaction_id(*parts: str | int) -> str:
    """Name a transaction by what it is, in bounded length however long the names are."""
    text = "\x00".join(map(str, parts))
    return f"dag-{hashlib.sha256(text.encode()).hexdigest()}"


@attrs.frozen
class Fold:
    """A state as the store had it.

    Attributes:
        state: The fold of the log.
        next_seq: Number of the next log record.
        snap_revision: Of the head of the snapshot it rests on; None if there was none.
    """

    state: RunState
    next_seq: int
    snap_revision: int | None


@attrs.define
class Seat:
    """What a leader needs to append: its epoch and where the log ends.

    Attributes:
        epoch: Our epoch.
        epoch_revision: Of the epoch record, as we wrote it.
        next_seq: Number of the next log record.
        snap_revision: Of the head of the newest snapshot; None before the first.
    """

    epoch: int
    epoch_revision: int
    next_seq: int
    snap_revision: int | None = None


class RunLog:
    """One run's records.

    Args:
        store: Where they are.
        run_id: Which run.
    """

    def __init__(self, store: RecordStore, run_id: str) -> None:
        self.store = store
        self.keys: RunKeys = RunKeys(run_id)
        self.run_id = run_id
        self._plan: Plan | None = None

    async def run(self) -> RunRecord | None:
        """Read the run's record, or None if there is no such run."""
        record = await self.store.get(self.keys.run)
        return decode(RunRecord, record) if record is not None else None

    async def run_at(self) -> tuple[RunRecord, int]:
        """Read the run's record together with its revision.

        Raises:
            InvalidInput: No such run.
        """
        record = await self.store.get(self.keys.run)
        if record is None:
            raise InvalidInput("run_id", expected="a run that was submitted", found=self.run_id)
        return decode(RunRecord, record), record.revision

    async def require_run(self) -> RunRecord:
        """Read the run's record.

        Raises:
            InvalidInput: No such run.
        """
        return (await self.run_at())[0]

    async def epoch(self) -> tuple[EpochRecord, int] | None:
        """Read who leads, with the record's revision; None before the first leader."""
        record = await self.store.get(self.keys.epoch)
        return (decode(EpochRecord, record), record.revision) if record is not None else None

    async def plan(self) -> Plan:
        """Read the plan once, and keep it."""
        if self._plan is None:
            run = await self.require_run()
            async with aclosing(scan_all(self.store, self.keys.plans)) as records:
                chunks = [decode(PlanChunk, record) async for record in records]
            self._plan = join_chunks(chunks[: run.chunks], run, where=self.keys.plans)
        return self._plan

    def keep_plan(self, plan: Plan) -> None:
        """Know the plan without reading it: we have just written it."""
        self._plan = plan

    async def submit(self, run: RunRecord, chunks: Sequence[PlanChunk]) -> bool:
        """Write the plan, then the run that makes it visible.

        Returns:
            True if this call created the run, False if it was there.
        """
        checks: list[Check] = [Absent(self.keys.run)]
        for number, chunk in enumerate(chunks):
            revision = await self._put_chunk(self.keys.plan(number), encode(chunk))
            if revision is None:
                return False
            checks.append(AtRevision(self.keys.plan(number), revision))
        # Somebody else may be submitting another plan under this id: the plan that the run
        # names must be the one that lies there.
        writes = (Put(self.keys.run, encode(run)),)
        made = await self.store.commit(Transaction(writes, tuple(checks[:_MAX_CHECKED_CHUNKS])))
        if isinstance(made, Conflicted) and await self.run() is None:
            return await self.submit(run, chunks)
        return isinstance(made, Committed)

    async def _put_chunk(self, key: str, value: bytes) -> int | None:
        """Have a chunk of the plan lie there; None once the run exists."""
        while True:
            found = await self.store.get(key)
            if found is not None and found.value == value:
                return found.revision
            there = Absent(key) if found is None else AtRevision(key, found.revision)
            made = await self.store.commit(
                Transaction((Put(key, value),), (Absent(self.keys.run), there))
            )
            if isinstance(made, Committed):
                return made.revision
            if any(mismatch.key == self.keys.run for mismatch in made.failed):
                return None

    async def fold(self) -> tuple[RunState, int]:
        """Rebuild the state: the newest snapshot, then the log behind it.

        Returns:
            The state, and the number of the next log record.
        Raises:
            CorruptRecord: The records do not fold.
        """
        fold = await self.fold_whole()
        return fold.state, fold.next_seq

    async def fold_whole(self) -> Fold:
        """Rebuild the state, with all that a takeover must check.

        Raises:
            CorruptRecord: The records do not fold.
        """
        plan = await self.plan()
        run = await self.require_run()
        while True:
            state = RunState(plan, run)
            next_seq, snap_revision = await self._restore(state)
            next_seq, gap = await self._apply_log(state, next_seq)
            # A leader may have cut the log behind us, even all of it: then it has left a
            # newer snapshot.
            head = await self.store.get(self.keys.snap_head)
            if (None if head is None else head.revision) == snap_revision:
                if gap is None:
                    return Fold(state, next_seq, snap_revision)
                raise CorruptRecord(
                    self.keys.log(next_seq), expected="the next log record", found=gap
                )

    async def _apply_log(self, state: RunState, next_seq: int) -> tuple[int, str | None]:
        """Fold the log from `next_seq` on; return where it ends and the key behind a gap."""
        async with aclosing(
            scan_all(self.store, self.keys.logs, after=self.keys.log(next_seq - 1))
        ) as records:
            async for record in records:
                if record.key != self.keys.log(next_seq):
                    return next_seq, record.key
                state.apply_batch(decode(LogBatch, record), seq=next_seq)
                next_seq += 1
        return next_seq, None

    async def _restore(self, state: RunState) -> tuple[int, int | None]:
        while True:
            record = await self.store.get(self.keys.snap_head)
            if record is None:
                return 1, None
            head = decode(SnapshotHead, record)
            parts: list[SnapshotPart] = []
            for number in range(head.parts):
                part = await self.store.get(self.keys.snap(head.seq, number))
                if part is None:
                    break
                parts.append(decode(SnapshotPart, part))
            else:
                state.restore(head, parts)
                return head.seq + 1, record.revision
            # Replaced while we read: the newer head says where to look.
            now = await self.store.get(self.keys.snap_head)
            if now is not None and now.revision == record.revision:
                raise CorruptRecord(
                    self.keys.snap(head.seq, len(parts)),
                    expected="a part of the snapshot",
                    found="nothing",
                )

    async def append(
        self,
        seat: Seat,
        draft: Draft,
        *,
        run: RunRecord | None = None,
        progress: ProgressRecord | None = None,
        takeover: tuple[EpochRecord, int | None] | None = None,
    ) -> Committed | Conflicted:
        """Append one batch with everything that belongs to it; all or nothing.

        A log record that is absent was never there as long as the newest snapshot is the one
        that we know: it was not cut. So nothing is appended beside a newer one, and what a
        store held up and carries out long after it was repeated comes to nothing.

        Args:
            seat: Moved on by one record if it was committed.
            draft: From `decide`.
            run: The run's record as it shall be, where it changes.
            progress: The view for people, now and then.
            takeover: The new epoch record and the revision of the one it replaces.
        """
        keys, seq = self.keys, seat.next_seq
        entry = Put(keys.log(seq), encode(draft.batch))
        writes: list[Write] = [entry]
        checks: list[Check] = [Absent(entry.key), _as_known(keys.snap_head, seat.snap_revision)]
        if takeover is not None:
            record, replaced = takeover
            writes.append(Put(keys.epoch, encode(record)))
            checks.append(_as_known(keys.epoch, replaced))
        else:
            checks.append(AtRevision(keys.epoch, seat.epoch_revision))
        if draft.results is not None:
            writes.append(Put(keys.result(seq), encode(draft.results)))
        if run is not None:
            writes.append(Put(keys.run, encode(run)))
        if progress is not None:
            writes.append(Put(keys.progress, encode(progress)))
        writes.extend(
            Put(keys.assign(name), encode(record)) for name, record in draft.assigns.items()
        )
        writes.extend(Delete(key) for key in draft.settled)
        done = await create_surely(self.store, Transaction(tuple(writes), tuple(checks)), entry)
        if isinstance(done, Committed):
            seat.next_seq += 1
            if takeover is not None:
                seat.epoch_revision = done.revision
        return done

    async def tell(self, seat: Seat, progress: ProgressRecord) -> None:
        """Write the view for people; a store that is away just misses it.

        Raises:
            Fenced: Another leader took over.
        """
        fence = AtRevision(self.keys.epoch, seat.epoch_revision)
        try:
            done = await self.store.commit(
                Transaction((Put(self.keys.progress, encode(progress)),), (fence,))
            )
        except (Unavailable, OutcomeUnknown):
            return
        if isinstance(done, Conflicted):
            raise Fenced(f"run {self.run_id!r}", reason="another leader took over")

    async def snapshot(self, seat: Seat, state: RunState) -> None:
        """Write a snapshot of everything appended so far, then cut the log behind it."""
        seq = seat.next_seq - 1
        head, parts = state.snapshot(seq)
        fence = (AtRevision(self.keys.epoch, seat.epoch_revision),)
        for number, part in enumerate(parts):
            await self._fenced((Put(self.keys.snap(seq, number), encode(part)),), fence)
        made = Put(self.keys.snap_head, encode(head))
        # Held up and carried out late, it must not replace a newer one.
        known = _as_known(self.keys.snap_head, seat.snap_revision)
        done = await create_surely(self.store, Transaction((made,), (known, *fence)), made)
        if isinstance(done, Conflicted):
            raise Fenced(f"run {self.run_id!r}", reason="another leader took over")
        seat.snap_revision = done.revision
        await self._cut(self.keys.logs, self.keys.log(seq), fence)
        await self._cut(f"{self.keys.root}snap/", self.keys.snap(seq, 0)[:-5], fence)

    async def _cut(self, prefix: str, upto: str, fence: tuple[Check, ...]) -> None:
        async with aclosing(scan_all(self.store, prefix)) as records:
            old = [record.key async for record in records if record.key <= upto]
        for start in range(0, len(old), _DELETE_CHUNK):
            await self._fenced(tuple(map(Delete, old[start : start + _DELETE_CHUNK])), fence)

    async def _fenced(self, writes: tuple[Write, ...], fence: tuple[Check, ...]) -> None:
        while True:
            try:
                done = await self.store.commit(Transaction(writes, fence))
            except (Unavailable, OutcomeUnknown):
                # These writes may be repeated: they put or delete the same.
                await anyio.sleep(_AWAY_PAUSE_S)
                continue
            if isinstance(done, Conflicted):
                raise Fenced(f"run {self.run_id!r}", reason="another leader took over")
            return

    async def results(
        self, seqs: Sequence[int], *, scan: bool, of: Container[int]
    ) -> dict[int, msgspec.Raw]:
        """Read results by node number.

        Args:
            seqs: The log records that accepted them, ascending.
            scan: `seqs` is only the first and the last of many.
            of: The nodes whose results are wanted; others are not kept.
        Raises:
            CorruptRecord: A record is gone, or cannot be read.
        """
        found: dict[int, msgspec.Raw] = {}
        if scan:
            first, last = seqs
            async with aclosing(
                scan_all(self.store, self.keys.results, after=self.keys.result(first - 1))
            ) as records:
                async for record in records:
                    if record.key > self.keys.result(last):
                        break
                    found.update(_only(of, decode(ResultBatch, record)))
            return found
        for seq in seqs:
            stored = await self.store.get(self.keys.result(seq))
            if stored is None:
                raise CorruptRecord(self.keys.result(seq), expected="results", found="nothing")
            found.update(_only(of, decode(ResultBatch, stored)))
        return found


def _as_known(key: str, revision: int | None) -> Check:
    return Absent(key) if revision is None else AtRevision(key, revision)


def _only(of: Container[int], batch: ResultBatch) -> dict[int, msgspec.Raw]:
    # A copy: a raw value would keep the whole record alive.
    return {
        node: msgspec.Raw(bytes(result)) for node, result in batch.results.items() if node in of
    }
