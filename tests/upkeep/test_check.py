"""The check: every record is what its key says, or it is told which is not."""

from __future__ import annotations

import io
import sqlite3
from pathlib import Path

import anyio
import pytest

from federlib import connect
from federlib.dag import TaskRun
from federlib.fencing import Outcome
from federlib.fencing.records import encode
from federlib.identity import IdentityStore
from federlib.storage import Delete, Put, Transaction
from federlib.upkeep import check_store, export_store, import_store
from federlib.upkeep.check import MAX_PROBLEMS
from upkeep.stores import KINDS, opened, populate, records_of
from upkeep.test_copying import memory, put

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", KINDS)
async def test_a_sound_store_has_no_problems_and_is_left_as_it_is(
    tmp_path: Path, kind: str
) -> None:
    async with opened(kind, tmp_path, "s") as store:
        await populate(store, tmp_path)
        before = await records_of(store)
        report = await check_store(store)
        assert report.problems == ()
        assert report.is_driver_checked is (kind != "memory")
        assert report.records == len(before) + 1
        assert report.foreign == {"x": 5, "y": 1}
        assert sum(report.kinds.values()) + 6 == report.records
        assert {"lease", "waiter", "fence mark", "command issued", "member", "run",
                "run log", "run plan", "run epoch", "store"} <= report.kinds.keys()  # fmt: skip
        assert await records_of(store) == before


async def test_each_record_of_ours_is_told_when_it_is_torn(tmp_path: Path) -> None:
    store = memory()
    await populate(store, tmp_path)
    for key, record in (await records_of(store)).items():
        if key.startswith(("x/", "y/")):
            continue
        for bad in (record.value[:-1], b"\xff", b"{}", b"[" * 9_999):
            await store.commit(Transaction((Put(key, bad),)))
            # What only a newer reader could tell apart has defaults for all of its fields.
            report = await check_store(store)
            named = [problem for problem in report.problems if key in problem.what]
            assert named or (bad == b"{}" and "/snap" in key), (key, bad)
        await store.commit(Transaction((Put(key, record.value),)))
    assert (await check_store(store)).problems == ()


async def test_a_record_under_the_key_of_another_is_told(tmp_path: Path) -> None:
    store = memory()
    await populate(store, tmp_path)
    records = await records_of(store)
    moves = {
        "lease/held/lease": "lease/stolen/lease",
        next(key for key in records if "/wait/" in key): "lease/held/wait/x.y",
        "fence/resource": "fence/another",
        next(k for k in records if k.endswith("/issued")): "command/coordinator/x1/issued",
        next(k for k in records if k.startswith("registry/")): "registry/me",
        "dag/r%2F1/run": "dag/r%2F1/what",
    }
    for source, target in moves.items():
        await store.commit(Transaction((Put(target, records[source].value),)))
        (problem,) = (await check_store(store)).problems
        assert problem.what == target
        await store.commit(Transaction((Delete(target),)))


async def test_what_belongs_together_and_is_not_there_is_told(tmp_path: Path) -> None:
    store = memory()
    await populate(store, tmp_path)
    records = await records_of(store)
    for missing in ("dag/r%2F1/log/000000000002", "dag/r%2F1/plan/000000"):
        await store.commit(Transaction((Delete(missing),)))
        (problem,) = (await check_store(store)).problems
        assert problem.what.startswith("run 'r/1'")
        await store.commit(Transaction((Put(missing, records[missing].value),)))
    outcome = Outcome(
        command_id="x1", status="rejected_not_leader", epoch=1, consumer="me", at_ns=1
    )
    await store.commit(Transaction((Put("command/c/x1/outcome", encode(outcome)),)))
    (problem,) = (await check_store(store)).problems
    assert (problem.what, problem.found) == ("command/c/x1/issued", "nothing")
    await store.commit(Transaction((Delete("command/c/x1/outcome"),)))
    assert (await check_store(store)).problems == ()


async def test_many_problems_are_cut(tmp_path: Path) -> None:
    store = memory()
    for start in range(0, 1_100, 50):
        writes = [Put(f"lease/n{n}/lease", b"?") for n in range(start, start + 50)]
        await store.commit(Transaction(tuple(writes)))
    report = await check_store(store)
    assert len(report.problems) == MAX_PROBLEMS + 1
    assert report.problems[-1].what == "more problems"


async def test_what_the_driver_finds_is_told_too(tmp_path: Path) -> None:
    async with opened("sqlite", tmp_path, "s") as store:
        await put(store, "a", "b")
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("UPDATE records SET value = 'tampered' WHERE key = 'a'")
    connection.close()
    async with opened("sqlite", tmp_path, "s") as store:
        report = await check_store(store)
    assert any("a" in problem.what for problem in report.problems)


async def test_a_store_in_use_is_sound(tmp_path: Path) -> None:
    async with opened("sqlite", tmp_path, "s") as store:
        ended = 0

        async def do(task: TaskRun) -> None:
            assert task.task_id

        async def use() -> None:
            nonlocal ended
            async with connect(store, identity=IdentityStore(tmp_path / "i")) as fed:
                while True:
                    run = await fed.dag.submit({"a": [], "b": ["a"]})
                    await fed.dag.work(run, handler=do)
                    ended += 1

        async with anyio.create_task_group() as group:
            group.start_soon(use)
            checks = 0
            while ended < 3 or checks < 5:
                report = await check_store(store)
                assert report.problems == ()
                checks += 1
            file = io.BytesIO()
            await export_store(store, file)
            group.cancel_scope.cancel()
        assert report.kinds["run"] >= 1
        file.seek(0)
        new = memory()
        await import_store(file, new)
        assert (await check_store(new)).problems == ()
