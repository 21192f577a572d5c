"""Plans: cut into chunks, put together again, and what cannot be a plan."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.dag.plan import MAX_CHUNK_BYTES, join_chunks, split_plan
from federlib.dag.records import PlanChunk, PlanTask, decode, encode
from federlib.dag.workflow import TaskSpec, Workflow, plan_hash
from federlib.errors import CorruptRecord, InvalidInput

from .run_lab import run_record, stored


def chunk(first: int, *rows: tuple[str, tuple[int, ...]]) -> PlanChunk:
    spec = msgspec.Raw(b'{"id":"x"}')
    return PlanChunk(first=first, tasks=tuple(PlanTask(*row, spec) for row in rows))


@given(st.lists(st.lists(st.integers(0, 1_000), max_size=4), max_size=30))
def test_a_plan_comes_back_as_it_was_submitted(parents: list[list[int]]) -> None:
    tasks = tuple(
        TaskSpec(
            id=f"t{n}",
            needs=tuple(dict.fromkeys(f"t{p % n}" for p in wanted if n)),
            retries=n,
        )
        for n, wanted in enumerate(parents)
    )
    workflow = Workflow("w", tasks)
    chunks = [decode(PlanChunk, stored("k", encode(c))) for c in split_plan(workflow)]
    plan = join_chunks(chunks, run_record(len(tasks), len(chunks)), where="plan")
    assert plan_hash(plan.workflow("w")) == plan_hash(workflow)
    assert [plan.spec(n).retries for n in range(len(tasks))] == list(range(len(tasks)))


def test_every_chunk_keeps_its_limit_and_a_task_alone_beyond_it_is_refused() -> None:
    large = tuple(TaskSpec(id=f"t{n}", run="\x01" * 20_000) for n in range(40))
    chunks = split_plan(Workflow("w", large))
    assert len(chunks) > 10
    assert all(len(encode(c)) <= MAX_CHUNK_BYTES for c in chunks)
    with pytest.raises(InvalidInput, match="t0"):
        split_plan(Workflow("w", (TaskSpec(id="t0", run="x" * MAX_CHUNK_BYTES),)))


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [chunk(0, ("a", ()))],
        [chunk(0, ("a", ()), ("b", ())), chunk(2)],
        [chunk(1, ("a", ()), ("b", ()))],
        [chunk(0, ("a", ()), ("b", (2,)))],
        [chunk(0, ("a", ()), ("b", (-1,)))],
        [chunk(0, ("a", ()), ("a", ()))],
        [chunk(0, ("a", (1,)), ("b", (0,)))],
    ],
)
def test_chunks_that_do_not_fit_together_are_corrupt(chunks: list[PlanChunk]) -> None:
    with pytest.raises(CorruptRecord):
        join_chunks(chunks, run_record(2), where="plan")


@pytest.mark.parametrize("raw", [b'{"id":7}', b'{"retries":"many","id":"a"}', b"[]"])
def test_a_task_that_is_none_is_named(raw: bytes) -> None:
    row = PlanTask("a", (), msgspec.Raw(raw))
    plan = join_chunks([PlanChunk(first=0, tasks=(row,))], run_record(1), where="plan")
    with pytest.raises(CorruptRecord, match="'a'"):
        plan.spec(0)
