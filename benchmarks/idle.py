"""A process that only waits: `python -m benchmarks.idle KIND URL FOLDER SECONDS`.

It holds a lease and watches, and prints how much of a core that took. KIND is `async` or
`blocking`; the latter has no watchers.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from pathlib import Path

import anyio

import federlib
from federlib.identity import IdentityStore

WATCHERS = 10
_SETTLE_S = 1.0


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _watch(fed: federlib.Federation, prefix: str) -> None:
    async with fed.store.watch(prefix, after=0) as changes:
        async for _ in changes:
            pass


async def _async(url: str, folder: Path, seconds: float) -> float:
    identity = IdentityStore(folder / "identities")
    async with (
        federlib.connect(url, identity=identity) as fed,
        fed.hold("idle"),
        anyio.create_task_group() as group,
    ):
        for number in range(WATCHERS):
            group.start_soon(_watch, fed, f"watched/{number}/")
        await anyio.sleep(min(_SETTLE_S, seconds))
        before, began = _cpu_s(), time.perf_counter()
        await anyio.sleep(seconds)
        share = (_cpu_s() - before) / (time.perf_counter() - began)
        group.cancel_scope.cancel()
    return share


def _blocking(url: str, folder: Path, seconds: float) -> float:
    blocking = importlib.import_module("federlib.blocking")
    identity = IdentityStore(folder / "identities")
    with blocking.connect(url, identity=identity) as fed, fed.hold("idle"):
        time.sleep(min(_SETTLE_S, seconds))
        before, began = _cpu_s(), time.perf_counter()
        time.sleep(seconds)
        return (_cpu_s() - before) / (time.perf_counter() - began)


if __name__ == "__main__":
    _, _kind, _url, _folder, _seconds = sys.argv
    if _kind == "blocking":
        _share = _blocking(_url, Path(_folder), float(_seconds))
    else:
        _share = anyio.run(_async, _url, Path(_folder), float(_seconds))
    print(json.dumps({"share": _share}))
