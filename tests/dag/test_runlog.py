"""Appends to a run's log: by token, whatever the clocks say and whatever was cut."""

from __future__ import annotations

import anyio
import pytest

from federlib.dag.inbox import Draft
from federlib.dag.keys import RunKeys
from federlib.dag.patience import commit_surely, create_surely
from federlib.dag.plan import split_plan
from federlib.dag.records import EpochRecord, encode
from federlib.dag.runlog import Fold, RunLog, Seat, transaction_id
from federlib.dag.transitions import Epoch, LogBatch, Refused
from federlib.errors import CorruptRecord, Fenced, OutcomeUnknown
from federlib.skewclock import SystemClock
from federlib.storage import Absent, Committed, Conflicted, Delete, Put, Transaction
from federlib.storage.backends.memory import MemoryStore

from .run_lab import CHAIN, run_record, workflow

pytestmark = pytest.mark.anyio


def draft(epoch: int, *, takeover: bool = False) -> Draft:
    t = (Epoch(epoch, "l", 0),) if takeover else (Refused(0, 1, epoch, "old"),)
    return Draft(LogBatch(epoch=epoch, at_ns=1, t=t), None, (), {}, None)


async def submitted() -> RunLog:
    log = RunLog(MemoryStore(SystemClock()), "r")
    chunks = split_plan(workflow(CHAIN))
    assert await log.submit(run_record(len(CHAIN), len(chunks)), chunks)
    return log


async def take_over(log: RunLog, epoch: int, fold: Fold) -> Seat | None:
    seat = Seat(epoch, 0, fold.next_seq, fold.snap_revision)
    current = await log.epoch()
    made = await log.append(
        seat,
        draft(epoch, takeover=True),
        takeover=(EpochRecord(epoch=epoch, leader="l"), current[1] if current else None),
    )
    return seat if isinstance(made, Committed) else None


async def append_and_apply(log: RunLog, seat: Seat) -> None:
    assert isinstance(await log.append(seat, draft(seat.epoch)), Committed)


async def test_an_old_leaders_writes_all_fail_by_token_after_a_takeover() -> None:
    log = await submitted()
    old = await take_over(log, 1, await log.fold_whole())
    assert old is not None
    await append_and_apply(log, old)
    new = await take_over(log, 2, await log.fold_whole())
    assert new is not None
    everything = (await log.store.scan("dag/")).records
    assert isinstance(await log.append(old, draft(1)), Conflicted)
    old.next_seq = new.next_seq
    assert isinstance(await log.append(old, draft(1)), Conflicted)
    state, _ = await log.fold()
    with pytest.raises(Fenced):
        await log.snapshot(old, state)
    assert (await log.store.scan("dag/")).records == everything


async def test_a_takeover_loses_to_an_append_that_it_has_not_seen() -> None:
    log = await submitted()
    old = await take_over(log, 1, await log.fold_whole())
    assert old is not None
    seen = await log.fold_whole()
    await append_and_apply(log, old)
    assert await take_over(log, 2, seen) is None
    assert await take_over(log, 2, await log.fold_whole()) is not None


async def test_a_takeover_is_not_fooled_by_a_log_that_was_cut_behind_it() -> None:
    """The record that it would write is absent again, but it is not the next one."""
    log = await submitted()
    old = await take_over(log, 1, await log.fold_whole())
    assert old is not None
    seen = await log.fold_whole()
    for _ in range(3):
        await append_and_apply(log, old)
    await log.snapshot(old, (await log.fold())[0])
    assert await log.store.get(log.keys.log(seen.next_seq)) is None
    assert await take_over(log, 2, seen) is None
    fresh = await log.fold_whole()
    assert (fresh.state.refused, fresh.next_seq) == (3, 5)
    assert await take_over(log, 2, fresh) is not None


async def test_a_hole_in_the_log_is_corrupt() -> None:
    log = await submitted()
    seat = await take_over(log, 1, await log.fold_whole())
    assert seat is not None
    for _ in range(3):
        await append_and_apply(log, seat)
    await log.store.commit(Transaction((Delete(log.keys.log(2)),)))
    with pytest.raises(CorruptRecord, match="log/000000000002"):
        await log.fold()


async def test_a_snapshot_that_lacks_a_part_is_corrupt_not_an_endless_search() -> None:
    log = await submitted()
    seat = await take_over(log, 1, await log.fold_whole())
    assert seat is not None
    await log.snapshot(seat, (await log.fold())[0])
    await log.store.commit(Transaction((Delete(log.keys.snap(1, 0)),)))
    with anyio.fail_after(5), pytest.raises(CorruptRecord, match="snap/000000000001/0000"):
        await log.fold()


async def test_a_submission_that_stopped_half_way_is_taken_over_by_another_plan() -> None:
    log = RunLog(MemoryStore(SystemClock()), "r")
    leftover = encode(split_plan(workflow({"x": [], "y": []}))[0])
    for number in range(3):
        await log.store.commit(Transaction((Put(log.keys.plan(number), leftover),)))
    chunks = split_plan(workflow(CHAIN))
    assert await log.submit(run_record(len(CHAIN), len(chunks)), chunks)
    assert (await log.plan()).ids == tuple(CHAIN)
    assert not await log.submit(run_record(len(CHAIN), len(chunks)), chunks)


class Forgetful(MemoryStore):
    """Commits, and loses the first answers."""

    def __init__(self, clock: SystemClock, lost: int = 2) -> None:
        super().__init__(clock)
        self.lost = lost

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        made = await super().commit(transaction)
        if self.lost:
            self.lost -= 1
            raise OutcomeUnknown("store", transaction_id=transaction.id, reason="no answer")
        return made


async def test_an_append_whose_answer_was_lost_is_committed_once() -> None:
    store = Forgetful(SystemClock())
    entry = Put("k", b"1")
    made = await create_surely(store, Transaction((entry,), (Absent("k"),)), entry)
    record = await store.get("k")
    assert isinstance(made, Committed)
    assert record is not None
    assert (record.revision, store.lost) == (made.revision, 0)


async def test_an_append_whose_answer_was_lost_to_another_one_conflicts() -> None:
    store = Forgetful(SystemClock(), lost=1)
    theirs = Transaction((Put("k", b"2"),))
    with pytest.raises(OutcomeUnknown):
        await store.commit(theirs)
    store.lost = 1
    entry = Put("k", b"1")
    made = await create_surely(store, Transaction((entry,), (Absent("k"),)), entry)
    assert isinstance(made, Conflicted)


class Remembering(MemoryStore):
    """Keeps what was committed, to have it carried out again."""

    def __init__(self, clock: SystemClock) -> None:
        super().__init__(clock)
        self.sent: list[Transaction] = []

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        self.sent.append(transaction)
        return await super().commit(transaction)


def _is_made_once(log: RunLog, key: str) -> bool:
    return key == log.keys.snap_head or key.startswith(log.keys.logs)


async def test_what_a_leader_sent_comes_to_nothing_when_it_arrives_again_behind_a_snapshot() -> (
    None
):
    """A store may hold up a commit, and carry it out after it was repeated and its record cut.

    Found by the simulator: claims of long ago were given out again under the present epoch.
    """
    store = Remembering(SystemClock())
    log = RunLog(store, "r")
    chunks = split_plan(workflow(CHAIN))
    assert await log.submit(run_record(len(CHAIN), len(chunks)), chunks)
    seat = await take_over(log, 1, await log.fold_whole())
    assert seat is not None
    for _ in range(2):
        store.sent.clear()
        await append_and_apply(log, seat)
        await log.snapshot(seat, (await log.fold())[0])
        await append_and_apply(log, seat)
        await log.snapshot(seat, (await log.fold())[0])
    late = [
        t
        for t in store.sent
        if any(_is_made_once(log, w.key) for w in t.writes if isinstance(w, Put))
    ]
    assert len(late) == 4
    await append_and_apply(log, seat)
    before = (await store.scan(log.keys.root)).records
    for transaction in late:
        assert isinstance(await store.commit(transaction), Conflicted)
    assert (await store.scan(log.keys.root)).records == before
    assert (await log.fold())[0].refused == 5


async def test_a_finish_whose_answer_was_lost_is_committed_once() -> None:
    store = Forgetful(SystemClock())
    transaction = Transaction((Put("k", b"1"),), id=transaction_id("done", "k"))
    made = await commit_surely(store, transaction)
    record = await store.get("k")
    assert isinstance(made, Committed)
    assert record is not None
    assert (record.revision, store.lost) == (made.revision, 0)


def test_names_of_transactions_fit_and_differ() -> None:
    parts = [("done", "x" * 500), ("done", "x" * 499, "x"), ("don", "e"), ("append", "r", 1, 11)]
    ids = {transaction_id(*part) for part in (*parts, ("append", "r", 11, 1))}
    assert len(ids) == 5
    assert all(len(name) <= 128 for name in ids)


def test_two_lives_of_a_worker_never_share_the_key_of_a_finish() -> None:
    keys = RunKeys("r")
    assert len({keys.done("w", life, token, 1) for life in (1, 2) for token in (1, 2)}) == 4
