"""`FenceGuard`: old tokens are refused in the same commit as the effect."""

from __future__ import annotations

import anyio
import pytest

from federlib.errors import CorruptRecord, InvalidInput, OutcomeUnknown, StaleToken, Unavailable
from federlib.fencing import FenceGuard, FenceMark, decide_token
from federlib.fencing.records import MAX_TOKEN, encode, fence_key
from federlib.storage import (
    Absent,
    AtRevision,
    Committed,
    Conflicted,
    Delete,
    Put,
    RecordStore,
    Transaction,
)
from federlib.storage.backends.memory import MemoryStore
from federlib.testing import ManualClock
from fencing.worlds import ForgetfulStore, RivalStore

KEY = fence_key("report")
EFFECT = (Put("report/latest", b"text"),)


def a_store() -> RecordStore:
    return MemoryStore(ManualClock())


def raise_to(token: int) -> Transaction:
    return Transaction((Put(KEY, encode(FenceMark(resource="report", high_water=token))),))


@pytest.mark.parametrize(
    ("high_water", "token", "verdict"),
    [
        (None, 1, "higher"),
        (7, 6, "stale"),
        (7, 7, "equal"),
        (7, 8, "higher"),
        (MAX_TOKEN, MAX_TOKEN, "equal"),
        (MAX_TOKEN, MAX_TOKEN - 1, "stale"),
    ],
)
def test_a_token_is_judged_by_the_mark(high_water: int | None, token: int, verdict: str) -> None:
    mark = None if high_water is None else FenceMark(resource="r", high_water=high_water)
    assert decide_token(mark, token) == verdict


@pytest.mark.parametrize("token", [0, -1, True, 2**63, 1.0, "1", None])
@pytest.mark.anyio
async def test_what_cannot_be_a_token_is_refused(token: int) -> None:
    store = a_store()
    guard = FenceGuard(store, "report")
    with pytest.raises(InvalidInput):
        await guard.transaction(token, EFFECT)
    with pytest.raises(InvalidInput):
        await guard.admit(token)
    assert await store.get("report/latest") is None
    assert await guard.high_water() == 0


@pytest.mark.anyio
async def test_a_lower_token_writes_nothing() -> None:
    store = a_store()
    guard = FenceGuard(store, "report")
    assert isinstance(await guard.transaction(5, EFFECT), Committed)
    with pytest.raises(StaleToken) as caught:
        await guard.transaction(4, (Put("report/latest", b"old"),))
    assert (caught.value.resource, caught.value.token, caught.value.high_water) == ("report", 4, 5)
    record = await store.get("report/latest")
    assert record is not None
    assert record.value == b"text"


@pytest.mark.anyio
async def test_a_higher_token_raises_the_mark_in_the_commit_of_the_effect() -> None:
    store = a_store()
    guard = FenceGuard(store, "report")
    result = await guard.transaction(5, EFFECT)
    assert isinstance(result, Committed)
    mark, effect = await store.get(KEY), await store.get("report/latest")
    assert mark is not None
    assert effect is not None
    assert mark.revision == effect.revision == result.revision
    assert await guard.high_water() == 5


@pytest.mark.anyio
async def test_equal_tokens_leave_the_mark_alone() -> None:
    store = a_store()
    guard = FenceGuard(store, "report")
    await guard.admit(5)
    before = await store.get(KEY)
    await guard.transaction(5, EFFECT)
    await guard.admit(5)
    assert await store.get(KEY) == before


@pytest.mark.anyio
async def test_a_token_admitted_refuses_all_lower_ones() -> None:
    guard = FenceGuard(a_store(), "report")
    await guard.admit(9)
    with pytest.raises(StaleToken):
        await guard.admit(8)
    with pytest.raises(StaleToken):
        await guard.transaction(8, EFFECT)


@pytest.mark.anyio
async def test_a_higher_token_between_check_and_commit_is_noticed() -> None:
    store = a_store()
    await FenceGuard(store, "report").admit(5)
    guard = FenceGuard(RivalStore(store, [raise_to(6)]), "report")
    with pytest.raises(StaleToken):
        await guard.transaction(5, EFFECT)
    assert await store.get("report/latest") is None


@pytest.mark.anyio
async def test_a_mark_raised_by_a_lower_rival_is_only_a_second_try() -> None:
    store = a_store()
    guard = FenceGuard(RivalStore(store, [raise_to(3), raise_to(4)]), "report")
    assert isinstance(await guard.transaction(5, EFFECT), Committed)
    assert await guard.high_water() == 5


@pytest.mark.anyio
async def test_tries_are_bounded() -> None:
    store = a_store()
    guard = FenceGuard(RivalStore(store, [raise_to(n) for n in range(1, 40)]), "report")
    with pytest.raises(Unavailable):
        await guard.transaction(50, EFFECT)
    assert await store.get("report/latest") is None


@pytest.mark.anyio
async def test_failed_checks_of_the_caller_come_back_named() -> None:
    store = a_store()
    guard = FenceGuard(store, "report")
    await guard.transaction(5, EFFECT)
    result = await guard.transaction(6, EFFECT, (Absent("report/latest"), AtRevision("x", 3)))
    assert isinstance(result, Conflicted)
    assert [miss.key for miss in result.failed] == ["report/latest", "x"]
    assert await guard.high_water() == 5


@pytest.mark.anyio
async def test_stale_wins_over_a_conflict() -> None:
    guard = FenceGuard(a_store(), "report")
    await guard.transaction(5, EFFECT)
    with pytest.raises(StaleToken):
        await guard.transaction(4, EFFECT, (Absent("report/latest"),))


@pytest.mark.anyio
async def test_room_is_kept_for_the_mark() -> None:
    store = a_store()
    guard = FenceGuard(store, "report")
    puts = tuple(Put(f"r/{n}", b"") for n in range(64))
    absents = tuple(Absent(f"r/{n}") for n in range(64))
    for writes, checks in ((puts, ()), ((), absents)):
        with pytest.raises(InvalidInput):
            await guard.transaction(1, writes, checks)
    assert await guard.high_water() == 0
    assert isinstance(await guard.transaction(1, puts[:63], absents[:63]), Committed)


@pytest.mark.anyio
async def test_nobody_writes_or_checks_the_mark_beside_the_guard() -> None:
    guard = FenceGuard(a_store(), "report")
    for writes, checks in (((Delete(KEY),), ()), ((), (Absent(KEY),))):
        with pytest.raises(InvalidInput):
            await guard.transaction(1, writes, checks)


@pytest.mark.parametrize("resource", ["", "a\0b", "x" * 300, "e\u0301"])
def test_a_resource_that_cannot_be_a_key_is_refused(resource: str) -> None:
    with pytest.raises(InvalidInput):
        FenceGuard(a_store(), resource)


@pytest.mark.anyio
async def test_names_with_slashes_and_dots_are_fences_of_their_own() -> None:
    store = a_store()
    for token, name in enumerate(("a", "a/b", "..", "a%2Fb", "Größe/ß"), start=1):
        await FenceGuard(store, name).admit(token)
    for token, name in enumerate(("a", "a/b", "..", "a%2Fb", "Größe/ß"), start=1):
        assert await FenceGuard(store, name).high_water() == token


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b'{"v":2,"resource":"report","high_water":1}',
        b'{"v":1,"resource":"report"}',
        b'{"v":1,"resource":"report","high_water":"1"}',
        b'{"v":1,"resource":"report","high_water":-1}',
        b'{"v":1,"resource":"report","high_water":true}',
        b'{"v":1,"resource":"report","high_water":9223372036854775808}',
        b'{"v":1,"resource":"other","high_water":1}',
        b"[" * 100_000,
    ],
)
@pytest.mark.anyio
async def test_a_mark_that_cannot_be_trusted_stops_everything(value: bytes) -> None:
    store = a_store()
    await store.commit(Transaction((Put(KEY, value),)))
    guard = FenceGuard(store, "report")
    with pytest.raises(CorruptRecord) as caught:
        await guard.transaction(5, EFFECT)
    assert caught.value.where == KEY
    with pytest.raises(CorruptRecord):
        await guard.admit(5)
    with pytest.raises(CorruptRecord):
        await guard.high_water()
    record = await store.get(KEY)
    assert record is not None
    assert record.value == value


@pytest.mark.anyio
async def test_a_lost_answer_is_asked_for_again_under_the_id() -> None:
    store = a_store()
    guard = FenceGuard(ForgetfulStore(store, lost=2), "report")
    result = await guard.transaction(5, EFFECT, (Absent("report/latest"),), id="t1")
    assert result == await store.outcome("t1")


@pytest.mark.anyio
async def test_without_an_id_a_lost_answer_is_said_to_be_lost() -> None:
    guard = FenceGuard(ForgetfulStore(a_store(), lost=1), "report")
    with pytest.raises(OutcomeUnknown):
        await guard.transaction(5, EFFECT)


@pytest.mark.anyio
async def test_a_repeated_transaction_returns_its_first_result_whatever_came_since() -> None:
    store = a_store()
    guard = FenceGuard(store, "report")
    checks = (Absent("report/latest"),)
    first = await guard.transaction(5, EFFECT, checks, id="t1")
    assert await guard.transaction(5, EFFECT, checks, id="t1") == first
    await guard.admit(9)
    assert await guard.transaction(5, EFFECT, checks, id="t1") == first


@pytest.mark.anyio
async def test_a_stale_token_stays_stale_under_a_fresh_id() -> None:
    guard = FenceGuard(a_store(), "report")
    await guard.admit(9)
    with pytest.raises(StaleToken):
        await guard.transaction(5, EFFECT, id="t1")


@pytest.mark.anyio
async def test_rivals_never_get_an_effect_in_behind_a_higher_token() -> None:
    store = a_store()
    accepted: list[tuple[int, int]] = []

    async def act(token: int) -> None:
        guard = FenceGuard(store, "report")
        try:
            result = await guard.transaction(token, (Put(f"e/{token}", b""),))
        except StaleToken:
            return
        assert isinstance(result, Committed)
        accepted.append((result.revision, token))

    async with anyio.create_task_group() as group:
        for token in (3, 1, 7, 2, 5, 6, 4, 7):
            group.start_soon(act, token)
    assert accepted
    in_order = [token for _, token in sorted(accepted)]
    assert in_order == sorted(in_order)
    assert await FenceGuard(store, "report").high_water() == 7
