"""Stores with a bit of everything in them, and a look at all that is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from federlib import Federation, connect
from federlib.dag import TaskRun
from federlib.identity import IdentityStore
from federlib.lease import Busy, Holder, Lease
from federlib.storage import META_KEY, Put, Record, RecordStore, Transaction, open_store

KINDS = ("memory", "sqlite", "file")


@asynccontextmanager
async def opened(kind: str, root: Path, name: str) -> AsyncIterator[RecordStore]:
    store = await open_store(place(kind, root, name))
    try:
        yield store
    finally:
        await store.aclose()


def place(kind: str, root: Path, name: str) -> str:
    return {
        "memory": "memory://", "sqlite": f"sqlite:///{root}/{name}.db",
        "file": f"file:///{root}/{name}",
    }[kind]  # fmt: skip


async def populate(store: RecordStore, root: Path) -> None:
    """Leave behind a finished run, commands, a member, marks, leases, and records of others."""

    async def do(task: TaskRun) -> str:
        return f"result of {task.task_id}"

    async with connect(store, identity=IdentityStore(root / "identities")) as fed:
        run = await fed.dag.submit({"a": [], "b": ["a"], "c": ["a"]}, run_id="r/1")
        await fed.dag.work(run, handler=do)
        async with fed.elect("coordinator") as seat:
            async for state in seat.changes():
                if state.role == "leader":
                    break
            for number in range(4):
                await fed.commands.issue("scale", {"n": number}, gate=seat)
        async with fed.registry.join(kind="worker"):
            pass
        await fed.guard("resource").admit(7)
        await busy_lease(fed)
    values = {"x/binary": bytes(range(256)), "x/empty": b"", "x/text": "ä\n".encode(),
              "x/json": b'{"a" : [1, 2.50, "\\u00e4"]}', "x/large": b"7" * 512 * 1024,
              "y/\U0010ffff": b" 1 "}  # fmt: skip
    for key, value in values.items():
        await store.commit(Transaction((Put(key, value),)))


async def busy_lease(fed: Federation) -> None:
    """Hold a lease that one waits for, and leave another one free with a token of 3."""
    held = await fed.leases.acquire("held", Holder("one", "s"), ttl_s=3_600)
    assert isinstance(held, Lease)
    waits = await fed.leases.acquire("held", Holder("two", "s"), ttl_s=3_600, queue=True)
    assert isinstance(waits, Busy)
    for _ in range(3):
        lease = await fed.leases.acquire("free", Holder("one", "s"), ttl_s=3_600)
        assert isinstance(lease, Lease)
        await fed.leases.release(lease)


async def records_of(store: RecordStore) -> dict[str, Record]:
    """Read every record but the store's own."""
    found: dict[str, Record] = {}
    after: str | None = None
    while True:
        page = await store.scan("", after=after)
        found |= {record.key: record for record in page.records if record.key != META_KEY}
        if page.next is None:
            return found
        after = page.next
