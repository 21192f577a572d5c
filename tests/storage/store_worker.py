"""A process of its own for tests of stores: ``python store_worker.py VERB URL [ARGUMENT]``."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from federlib.errors import FederlibError, OutcomeUnknown, StoreFull
from federlib.skewclock import SystemClock
from federlib.storage import (
    Absent,
    AtRevision,
    Check,
    Committed,
    NotSeen,
    Put,
    RecordStore,
    Transaction,
)
from federlib.storage.backends._blocking.store import EngineStore
from federlib.storage.backends.file._engine import FileEngine
from federlib.storage.backends.file._journal import encode_change
from federlib.storage.backends.file._load import Tuning
from federlib.storage.backends.file._shared_turn import SharedTurn
from federlib.storage.backends.file.store import CAPABILITIES, open_engine, parse_url
from federlib.storage.backends.sqlite import SqliteStore, open_store
from federlib.storage.disk import SystemDisk
from federlib.storage.urls import open_store as open_any
from federlib.telemetry import SILENT

NOBODY = 65534


def say(text: str) -> None:
    # One write a line, straight to the pipe: what was said before a SIGKILL is not lost.
    os.write(1, f"{text}\n".encode())


async def read_number(store: RecordStore, key: str) -> tuple[int, Check]:
    record = await store.get(key)
    if record is None:
        return 0, Absent(key)
    return int(record.value), AtRevision(key, record.revision)


async def open_url(url: str) -> SqliteStore:
    return await open_store(url, SystemClock(), SILENT)


async def create(url: str, _argument: str) -> None:
    store = await open_any(url)
    say(store.store_id)
    await store.aclose()


async def increment(url: str, argument: str) -> None:
    store = await open_any(url)
    done = 0
    while done < int(argument):
        number, check = await read_number(store, "counter")
        put = Put("counter", str(number + 1).encode())
        done += isinstance(await store.commit(Transaction((put,), (check,))), Committed)
    await store.aclose()


async def contend(url: str, argument: str) -> None:
    """Commit as fast as possible from the given wall second on, for two seconds."""
    store = await open_any(url)
    say("ready")
    start = float(sys.stdin.readline())
    await anyio.sleep(max(0.0, start - time.time()))
    count = 0
    while time.time() < start + 2.0:
        await store.commit(Transaction((Put(f"by/{argument}", str(count).encode()),)))
        count += 1
    say(str(count))
    await store.aclose()


async def open_small(url: str) -> RecordStore:
    """Open a file store that makes a new segment and a state every few commits."""
    path = Path(parse_url(url).path)
    tuning = Tuning(segment_bytes=4_000, state_bytes=8_000, history_revisions=20, history_least=10)
    engine = FileEngine(
        SystemDisk(path), SharedTurn(path), where=url, new_store_id="small", tuning=tuning
    )
    return EngineStore(engine, CAPABILITIES, SystemClock(), SILENT)


async def write_until_killed(url: str, argument: str) -> None:
    """Raise a counter, write a record for each commit, grant a new token; announce each."""
    store = await (open_small(url) if argument == "small" else open_any(url))
    while True:
        number, check = await read_number(store, "counter")
        token, token_check = await read_number(store, "lease/token")
        text = str(number + 1).encode()
        outcome = await store.commit(
            Transaction(
                (
                    Put("counter", text),
                    Put(f"commit/{number + 1:08}", text * 200),
                    Put("lease/token", str(token + 1).encode()),
                ),
                (check, token_check),
                id=f"commit-{number + 1}",
            )
        )
        assert isinstance(outcome, Committed)
        say(f"{number + 1} {token + 1} {outcome.revision}")


async def be_nobody(url: str, _argument: str) -> None:
    """Give up root, then open and commit; say which error comes."""
    # Python may lie where only root may read: load all that this takes before giving it up.
    with tempfile.TemporaryDirectory() as directory:
        warm = await open_any(f"{url.partition(':')[0]}:///{directory}/store")
        await warm.commit(Transaction((Put("a", b""),)))
        await warm.aclose()
    if os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        store = await open_any(url)
        await store.commit(Transaction((Put("a", b""),)))
    except FederlibError as error:
        say(f"{type(error).__name__}: {error}")
    else:
        say("no error")


async def fail_to_write(url: str, argument: str) -> None:
    """Let the kernel refuse the write of a commit, then allow it again."""
    store = await open_url(url)
    await store.commit(Transaction((Put("before", b"kept"),)))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    wal_bytes = Path(f"{argument}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal_bytes + 100, hard))
    try:
        await store.commit(Transaction((Put("lost", bytes(100_000)),), id="lost"))
    except OutcomeUnknown as error:
        say(f"unknown {error.transaction_id}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert await store.outcome("lost") == NotSeen()
    assert await store.get("lost") is None
    await store.commit(Transaction((Put("lost", b"found"),), (Absent("lost"),), id="lost-2"))
    record = await store.get("before")
    assert record is not None
    say(record.value.decode())
    await store.aclose()


async def hold_ticket(url: str, argument: str) -> None:
    """Take the ticket of the store and keep it until killed."""
    from federlib.storage.backends._embedded.ticket import Ticket

    ticket = Ticket(Path(argument))
    assert ticket.take(5.0)
    say(f"held {url}")
    await anyio.sleep_forever()


async def hold_turn(url: str, argument: str) -> None:
    """Take the turn to write of a file store, half write a commit, and wait to be killed.

    A child that was forked meanwhile lives on until its input ends.
    """
    engine = open_engine(url)
    journal = engine._memory.loaded.journal
    assert engine._turn.take(5.0)
    batch = engine._memory.loaded.table.plan(Transaction((Put("by/holder", b"x" * 500),)))
    change = journal.encode(encode_change(batch, None))
    journal.make_room(len(change))
    journal.write(change[: int(float(argument) * len(change))])
    if os.fork() == 0:
        os.read(0, 1)
        os._exit(0)
    say("held")
    await anyio.sleep_forever()


async def run_full(url: str, _argument: str) -> None:
    """Let the kernel refuse space, then allow it again; say what happened."""
    store = await open_any(url)
    journal = Path(parse_url(url).path) / "journal"
    await store.commit(Transaction((Put("before", b""),)))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = max(log.stat().st_size for log in journal.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    kept = 0
    try:
        while True:
            await store.commit(Transaction((Put(f"a/{kept:03}", bytes(50_000)),)))
            kept += 1
    except StoreFull:
        say(f"full after {kept}")
    assert len((await store.scan("a/")).records) == kept
    await store.commit(Transaction((Put("small", b"fits"),)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    check = Absent(f"a/{kept:03}")
    outcome = await store.commit(Transaction((Put(check.key, bytes(50_000)),), (check,)))
    assert outcome == Committed(kept + 4)
    await store.aclose()


VERBS: dict[str, Callable[[str, str], Awaitable[None]]] = {
    verb.__name__: verb
    for verb in (
        create,
        increment,
        contend,
        write_until_killed,
        be_nobody,
        fail_to_write,
        hold_ticket,
        hold_turn,
        run_full,
    )
}

if __name__ == "__main__":
    anyio.run(VERBS[sys.argv[1]], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "")
