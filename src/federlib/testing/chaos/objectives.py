"""The objectives, measured on evidence: pure arithmetic.

Source: HA plan §7: failover RTO at most 30 s, accepted commands of a split brain none,
duplicate side effects bounded and idempotent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from federlib.testing.chaos.evidence import Evidence
from federlib.testing.chaos.records import Note, Slo, Strike

__all__ = [
    "MAX_RTO_S",
    "duplicates",
    "duplicates_allowed",
    "failover_rto_s",
    "less_outages",
    "objectives",
    "slo",
    "split_brain",
]

MAX_RTO_S = 30.0
_NS = 1_000_000_000
_ACTS = frozenset({"issued", "marked"})
_OUTAGES = frozenset({"store_down", "store_full"})


def slo(name: str, *, limit: float, measured: float) -> Slo:
    """Return an objective with its verdict."""
    return Slo(name=name, limit=limit, measured=measured, passed=measured <= limit)


def objectives(evidence: Evidence) -> tuple[Slo, ...]:
    """Measure all of them."""
    return (
        slo("failover_rto_s", limit=MAX_RTO_S, measured=round(failover_rto_s(evidence), 3)),
        slo("split_brain_commands_accepted", limit=0, measured=len(split_brain(evidence))),
        slo(
            "duplicate_side_effects",
            limit=duplicates_allowed(evidence),
            measured=sum(duplicates(evidence.notes).values()),
        ),
    )


def failover_rto_s(evidence: Evidence) -> float:
    """Return the longest time in which no leader got anything accepted; seconds.

    From the last word of one that the store took to the first of the next, so it is never
    less than the failover itself. Time in which the store took nothing from anybody does not
    count: no leader could have mended that.
    """
    instants = sorted(n.at_ns for n in evidence.notes if n.what in _ACTS)
    span = [evidence.began_ns, *instants, evidence.ended_ns]
    outages = [
        (s.begin_ns, evidence.ended_ns if s.end_ns is None else s.end_ns)
        for s in evidence.strikes
        if s.kind in _OUTAGES
    ]
    gaps = (less_outages(first, last, outages) for first, last in pairwise(span))
    return max(gaps, default=0) / _NS


def less_outages(begin: int, end: int, outages: Iterable[tuple[int, int]]) -> int:
    """Return how long it is from one instant to another, without what lies in outages.

    Args:
        begin: The earlier instant.
        end: The later one.
        outages: Beginnings and ends, in any order; they may overlap.
    """
    length, covered = end - begin, begin
    for first, last in sorted(outages):
        first, last = max(first, covered), min(last, end)
        if first < last:
            length -= last - first
            covered = last
    return length


def split_brain(evidence: Evidence) -> tuple[str, ...]:
    """Name the commands and marks that were accepted under an epoch below an accepted one.

    Looked at twice. By the store's own revisions: commands in the order in which they were
    let in and begun. And from outside: what was accepted wholly after something of a higher
    epoch had been, by the instants of the ledger, whatever the store says.
    """
    taken = [
        (revision, fate.epoch, fate.id)
        for fate in evidence.fates
        if fate.is_accepted
        for revision in (fate.issued, fate.started)
        if revision is not None
    ]
    found: dict[str, None] = {}
    high = 0
    for _, epoch, name in sorted(taken):
        if epoch < high:
            found[name] = None
        high = max(high, epoch)
    for name in _late(evidence.notes):
        found[name] = None
    return tuple(found)


def _late(notes: Iterable[Note]) -> list[str]:
    acts = sorted((n for n in notes if n.what in _ACTS), key=lambda note: note.since_ns)
    ended = sorted(acts, key=lambda note: note.at_ns, reverse=True)
    found, high = [], 0
    for note in acts:
        while ended and ended[-1].at_ns < note.since_ns:
            high = max(high, ended.pop().epoch)
        if note.epoch < high:
            found.append(note.id)
    return found


def duplicates(notes: Iterable[Note]) -> dict[str, int]:
    """Count how often each effect happened too often; effects that happened once are left out."""
    counts = Counter(note.id for note in notes if note.what in {"effect", "acted"})
    return {name: count - 1 for name, count in counts.items() if count > 1}


def duplicates_allowed(evidence: Evidence) -> int:
    """Say how many effects may have happened again.

    What a leader does before it marks it as done happens again if it is cut short in between.
    A fault can do so once for each time to live that it lasts; a lost answer and a reign that
    was lost otherwise, on a machine that is too busy to renew in time, can do so once.
    """
    lost = sum(note.what in {"answer_lost", "lost"} for note in evidence.notes)
    return lost + sum(_interruptions(strike, evidence) for strike in evidence.strikes)


def _interruptions(strike: Strike, evidence: Evidence) -> int:
    end_ns = evidence.ended_ns if strike.end_ns is None else strike.end_ns
    return 1 + math.floor((end_ns - strike.begin_ns) / _NS / evidence.ttl_s)
