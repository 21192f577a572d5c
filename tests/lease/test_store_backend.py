"""Leases on a store: the contract, and what only this backend promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from federlib.errors import Conflict, CorruptRecord, InvalidInput, OutcomeUnknown
from federlib.lease import (
    Busy,
    Holder,
    Lease,
    LeaseBackend,
    NotHeld,
    Released,
    StoreLeaseBackend,
)
from federlib.lease.backends.sweep import Floor
from federlib.lease.records import FLOOR_KEY, MAX_TOKEN, lease_key, queue_key, waiter_key
from federlib.skewclock import Clock, SkewTolerance
from federlib.storage.backends.memory import MemoryStore
from federlib.storage.protocol import (
    Committed,
    Conflicted,
    Delete,
    Page,
    Put,
    Record,
    Transaction,
)
from federlib.testing import ManualClock, SkewedClock
from federlib.testing.lease_contract import LeaseBackendContract

ADA = Holder("ada", "1")
BEN = Holder("ben", "1")
CY = Holder("cy", "1")
DAY_NS = 86_400 * 1_000_000_000


class TestStoreLeaseBackend(LeaseBackendContract):
    def setup_method(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)

    @asynccontextmanager
    async def backend(self) -> AsyncIterator[LeaseBackend]:
        yield StoreLeaseBackend(self.store, self.clock, SkewTolerance())

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class World:
    """A store, a clock, and any number of processes on them."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.backend = self.join()

    def join(self, clock: Clock | None = None) -> StoreLeaseBackend:
        return StoreLeaseBackend(self.store, clock or self.clock, SkewTolerance())

    async def take(self, name: str, holder: Holder, backend: LeaseBackend | None = None) -> Lease:
        answer = await (backend or self.backend).acquire(name, holder, ttl_s=6)
        assert isinstance(answer, Lease), answer
        return answer

    async def has_sign(self, name: str) -> bool:
        return await self.store.get(queue_key(name)) is not None

    async def write(self, key: str, value: bytes) -> None:
        done = await self.store.commit(Transaction((Put(key, value),)))
        assert isinstance(done, Committed)


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.anyio
async def test_a_collected_name_goes_on_above_its_old_token(world: World) -> None:
    for _ in range(5):
        lease = await world.take("n", ADA)
        await world.backend.release(lease)
    await world.take("held", BEN)
    assert await world.backend.collect(world.clock.wall_ns() + DAY_NS - 1) == 0
    assert await world.backend.collect(world.clock.wall_ns() + DAY_NS) == 1
    assert await world.store.get(lease_key("n")) is None
    assert (await world.take("n", ADA)).fencing_token == 6
    assert (await world.take("other", ADA)).fencing_token == 6


@pytest.mark.anyio
async def test_a_process_that_knew_an_older_floor_grants_above_the_new_one(world: World) -> None:
    other = world.join()
    await world.take("warm-up", ADA, other)
    await world.backend.raise_floor(100)
    assert (await world.take("n", ADA, other)).fencing_token == 101


@pytest.mark.anyio
async def test_a_raised_floor_binds_names_that_exist_too(world: World) -> None:
    lease = await world.take("n", ADA)
    assert isinstance(await world.backend.release(lease), Released)
    await world.join().raise_floor(40)
    assert (await world.take("n", BEN)).fencing_token == 41


class Contended(StoreLeaseBackend):
    """When the floor that it knows is looked at again, another thread forgets it at once."""

    _kept: Floor | None = None
    _looks = 0

    @property
    def _floor(self) -> Floor | None:
        known, self._looks = self._kept, self._looks + 1
        if self._looks == 2:
            self._kept = None
        return known

    @_floor.setter
    def _floor(self, floor: Floor | None) -> None:
        self._kept, self._looks = floor, 0


@pytest.mark.anyio
async def test_a_floor_that_another_thread_forgets_is_still_known_to_this_verb(
    world: World,
) -> None:
    backend = Contended(world.store, world.clock, SkewTolerance())
    for token in (1, 2, 3, 4):
        lease = await world.take("n", ADA, backend)
        assert lease.fencing_token == token
        assert await backend.release(lease) == Released("n", token)


@pytest.mark.anyio
async def test_the_floor_never_falls(world: World) -> None:
    await world.backend.raise_floor(10)
    await world.backend.raise_floor(3)
    assert (await world.take("n", ADA)).fencing_token == 11


@pytest.mark.anyio
@pytest.mark.parametrize("token", [-1, MAX_TOKEN + 1, True, 1.5])
async def test_a_floor_that_is_no_token_is_refused(world: World, token: int) -> None:
    with pytest.raises(InvalidInput):
        await world.backend.raise_floor(token)


@pytest.mark.anyio
async def test_after_the_last_token_nothing_is_granted(world: World) -> None:
    await world.backend.raise_floor(MAX_TOKEN - 1)
    lease = await world.take("n", ADA)
    assert lease.fencing_token == MAX_TOKEN
    await world.backend.release(lease)
    with pytest.raises(Conflict, match="fencing token"):
        await world.take("n", BEN)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("value", "names"),
    [
        pytest.param(b"", "n/lease", id="empty"),
        pytest.param(b'{"v":1,"na', "n/lease", id="torn"),
        pytest.param(b"\xff\xfe", "n/lease", id="foreign"),
        pytest.param(b'{"v":2}', "field v", id="newer"),
        pytest.param(b'{"v":"1"}', r"\$\.v", id="wrong type of v"),
        pytest.param(
            b'{"v":1,"name":"n","fencing_token":"7","lease":null,"freed_at_ns":1}',
            r"\$\.fencing_token",
            id="wrong type",
        ),
        pytest.param(
            b'{"v":1,"name":"n","fencing_token":9223372036854775808,"lease":null,"freed_at_ns":1}',
            r"\$\.fencing_token",
            id="beyond int64",
        ),
        pytest.param(
            b'{"v":1,"name":"n","fencing_token":7,"lease":null,"freed_at_ns":null}',
            "freed_at_ns",
            id="neither held nor free",
        ),
    ],
)
async def test_a_corrupt_lease_is_named_and_left_alone(
    world: World, value: bytes, names: str
) -> None:
    await world.write("lease/n/lease", value)
    with pytest.raises(CorruptRecord, match=names) as error:
        await world.take("n", ADA)
    assert error.value.where == "lease/n/lease"
    record = await world.store.get("lease/n/lease")
    assert record is not None
    assert record.value == value


@pytest.mark.anyio
async def test_one_corrupt_name_does_not_stop_the_collection(world: World) -> None:
    await world.write("lease/bad/lease", b"{")
    await world.backend.release(await world.take("n", ADA))
    assert await world.backend.collect(world.clock.wall_ns() + 2 * DAY_NS) == 1
    assert await world.store.get("lease/bad/lease") is not None


@pytest.mark.anyio
async def test_a_corrupt_floor_grants_nothing(world: World) -> None:
    await world.write(FLOOR_KEY, b'{"v":1,"fencing_token":-4}')
    with pytest.raises(CorruptRecord, match="fencing_token"):
        await world.take("n", ADA)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["", "x" * 300, "a\0b", "e\u0301"])
async def test_a_name_that_no_key_can_hold_is_refused(world: World, name: str) -> None:
    with pytest.raises(InvalidInput):
        await world.take(name, ADA)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["..", "a/b", "../../etc", "~floor", "%2F", "日本語", "."])
async def test_odd_names_are_names_like_others(world: World, name: str) -> None:
    lease = await world.take(name, ADA)
    assert (await world.backend.inspect(name)).lease == lease


@pytest.mark.anyio
@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), float("inf"), 1e9, True])
async def test_a_ttl_that_cannot_be_is_refused(world: World, ttl_s: float) -> None:
    with pytest.raises(InvalidInput, match="ttl_s"):
        await world.backend.acquire("n", ADA, ttl_s=ttl_s)


@pytest.mark.anyio
async def test_holders_that_differ_only_by_where_the_dot_is_are_two(world: World) -> None:
    await world.take("n", ADA)
    for holder in (Holder("a.b", "c"), Holder("a", "b.c")):
        await world.backend.acquire("n", holder, ttl_s=6, queue=True)
    assert (await world.backend.inspect("n")).waiters == ("a.b", "a")


@pytest.mark.anyio
async def test_a_head_that_does_not_come_is_skipped_after_its_grace(world: World) -> None:
    lease = await world.take("n", ADA)
    for holder in (BEN, CY):
        await world.backend.acquire("n", holder, ttl_s=6, queue=True)
    await world.backend.release(lease)
    busy = await world.backend.acquire("n", CY, ttl_s=6, queue=True)
    assert isinstance(busy, Busy)
    assert busy.retry_in_s == pytest.approx(0.5)
    world.clock.advance(0.499)
    assert isinstance(await world.backend.acquire("n", CY, ttl_s=6, queue=True), Busy)
    world.clock.advance(0.001)
    assert isinstance(await world.backend.acquire("n", CY, ttl_s=6, queue=True), Lease)
    assert (await world.backend.inspect("n")).waiters == ()


@pytest.mark.anyio
async def test_a_rebooted_machine_takes_its_own_lease_at_once(world: World) -> None:
    await world.take("n", ADA)
    rebooted = ManualClock(wall=world.clock.wall, boot=0, clock_id="manual/boot-2/")
    lease = await world.take("n", BEN, world.join(rebooted))
    assert lease.fencing_token == 2


@pytest.mark.anyio
async def test_another_machine_waits_for_the_tolerance_too(world: World) -> None:
    lease = await world.take("n", ADA)
    other = world.join(SkewedClock(world.clock, clock_id="elsewhere/boot-1/"))
    world.clock.advance(8.999)
    assert isinstance(await other.acquire("n", BEN, ttl_s=6), Busy)
    world.clock.advance(0.001)
    assert isinstance(await other.acquire("n", BEN, ttl_s=6), Lease)
    assert lease.ttl_ms == 6_000


@pytest.mark.anyio
async def test_a_lease_from_a_clock_years_ahead_is_not_immortal(world: World) -> None:
    ahead = SkewedClock(world.clock, offset_s=1e9, clock_id="elsewhere/boot-1/")
    await world.take("n", ADA, world.join(ahead))
    assert isinstance(await world.backend.acquire("n", BEN, ttl_s=6), Busy)
    world.clock.advance(8.999)
    assert isinstance(await world.backend.acquire("n", BEN, ttl_s=6), Busy)
    world.clock.advance(0.001)
    assert isinstance(await world.backend.acquire("n", BEN, ttl_s=6), Lease)


class Silent(MemoryStore):
    """Commits, and the answers get lost."""

    lost_answers = 0

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        done = await super().commit(transaction)
        if self.lost_answers > 0:
            self.lost_answers -= 1
            raise OutcomeUnknown("commit", transaction_id=transaction.id, reason="lost")
        return done


@pytest.mark.anyio
async def test_lost_answers_are_asked_for_again_and_nothing_happens_twice() -> None:
    clock = ManualClock()
    store = Silent(clock)
    backend = StoreLeaseBackend(store, clock, SkewTolerance())
    store.lost_answers = 2
    lease = await backend.acquire("n", ADA, ttl_s=6)
    assert isinstance(lease, Lease)
    assert lease.fencing_token == 1
    store.lost_answers = 1
    assert isinstance(await backend.renew(lease), Lease)
    store.lost_answers = 1
    assert isinstance(await backend.release(lease), Released)


@pytest.mark.anyio
async def test_a_place_is_left_even_if_the_answer_gets_lost() -> None:
    clock = ManualClock()
    store = Silent(clock)
    backend = StoreLeaseBackend(store, clock, SkewTolerance())
    await backend.acquire("n", ADA, ttl_s=6)
    assert isinstance(await backend.acquire("n", BEN, ttl_s=6, queue=True), Busy)
    store.lost_answers = 2
    await backend.withdraw("n", BEN)
    assert (await backend.inspect("n")).waiters == ()


class Counting(MemoryStore):
    """Counts what is read of it."""

    reads = 0

    async def get(self, key: str) -> Record | None:
        self.reads += 1
        return await super().get(key)

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        self.reads += 1
        return await super().scan(prefix, after=after, limit=limit)


@pytest.mark.anyio
async def test_what_we_wrote_ourselves_is_renewed_and_released_without_reading_it() -> None:
    clock = ManualClock()
    store = Counting(clock)
    backend = StoreLeaseBackend(store, clock, SkewTolerance())
    lease = await backend.acquire("n", ADA, ttl_s=6)
    assert isinstance(lease, Lease)
    before = store.reads
    for _ in range(3):
        clock.advance(1)
        renewed = await backend.renew(lease)
        assert isinstance(renewed, Lease)
        lease = renewed
    assert isinstance(await backend.release(lease), Released)
    assert store.reads == before
    assert isinstance(await backend.release(lease), NotHeld)


@pytest.mark.anyio
async def test_what_we_released_is_taken_again_without_reading_it() -> None:
    clock = ManualClock()
    store = Counting(clock)
    backend = StoreLeaseBackend(store, clock, SkewTolerance())
    before = 0
    for token in range(1, 6):
        lease = await backend.acquire("n", Holder("ada", str(token)), ttl_s=6, queue=True)
        assert isinstance(lease, Lease)
        assert lease.fencing_token == token
        before = before or store.reads
        assert isinstance(await backend.release(lease), Released)
    assert store.reads == before


@pytest.mark.anyio
async def test_who_released_a_lease_does_not_pass_those_who_wait(world: World) -> None:
    lease = await world.take("n", ADA)
    other = world.join()
    assert isinstance(await other.acquire("n", BEN, ttl_s=6, queue=True), Busy)
    assert isinstance(await world.backend.release(lease), Released)
    answer = await world.backend.acquire("n", ADA, ttl_s=6, queue=True)
    assert isinstance(answer, Busy)
    assert answer.ahead == 1
    assert (await world.take("n", BEN, other)).fencing_token == 2


@pytest.mark.anyio
async def test_what_another_took_and_released_is_read_again(world: World) -> None:
    await world.backend.release(await world.take("n", ADA))
    other = world.join()
    await other.release(await world.take("n", BEN, other))
    assert (await world.take("n", ADA)).fencing_token == 3


@pytest.mark.anyio
async def test_a_floor_raised_since_the_release_binds_who_takes_it_again(world: World) -> None:
    await world.backend.release(await world.take("n", ADA))
    await world.join().raise_floor(70)
    assert (await world.take("n", ADA)).fencing_token == 71


@pytest.mark.anyio
async def test_a_name_collected_since_the_release_is_taken_again_above_its_token(
    world: World,
) -> None:
    await world.backend.release(await world.take("n", ADA))
    assert await world.join().collect(world.clock.wall_ns() + DAY_NS) == 1
    assert (await world.take("n", ADA)).fencing_token == 2


@pytest.mark.anyio
async def test_an_answer_lost_in_taking_it_again_is_looked_for() -> None:
    clock = ManualClock()
    store = Silent(clock)
    backend = StoreLeaseBackend(store, clock, SkewTolerance())
    lease = await backend.acquire("n", ADA, ttl_s=6)
    assert isinstance(lease, Lease)
    await backend.release(lease)
    store.lost_answers = 1
    again = await backend.acquire("n", ADA, ttl_s=6)
    assert isinstance(again, Lease)
    assert again.fencing_token == 2


@pytest.mark.anyio
async def test_the_sign_of_a_queue_goes_with_the_last_who_stood_in_it(world: World) -> None:
    lease = await world.take("n", ADA)
    for who in (BEN, CY):
        assert isinstance(await world.backend.acquire("n", who, ttl_s=6, queue=True), Busy)
    assert await world.store.get(queue_key("n")) is not None
    await world.backend.release(lease)
    second = await world.take("n", BEN)
    assert await world.store.get(queue_key("n")) is not None, "somebody still waits"
    await world.backend.release(second)
    await world.take("n", CY)
    assert await world.store.get(queue_key("n")) is None


@pytest.mark.anyio
async def test_the_sign_of_a_queue_goes_if_all_in_it_went_away(world: World) -> None:
    lease = await world.take("n", ADA)
    assert isinstance(await world.backend.acquire("n", BEN, ttl_s=6, queue=True), Busy)
    await world.backend.withdraw("n", BEN)
    await world.backend.release(lease)
    await world.take("n", CY)
    assert await world.store.get(queue_key("n")) is None


class Overtaken(MemoryStore):
    """Lets others act just before a commit."""

    before: Callable[[], Awaitable[object]] | None = None

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        act, self.before = self.before, None
        if act is not None:
            await act()
        return await super().commit(transaction)


@pytest.mark.anyio
async def test_who_stands_in_line_just_before_a_grant_is_not_forgotten() -> None:
    clock = ManualClock()
    store = Overtaken(clock)
    backend = StoreLeaseBackend(store, clock, SkewTolerance())
    lease = await backend.acquire("n", ADA, ttl_s=6)
    assert isinstance(lease, Lease)
    # For one whose clock is behind, the lease that we shall take is still held.
    behind = StoreLeaseBackend(
        store, SkewedClock(clock, offset_s=-2, clock_id="behind/b/"), SkewTolerance()
    )
    clock.advance(6)
    store.before = lambda: behind.acquire("n", CY, ttl_s=6, queue=True)
    granted = await backend.acquire("n", BEN, ttl_s=6)
    assert isinstance(granted, Busy), "a newcomer never passes a living waiter"
    assert await store.get(waiter_key("n", CY)) is not None
    assert await store.get(queue_key("n")) is not None


@pytest.mark.anyio
async def test_the_sign_of_a_queue_is_collected_once_nobody_stands_in_it(world: World) -> None:
    for name in ("died", "left", "stands"):
        await world.take(name, ADA)
        await world.backend.acquire(name, BEN, ttl_s=6, queue=True)
    await world.backend.withdraw("left", BEN)
    soon = world.clock.wall_ns() + DAY_NS + 2_500_000_000
    for expected in ({"died", "stands"}, {"stands"}):
        world.clock.advance(1)
        await world.backend.acquire("stands", BEN, ttl_s=6, queue=True)
        await world.backend.collect(soon)
        signs = {name for name in ("died", "left", "stands") if await world.has_sign(name)}
        assert signs == expected


@pytest.mark.anyio
async def test_the_sign_of_a_queue_outlives_its_lease_while_somebody_waits(world: World) -> None:
    lease = await world.take("n", ADA)
    await world.backend.acquire("n", BEN, ttl_s=6, queue=True)
    await world.backend.release(lease)
    assert await world.backend.collect(world.clock.wall_ns() + DAY_NS) == 1
    assert await world.store.get(lease_key("n")) is None
    assert await world.has_sign("n")


@pytest.mark.anyio
async def test_what_another_changed_meanwhile_is_found_out(world: World) -> None:
    lease = await world.take("n", ADA)
    other = StoreLeaseBackend(world.store, world.clock, SkewTolerance())
    renewed = await other.renew(lease)
    assert isinstance(renewed, Lease)
    again = await world.backend.renew(lease)
    assert isinstance(again, Lease)
    assert (again.fencing_token, again.acquired_at) == (lease.fencing_token, lease.acquired_at)
    await other.release(lease)
    assert isinstance(await world.backend.renew(lease), NotHeld)
    assert isinstance(await world.backend.release(lease), NotHeld)


@pytest.mark.anyio
async def test_an_answer_that_never_comes_is_told_and_the_verb_may_be_repeated() -> None:
    clock = ManualClock()
    store = Silent(clock)
    backend = StoreLeaseBackend(store, clock, SkewTolerance())
    store.lost_answers = 3
    with pytest.raises(OutcomeUnknown):
        await backend.acquire("n", ADA, ttl_s=6)
    again = await backend.acquire("n", ADA, ttl_s=6)
    assert isinstance(again, Lease)
    assert again.fencing_token == 1


@pytest.mark.anyio
async def test_a_watch_tells_of_an_expiry_that_no_record_shows(world: World) -> None:
    await world.take("n", ADA)
    async with world.backend.watch("n") as states:
        assert (await anext(states)).is_live
        world.clock.advance(6)
        assert not (await anext(states)).is_live


@pytest.mark.anyio
async def test_reading_a_queue_of_many_pages_shows_it_whole(world: World) -> None:
    await world.take("n", ADA)
    for number in range(1_000):
        answer = await world.backend.acquire("n", Holder(f"w{number:04}", "1"), ttl_s=6, queue=True)
        assert isinstance(answer, Busy)
        assert answer.ahead == number
    full = await world.backend.acquire("n", Holder("late", "1"), ttl_s=6, queue=True)
    assert isinstance(full, Busy)
    assert full.retry_in_s > 0
    waiters = (await world.backend.inspect("n")).waiters
    assert waiters == tuple(f"w{number:04}" for number in range(1_000))


@pytest.mark.anyio
async def test_removing_a_record_by_hand_frees_the_name_above_the_floor(world: World) -> None:
    await world.take("n", ADA)
    await world.backend.raise_floor(1)
    await world.store.commit(Transaction((Delete(lease_key("n")),)))
    assert (await world.take("n", BEN)).fencing_token == 2


@pytest.mark.anyio
async def test_a_watcher_that_fell_far_behind_reads_again_and_converges(world: World) -> None:
    lease = await world.take("n", ADA)
    async with world.backend.watch("n") as states:
        assert (await anext(states)).lease == lease
        for _ in range(1_100):
            world.clock.advance(0.001)
            renewed = await world.backend.renew(lease)
        with anyio.fail_after(5):
            while (await anext(states)).lease != renewed:
                pass
