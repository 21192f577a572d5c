"""A store driver of your own: any other store, with a line in a file for each commit.

Run it. A package would name `open_store` in its entry points, and then the URL
`audited+sqlite:///fleet.db` works wherever a store's URL does:

    [project.entry-points."federlib.stores"]
    "audited+sqlite" = "mypackage.store:open_store"
"""

import json
import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import anyio.to_thread

import federlib
from federlib import storage
from federlib.skewclock import Clock
from federlib.telemetry import Telemetry


class AuditedStore:
    """Hands everything on to another store, and writes down which keys were written when.

    The store is the truth: a process that dies between commit and line leaves a gap in the
    trail, which the revisions show.
    """

    def __init__(self, inner: storage.RecordStore, trail: Path, clock: Clock) -> None:
        self.inner, self.trail, self.clock = inner, trail, clock
        self.turn = anyio.Lock()

    @property
    def capabilities(self) -> storage.Capabilities:
        return self.inner.capabilities

    @property
    def store_id(self) -> str:
        return self.inner.store_id

    async def get(self, key: str) -> storage.Record | None:
        return await self.inner.get(key)

    async def scan(
        self, prefix: str, *, after: str | None = None, limit: int = 1_000
    ) -> storage.Page:
        return await self.inner.scan(prefix, after=after, limit=limit)

    async def commit(
        self, transaction: storage.Transaction
    ) -> storage.Committed | storage.Conflicted:
        done = await self.inner.commit(transaction)
        if isinstance(done, storage.Committed):
            # It has happened: whoever cancels us now must not keep it out of the trail.
            with anyio.CancelScope(shield=True):
                await self._write_down(done, [write.key for write in transaction.writes])
        return done

    async def outcome(self, transaction_id: str) -> storage.Committed | storage.NotSeen:
        return await self.inner.outcome(transaction_id)

    def watch(
        self, prefix: str, *, after: int
    ) -> AbstractAsyncContextManager[storage.Subscription]:
        return self.inner.watch(prefix, after=after)

    async def aclose(self) -> None:
        await self.inner.aclose()

    async def _write_down(self, done: storage.Committed, keys: list[str]) -> None:
        line = json.dumps({"revision": done.revision, "at": self.clock.wall_ns(), "keys": keys})
        async with self.turn:  # files block, so a thread appends; one at a time
            await anyio.to_thread.run_sync(self._append, f"{line}\n")

    def _append(self, line: str) -> None:
        opened = os.open(self.trail, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(opened, "w") as file:
            file.write(line)


async def open_store(url: str, clock: Clock, telemetry: Telemetry) -> AuditedStore:
    """Open `audited+<any other URL>`; the trail lies in the working directory."""
    inner = await storage.open_store(url.removeprefix("audited+"), clock=clock, telemetry=telemetry)
    return AuditedStore(inner, Path("audit.jsonl"), clock)


async def main() -> None:
    store = await open_store(
        "audited+sqlite:///fleet.db", federlib.skewclock.SystemClock(), federlib.telemetry.SILENT
    )
    async with federlib.connect(store) as fed, fed.hold("nightly-report", ttl_s=5) as lease:
        print(f"holding {lease.name} with token {lease.token}")
    await store.aclose()
    trail = await anyio.Path("audit.jsonl").read_text()
    lines = [json.loads(line) for line in trail.splitlines()]
    assert [line["keys"] for line in lines] == [["lease/nightly-report/lease"]] * 2, lines
    print(f"the trail has {len(lines)} commits: it was granted, and released")


if __name__ == "__main__":
    anyio.run(main)
