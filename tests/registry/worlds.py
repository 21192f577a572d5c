"""A store with members in it, and processes that are told apart by their clocks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import attrs
import msgspec

from federlib.identity import ClaimedIdentity, IdentityStore
from federlib.registry import Change, Changes, MemberRecord, Registry
from federlib.registry.records import encode_member, member_key
from federlib.skewclock import Clock, SkewTolerance
from federlib.storage import Committed, Conflicted, Put, Transaction
from federlib.storage.backends.memory import MemoryStore
from federlib.storage.protocol import Batch
from federlib.telemetry import RecordingSink, Telemetry
from federlib.telemetry.logs import Level, LogValue
from federlib.testing.store_view import StoreView

HOST = "550e8400-e29b-41d4-a716-446655440000"
OTHER_HOST = "650e8400-e29b-41d4-a716-446655440000"
S = 1_000_000_000
HERE = "m1/b1/"

RECORD = MemberRecord(
    worker_id=f"{HOST}:0",
    host_id=HOST,
    incarnation=1,
    session="s1",
    kind="worker",
    labels={},
    slots=4,
    load=1.0,
    pid=7,
    hostname="box",
    version="0.1.0",
    started_at_ns=900 * S,
    last_seen=1_000 * S,
    clock_id=HERE,
    boot_ns=100 * S,
    ttl_ms=15_000,
)


def record(seq: int = 0, host_id: str = HOST, **fields: object) -> MemberRecord:
    """Vary the one record that all tests know."""
    return msgspec.structs.replace(RECORD, worker_id=f"{host_id}:{seq}", host_id=host_id, **fields)


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, LogValue]]] = []

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        self.events.append((event, fields))

    def names(self) -> list[str]:
        return [event for event, _ in self.events]


class InterruptedStore(StoreView):
    """Lets others come in between."""

    before_commit: Callable[[], Awaitable[None]] | None = None

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        meanwhile, self.before_commit = self.before_commit, None
        if meanwhile is not None:
            await meanwhile()
        return await super().commit(transaction)


@attrs.define
class Process:
    """One process: its own clock, its own way to the store, its own identity."""

    registry: Registry
    store: InterruptedStore
    sink: RecordingSink
    log: Log
    identity: ClaimedIdentity


@attrs.define
class World:
    """One store, and whoever uses it."""

    root: Path
    clock: Clock
    store: MemoryStore = attrs.field(init=False)
    sessions: int = 0

    def __attrs_post_init__(self) -> None:
        self.store = MemoryStore(self.clock)

    def process(
        self,
        *,
        host: str = "a",
        clock: Clock | None = None,
        identity: ClaimedIdentity | None = None,
        ttl_s: float = 0.3,
        tolerance_s: float = 3,
        jitter: Callable[[], float] = lambda: 0.5,
    ) -> Process:
        """Start a process; each host has an identity directory of its own."""
        claimed = identity or IdentityStore(self.root / host, machine_id=lambda: None).claim()
        store, sink, log = InterruptedStore(self.store), RecordingSink(), Log()
        self.sessions += 1

        async def who() -> ClaimedIdentity:
            claimed.check()
            return claimed

        registry = Registry(
            store,
            identity=who,
            clock=clock or self.clock,
            tolerance=SkewTolerance(tolerance_s),
            jitter=jitter,
            session=f"process-{self.sessions}",
            ttl_s=ttl_s,
            version="1",
            telemetry=Telemetry(metrics=sink, logger=log),
        )
        return Process(registry, store, sink, log, claimed)

    async def put(self, *records: MemberRecord) -> None:
        for member in records:
            await self.put_raw(member_key(member.worker_id), encode_member(member))

    async def put_raw(self, key: str, value: bytes) -> None:
        assert isinstance(await self.store.commit(Transaction((Put(key, value),))), Committed)


async def until_change(changes: Changes, fact: Callable[[Change], bool]) -> Change:
    """Read changes until one is as described."""
    with anyio.fail_after(20):
        async for change in changes:
            if fact(change):
                return change
    raise AssertionError


@asynccontextmanager
async def heartbeats(world: World) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Give a function that waits for the next write under the registry."""
    after = (await world.store.scan("registry/")).revision
    async with world.store.watch("registry/", after=after) as subscription:

        async def wait() -> None:
            with anyio.fail_after(20):
                while not isinstance(await anext(subscription), Batch):
                    pass

        yield wait
