"""Tasks that do nothing, end to end, against DBOS on the same PostgreSQL in the same run.

Ours is a run of independent tasks: `dag.submit`, `dag.work` with 64 slots, to the end of
both. DBOS's are workflows without steps from `enqueue` to the last result, and steps one
after the other in one workflow. A chain of ours, whose tasks cannot share a commit any more
than its steps can, stands beside. Every one of them is kept durably by the same server.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from itertools import count

import attrs

from benchmarks.children import answer, program, scratch
from benchmarks.engines import Engine, postgresql, with_schema
from benchmarks.graphs import Parents, layered
from benchmarks.machine import version_of
from benchmarks.table import Row
from benchmarks.talks import Talker

_SLOTS = 64
_QUEUE_BAR, _STEP_BAR = 10.0, 5.0
_BUDGET_S = 45.0
"""On a machine that is busy with others no row starts another round after this."""

_schemas = count()


@attrs.frozen
class _Rates:
    """Tasks a second, round by round."""

    ours: list[float] = attrs.field(factory=list)
    chain: list[float] = attrs.field(factory=list)
    queue: list[float] = attrs.field(factory=list)
    steps: list[float] = attrs.field(factory=list)


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Measure in turns; the median of the rounds' ratios."""
    tasks, chained, queued, steps, rounds = (
        (500, 20, 30, 50, 1) if quick else (10_000, 300, 500, 800, 3)
    )
    rates, why = _Rates(), None
    with postgresql() as engine:
        version = version_of("dbos")
        if version is None:
            why = "dbos is not installed here"
        else:
            try:
                with Talker(program("dbos_peer", engine.url)) as peer:
                    peer.hear()
                    for verb in ("queue 5", "steps 5"):
                        peer.say(verb)
                        peer.hear()
                    end_s = time.monotonic() + _BUDGET_S
                    for _ in range(rounds):
                        if not rates.ours or time.monotonic() < end_s:
                            rates.queue.append(_asked(peer, "queue", queued))
                            rates.ours.append(_run(engine, {f"t{i}": [] for i in range(tasks)}))
                            rates.steps.append(_asked(peer, "steps", steps))
                            rates.chain.append(
                                _run(engine, layered(chained, width=1, edges_each=1))
                            )
            except Exception as error:
                why = f"it failed: {type(error).__name__}: {error}"
        if not rates.ours:
            rates.ours.append(_run(engine, {f"t{i}": [] for i in range(tasks)}))
        yield from _rows(engine, rates, why, version or "")


def _asked(peer: Talker, verb: str, number: int) -> float:
    peer.say(f"{verb} {number}")
    return number / float(peer.hear())


def _run(engine: Engine, graph: Parents) -> float:
    """Submit and work, alone in a process; tasks a second of both together."""
    url = with_schema(engine, f"run_{next(_schemas)}")
    with scratch() as place:
        path = place / "graph.json"
        path.write_text(json.dumps(graph), encoding="utf-8")
        found = answer(program("runs", "whole", url, place, _SLOTS, path))
    return len(graph) / (found["submit_s"] + found["work_s"])


def _rows(engine: Engine, rates: _Rates, why: str | None, version: str) -> Iterator[Row]:
    ours = Row(
        f"independent tasks of a run, end to end, {engine.title}",
        round(statistics.median(rates.ours)),
        "tasks/s",
        "",
        None,
        higher_is_better=True,
        client="federlib, async, tasks in its loop",
        batch=_SLOTS,
        fsync=engine.fsync,
    )
    dbos = f"DBOS {version}".strip()
    yield _against(ours, rates.ours, rates.queue, f"{dbos} queue", why, _QUEUE_BAR)
    yield _against(ours, rates.ours, rates.steps, f"{dbos} steps", why, _STEP_BAR)
    if rates.chain:
        chain = attrs.evolve(
            ours,
            name=f"a chain of tasks, end to end, {engine.title}",
            value=round(statistics.median(rates.chain)),
            batch=1,
        )
        yield _against(chain, rates.chain, rates.steps, f"{dbos} steps", why, None)
    for what, found in (("queue, enqueued to done", rates.queue), ("steps", rates.steps)):
        value = round(statistics.median(found)) if found else None
        yield attrs.evolve(
            ours,
            name=f"DBOS {what}, {engine.title}",
            value=value,
            client=dbos,
            batch=None,
            note="" if found else why or "",
        )


def _against(
    row: Row, ours: list[float], theirs: list[float], peer: str, why: str | None, bar: float | None
) -> Row:
    ratios = [one / other for one, other in zip(ours, theirs, strict=False) if other]
    if not ratios:
        # A peer that cannot be had takes its bar along; one that fails does not.
        is_missing = why is not None and "not installed" in why
        return attrs.evolve(row, peer=peer, bar=None if is_missing else bar, note=why or "")
    return attrs.evolve(
        row,
        peer=f"{peer}, {statistics.median(theirs):,.0f}/s",
        ratio=round(statistics.median(ratios), 2),
        bar=bar,
        note=f"{len(ratios)} rounds",
    )
