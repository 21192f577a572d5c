"""Evidence made by hand: right as it is, and wrong where a test makes it so."""

from __future__ import annotations

from typing import Any

import attrs

from federlib.testing.chaos.evidence import Evidence, Fate
from federlib.testing.chaos.records import Note, Strike
from federlib.testing.history import History

__all__ = ["RIGHT", "at", "note", "strike", "wrong"]


def at(seconds: float) -> int:
    return round(seconds * 1e9)


def note(seconds: float, who: str, what: Any, **fields: Any) -> Note:
    begun = at(fields.pop("since", seconds))
    return Note(at_ns=at(seconds), who=who, what=what, since_ns=begun, **fields)


def strike(kind: Any, begin: float, end: float | None, who: str = "n1") -> Strike:
    return Strike(kind, who, at(begin), None if end is None else at(end))


RIGHT = Evidence(
    target="sqlite",
    seed=7,
    ttl_s=1.0,
    began_ns=at(0),
    ended_ns=at(10),
    notes=(
        note(0, "n1", "leads", epoch=1),
        note(1, "n1", "effect", id="effect-1", epoch=1, text="1 squared is 1"),
        note(1.1, "n1", "marked", id="effect-1", epoch=1, since=1.05),
        note(1.3, "n1", "issued", id="1-n1-1", epoch=1, since=1.2),
        note(1.4, "n2", "acted", id="1-n1-1", epoch=1),
        note(2, "n1", "effect", id="effect-2", epoch=1, text="2 squared is 4"),
        note(2.1, "n1", "killed"),
        note(4, "n2", "leads", epoch=2),
        note(5, "n2", "effect", id="effect-2", epoch=2, text="2 squared is 4"),
        note(5.1, "n2", "marked", id="effect-2", epoch=2, since=5.05),
        note(6, "n3", "refused", id="replay-1", epoch=1, since=5.9, text="rejected_stale_epoch"),
        note(9, "n2", "issued", id="2-n2-1", epoch=2, since=8.9),
        note(9.1, "n3", "acted", id="2-n2-1", epoch=2),
    ),
    strikes=(strike("kill", 2.1, 3.0),),
    faults={},
    fates=(
        Fate(id="1-n1-1", epoch=1, issued=11, started=12, ended=13, status="applied"),
        Fate(id="replay-1", epoch=1, issued=20, ended=20, status="rejected_stale_epoch"),
        Fate(id="2-n2-1", epoch=2, issued=21, started=22, ended=23, status="applied"),
    ),
    history=History(),
    lives=4,
    has_true_clocks=True,
    has_new_store=True,
)


def wrong(**changes: Any) -> Evidence:
    """Return it with `notes` and `fates` added, and other fields changed."""
    for name in ("notes", "fates", "strikes"):
        if name in changes:
            changes[name] = (*getattr(RIGHT, name), *changes[name])
    return attrs.evolve(RIGHT, **changes)
