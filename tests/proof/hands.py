"""A worker that does tasks and never leads; run as `hands.py URL RUN_ID TTL_S`."""

from __future__ import annotations

import sys

import anyio

from federlib import connect
from federlib.cli.exec import TaskRunner
from federlib.cli.stores import logs_root
from federlib.cli.tasks import TaskHandler
from federlib.dag.runlog import RunLog
from federlib.dag.worker import RunWorker


async def main(url: str, run_id: str, ttl_s: float) -> None:
    async with connect(url, ttl_s=ttl_s) as fed, TaskRunner() as runner:
        identity = await fed.identity()
        worker = RunWorker(
            log=RunLog(fed.store, run_id),
            hold=fed.hold,
            worker_id=identity.worker_id,
            incarnation=identity.incarnation,
            slots=100,
            handler=TaskHandler(runner, logs_root(url)),
            clock=fed.clock,
        )
        print((await worker.run()).state)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], float(sys.argv[3]))
