"""SIGKILL at random instants: what was announced is there, whole, and nothing half.

SIGKILL does not lose the page cache, so this tests transactions and recovery, not fsync.
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import anyio
import pytest

from federlib.storage import Committed, NotSeen, Record, RecordStore, open_store
from storage.store_processes import URLS, start
from storage.store_worker import read_number

KILLS = 200 if os.environ.get("FEDERLIB_SOAK") else 20


async def read_all(store: RecordStore, prefix: str) -> list[Record]:
    records: list[Record] = []
    after: str | None = None
    while True:
        page = await store.scan(prefix, after=after)
        records += page.records
        if page.next is None:
            return records
        after = page.next


async def check_invariant(url: str, announced: tuple[int, int, int]) -> tuple[int, int]:
    """Open the store after a kill; returns counter and token as found."""
    store = await open_store(url)
    counter, _ = await read_number(store, "counter")
    token, _ = await read_number(store, "lease/token")
    number, announced_token, revision = announced
    # Everything announced, and at most the one commit that was under way.
    assert counter in {number, number + 1}
    assert token - announced_token == counter - number
    records = await read_all(store, "commit/")
    assert [record.key for record in records] == [f"commit/{n:08}" for n in range(1, counter + 1)]
    assert all(int(record.value[: len(str(n))]) == n for n, record in enumerate(records, 1))
    if counter:
        head = await store.get("counter")
        assert head is not None
        assert head.revision == records[-1].revision == revision + (counter - number)
        assert await store.outcome(f"commit-{counter}") == Committed(head.revision)
    assert await store.outcome(f"commit-{counter + 1}") == NotSeen()
    await store.aclose()
    return counter, token


def run_and_kill(url: str, delay_s: float, argument: str) -> list[str]:
    """Run a writer for about `delay_s` seconds of its writing; returns what it announced."""
    with start("write_until_killed", url, argument) as worker:
        assert worker.stdout is not None
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(worker.stdout or ()))
        if delay_s >= 0:
            lines.append(worker.stdout.readline())
            time.sleep(delay_s)
        reader.start()
        worker.kill()
        reader.join(10)
        assert worker.stderr is not None
        assert worker.stderr.read() == ""
    # A line may have been cut only if the kernel cut a write of ten bytes; it does not.
    return [line for line in lines if line.endswith("\n")]


@pytest.mark.parametrize(("driver", "argument"), [("sqlite", ""), ("file", ""), ("file", "small")])
def test_a_killed_writer_leaves_whole_transactions_and_tokens_never_go_back(
    tmp_path: Path, driver: str, argument: str
) -> None:
    url = URLS[driver].format(tmp_path)
    chance = random.Random(20_240_601)
    announced = (0, 0, 1)
    for _ in range(KILLS):
        lines = run_and_kill(url, chance.uniform(0.0, 0.15), argument)
        if lines:
            number, token, revision = map(int, lines[-1].split())
            announced = (number, token, revision)
        counter, token = anyio.run(check_invariant, url, announced)
        extra = counter - announced[0]
        announced = (counter, token, announced[2] + extra)
    assert announced[0] >= KILLS


@pytest.mark.parametrize("driver", URLS)
def test_a_process_killed_while_it_creates_the_store_leaves_a_store_or_nothing(
    tmp_path: Path, driver: str
) -> None:
    chance = random.Random(7)
    for attempt in range(KILLS):
        url = URLS[driver].format(tmp_path / str(attempt))
        with start("create", url) as worker:
            # Python needs about 0.2 s to start; creating takes a few milliseconds of it.
            path = tmp_path / str(attempt)
            while not path.exists() and worker.poll() is None:
                time.sleep(0.0005)
            time.sleep(chance.uniform(0.0, 0.02))
            worker.kill()
        anyio.run(check_invariant, url, (0, 0, 1))
