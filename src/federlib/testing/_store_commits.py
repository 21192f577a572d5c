"""The contract of `commit` and `outcome`."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from federlib.errors import InvalidInput
from federlib.storage import (
    META_KEY,
    Absent,
    AtRevision,
    Committed,
    Conflicted,
    Delete,
    Mismatch,
    NotSeen,
    Put,
    RecordStore,
    Transaction,
)
from federlib.storage.limits import MAX_TRANSACTION_BYTES, MAX_VALUE_BYTES
from federlib.testing._store_hooks import StoreHooks, commit, put, read_all
from federlib.testing._store_reads import ILLEGAL_KEYS
from federlib.testing.clocks import ManualClock

__all__ = ["StoreCommits", "increment"]

_HALF = MAX_VALUE_BYTES

TOO_MUCH = {
    "nothing at all": Transaction(),
    "65 writes": Transaction(tuple(Put(f"w/{i}", b"") for i in range(65))),
    "65 checks": Transaction((), tuple(Absent(f"c/{i}") for i in range(65))),
    "a key written twice": Transaction((Put("w/1", b""), Put("w/1", b""))),
    "a key put and deleted": Transaction((Put("w/1", b""), Delete("w/1"))),
    "a value too long": Transaction((Put("w/1", b"x" * (MAX_VALUE_BYTES + 1)),)),
    "1 MiB and a byte": Transaction(
        (Put("w/1", b"x" * _HALF), Put("w/2", b"x" * (_HALF - 6 + 1))), ()
    ),
    "checks count, too": Transaction(
        (Put("w/1", b"x" * _HALF), Put("w/2", b"x" * (_HALF - 6))), (Absent("a"),)
    ),
    "put meta/store": Transaction((Put(META_KEY, b"{}"),)),
    "delete meta/store": Transaction((Delete(META_KEY),)),
    "an empty id": Transaction((Put("w/1", b""),), id=""),
    "an id too long": Transaction((Put("w/1", b""),), id="x" * 129),
    **{f"put {key[:12]!r} ({len(key)})": Transaction((Put(key, b""),)) for key in ILLEGAL_KEYS},
    "delete an illegal key": Transaction((Delete("../x"),)),
    "check an illegal key": Transaction((), (Absent("a//b"),)),
}

JUST_ENOUGH = {
    "64 writes": Transaction(tuple(Put(f"w/{i}", b"") for i in range(64))),
    "64 checks": Transaction((), tuple(Absent(f"c/{i}") for i in range(64))),
    "the longest key": Transaction((Put("é" * 256, b"x"), Delete("k" * 512))),
    "the longest value": Transaction((Put("w/1", b"x" * MAX_VALUE_BYTES),)),
    "1 MiB": Transaction((Put("w/1", b"x" * _HALF), Put("w/2", b"x" * (_HALF - 6)))),
    "the longest id": Transaction((Put("w/1", b""),), id="é" * 128),
    "check meta/store": Transaction((Put("w/1", b""),), (AtRevision(META_KEY, 1),)),
    "check and write one key": Transaction((Put("w/1", b""),), (Absent("w/1"),)),
}


async def increment(store: RecordStore, key: str) -> None:
    """Add one to a counter by compare-and-swap, again until it holds."""
    while True:
        record = await store.get(key)
        check = Absent(key) if record is None else AtRevision(key, record.revision)
        value = b"%d" % (int(record.value) + 1 if record is not None else 1)
        if isinstance(await store.commit(Transaction((Put(key, value),), (check,))), Committed):
            return


class StoreCommits(StoreHooks):
    """What a writer may rely on."""

    async def test_the_revision_grows_with_every_commit(self, clock: ManualClock) -> None:
        """The counter grows with every commit, deletes included, and never goes back."""
        async with self.open_store(clock) as store:
            steps = [
                Transaction((Put("a", b"1"),)),
                Transaction((Put("a", b"1"),)),
                Transaction((Delete("a"),)),
                Transaction((Delete("a"),)),
                Transaction((), (Absent("a"),)),
            ]
            last = (await store.scan("")).revision
            for step in steps:
                done = await store.commit(step)
                assert isinstance(done, Committed)
                assert done.revision > last
                last = done.revision
                assert (await store.scan("zz")).revision == last

    async def test_a_conflict_names_every_failed_check(self, clock: ManualClock) -> None:
        """These checks failed, each named with the revision expected and found."""
        async with self.open_store(clock) as store:
            a, b = await put(store, "a"), await put(store, "b")
            checks = (
                AtRevision("a", a), AtRevision("b", a), Absent("b"), AtRevision("c", b),
                Absent("c"), AtRevision("a", 0),
            )  # fmt: skip
            done = await store.commit(Transaction((Put("w", b""),), checks))
            assert isinstance(done, Conflicted)
            assert set(done.failed) == {
                Mismatch("b", a, b), Mismatch("b", None, b), Mismatch("c", b, None),
                Mismatch("a", 0, a),
            }  # fmt: skip

    async def test_a_conflict_has_no_effect(self, clock: ManualClock) -> None:
        """Checks and writes happen together or not at all; a conflict takes no revision."""
        async with self.open_store(clock) as store:
            last = await put(store, "a", b"old")
            writes = (Put("a", b"new"), Put("b", b""), Delete("a2"))
            done = await store.commit(Transaction(writes, (Absent("z"), Absent("a"))))
            assert done == Conflicted((Mismatch("a", None, last),))
            page = await store.scan("")
            assert [record.key for record in page.records] == ["a", META_KEY]
            assert page.records[0].value == b"old"
            assert page.revision == last

    async def test_checks_see_the_state_before_the_writes(self, clock: ManualClock) -> None:
        """A swap succeeds once; its check is stale for the next."""
        async with self.open_store(clock) as store:
            first = await put(store, "a", b"1")
            swap = Transaction((Put("a", b"2"),), (AtRevision("a", first),))
            second = await store.commit(swap)
            assert isinstance(second, Committed)
            again = await store.commit(swap)
            assert again == Conflicted((Mismatch("a", first, second.revision),))

    async def test_a_key_that_was_deleted_is_absent(self, clock: ManualClock) -> None:
        """`Absent` holds again, and an old revision does not come back with a new life."""
        async with self.open_store(clock) as store:
            first = await put(store, "a")
            await store.commit(Transaction((Delete("a"),), (AtRevision("a", first),)))
            await commit(store, Put("a", b""), checks=(Absent("a"),))
            stale = await store.commit(Transaction((), (AtRevision("a", first),)))
            assert isinstance(stale, Conflicted)

    @pytest.mark.parametrize("transaction", JUST_ENOUGH.values(), ids=JUST_ENOUGH.keys())
    async def test_what_is_within_the_limits_is_taken(
        self, clock: ManualClock, transaction: Transaction
    ) -> None:
        """Limits, the same on every driver: 64, 64, 512 bytes, 512 KiB, 1 MiB in all."""
        async with self.open_store(clock) as store:
            assert isinstance(await store.commit(transaction), Committed)
            puts = [write for write in transaction.writes if isinstance(write, Put)]
            for write in puts:
                record = await store.get(write.key)
                assert record is not None
                assert record.value == write.value

    @pytest.mark.parametrize("transaction", TOO_MUCH.values(), ids=TOO_MUCH.keys())
    async def test_what_is_beyond_the_limits_is_refused(
        self, clock: ManualClock, transaction: Transaction
    ) -> None:
        """Beyond them `InvalidInput`, before anything is sent."""
        async with self.open_store(clock) as store:
            before = await store.scan("")
            with pytest.raises(InvalidInput):
                await store.commit(transaction)
            assert await store.scan("") == before

    def test_the_limits_are_those_that_the_examples_assume(self) -> None:
        """A transaction of 1 MiB of keys and values is just two values and their keys."""
        assert 2 * _HALF == MAX_TRANSACTION_BYTES

    async def test_a_transaction_with_an_id_takes_effect_once(self, clock: ManualClock) -> None:
        """Committed again, the first result comes back, whatever happened since."""
        async with self.open_store(clock) as store:
            create = Transaction((Put("a", b"1"),), (Absent("a"),), "create")
            first = await store.commit(create)
            assert isinstance(first, Committed)
            second = await put(store, "a", b"2")
            assert await store.commit(create) == first
            assert await store.outcome("create") == first
            record = await store.get("a")
            assert record is not None
            assert (record.value, record.revision) == (b"2", second)
            assert (await store.scan("")).revision == second

    async def test_one_id_from_many_tasks_takes_effect_once(self, clock: ManualClock) -> None:
        """With an id it may be sent twice, even at once."""
        async with self.open_store(clock) as store, anyio.create_task_group() as tasks:
            results: list[Committed | Conflicted] = []

            async def run() -> None:
                results.append(await store.commit(Transaction((Put("a", b""),), id="same")))

            for _ in range(8):
                tasks.start_soon(run)
        assert len(results) == 8
        assert len(set(results)) == 1

    @pytest.mark.parametrize(
        "other",
        [
            Transaction((Put("a", b"2"),), id="t"),
            Transaction((Put("b", b"1"),), id="t"),
            Transaction((Delete("a"),), id="t"),
            Transaction((Put("a", b"1"),), (Absent("z"),), "t"),
            Transaction((), (Absent("a"),), "t"),
        ],
        ids=["value", "key", "kind", "checks", "only checks"],
    )
    async def test_an_id_belongs_to_one_transaction(
        self, clock: ManualClock, other: Transaction
    ) -> None:
        """InvalidInput: the id was used for another transaction."""
        async with self.open_store(clock) as store:
            revision = await commit(store, Put("a", b"1"), id="t")
            with pytest.raises(InvalidInput):
                await store.commit(other)
            assert (await store.scan("")).revision == revision
            assert await store.outcome("t") == Committed(revision)

    async def test_a_conflict_leaves_no_receipt(self, clock: ManualClock) -> None:
        """`outcome` says whether it took effect; a conflict did not, and may later."""
        async with self.open_store(clock) as store:
            await put(store, "a")
            create = Transaction((Put("b", b""),), (Absent("a"),), "create")
            assert isinstance(await store.commit(create), Conflicted)
            assert await store.outcome("create") == NotSeen()
            await store.commit(Transaction((Delete("a"),)))
            done = await store.commit(create)
            assert isinstance(done, Committed)
            assert await store.outcome("create") == done

    async def test_without_an_id_each_commit_counts(self, clock: ManualClock) -> None:
        """Without an id nothing is remembered."""
        async with self.open_store(clock) as store:
            assert await put(store, "a") < await put(store, "a")
            assert await store.outcome("a") == NotSeen()

    @pytest.mark.parametrize("name", ["", "x" * 129, "a\0b", "e\u0301"])
    async def test_an_illegal_id_is_refused(self, clock: ManualClock, name: str) -> None:
        """An id has 1 to 128 characters."""
        async with self.open_store(clock) as store:
            with pytest.raises(InvalidInput):
                await store.outcome(name)
            with pytest.raises(InvalidInput):
                await store.commit(Transaction((Put("a", b""),), id=name))

    async def test_a_young_receipt_is_kept(self, clock: ManualClock) -> None:
        """Receipts are kept for at least 10 minutes."""
        async with self.open_store(clock) as store:
            done = Committed(await commit(store, Put("a", b""), id="first"))
            for i in range(300):
                clock.advance(1.99)
                await commit(store, Put("b", b""), id=f"other {i}")
            assert await store.outcome("first") == done

    async def test_an_old_receipt_is_kept_while_few_are_newer(self, clock: ManualClock) -> None:
        """At least the last 100,000 of them are kept, however old."""
        async with self.open_store(clock) as store:
            done = Committed(await commit(store, Put("a", b""), id="first"))
            clock.advance(90 * 86_400)
            for i in range(300):
                await commit(store, Put("b", b""), id=f"other {i}")
            assert await store.outcome("first") == done

    async def test_a_commit_cancelled_before_it_begins_has_no_effect(
        self, clock: ManualClock
    ) -> None:
        """Cancellable until the request is sent."""
        async with self.open_store(clock) as store:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await store.commit(Transaction((Put("a", b""),), id="t"))
            assert await store.outcome("t") == NotSeen()
            assert await store.get("a") is None

    async def test_a_commit_cancelled_on_its_way_is_all_or_nothing_and_known(
        self, clock: ManualClock
    ) -> None:
        """From the sending on it is shielded until the answer: cancelled means no effect."""
        async with self.open_store(clock) as store:
            answers: dict[str, Committed | Conflicted] = {}

            async def cancel_after(steps: int, scope: anyio.CancelScope) -> None:
                for _ in range(steps):
                    await checkpoint()
                scope.cancel()

            for i in range(30):
                # By steps of the event loop, and by time where threads do the work.
                deadline = anyio.current_time() + (i * 0.000_2 if i > 10 else 60)
                async with anyio.create_task_group() as tasks:
                    with anyio.CancelScope(deadline=deadline) as scope:
                        tasks.start_soon(cancel_after, i if i <= 10 else 10_000, scope)
                        transaction = Transaction((Put(f"c/{i}", b""),), id=f"t{i}")
                        answers[f"t{i}"] = await store.commit(transaction)
                    tasks.cancel_scope.cancel()
            await put(store, "barrier")
            for i in range(30):
                assert await store.outcome(f"t{i}") == answers.get(f"t{i}", NotSeen())
            keys = {record.key for record in await read_all(store, "c/")}
            assert keys == {f"c/{name[1:]}" for name in answers}

    async def test_concurrent_increments_lose_nothing(self, clock: ManualClock) -> None:
        """`commit` is linearizable: compare-and-swap from many tasks."""
        async with self.open_store(clock) as store:

            async def work() -> None:
                for _ in range(5):
                    await increment(store, "counter")

            async with anyio.create_task_group() as tasks:
                for _ in range(8):
                    tasks.start_soon(work)
            record = await store.get("counter")
            assert record is not None
            assert record.value == b"40"

    async def test_one_of_many_creators_wins(self, clock: ManualClock) -> None:
        """All others get the conflict as a value."""
        async with self.open_store(clock) as store:
            results: list[Committed | Conflicted] = []

            async def create(name: int) -> None:
                transaction = Transaction((Put("a", b"%d" % name),), (Absent("a"),))
                results.append(await store.commit(transaction))

            async with anyio.create_task_group() as tasks:
                for name in range(8):
                    tasks.start_soon(create, name)
            record = await store.get("a")
            assert record is not None
            assert [r for r in results if isinstance(r, Committed)] == [Committed(record.revision)]
            losers = [r for r in results if isinstance(r, Conflicted)]
            assert losers == [Conflicted((Mismatch("a", None, record.revision),))] * 7
