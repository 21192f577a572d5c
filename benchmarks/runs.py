"""A process of a durable run with tasks that do nothing; it prints what it measured as JSON.

    python -m benchmarks.runs whole   URL FOLDER SLOTS GRAPH     submit and work, alone
    python -m benchmarks.runs submit  URL FOLDER SLOTS GRAPH     only submit
    python -m benchmarks.runs work    URL FOLDER SLOTS           one of several
    python -m benchmarks.runs die     URL FOLDER SLOTS COUNT     kill -9 itself at that task
    python -m benchmarks.runs resume  URL FOLDER SLOTS           go on, to the first finish

FOLDER has the identities, and the file `go` that the workers wait for. Everything is done
through the public interface: `fed.dag.submit` and `fed.dag.work`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import anyio

import federlib
from benchmarks.fsyncs import mark
from federlib.dag import TaskRun
from federlib.identity import IdentityStore

RUN_ID = "bench"
DEATH_TTL_S = 2.0
"""Of the runs whose worker is killed; the others keep the default."""

Answer = dict[str, float]


async def _nothing(_task: TaskRun) -> None:
    """Do a task."""


async def _marked(_task: TaskRun) -> None:
    """Do a task, and let the counter of syncs see it."""
    mark()


async def _whole(fed: federlib.Federation, slots: int, graph: str) -> Answer:
    parents = json.loads(await anyio.Path(graph).read_text())
    handler = _marked if os.environ.get("BENCH_MARKS") else _nothing
    began = time.perf_counter()
    run = await fed.dag.submit(parents, run_id=RUN_ID)
    submitted, cpu_before = time.perf_counter(), time.process_time()
    ended = await fed.dag.work(run, handler, slots=slots)
    work_s, cpu_s = time.perf_counter() - submitted, time.process_time() - cpu_before
    _check(ended.state)
    return {"submit_s": submitted - began, "work_s": work_s, "cpu_s": cpu_s}


async def _submit(fed: federlib.Federation, graph: str) -> Answer:
    await fed.dag.submit(json.loads(await anyio.Path(graph).read_text()), run_id=RUN_ID)
    return {}


async def _work(fed: federlib.Federation, folder: Path, slots: int) -> Answer:
    await fed.identity()
    await anyio.Path(folder / f"ready-{os.getpid()}").touch()
    while not await anyio.Path(folder / "go").exists():  # noqa: ASYNC110 (another process's)
        await anyio.sleep(0.005)
    count = 0

    async def handler(_task: TaskRun) -> None:
        nonlocal count
        count += 1

    _check((await fed.dag.work(RUN_ID, handler, slots=slots)).state)
    return {"ended_at": time.monotonic(), "tasks": count}


async def _die(fed: federlib.Federation, folder: Path, slots: int, at: int) -> Answer:
    count = 0

    async def handler(_task: TaskRun) -> None:
        nonlocal count
        count += 1
        if count == at:
            (folder / "died").write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)

    await fed.dag.work(RUN_ID, handler, slots=slots)
    raise AssertionError("the run ended before its worker was killed")


async def _resume(fed: federlib.Federation, slots: int) -> Answer:
    """Work until a finish must have been accepted: more tasks came than fit at once."""
    count = 0
    accepted = anyio.Event()
    accepted_at = 0.0

    async def handler(_task: TaskRun) -> None:
        nonlocal count, accepted_at
        count += 1
        if count == slots + 1:
            accepted_at = time.time()
            accepted.set()

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: fed.dag.work(RUN_ID, handler, slots=slots))
        await accepted.wait()
        group.cancel_scope.cancel()
    return {"accepted_at": accepted_at}


def _check(state: str) -> None:
    if state != "success":
        sys.exit(f"the run ended as {state}")


async def main(verb: str, url: str, folder: Path, slots: int, rest: list[str]) -> Answer:
    """Do one verb; return what is to be printed."""
    ttl_s = DEATH_TTL_S if verb in {"die", "resume"} else None
    identity = IdentityStore(folder / "identities")
    async with federlib.connect(url, identity=identity, ttl_s=ttl_s) as fed:
        match verb, rest:
            case "whole", [graph]:
                return await _whole(fed, slots, graph)
            case "submit", [graph]:
                return await _submit(fed, graph)
            case "work", []:
                return await _work(fed, folder, slots)
            case "die", [count]:
                return await _die(fed, folder, slots, int(count))
            case "resume", []:
                return await _resume(fed, slots)
            case _:
                sys.exit(__doc__)


if __name__ == "__main__":
    _, _verb, _url, _folder, _slots, *_rest = sys.argv
    print(json.dumps(anyio.run(main, _verb, _url, Path(_folder), int(_slots), _rest)))
