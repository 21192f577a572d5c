"""The recorder around real stores and lease backends: on both loops, and simulated."""

from __future__ import annotations

import itertools
from pathlib import Path

import anyio
import pytest

from federlib.errors import InvalidInput, OutcomeUnknown, Unavailable
from federlib.lease import Busy, Holder, Lease, NotHeld, Released, StoreLeaseBackend
from federlib.skewclock import SkewTolerance, SystemClock
from federlib.storage import (
    Absent,
    AtRevision,
    Committed,
    Delete,
    NotSeen,
    Put,
    Record,
    RecordStore,
    Transaction,
    open_store,
)
from federlib.storage.backends.memory import MemoryStore
from federlib.testing import ManualClock
from federlib.testing.history import (
    History,
    RecordedStore,
    Recorder,
    StoreModel,
    lease_safety,
    linearizability,
    value_word,
)
from federlib.testing.sim import (
    SECOND_NS,
    Link,
    Network,
    Node,
    SimulatedClock,
    SimulatedStore,
    Simulation,
)


def counting() -> Recorder:
    return Recorder(itertools.count().__next__)


def told(recorder: Recorder) -> list[str]:
    return [str(one) for one in recorder.history()]


@pytest.mark.anyio
async def test_gets_and_commits_are_recorded_with_what_came_back() -> None:
    recorder = counting()
    store = recorder.store(MemoryStore(ManualClock()), "a")
    assert isinstance(store, RecordStore)
    assert await store.get("x") is None
    await store.commit(Transaction((Put("x", b"one"), Delete("y")), (Absent("x"),), id="t1"))
    await store.commit(Transaction((Put("x", b"two"),), (AtRevision("x", 2),)))
    await store.commit(Transaction((Put("x", b"no"),), (AtRevision("x", 2), Absent("y"))))
    await store.get("x")
    with pytest.raises(InvalidInput):
        await store.get("a//b")
    with pytest.raises(InvalidInput):
        await store.get("\udc80")
    assert told(recorder) == [
        "a: get",
        "a: commit id t1 absent x put x one delete y -> committed 2",
        "a: commit id nothing at x 2 put x two -> committed 3",
        "a: commit id nothing at x 2 absent y put x no -> conflicted x 2 3",
        "a: get -> two 3 2",
        "a: get -> failed",
        "a: get -> failed",
    ]
    assert [one.key for one in recorder.history()] == [
        "x",
        "",
        "x",
        "",
        "x",
        "a//b",
        r"'\udc80'",
    ]
    assert linearizability.check(recorder.history(), StoreModel()).is_linearizable


@pytest.mark.anyio
async def test_the_rest_is_passed_through() -> None:
    recorder = counting()
    inner = MemoryStore(ManualClock())
    store = recorder.store(inner, "a")
    await inner.commit(Transaction((Put("x", b"1"),), id="t"))
    assert (store.store_id, store.capabilities) == (inner.store_id, inner.capabilities)
    assert [record.key for record in (await store.scan("x")).records] == ["x"]
    assert await store.outcome("t") == Committed(2)
    assert await store.outcome("other") == NotSeen()
    async with store.watch("x", after=1) as changes:
        assert (await anext(changes)).revision == 2
    await store.aclose()
    with pytest.raises(Unavailable):
        await inner.get("x")
    assert len(recorder.history()) == 0


@pytest.mark.anyio
async def test_a_cancelled_call_is_of_unknown_outcome() -> None:
    recorder = counting()
    store = recorder.store(MemoryStore(ManualClock()), "a")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.commit(Transaction((Put("x", b"1"),)))
    (found,) = recorder.history()
    assert (found.outcome, found.returned) == ("info", 1)
    assert found.result[0] in {"CancelledError", "Cancelled"}


@pytest.mark.anyio
async def test_unavailable_is_nothing_and_an_unknown_outcome_is_unknown() -> None:
    recorder = counting()
    inner = MemoryStore(ManualClock())
    await inner.aclose()
    store = recorder.store(inner, "a")
    with pytest.raises(Unavailable):
        await store.get("x")
    for error in (OutcomeUnknown("commit", transaction_id=None, reason="?"), ValueError("?")):
        with pytest.raises(type(error)), recorder.call("a", "write", "x", 1):
            raise error
    with recorder.call("a", "write", "x", 2) as call:
        call.fail("refused")
    assert [(one.outcome, one.result) for one in recorder.history()] == [
        ("fail", ("Unavailable",)),
        ("info", ("OutcomeUnknown",)),
        ("info", ("ValueError",)),
        ("fail", ("refused",)),
    ]


def test_a_call_under_way_is_of_unknown_outcome_so_far() -> None:
    recorder = counting()
    with recorder.call("a", "read", "x") as call:
        (before,) = recorder.history()
        assert (before.outcome, before.returned) == ("info", None)
        call.ok(3)
    (after,) = recorder.history()
    assert (after.outcome, after.result, after.returned) == ("ok", (3,), 1)


def test_stamps_rise_though_the_clock_stands_or_goes_back() -> None:
    readings = iter([5, 5, 3, 9])
    recorder = Recorder(readings.__next__)
    for _ in range(2):
        with recorder.call("a", "read", "x") as call:
            call.ok(1)
    assert [(one.invoked, one.returned) for one in recorder.history()] == [(5, 6), (7, 9)]


def test_a_sink_has_each_beginning_before_its_call_is_made() -> None:
    lines: list[bytes] = []
    recorder = Recorder(itertools.count().__next__, sink=lines.append)
    with recorder.call("a", "read", "x") as call:
        assert [line[:18] for line in lines] == [b'{"event":"invoke",']
        call.ok(3)
    recorder.accepted("job", "a", 4)
    assert History.from_lines(lines) == recorder.history()
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (b"", ""),
        ("zwölf".encode(), "zwölf"),
        (b"x" * 100, "x" * 100),
        (b"\xff", "sha256:a8100ae6aa1940d0b663bb31cd466142ebbdbd5187131b92d93818987832eb89"),
    ],
)
def test_a_short_text_is_its_own_word(value: bytes, word: str) -> None:
    assert value_word(value) == word


def test_values_that_differ_have_words_that_differ() -> None:
    values = [b"x" * 101, b"x" * 102, b"\xfe", b"sha256:", value_word(b"\xfe").encode()]
    words = list(map(value_word, values))
    assert len(set(words)) == len(words)
    assert all(word.startswith("sha256:") and len(word) == 71 for word in words)


# Leases.


@pytest.mark.anyio
async def test_the_verbs_of_a_lease_backend_are_recorded() -> None:
    clock, recorder = ManualClock(), counting()
    inner = StoreLeaseBackend(MemoryStore(clock), clock, SkewTolerance())
    backend = recorder.leases(inner, "p")
    ada, ben = Holder("ada", "1"), Holder("ben", "1")
    lease = await backend.acquire("job", ada, ttl_s=6)
    assert isinstance(lease, Lease)
    assert isinstance(await backend.acquire("job", ben, ttl_s=6, queue=True), Busy)
    await backend.withdraw("job", ben)
    assert isinstance(await backend.renew(lease), Lease)
    recorder.accepted("job", "ada", lease.fencing_token)
    assert isinstance(await backend.release(lease), Released)
    assert isinstance(await backend.release(lease), NotHeld)
    assert isinstance(await backend.renew(lease), NotHeld)
    assert (await backend.inspect("job")).lease is None
    async with backend.watch("job") as states:
        assert (await anext(states)).lease is None
    assert backend.capabilities == inner.capabilities
    await backend.aclose()
    assert told(recorder) == [
        "p: acquire ada 1 -> granted ada 1 1 6000",
        "p: acquire ben 1 -> busy ada",
        "p: renew ada 1 1 -> granted ada 1 1 6000",
        "ada: accept 1",
        "p: release ada 1 1 -> released 1",
        "p: release ada 1 1 -> not_held nothing",
        "p: renew ada 1 1 -> not_held nothing",
    ]
    report = lease_safety.check(recorder.history(), beliefs=True)
    assert (report.is_safe, report.grants, report.accepted) == (True, 2, 1)


# Real concurrency: what a store does to many tasks is linearizable.


@pytest.mark.anyio
@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/s.db", "file:///{}/s"])
async def test_many_tasks_on_a_store_leave_a_right_history(url: str, tmp_path: Path) -> None:
    recorder = Recorder(SystemClock().boot_ns)
    inner = await open_store(url.format(tmp_path))

    async def quarrel(name: str) -> None:
        store = recorder.store(inner, name)
        for number in range(12):
            key = "x" if number % 3 else "y"
            record = await store.get(key)
            check = Absent(key) if record is None else AtRevision(key, record.revision)
            write = Put(key, f"{name} {number}".encode()) if number % 5 else Delete(key)
            await store.commit(Transaction((write, Put(f"{name}/own", b"1")), (check,)))

    try:
        async with anyio.create_task_group() as group:
            for name in ("a", "b", "c"):
                group.start_soon(quarrel, name)
    finally:
        await inner.aclose()
    history = recorder.history()
    assert len(history) == 72
    for model in (StoreModel(), StoreModel(whole=True)):
        verdict = linearizability.check(history, model)
        assert verdict.is_linearizable, verdict


# Simulated: driven by hand, with lost answers and kills.


class Sleepy(RecordedStore):
    """A store with a fault of its own: now and then it answers with what it read before."""

    _before: Record | None = None
    _count = 0

    async def get(self, key: str) -> Record | None:
        with self._recorder.call(self._process, "get", key) as call:
            record = await self._store.get(key)
            self._count += 1
            if self._count % 7 == 0:
                record = self._before
            self._before = record
            if record is None:
                call.ok()
            else:
                call.ok(value_word(record.value), record.revision, record.created)
            return record


def play(seed: int, *, kind: type[RecordedStore]) -> History:
    """Let processes that are killed quarrel over a store that loses answers."""
    with Simulation(seed) as sim:
        network = Network(sim, Link(loss_ppm=20_000, repeat_ppm=20_000))
        store = SimulatedStore(sim, network, timeout_s=1)
        store.faults.lost_answer_ppm = 30_000
        recorder = Recorder(lambda: sim.now_ns)

        async def quarrel(node: Node) -> None:
            mine = kind(store.client(node), recorder, f"{node.name}.{node.life}")
            for number in range(40):
                try:
                    record = await mine.get("k")
                    check = Absent("k") if record is None else AtRevision("k", record.revision)
                    change = Put("k", f"{node.name}.{node.life} {number}".encode())
                    await mine.commit(Transaction((change,), (check,)))
                except (OutcomeUnknown, Unavailable):
                    pass
                await node.pace.sleep(0.001)

        nodes = []
        for name in ("a", "b", "c"):
            node = Node(sim, name, quarrel, SimulatedClock(sim, name))
            nodes.append(node)
            node.start()
        sim.run(until_ns=SECOND_NS // 100)
        nodes[0].kill()
        nodes[0].start()
        sim.run()
    return recorder.history()


@pytest.mark.parametrize("seed", range(20))
def test_a_simulated_store_with_lost_answers_and_kills_leaves_a_right_history(seed: int) -> None:
    history = play(seed, kind=RecordedStore)
    outcomes = {one.outcome for one in history}
    assert len(history) > 100
    assert "info" in outcomes
    for model in (StoreModel(), StoreModel(whole=True)):
        verdict = linearizability.check(history, model)
        assert verdict.is_linearizable, verdict


def test_a_store_that_answers_with_what_it_read_before_is_found_out() -> None:
    for seed in range(5):
        verdict = linearizability.check(play(seed, kind=Sleepy), StoreModel())
        assert verdict.answer == "violation"
        assert len(verdict.violations[0].window) <= 3
