"""Processes of a fleet inside one test: each with an identity and a connection of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import attrs
from anyio.abc import TaskGroup

import federlib
from federlib.dag.handler import Handler
from federlib.dag.handover import Handover
from federlib.dag.worker import RunWorker
from federlib.errors import Unavailable
from federlib.federation import Federation
from federlib.identity import IdentityStore
from federlib.storage import (
    Capabilities,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Record,
    RecordStore,
    Subscription,
    Transaction,
)

WAIT_S = 20.0


class Cable:
    """A process's way to the store; once cut, nothing of it arrives any more."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self.is_cut = False
        self.commits: list[Transaction] = []

    @property
    def capabilities(self) -> Capabilities:
        return self._store.capabilities

    @property
    def store_id(self) -> str:
        return self._store.store_id

    def _check(self) -> None:
        if self.is_cut:
            raise Unavailable("the store", reason="the cable is cut")

    async def get(self, key: str) -> Record | None:
        self._check()
        return await self._store.get(key)

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        self._check()
        return await self._store.scan(prefix, after=after, limit=limit)

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        self._check()
        self.commits.append(transaction)
        return await self._store.commit(transaction)

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        self._check()
        return await self._store.outcome(transaction_id)

    def watch(self, prefix: str, *, after: int) -> AbstractAsyncContextManager[Subscription]:
        return self._store.watch(prefix, after=after)

    async def aclose(self) -> None:
        pass


@attrs.define
class Process:
    """One process; `crash` is SIGKILL as the store sees it: no release, no farewell."""

    fed: Federation
    cable: Cable
    scope: anyio.CancelScope
    roles: list[tuple[str, int]] = attrs.field(factory=list)

    def crash(self) -> None:
        self.cable.is_cut = True
        self.scope.cancel()


class Fleet:
    """Starts processes on one store."""

    def __init__(self, store: RecordStore, root: Path, group: TaskGroup) -> None:
        self.store = store
        self._root = root
        self._group = group
        self._count = 0

    @asynccontextmanager
    async def connected(self, *, ttl_s: float) -> AsyncGenerator[tuple[Federation, Cable], None]:
        self._count += 1
        cable = Cable(self.store)
        identities = IdentityStore(self._root / str(self._count))
        async with federlib.connect(cable, identity=identities, ttl_s=ttl_s) as fed:
            yield fed, cable

    async def start(
        self, body: Callable[[Process], Awaitable[object]], *, ttl_s: float = 0.5
    ) -> Process:
        made: list[Process] = []
        ready = anyio.Event()

        async def run() -> None:
            with anyio.CancelScope() as scope:
                async with self.connected(ttl_s=ttl_s) as (fed, cable):
                    made.append(Process(fed, cable, scope))
                    ready.set()
                    await body(made[0])

        self._group.start_soon(run)
        await ready.wait()
        return made[0]

    async def lead(self, run: str, *, ttl_s: float = 0.3) -> Process:
        """Start a process that leads and does no tasks."""

        async def body(process: Process) -> None:
            dag = process.fed.dag
            log = dag._log(run)
            async with process.fed.elect(log.keys.lease) as seat:
                await dag._lead(log, seat, Handover())

        return await self.start(body, ttl_s=ttl_s)

    async def work(
        self, run: str, handler: Handler, *, ttl_s: float = 2.0, slots: int = 4
    ) -> Process:
        """Start a process that does tasks and never leads."""

        async def body(process: Process) -> None:
            worker_id, incarnation = await process.fed.dag._identity()
            worker = RunWorker(
                log=process.fed.dag._log(run),
                hold=process.fed.hold,
                worker_id=worker_id,
                incarnation=incarnation,
                slots=slots,
                handler=handler,
                clock=process.fed.clock,
            )
            await worker.run()

        return await self.start(body, ttl_s=ttl_s)


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition on what is stored."""
    with anyio.fail_after(WAIT_S):
        while not await found():
            await anyio.sleep(0.01)
