"""Copies: all that is known, nobody at work, and never half a store for a whole one."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from federlib import connect
from federlib.dag import RunState
from federlib.dag.runlog import RunLog
from federlib.errors import Conflict, CorruptRecord, InvalidInput, OutcomeUnknown
from federlib.fencing import violations
from federlib.fencing.audit import LogEvent
from federlib.identity import IdentityStore
from federlib.lease import Holder, Lease, StoreLeaseBackend
from federlib.lease.moving import HEADROOM, floor_above
from federlib.lease.records import FLOOR_KEY, MAX_TOKEN, decode_lease
from federlib.skewclock import SkewTolerance, SystemClock
from federlib.storage import (
    AtRevision,
    Committed,
    Conflicted,
    Delete,
    Page,
    Put,
    Record,
    RecordStore,
    Transaction,
    open_store,
)
from federlib.storage.backends.memory import MemoryStore
from federlib.storage.filling import MARK_KEY, Packer
from federlib.storage.snapshot import take_snapshot
from federlib.upkeep import check_store, copy_store
from upkeep.stores import opened, place, populate, records_of

pytestmark = pytest.mark.anyio


def memory() -> MemoryStore:
    return MemoryStore(SystemClock())


def leases_on(store: RecordStore) -> StoreLeaseBackend:
    return StoreLeaseBackend(store, SystemClock(), SkewTolerance())


async def put(store: RecordStore, *keys: str) -> None:
    for key in keys:
        done = await store.commit(Transaction((Put(key, key.encode()),)))
        assert isinstance(done, Committed)


@pytest.mark.parametrize(
    ("old_kind", "new_kind"),
    [("memory", "sqlite"), ("sqlite", "file"), ("file", "memory"), ("sqlite", "sqlite")],
)
async def test_a_copy_has_everything_and_nobody_at_work(
    tmp_path: Path, old_kind: str, new_kind: str
) -> None:
    async with opened(old_kind, tmp_path, "old") as old, opened(new_kind, tmp_path, "new") as new:
        await populate(old, tmp_path)
        before = await records_of(old)
        copied = await copy_store(old, new, live=True)
        assert await records_of(old) == before
        after = await records_of(new)
        assert copied.records == len(after)
        assert (copied.freed, copied.waiters) == (1, 1)
        assert (copied.source_id, copied.store_id) == (old.store_id, new.store_id)
        outside = {key for key in before if not key.startswith("lease/")}
        assert {key: after[key].value for key in outside} == {
            key: before[key].value for key in outside
        }
        names = {key for key in before if key.startswith("lease/") and key.endswith("/lease")}
        assert set(after) == outside | names | {FLOOR_KEY}
        for key in names:
            was, now = decode_lease(key, before[key].value), decode_lease(key, after[key].value)
            assert (now.name, now.fencing_token, now.lease) == (was.name, was.fencing_token, None)
        report = await check_store(new)
        assert report.problems == ()


async def test_the_history_of_commands_is_in_its_old_order(tmp_path: Path) -> None:
    async with opened("sqlite", tmp_path, "old") as old, opened("file", tmp_path, "new") as new:
        await populate(old, tmp_path)
        await copy_store(old, new, live=True)

        async def history(store: RecordStore) -> list[LogEvent]:
            async with connect(store, identity=IdentityStore(tmp_path / "identities")) as fed:
                return list(await fed.commands.log.audit())

        was, now = await history(old), await history(new)
        assert [event.record for event in now] == [event.record for event in was]
        assert len({event.revision for event in now}) == len({event.revision for event in was})
        assert violations(now) == ()


async def test_a_run_folds_to_the_same_state(tmp_path: Path) -> None:
    async with opened("memory", tmp_path, "old") as old, opened("sqlite", tmp_path, "new") as new:
        await populate(old, tmp_path)
        await copy_store(old, new, live=True)

        async def state(store: RecordStore) -> RunState:
            return (await RunLog(store, "r/1").fold())[0]

        was, now = await state(old), await state(new)
        assert (now.counts(), now.outcome) == (was.counts(), was.outcome)
        assert now.outcome == "success"


async def test_every_later_token_is_above_all_of_the_old_store(tmp_path: Path) -> None:
    async with opened("sqlite", tmp_path, "old") as old, opened("sqlite", tmp_path, "new") as new:
        await populate(old, tmp_path)
        await leases_on(old).raise_floor(1_000)
        copied = await copy_store(old, new, live=True)
        assert copied.floor == 1_000 + HEADROOM
        for name in ("held", "free", "never seen"):
            lease = await leases_on(new).acquire(name, Holder("me", "s"), ttl_s=60)
            assert isinstance(lease, Lease)
            assert lease.fencing_token == copied.floor + 1
        # The holder on the old store goes on for now; its token is lower.
        renewed = await leases_on(old).inspect("held")
        assert renewed.fencing_token < copied.floor


async def test_a_higher_floor_may_be_asked_for() -> None:
    old, new = memory(), memory()
    await put(old, "a")
    assert (await copy_store(old, new, floor=9_000_000)).floor == 9_000_000
    assert (await copy_store(old, memory(), floor=3)).floor == HEADROOM


@pytest.mark.parametrize("floor", [-1, MAX_TOKEN, 2**64, True])
async def test_a_floor_that_is_no_token_is_refused(floor: int) -> None:
    new = memory()
    with pytest.raises(InvalidInput, match="floor"):
        await copy_store(memory(), new, floor=floor)
    assert await records_of(new) == {}


@pytest.mark.parametrize(
    ("token", "floor"),
    [(0, HEADROOM), (5, 5 + HEADROOM), (MAX_TOKEN - 2, MAX_TOKEN - 1), (MAX_TOKEN, MAX_TOKEN)],
)
def test_the_floor_stays_within_int64(token: int, floor: int) -> None:
    assert floor_above(token) == floor


async def test_a_store_at_work_is_not_copied_unless_that_is_meant() -> None:
    old, new = memory(), memory()
    for name in "abcde":
        await leases_on(old).acquire(name, Holder("me", "s"), ttl_s=60)
    with pytest.raises(Conflict, match="'a' by me, 'b' by me, 'c' by me, and 2 more"):
        await copy_store(old, new)
    assert await records_of(new) == {}
    assert (await copy_store(old, new, live=True)).freed == 5


async def test_a_lease_that_ran_out_hinders_nobody() -> None:
    old, new = memory(), memory()
    lease = await leases_on(old).acquire("a", Holder("me", "s"), ttl_s=0.2)
    assert isinstance(lease, Lease)
    while (await leases_on(old).inspect("a")).is_live:
        await anyio.sleep(0.02)
    assert (await copy_store(old, new)).freed == 1


async def test_a_store_with_records_is_never_written_to() -> None:
    old, new = memory(), memory()
    await put(old, "a")
    await put(new, "b", "c", "d", "e")
    with pytest.raises(Conflict, match="found b, c, d, …; name a new one"):
        await copy_store(old, new)
    assert list(await records_of(new)) == ["b", "c", "d", "e"]


async def test_a_store_is_not_copied_onto_itself() -> None:
    store = memory()
    with pytest.raises(InvalidInput, match="another store"):
        await copy_store(store, store)


async def test_a_lease_that_cannot_be_read_stops_the_copy() -> None:
    old, new = memory(), memory()
    await put(old, "lease/a/lease")
    with pytest.raises(CorruptRecord, match="lease/a/lease"):
        await copy_store(old, new)
    assert await records_of(new) == {}


# A copy under way


class Breaking(MemoryStore):
    """Loses the connection at one commit; before it takes effect, or after."""

    def __init__(self, at: int, *, after: bool = False, times: int = 99) -> None:
        super().__init__(SystemClock())
        self.left, self.after, self.times = at, after, times

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        self.left -= 1
        if self.left >= 0 or not self.times:
            return await super().commit(transaction)
        self.times -= 1
        if self.after:
            await super().commit(transaction)
        raise OutcomeUnknown("commit", transaction_id=transaction.id, reason="cut off")


@pytest.mark.parametrize("at", range(5))
async def test_a_broken_copy_is_refused_wherever_it_is_met(at: int, tmp_path: Path) -> None:
    old, new = memory(), Breaking(at)
    await put(old, "a", "b", "c")
    with pytest.raises(OutcomeUnknown):
        await copy_store(old, new)
    if at == 0:
        assert await records_of(new) == {}
        return
    assert FLOOR_KEY in await records_of(new)
    with pytest.raises(CorruptRecord, match=f"an unfinished copy of store {old.store_id}"):
        await copy_store(new, memory())
    new.left = 99
    with pytest.raises(Conflict, match=r"an unfinished copy of store .*; remove it"):
        await copy_store(old, new)


@pytest.mark.parametrize("at", range(5))
async def test_an_answer_that_got_lost_is_asked_for_again(at: int) -> None:
    old, new = memory(), Breaking(at, after=True, times=2)
    await put(old, "a", "b", "c")
    await copy_store(old, new)
    assert set(await records_of(new)) == {"a", "b", "c", FLOOR_KEY}


@pytest.mark.parametrize("kind", ["sqlite", "file"])
async def test_an_unfinished_store_cannot_be_opened(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path, "new") as new:
        await put(new, MARK_KEY)
    with pytest.raises(CorruptRecord, match="expected a whole store, found 'an unfinished copy"):
        await open_store(place(kind, tmp_path, "new"))


class Meddling(MemoryStore):
    """Somebody else writes, just before a commit."""

    def __init__(self, *meddle: Put | Delete) -> None:
        super().__init__(SystemClock())
        self.meddle = meddle

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        if any(isinstance(check, AtRevision) for check in transaction.checks) and self.meddle:
            await super().commit(Transaction(self.meddle))
            self.meddle = ()
        return await super().commit(transaction)


@pytest.mark.parametrize("meddle", [Put("b", b"theirs"), Delete(MARK_KEY), Put(MARK_KEY, b"{}")])
async def test_what_others_write_meanwhile_is_not_overwritten(meddle: Put | Delete) -> None:
    old, new = memory(), Meddling(meddle)
    await put(old, "a", "b")
    with pytest.raises(Conflict, match="nobody else writing to it"):
        await copy_store(old, new)
    theirs = await new.get("b")
    assert theirs is None or theirs.value == b"theirs"


# Packing


def record(key: str, revision: int, size: int = 1) -> Record:
    return Record(key, bytes(size), revision, revision)


def pack(records: list[Record]) -> list[list[str]]:
    packer = Packer(("m/",))
    batches = [due for one in records if (due := packer.add(one))] + packer.rest()
    return [[one.key for one in batch] for batch in batches]


def test_what_may_be_merged_shares_a_transaction_and_the_rest_does_not() -> None:
    records = [record("m/1", 1), record("c/1", 2), record("m/2", 3), record("c/2", 4)]
    assert pack(records) == [["m/1", "c/1", "m/2"], ["c/2"]]


def test_what_one_commit_wrote_stays_together() -> None:
    records = [record(f"m/{n}", 1) for n in range(40)] + [record(f"m/x{n}", 2) for n in range(40)]
    assert [len(batch) for batch in pack(records)] == [40, 40]


@pytest.mark.parametrize("size", [1, 300_000, 512 * 1024])
async def test_the_largest_commits_fit_in_the_portable_limits(size: int) -> None:
    count = min(64, 1_000_000 // size)
    old, new = memory(), memory()
    writes = tuple(Put(f"x/{'k' * 500}{n:03}", bytes(size)) for n in range(count))
    await old.commit(Transaction(writes))
    await copy_store(old, new)
    assert (await records_of(new)).keys() - {FLOOR_KEY} == (await records_of(old)).keys()


# A store in use


class Busy(MemoryStore):
    """Others commit between any two pages of a scan."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.number = 0

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        page = await super().scan(prefix, after=after, limit=7)
        for _ in range(3):
            await self.step()
        return page

    async def step(self) -> None:
        """Move one token from key to key: at any revision there is exactly one."""
        self.number += 1
        old, new = f"t/{(self.number * 37) % 100:03}", f"t/{((self.number + 1) * 37) % 100:03}"
        await self.commit(Transaction((Delete(old), Put(new, b"token"), Put("t/zz", b"z"))))


async def test_a_store_in_use_is_read_as_it_was_at_one_revision() -> None:
    old = Busy()
    await put(old, *(f"k/{n:03}" for n in range(100)), *(f"u/{n:03}" for n in range(100)))
    async with take_snapshot(old) as snapshot:
        found = [record async for chunk in snapshot.by_key("t/") for record in chunk]
        assert [record.value for record in found] == [b"token", b"z"]
        assert found[-1].revision <= snapshot.revision
        assert found[0].revision == found[1].revision == snapshot.revision
        assert await snapshot.count() == 202
