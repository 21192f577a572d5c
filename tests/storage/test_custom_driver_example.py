"""The example driver passes the contract: the protocol is all that a store needs."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from federlib.skewclock import Clock
from federlib.storage import Put, RecordStore, Transaction, open_store
from federlib.testing import ManualClock
from federlib.testing.store_contract import RecordStoreContract

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_store_driver.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("custom_store_driver", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = _load()


class TestAuditedStore(RecordStoreContract):
    lacks: ClassVar[frozenset[str]] = frozenset({"durable", "shared", "multi_host", "server_clock"})

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.trail = tmp_path / "audit.jsonl"

    @asynccontextmanager
    async def open_store(self, clock: Clock) -> AsyncIterator[RecordStore]:
        store = example.AuditedStore(await open_store("memory://", clock=clock), self.trail, clock)
        try:
            yield store
        finally:
            await store.aclose()


@pytest.mark.anyio
async def test_each_commit_is_a_line_and_a_conflict_is_none(tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    store = example.AuditedStore(await open_store("memory://"), trail, ManualClock())
    await store.commit(Transaction((Put("a", b"1"), Put("b", b"2"))))
    done = await store.commit(Transaction((Put("a", b"3"),)))
    lines = [json.loads(line) for line in trail.read_text().splitlines()]
    assert [line["keys"] for line in lines] == [["a", "b"], ["a"]]
    assert lines[-1]["revision"] == done.revision
    assert trail.stat().st_mode & 0o777 == 0o600
