"""What a picture of a run shows, as a value: who led when, what struck, what was done. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs

from federlib.testing.chaos.records import Note, Strike
from federlib.testing.sim import Schedule

__all__ = ["Act", "Picture", "Reign", "Span", "picture_of", "planned_strikes"]

_NS = 1_000_000_000
_MS = 1_000_000
_ACTS = frozenset({"issued", "marked", "acted"})

_At = Callable[[int], float]


@attrs.frozen
class Span:
    """Something that lasted; seconds from the beginning of the picture."""

    begin_s: float
    end_s: float
    text: str


@attrs.frozen
class Reign:
    """One process led under one epoch; seconds from the beginning of the picture."""

    who: str
    epoch: int
    begin_s: float
    end_s: float


@attrs.frozen
class Act:
    """Something done at an instant: `issued`, `acted` or `refused`."""

    who: str
    at_s: float
    what: str


@attrs.frozen(kw_only=True)
class Picture:
    """All that is drawn.

    Attributes:
        length_s: How long it is; seconds.
        people: The processes, in order.
        reigns: In order of their beginnings.
        dead: When a process did not run, by process.
        strikes: What struck whom; "" is all of them.
        acts: In order.
        healed_s: When all was healed; None if never.
        leaderless: When nobody led.
    """

    length_s: float
    people: tuple[str, ...]
    reigns: tuple[Reign, ...]
    dead: dict[str, tuple[Span, ...]]
    strikes: dict[str, tuple[Span, ...]]
    acts: tuple[Act, ...]
    healed_s: float | None
    leaderless: tuple[Span, ...]


def picture_of(
    notes: Sequence[Note], strikes: Iterable[Strike], people: Sequence[str], *, began_ns: int
) -> Picture:
    """Put together what is to be drawn.

    Args:
        notes: The ledger, in order.
        strikes: What was carried out.
        people: The processes.
        began_ns: The instant that is called 0; what was before it is drawn at it.
    """
    end_ns = max((note.at_ns for note in notes), default=began_ns)

    def at(instant_ns: int) -> float:
        return max(0, min(instant_ns, end_ns) - began_ns) / _NS

    healed = next((at(note.at_ns) for note in notes if note.what == "healed"), None)
    reigns = _reigns(notes, at, at(end_ns))
    struck: dict[str, list[Span]] = {who: [] for who in ("", *people)}
    for strike in strikes:
        last_ns = end_ns if strike.end_ns is None else strike.end_ns
        span = Span(at(strike.begin_ns), at(last_ns), strike.kind)
        struck.setdefault(strike.who, []).append(span)
    return Picture(
        length_s=at(end_ns),
        people=tuple(people),
        reigns=reigns,
        dead=_dead(notes, people, at, at(end_ns)),
        strikes={who: tuple(spans) for who, spans in struck.items()},
        acts=tuple(
            Act(note.who, at(note.at_ns), "issued" if note.what == "marked" else note.what)
            for note in notes
            if note.what in _ACTS or note.what == "refused"
        ),
        healed_s=healed,
        leaderless=_leaderless(reigns, at(end_ns)),
    )


def _reigns(notes: Sequence[Note], at: _At, end_s: float) -> tuple[Reign, ...]:
    found: list[Reign] = []
    leading: dict[str, tuple[int, float]] = {}

    def close(who: str, now_s: float) -> None:
        if who in leading:
            epoch, begin_s = leading.pop(who)
            found.append(Reign(who, epoch, begin_s, now_s))

    for note in notes:
        if note.what == "leads":
            close(note.who, at(note.at_ns))
            leading[note.who] = (note.epoch, at(note.at_ns))
        elif note.what in {"lost", "killed", "ended"}:
            close(note.who, at(note.at_ns))
    for who in tuple(leading):
        close(who, end_s)
    return tuple(sorted(found, key=lambda reign: (reign.begin_s, reign.epoch)))


def _dead(
    notes: Sequence[Note], people: Sequence[str], at: _At, end_s: float
) -> dict[str, tuple[Span, ...]]:
    found: dict[str, list[Span]] = {who: [] for who in people}
    since: dict[str, float] = {}
    for note in notes:
        if note.what in {"killed", "ended"}:
            since.setdefault(note.who, at(note.at_ns))
        elif note.what == "ready" and note.who in since:
            found.setdefault(note.who, []).append(
                Span(since.pop(note.who), at(note.at_ns), "not running")
            )
    for who, begin_s in since.items():
        found.setdefault(who, []).append(Span(begin_s, end_s, "not running"))
    return {who: tuple(spans) for who, spans in found.items()}


def _leaderless(reigns: Sequence[Reign], end_s: float) -> tuple[Span, ...]:
    """Say when no process was of the opinion that it leads."""
    ends = [0.0]
    found: list[Span] = []
    for reign in reigns:
        if reign.begin_s > max(ends):
            found.append(Span(max(ends), reign.begin_s, "nobody leads"))
        ends.append(reign.end_s)
    if end_s > max(ends):
        found.append(Span(max(ends), end_s, "nobody leads"))
    return tuple(found)


def planned_strikes(schedule: Schedule, reigns: Sequence[Reign]) -> list[Strike]:
    """Return the strikes of a schedule as planned; of the leader is whoever led then.

    For the simulator, whose trace does not tell whom a fault of `follower` or `any` struck:
    these are shown as if they were of all.
    """
    found = []
    for fault in schedule.faults:
        at_s = fault.at_ms / 1e3
        who = fault.who
        if who == "leader":
            who = next((r.who for r in reigns if r.begin_s <= at_s <= r.end_s), "")
        elif who in {"follower", "any"}:
            who = ""
        end_ns = (fault.at_ms + fault.for_ms) * _MS if fault.for_ms else None
        found.append(Strike(fault.kind, who, fault.at_ms * _MS, end_ns))
    return found
