"""A plan as it is stored: chunks of tasks with their parents as node numbers.

Source: design §5, dag (chunks of at most 256 KiB).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from federlib.dag.records import PlanChunk, PlanTask, RunRecord, encode
from federlib.dag.workflow import TaskSpec, Workflow
from federlib.errors import CorruptRecord, InvalidInput
from federlib.graph import Graph

__all__ = ["MAX_CHUNK_BYTES", "Plan", "join_chunks", "split_plan"]

MAX_CHUNK_BYTES = 256 * 1024
_FRAME = 256
_decoder = msgspec.json.Decoder(TaskSpec)


class Plan:
    """The tasks of a run by node number, and their graph.

    Attributes:
        graph: Who waits for whom.
        ids: The task ids by node number.
    """

    def __init__(self, graph: Graph, specs: Sequence[msgspec.Raw]) -> None:
        self.graph: Graph = graph
        self.ids: tuple[str, ...] = graph.ids
        self._raw = specs

    def spec(self, node: int) -> TaskSpec:
        """Return a task as it was submitted, its parents' ids included.

        Raises:
            CorruptRecord: What is stored is no task.
        """
        try:
            spec = _decoder.decode(self._raw[node])
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise CorruptRecord(
                f"the plan, task {self.ids[node]!r:.100}",
                expected=f"a task ({error})",
                found=bytes(self._raw[node]),
            ) from error
        parents = self.graph.parents_of(node)
        if parents:
            # It is ours alone as yet, and a copy would take as long as the decoding.
            msgspec.structs.force_setattr(spec, "needs", tuple(map(self.ids.__getitem__, parents)))
        return spec

    def workflow(self, name: str) -> Workflow:
        """Return the whole plan as a workflow again."""
        return Workflow(name=name, tasks=tuple(map(self.spec, range(len(self.ids)))))


def split_plan(workflow: Workflow, graph: Graph | None = None) -> list[PlanChunk]:
    """Check a workflow's graph, unless it is given, and cut the workflow into chunks.

    Raises:
        InvalidInput: The graph is not acyclic, or one task alone is too large.
    """
    graph = workflow.graph() if graph is None else graph
    chunks: list[PlanChunk] = []
    tasks: list[PlanTask] = []
    size = first = 0
    for node, task in enumerate(workflow.tasks):
        raw = msgspec.json.encode(msgspec.structs.replace(task, needs=()))
        row = PlanTask(task.id, graph.parents_of(node), msgspec.Raw(raw))
        grows = len(msgspec.json.encode(row)) + 1
        if grows > MAX_CHUNK_BYTES - _FRAME:
            raise InvalidInput(
                f"task {task.id!r}", expected=f"at most {MAX_CHUNK_BYTES} bytes", found=grows
            )
        if tasks and size + grows > MAX_CHUNK_BYTES - _FRAME:
            chunks.append(PlanChunk(first=first, tasks=tuple(tasks)))
            first, tasks, size = node, [], 0
        tasks.append(row)
        size += grows
    if tasks:
        chunks.append(PlanChunk(first=first, tasks=tuple(tasks)))
    assert all(len(encode(chunk)) <= MAX_CHUNK_BYTES for chunk in chunks)
    return chunks


def join_chunks(chunks: Sequence[PlanChunk], run: RunRecord, *, where: str) -> Plan:
    """Put a stored plan together again.

    Args:
        chunks: As read, in order.
        run: Says how many chunks and tasks there are.
        where: The chunks' place in the store, for errors.
    Raises:
        CorruptRecord: Chunks are missing or do not fit together.
    """
    rows: list[PlanTask] = []
    for chunk in chunks:
        if chunk.first != len(rows):
            raise CorruptRecord(where, expected=f"task {len(rows)} next", found=chunk.first)
        rows.extend(chunk.tasks)
    if len(chunks) != run.chunks or len(rows) != run.tasks:
        raise CorruptRecord(
            where,
            expected=f"{run.tasks} tasks in {run.chunks} chunks",
            found=f"{len(rows)} in {len(chunks)}",
        )
    ids = [row.id for row in rows]
    wrong = next((row.id for row in rows if row.parents and min(row.parents) < 0), None)
    if wrong is not None:
        raise CorruptRecord(where, expected="parents as node numbers", found=f"task {wrong!r:.100}")
    try:
        graph = Graph.build((row.id, [ids[parent] for parent in row.parents]) for row in rows)
    except (InvalidInput, IndexError) as error:
        raise CorruptRecord(where, expected="an acyclic graph", found=str(error)) from error
    return Plan(graph, [row.spec for row in rows])
