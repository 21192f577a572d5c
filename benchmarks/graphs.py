"""Graphs to measure with: recorded workflows, random layers, a hub, wide joins."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from random import Random

__all__ = ["GRAPHS", "Parents", "hub", "join", "layered", "recorded"]

Parents = dict[str, list[str]]
"""Each node's id with the ids of its parents."""

DATA = Path(
    os.environ.get("FEDERLIB_DATA") or Path(__file__).resolve().parents[1] / "../shared/data"
)


def layered(nodes: int, *, width: int, edges_each: int, seed: int = 7) -> Parents:
    """Make random layers; each node has `edges_each` parents in the layer above."""
    random = Random(seed)
    parents: Parents = {}
    for node in range(nodes):
        above = (node // width - 1) * width
        names = {f"task-{above + random.randrange(width)}" for _ in range(edges_each)}
        parents[f"task-{node}"] = sorted(names) if above >= 0 else []
    return parents


def hub(children: int) -> Parents:
    """Make one node with this many children."""
    return {"hub": [], **{f"task-{i}": ["hub"] for i in range(children)}}


def join(joins: int, parents_each: int) -> Parents:
    """Make nodes that all wait for the same many parents."""
    names = [f"task-{i}" for i in range(parents_each)]
    return {**{name: [] for name in names}, **{f"join-{i}": names for i in range(joins)}}


def recorded(name: str) -> Parents | None:
    """Read one of the shared workflows, or None where they are not."""
    path = DATA / "workflows" / f"{name}.json.gz"
    if not path.exists():
        return None
    tasks = json.loads(gzip.decompress(path.read_bytes()))["tasks"]
    return {task["id"]: task["parents"] for task in tasks}


GRAPHS: Mapping[str, Callable[[], Parents | None]] = {
    "montage-dss-15d": partial(recorded, "montage-dss-15d"),
    "debian12-install": partial(recorded, "debian12-install"),
    "layered 10^4": partial(layered, 10_000, width=100, edges_each=3),
    "layered 10^5": partial(layered, 100_000, width=1_000, edges_each=3),
    "layered 10^6": partial(layered, 1_000_000, width=10_000, edges_each=3),
    "chain 10^5": partial(layered, 100_000, width=1, edges_each=1),
    "hub of 21,788 children": partial(hub, 21_788),
    "100 joins of 1,000": partial(join, 100, 1_000),
}
"""What is measured, by name; None from a recorded one where the shared data are not."""
