"""Decisions in the store: written once, found by the id that commands carry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from federlib.decisions import DECISION_PREFIX, DecisionLog
from federlib.dmn import DecisionMade, EventDecisions, compile_model, encode_made
from federlib.dmn.policies import load_mapping, load_policy
from federlib.errors import CorruptRecord, InvalidInput
from federlib.storage import Put, RecordStore, Transaction, open_store
from federlib.storage.limits import MAX_VALUE_BYTES
from federlib.upkeep import check_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RecordStore]:
    opened = await open_store(f"sqlite:///{tmp_path}/fleet.db")
    yield opened
    await opened.aclose()


@pytest.fixture(scope="module")
def made() -> DecisionMade:
    decisions = EventDecisions(compile_model(load_policy("restart")), load_mapping("restart"))
    return decisions.answer({"request_id": "r", "worker": {"exit_code": 2}}, now_ns=1)


async def test_a_decision_is_found_by_its_id(store: RecordStore, made: DecisionMade) -> None:
    log = DecisionLog(store)
    assert await log.find(made.decision_id) is None
    assert await log.keep(made)
    assert await log.find(made.decision_id) == made


async def test_a_decision_is_written_once(store: RecordStore, made: DecisionMade) -> None:
    log = DecisionLog(store)
    assert await log.keep(made)
    later = msgspec.structs.replace(made, leader_epoch=9)
    assert not await log.keep(later)
    assert await log.find(made.decision_id) == made


async def test_a_trace_that_is_too_large_is_left_out(
    store: RecordStore, made: DecisionMade
) -> None:
    trace = made.decision.trace
    assert trace is not None
    large = msgspec.structs.replace(made.decision, trace=trace * 1_000)
    assert len(encode_made(msgspec.structs.replace(made, decision=large))) > MAX_VALUE_BYTES
    log = DecisionLog(store)
    assert await log.keep(msgspec.structs.replace(made, decision=large))
    found = await log.find(made.decision_id)
    assert found is not None
    assert found.decision == msgspec.structs.replace(made.decision, trace=None)


async def test_what_is_no_decision_is_refused(store: RecordStore, made: DecisionMade) -> None:
    log = DecisionLog(store)
    for name, value in (("torn", b"{"), ("other", encode_made(made))):
        await store.commit(Transaction((Put(f"{DECISION_PREFIX}{name}", value),), ()))
        with pytest.raises(CorruptRecord):
            await log.find(name)
    with pytest.raises(InvalidInput):
        await log.find("")


async def test_a_check_of_the_store_knows_decisions(store: RecordStore, made: DecisionMade) -> None:
    await DecisionLog(store).keep(made)
    report = await check_store(store)
    assert report.kinds["decision"] == 1
    assert report.problems == ()
    await store.commit(Transaction((Put(f"{DECISION_PREFIX}torn", b"{"),), ()))
    assert (await check_store(store)).problems
