"""The table that engines are measured on, in the form that each of them wants.

One table, FIRST: equality of a pool, a half-open range of a queue depth, a comparison of a load, a
list of two tiers in a third of the rules, and a last rule for everything. The asked facts are
spread evenly over its rules, one in ten falling to the last.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

import attrs

from federlib.dmn import (
    DecisionNode,
    DecisionTable,
    Definitions,
    InputClause,
    InputData,
    OutputClause,
    Rule,
)

__all__ = ["Facts", "Row", "as_model", "as_zen", "facts_for", "if_chain", "rows_of"]

Facts = dict[str, object]
Engine = Callable[[Facts], object]

_INPUTS = {"pool": "string", "queue_depth": "number", "cpu": "number", "tier": "string"}
_OUTPUTS = {"action": "string", "delta": "number"}
_WIDTH = 10


@attrs.frozen
class Row:
    """A rule; None is `-`."""

    pool: str | None
    depth: tuple[int, int] | None
    cpu: tuple[str, int] | None
    tiers: tuple[str, ...] | None
    action: str
    delta: int

    @property
    def cells(self) -> tuple[str, ...]:
        """The conditions as FEEL; zen reads them too."""
        low, high = self.depth or (0, 0)
        return (
            "-" if self.pool is None else json.dumps(self.pool),
            "-" if self.depth is None else f"[{low}..{high})",
            "-" if self.cpu is None else " ".join(map(str, self.cpu)),
            "-" if self.tiers is None else ", ".join(map(json.dumps, self.tiers)),
        )

    @property
    def outputs(self) -> Facts:
        """What it gives."""
        return {"action": self.action, "delta": self.delta}


def rows_of(count: int, pools: int) -> list[Row]:
    """Make a table."""
    rng = random.Random(count)
    each = -(-(count - 1) // pools)
    rows = [
        Row(
            f"pool-{number // each}",
            (number % each * _WIDTH, number % each * _WIDTH + _WIDTH),
            (">=", rng.randrange(60)) if number % 2 else ("<", rng.randrange(40, 100)),
            ("gold", "silver") if number % 3 == 0 else None,
            f"action-{number % 5}",
            number % 7,
        )
        for number in range(count - 1)
    ]
    return [*rows, Row(None, None, None, None, "stay", 0)]


def facts_for(rows: Sequence[Row], count: int = 256) -> list[Facts]:
    """Make facts; most of them meet a rule each, spread over the table."""
    rng = random.Random(7)
    found: list[Facts] = []
    for number in range(count):
        row = rows[number * (len(rows) - 1) // count]
        low, _ = row.depth or (0, 0)
        than, bound = row.cpu or ("<", 50)
        cpu = rng.uniform(bound, 100) if than == ">=" else rng.uniform(0, bound)
        misses = number % _WIDTH == 0
        found.append(
            {
                "pool": "elsewhere" if misses else str(row.pool),
                "queue_depth": low + rng.randrange(_WIDTH),
                "cpu": round(cpu, 2),
                "tier": "gold" if row.tiers else rng.choice(["gold", "silver", "bronze"]),
            }
        )
    return found


def if_chain(rows: Sequence[Row]) -> Engine:
    """Write the table as one would in Python: floats, no checks, nothing remembered."""
    lines = [
        "def decide(facts):",
        "    pool, depth = facts['pool'], facts['queue_depth']",
        "    cpu, tier = facts['cpu'], facts['tier']",
    ]
    for row in rows:
        tests = []
        if row.pool is not None:
            tests.append(f"pool == {row.pool!r}")
        if row.depth is not None:
            tests.append(f"{row.depth[0]} <= depth < {row.depth[1]}")
        if row.cpu is not None:
            tests.append(f"cpu {row.cpu[0]} {row.cpu[1]}")
        if row.tiers is not None:
            tests.append(f"tier in {row.tiers!r}")
        lines.append(f"    if {' and '.join(tests) or 'True'}: return {row.outputs!r}")
    made: dict[str, Engine] = {}
    exec("\n".join(lines), made)  # noqa: S102 (a thousand lines that nobody wants to read)
    return made["decide"]


def as_model(rows: Sequence[Row]) -> Definitions:
    """Write the table as a model of ours."""
    table = DecisionTable(
        tuple(InputClause(name, type_ref=kind) for name, kind in _INPUTS.items()),
        tuple(OutputClause(name, type_ref=kind) for name, kind in _OUTPUTS.items()),
        tuple(
            Rule(row.cells, (json.dumps(row.action), str(row.delta)), id=f"rule-{number}")
            for number, row in enumerate(rows)
        ),
        hit_policy="FIRST",
    )
    return Definitions(
        "scaling",
        version="1",
        inputs=tuple(InputData(name, kind) for name, kind in _INPUTS.items()),
        decisions=(DecisionNode("scale", table, inputs=tuple(_INPUTS)),),
    )


def as_zen(rows: Sequence[Row]) -> dict[str, object]:
    """Write the table as zen-engine reads it."""
    inputs = [{"id": name, "name": name, "field": name} for name in _INPUTS]
    outputs = [{"id": name, "name": name, "field": name} for name in _OUTPUTS]
    rules = [
        {
            "_id": f"rule-{number}",
            **{
                name: "" if cell == "-" else cell
                for name, cell in zip(_INPUTS, row.cells, strict=True)
            },
            "action": json.dumps(row.action),
            "delta": str(row.delta),
        }
        for number, row in enumerate(rows)
    ]
    content = {"hitPolicy": "first", "inputs": inputs, "outputs": outputs, "rules": rules}
    where = {"x": 0, "y": 0}
    return {
        "contentType": "application/vnd.gorules.decision",
        "nodes": [
            {"id": "in", "type": "inputNode", "name": "in", "position": where},
            {
                "id": "table",
                "type": "decisionTableNode",
                "name": "table",
                "position": where,
                "content": content,
            },
            {"id": "out", "type": "outputNode", "name": "out", "position": where},
        ],
        "edges": [
            {"id": "a", "type": "edge", "sourceId": "in", "targetId": "table"},
            {"id": "b", "type": "edge", "sourceId": "table", "targetId": "out"},
        ],
    }
