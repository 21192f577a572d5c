"""Runs as their users see them: on two stores, on both event loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from federlib._tasks import open_task_group
from federlib.dag import Policy, RunRecord, Runs, TaskFailed, TaskRun, TaskSpec, Workflow
from federlib.dag.keys import RunKeys
from federlib.dag.records import MAX_RESULT_BYTES, decode, encode
from federlib.dag.transitions import LogBatch
from federlib.errors import CorruptRecord, InvalidInput, PlanMismatch, Unavailable
from federlib.skewclock import SystemClock
from federlib.storage import Put, RecordStore, Transaction, open_store
from federlib.storage.backends.memory import MemoryStore
from federlib.telemetry import SILENT

from .run_processes import WAIT_S, Fleet, Process, until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def fleet_on(store: RecordStore, root: Path) -> AsyncGenerator[Fleet, None]:
    with anyio.fail_after(2 * WAIT_S):
        async with open_task_group() as group:
            yield Fleet(store, root, group)
            group.cancel_scope.cancel()


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncGenerator[Fleet, None]:
    async with fleet_on(MemoryStore(SystemClock()), tmp_path) as made:
        yield made


async def echo(task: TaskRun) -> object:
    return [task.task_id, task.inputs]


async def name_only(task: TaskRun) -> object:
    return task.task_id


def tasks(*names: str, **fields: object) -> Workflow:
    return Workflow("", tuple(TaskSpec(id=name, **fields) for name in names))  # type: ignore[arg-type]


async def test_a_run_goes_from_submission_to_its_end_on_sqlite(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/s.db", clock=SystemClock(), telemetry=SILENT)
    try:
        async with fleet_on(store, tmp_path) as fleet, fleet.connected(ttl_s=2) as (fed, _):
            run = await fed.dag.submit({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]})
            ended = await fed.dag.work(run, echo)
            assert ended.state == "success"
            state = await fed.dag.inspect(run)
            assert state.counts()["success"] == 4
            assert (state.refused, state.total_attempts) == (0, 4)
            assert [r.run_id for r in await fed.dag.list()] == [run.run_id]
    finally:
        await store.aclose()


async def test_many_runs_of_one_process_do_not_meet(fleet: Fleet) -> None:
    async with fleet.connected(ttl_s=2) as (fed, _):
        for name in ("r1", "r2", "r3"):
            await fed.dag.submit({"a": [], "b": ["a"]}, run_id=name)
            assert (await fed.dag.work(name, echo)).state == "success"
        assert len(await fed.dag.list()) == 3


async def test_an_empty_dag_ends_at_once(fleet: Fleet) -> None:
    async with fleet.connected(ttl_s=2) as (fed, _):
        run = await fed.dag.submit({})
        assert (await fed.dag.work(run, echo)).state == "success"


async def test_results_reach_the_children_and_a_join_of_a_thousand(fleet: Fleet) -> None:
    parents = [f"p{n}" for n in range(1_000)]
    seen: dict[str, object] = {}

    async def handler(task: TaskRun) -> object:
        if task.task_id == "join":
            seen.update(task.inputs)
            return None
        return {"n": int(task.task_id[1:])}

    async with fleet.connected(ttl_s=5) as (fed, _):
        run = await fed.dag.submit({**{p: [] for p in parents}, "join": parents})
        assert (await fed.dag.work(run, handler, slots=64)).state == "success"
    assert seen == {f"p{n}": {"n": n} for n in range(1_000)}


async def test_a_result_of_64_kib_is_handed_on_and_one_byte_more_fails_clearly(
    fleet: Fleet,
) -> None:
    got: list[object] = []

    async def handler(task: TaskRun) -> object:
        got.extend(task.inputs.values())
        return "x" * (MAX_RESULT_BYTES - 2 + (task.task_id == "large"))

    async with fleet.connected(ttl_s=2) as (fed, _):
        run = await fed.dag.submit({"fits": [], "child": ["fits"], "large": []})
        assert (await fed.dag.work(run, handler)).state == "failed"
        state = await fed.dag.inspect(run)
        assert state.counts()["success"] == 2
        assert state.reason(2).endswith("result: expected at most 65536 bytes of JSON, found 65537")
    assert got == ["x" * (MAX_RESULT_BYTES - 2)]


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


async def test_whatever_a_handler_raises_only_its_attempt_fails(fleet: Fleet) -> None:
    async def handler(task: TaskRun) -> object:
        match task.task_id:
            case "own words":
                raise TaskFailed("no luck")
            case "group":
                raise BaseExceptionGroup("both", [ValueError("x"), KeyError("y")])
            case "surrogate":
                raise ValueError("file \udcff")
            case "unspeakable":
                raise Unspeakable
            case "own cancellation":
                raise (
                    anyio.get_cancelled_exc_class()("of my own")
                    if backend == "asyncio"
                    else (ValueError("of my own"))
                )
            case "own timeout":
                raise TimeoutError("mine")
            case "no json":
                return object()
            case "spoilt json":
                import msgspec

                return msgspec.Raw(b"{not json")
            case _:
                return None

    import sniffio

    backend = sniffio.current_async_library()
    names = (
        "own words",
        "group",
        "surrogate",
        "unspeakable",
        "own cancellation",
        "own timeout",
        "no json",
        "spoilt json",
        "good",
    )
    async with fleet.connected(ttl_s=2) as (fed, _):
        run = await fed.dag.submit(tasks(*names, timeout_s=30))
        assert (await fed.dag.work(run, handler)).state == "failed"
        state = await fed.dag.inspect(run)
        assert {name for n, name in enumerate(names) if state.state(n) == "success"} == {"good"}
        assert state.reason(0) == "no luck"
        assert "timed out" not in state.reason(5)
        assert state.total_attempts == len(names)


async def test_a_task_is_stopped_at_its_timeout_and_tried_again(fleet: Fleet) -> None:
    stopped: list[int] = []

    async def handler(task: TaskRun) -> object:
        if task.attempt == 1:
            try:
                await anyio.sleep_forever()
            finally:
                stopped.append(task.attempt)
        return task.idempotency_key

    async with fleet.connected(ttl_s=2) as (fed, _):
        run = await fed.dag.submit(
            tasks("a", timeout_s=0.05, retries=1), run_id="r", policy=Policy(backoff_s=0)
        )
        assert (await fed.dag.work(run, handler)).state == "success"
        assert stopped == [1]
        assert (await fed.dag.inspect(run)).attempts(0) == 2


async def test_submitting_again_joins_the_run_and_another_plan_is_refused(fleet: Fleet) -> None:
    async with fleet.connected(ttl_s=2) as (fed, _):
        first = await fed.dag.submit({"a": []}, run_id="r")
        again = await fed.dag.submit({"a": []}, run_id="r")
        assert (first.created, again.created) == (True, False)
        with pytest.raises(PlanMismatch) as caught:
            await fed.dag.submit({"a": [], "b": ["a"]}, run_id="r")
        assert caught.value.differences
        ended = await fed.dag.work("r", echo)
        assert await fed.dag.work("r", echo) == ended


async def test_two_plans_submitted_at_once_never_mix(fleet: Fleet) -> None:
    """Each submission stops at every step of the other; one of them wins, whole."""
    plans: tuple[dict[str, list[str]], dict[str, list[str]]] = (
        {f"a{n}": [] for n in range(5)},
        {f"b{n}": [] for n in range(5)},
    )
    refused: list[PlanMismatch] = []

    async def submit(dag: Runs, run_id: str, plan: dict[str, list[str]]) -> None:
        try:
            await dag.submit(plan, run_id=run_id)
        except PlanMismatch as error:
            refused.append(error)

    async with fleet.connected(ttl_s=2) as (a, _), fleet.connected(ttl_s=2) as (b, _):
        for number in range(5):
            async with anyio.create_task_group() as group:
                group.start_soon(submit, a.dag, f"r{number}", plans[0])
                group.start_soon(submit, b.dag, f"r{number}", plans[1])
            stored = (await a.dag.inspect(f"r{number}")).plan.ids
            record = await a.dag.record(f"r{number}")
            assert record is not None
            winner = plans[0] if stored[0] == "a0" else plans[1]
            assert tuple(winner) == stored
            assert not (await a.dag.submit(winner, run_id=f"r{number}")).created
    assert len(refused) == 5


@pytest.mark.parametrize("run_id", ["a/b", "..", "~x", "%2F", "ü" * 40, "/" * 32, "x" * 96])
async def test_hostile_run_ids_work_or_are_refused_and_never_leave_their_place(
    fleet: Fleet, run_id: str
) -> None:
    async with fleet.connected(ttl_s=2) as (fed, _):
        try:
            await fed.dag.submit({"a": []}, run_id=run_id)
        except InvalidInput:
            return
        assert (await fed.dag.work(run_id, echo)).state == "success"
        assert [r.run_id for r in await fed.dag.list()] == [run_id]


@pytest.mark.parametrize("run_id", ["", "x" * 97, "a\x00b", "e\u0301", "a\ud800"])
async def test_a_run_id_that_cannot_be_a_key_is_refused(fleet: Fleet, run_id: str) -> None:
    async with fleet.connected(ttl_s=2) as (fed, _):
        with pytest.raises(InvalidInput):
            await fed.dag.submit({"a": []}, run_id=run_id)


@pytest.mark.parametrize(
    ("tasks", "named"),
    [
        (["a"], "tasks: expected a Workflow"),
        ({"load": "extract", "extract": []}, "parents of task 'load': expected a list of ids"),
        ({"a": None}, "parents of task 'a'"),
        ({1: []}, "id of a task: expected text, found 1"),
        ({"a": [1]}, "id of a task: expected text, found 1"),
    ],
)
async def test_tasks_of_another_shape_are_refused(fleet: Fleet, tasks: object, named: str) -> None:
    async with fleet.connected(ttl_s=2) as (fed, _):
        with pytest.raises(InvalidInput, match=named):
            await fed.dag.submit(tasks)  # type: ignore[arg-type]


@pytest.mark.parametrize("slots", [0, 1_001, 1.5, True, "4", None])
async def test_a_wrong_number_of_slots_is_refused(fleet: Fleet, slots: object) -> None:
    async with fleet.connected(ttl_s=2) as (fed, _):
        with pytest.raises(InvalidInput, match="slots: expected 1 to 1000"):
            await fed.dag.work("r", echo, slots=slots)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"on_failover": "perhaps"},
        {"max_lost": -1},
        {"backoff_s": float("nan")},
        {"backoff_max_s": float("inf")},
    ],
)
async def test_a_policy_that_no_leader_could_read_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        Policy(**fields)  # type: ignore[arg-type]


async def test_cancel_stops_the_tasks_and_resume_goes_on_from_the_frontier(fleet: Fleet) -> None:
    ran: Counter[str] = Counter()
    started, free = anyio.Event(), anyio.Event()

    async def handler(task: TaskRun) -> object:
        ran[task.task_id] += 1
        if task.task_id == "b" and not free.is_set():
            started.set()
            await anyio.sleep_forever()
        return None

    async with fleet.connected(ttl_s=2) as (fed, _):
        run = await fed.dag.submit({"a": [], "b": ["a"]})
        async with open_task_group() as group:
            group.start_soon(fed.dag.work, run, handler)
            await started.wait()
            await fed.dag.cancel(run, by="me")
        cancelled = await fed.dag.record(run)
        assert cancelled is not None
        assert cancelled.state == "cancelled"
        free.set()
        assert (await fed.dag.work(run, handler)).state == "cancelled"
        await fed.dag.cancel(run)
        assert (await fed.dag.work(run, handler)).state == "cancelled"
        await fed.dag.resume(run)
        assert (await fed.dag.work(run, handler)).state == "success"
    assert ran == {"a": 1, "b": 2}


async def test_resume_gives_failed_tasks_a_fresh_start_only_when_asked(fleet: Fleet) -> None:
    async def handler(task: TaskRun) -> object:
        if task.attempt < 3:
            raise TaskFailed("not yet")
        return None

    async with fleet.connected(ttl_s=2) as (fed, _):
        run = await fed.dag.submit(tasks("a", "b"))
        outcomes = [(await fed.dag.work(run, handler)).state]
        for retry in (False, True, True):
            await fed.dag.resume(run, retry_failed=retry)
            outcomes.append((await fed.dag.work(run, handler)).state)
    assert outcomes == ["failed", "failed", "failed", "success"]


async def test_who_has_seen_the_end_leaves_the_election_until_the_run_is_resumed(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the simulator: its seat took the lease again, and nobody led."""

    async def hear_nothing(*_: object) -> RunRecord:
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr("federlib.dag.worker._await_end", hear_nothing)
    async with fleet.connected(ttl_s=2) as (fed, _):
        run = await fed.dag.submit({"a": []})
        key = RunKeys(run.run_id).run

        async def is_over() -> bool:
            seat = await fed.dag.leader(run)
            ended = await fed.dag.record(run)
            assert ended is not None
            return ended.state == "success" and not seat.is_live and not seat.waiters

        async def is_led() -> bool:
            return (await fed.dag.leader(run)).is_live

        async with open_task_group() as group:
            group.start_soon(fed.dag.work, run, echo)
            await until(is_over)
            record = await fed.store.get(key)
            assert record is not None
            resumed = msgspec.structs.replace(decode(RunRecord, record), state="running")
            await fed.store.commit(Transaction((Put(key, encode(resumed)),)))
            await until(is_led)
            group.cancel_scope.cancel()


async def test_dozens_of_requests_to_an_ended_run_leave_nobody_waiting(fleet: Fleet) -> None:
    async with fleet.connected(ttl_s=2) as (fed, _):
        run = await fed.dag.submit({"a": []})
        ended = await fed.dag.work(run, echo)
        for _ in range(60):
            await fed.dag.cancel(run)
        assert await fed.dag.work(run, echo) == ended


async def test_an_abandoned_leader_is_followed_and_the_task_it_gave_runs_once(
    fleet: Fleet,
) -> None:
    ran: list[tuple[int, int]] = []
    free = anyio.Event()

    async def handler(task: TaskRun) -> object:
        ran.append((task.attempt, task.epoch))
        await free.wait()
        return None

    async with fleet.connected(ttl_s=2) as (fed, _):
        await fed.dag.submit({"a": []}, run_id="r")
        leader = await fleet.lead("r")
        await fleet.work("r", handler)
        await until(lambda: _has_run(ran))
        first = (await fed.dag.inspect("r")).epoch
        leader.crash()
        await fleet.lead("r")
        await until(lambda: _adopted(fed.dag, "r", 1))
        free.set()
        await until(lambda: _is(fed.dag, "r", "success"))
        state = await fed.dag.inspect("r")
        assert ran == [(1, first)]
        assert [(node, attempt) for node, attempt, _ in state.accepted()] == [(0, 1)]
        assert state.accepted()[0][2] > first
        assert state.total_attempts == 1


async def test_ten_dead_leaders_under_one_long_task_are_one_execution_and_one_finish(
    fleet: Fleet,
) -> None:
    ran: list[int] = []
    free = anyio.Event()

    async def handler(task: TaskRun) -> object:
        ran.append(task.attempt)
        await free.wait()
        return "done"

    async with fleet.connected(ttl_s=2) as (fed, _):
        await fed.dag.submit({"long": [], "after": ["long"]}, run_id="r")
        await fleet.work("r", handler, ttl_s=5)
        leader = await fleet.lead("r")
        await until(lambda: _has_run(ran))
        for kill in range(1, 11):
            leader.crash()
            leader = await fleet.lead("r")
            await until(lambda kill=kill: _adopted(fed.dag, "r", kill))  # type: ignore[misc]
        free.set()
        await until(lambda: _is(fed.dag, "r", "success"))
        state = await fed.dag.inspect("r")
        assert ran == [1, 1]  # The long task, and the one after it.
        assert [node for node, _, _ in state.accepted()] == [0, 1]
        assert (state.total_attempts, state.adopted, len(state.epochs)) == (2, 10, 11)
        assert state.refused == 0


async def test_a_finish_given_while_nobody_leads_is_presented_again_not_run_again(
    fleet: Fleet,
) -> None:
    ran: list[int] = []
    free = anyio.Event()

    async def handler(task: TaskRun) -> object:
        ran.append(task.attempt)
        await free.wait()
        return None

    async with fleet.connected(ttl_s=2) as (fed, _):
        await fed.dag.submit({"a": []}, run_id="r")
        leader = await fleet.lead("r")
        await fleet.work("r", handler)
        await until(lambda: _has_run(ran))
        leader.crash()
        free.set()
        dones = RunKeys("r").dones

        async def is_written() -> bool:
            return bool((await fleet.store.scan(dones)).records)

        await until(is_written)
        await fleet.lead("r")
        await until(lambda: _is(fed.dag, "r", "success"))
        state = await fed.dag.inspect("r")
        assert (ran, state.refused, state.adopted, state.total_attempts) == ([1], 1, 1, 1)


async def test_an_abandoned_workers_task_is_lost_and_tried_again_by_another(fleet: Fleet) -> None:
    ran: list[tuple[str, int]] = []

    async def hang(task: TaskRun) -> object:
        ran.append(("dead", task.attempt))
        await anyio.sleep_forever()
        return None

    async def handler(task: TaskRun) -> object:
        ran.append(("live", task.attempt))
        return None

    async with fleet.connected(ttl_s=2) as (fed, _):
        await fed.dag.submit({"a": []}, run_id="r")
        await fleet.lead("r", ttl_s=5)
        worker = await fleet.work("r", hang, ttl_s=0.3)
        await until(lambda: _has_run(ran))
        worker.crash()
        await fleet.work("r", handler)
        await until(lambda: _is(fed.dag, "r", "success"))
        assert ran == [("dead", 1), ("live", 2)]
        assert (await fed.dag.inspect("r")).losses(0) == 1

        async def is_struck_off() -> bool:
            return len(await fed.dag.workers("r")) <= 1

        await until(is_struck_off)


async def test_a_store_that_is_away_for_a_moment_fails_no_task(fleet: Fleet) -> None:
    ran: list[int] = []
    free = anyio.Event()

    async def handler(task: TaskRun) -> object:
        ran.append(task.attempt)
        await free.wait()
        return None

    async with fleet.connected(ttl_s=2) as (fed, _):
        await fed.dag.submit({"a": [], "b": ["a"]}, run_id="r")
        await fleet.lead("r", ttl_s=5)
        worker = await fleet.work("r", handler, ttl_s=5)
        await until(lambda: _has_run(ran))
        worker.cable.is_cut = True
        free.set()
        with pytest.raises(Unavailable):
            await worker.cable.get("dag/r/run")
        await anyio.wait_all_tasks_blocked()
        worker.cable.is_cut = False
        await until(lambda: _is(fed.dag, "r", "success"))
        assert ran == [1, 1]


async def test_a_worker_that_was_struck_off_by_mistake_comes_back(fleet: Fleet) -> None:
    from federlib.storage import Delete

    async with fleet.connected(ttl_s=2) as (fed, _):
        await fed.dag.submit({"a": []}, run_id="r")
        await fleet.work("r", echo, ttl_s=5)

        async def is_there() -> bool:
            return bool(await fed.dag.workers("r"))

        await until(is_there)
        (worker,) = await fed.dag.workers("r")
        key = RunKeys("r").worker(worker.worker_id)
        await fleet.store.commit(Transaction((Delete(key),)))
        await until(is_there)
        await fleet.lead("r", ttl_s=5)
        await until(lambda: _is(fed.dag, "r", "success"))


@pytest.mark.parametrize("value", [b"", b"\xff", b'{"v":2}', b"[" * 10_000, b'{"v":1,"run_id":7}'])
@pytest.mark.parametrize(
    "name", ["run", "plan/000000", "epoch", "log/000000000001", "snap-head", "progress"]
)
async def test_what_cannot_be_read_is_a_clear_error_and_is_left_as_it_is(
    fleet: Fleet, name: str, value: bytes
) -> None:
    async with fleet.connected(ttl_s=2) as (fed, _):
        await fed.dag.submit({"a": []}, run_id="r")
    key = f"dag/r/{name}"
    await fleet.store.commit(Transaction((Put(key, value),)))
    # Another process: the one that submitted a plan need not read it.
    async with fleet.connected(ttl_s=2) as (fed, _):
        with pytest.raises(CorruptRecord) as caught:
            await fed.dag.work("r", echo)
        assert key in caught.value.where
        if value == b'{"v":2}':
            assert "newer federlib" in caught.value.hint
        found = await fleet.store.get(key)
        assert found is not None
        assert found.value == value


@pytest.mark.parametrize("value", [b"", b'{"v":2}', b"[" * 10_000])
async def test_unreadable_records_of_workers_and_askers_stop_nobody(
    fleet: Fleet, value: bytes
) -> None:
    keys = RunKeys("r")
    spoilt = (keys.worker("other"), keys.done("other", 1, 1, 1), keys.ask("zz"))
    async with fleet.connected(ttl_s=2) as (fed, _):
        await fed.dag.submit({"a": []}, run_id="r")
        await fleet.store.commit(Transaction(tuple(Put(key, value) for key in spoilt)))
        assert (await fed.dag.work("r", echo)).state == "success"
        for key in spoilt:
            found = await fleet.store.get(key)
            assert found is not None
            assert found.value == value


async def test_snapshots_cut_the_log_and_a_fold_in_between_sees_the_whole(fleet: Fleet) -> None:
    names = [f"t{n}" for n in range(120)]
    folds: list[int] = []
    over = anyio.Event()

    async with fleet.connected(ttl_s=5) as (fed, _):
        fed.dag._snapshot_every = 20
        await fed.dag.submit(
            {name: names[max(0, n - 1) : n] for n, name in enumerate(names)}, run_id="r"
        )

        async def watch() -> None:
            while not over.is_set():
                state = await fed.dag.inspect("r")
                folds.append(len(state.accepted()))
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await fed.dag.work("r", name_only)
            over.set()
        state = await fed.dag.inspect("r")
        assert [state.reason(n) for n in state.failed_nodes()] == []
        assert folds == sorted(folds)
        assert len((await fed.dag.inspect("r")).accepted()) == len(names)
        left = (await fleet.store.scan(RunKeys("r").logs)).records
        assert len(left) < 40
        heads = (await fleet.store.scan("dag/r/snap/")).records
        assert len({record.key.split("/")[3] for record in heads}) == 1


async def _has_run(ran: list[int] | list[tuple[int, int]] | list[tuple[str, int]]) -> bool:
    return bool(ran)


async def _adopted(dag: Runs, run: str, count: int) -> bool:
    return (await dag.inspect(run)).adopted >= count


async def _is(dag: Runs, run: str, outcome: str) -> bool:
    record = await dag.record(run)
    return record is not None and record.state == outcome


async def test_a_process_that_leads_and_works_commits_once_for_a_task_of_a_chain(
    fleet: Fleet,
) -> None:
    async with fleet.connected(ttl_s=2) as (fed, cable):
        names = [f"t{n:02d}" for n in range(40)]
        tasks = {name: names[max(0, n - 1) : n] for n, name in enumerate(names)}
        await fed.dag.submit(tasks, run_id="r")
        assert (await fed.dag.work("r", name_only, slots=1)).state == "success"
        keys = RunKeys("r")
        written = [write.key for sent in cable.commits for write in sent.writes]
        assert not [key for key in written if key.startswith((keys.dones, f"{keys.root}assign/"))]
        assert sum(key.startswith(keys.logs) for key in written) <= len(names) + 3


async def test_a_task_of_a_leader_that_lost_its_seat_is_adopted_and_runs_on(fleet: Fleet) -> None:
    ran: list[tuple[int, int]] = []
    free = anyio.Event()

    async def handler(task: TaskRun) -> object:
        ran.append((task.attempt, task.epoch))
        await free.wait()
        return task.task_id

    async def body(process: Process) -> None:
        await process.fed.dag.work("r", handler, slots=1)

    async with fleet.connected(ttl_s=5) as (fed, _):
        await fed.dag.submit({"a": [], "b": ["a"]}, run_id="r")
        await fleet.start(body, ttl_s=5)
        await until(lambda: _has_run(ran))
        first = (await fed.dag.inspect("r")).epoch
        seat = (await fed.dag.leader("r")).lease
        assert seat is not None
        await fed.leases.release(seat)
        await fleet.lead("r", ttl_s=5)
        await until(lambda: _adopted(fed.dag, "r", 1))
        free.set()
        await until(lambda: _is(fed.dag, "r", "success"))
        state = await fed.dag.inspect("r")
        assert ran[0] == (1, first)
        assert state.accepted()[0][2] > first
        assert (state.total_attempts, state.refused) == (2, 0)


async def test_every_log_record_carries_a_timestamp_above_those_before_it(fleet: Fleet) -> None:
    """Across leaders too: a new one takes in the last timestamp of the log."""
    stamps: list[int] = []
    async with fleet.connected(ttl_s=2) as (fed, _):
        await fed.dag.submit({"a": [], "b": ["a"]}, run_id="r")
        for _ in range(2):
            await fed.dag.work("r", echo)
            await fed.dag.resume("r", retry_failed=True)
        await fed.dag.work("r", echo)
        assert len((await fed.dag.inspect("r")).epochs) > 1
        for record in (await fleet.store.scan(RunKeys("r").logs)).records:
            batch = decode(LogBatch, record)
            assert batch.hlc is not None
            stamps.append(batch.hlc)
    assert len(stamps) > 4
    assert stamps == sorted(set(stamps))
