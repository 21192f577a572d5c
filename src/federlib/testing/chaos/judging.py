"""What must hold of a run on a real store, asked of its evidence: pure.

Each invariant is a small function that says in words what is wrong with the evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from federlib.storage import Committed, NotSeen
from federlib.testing.chaos.evidence import Evidence, Judged
from federlib.testing.chaos.objectives import split_brain
from federlib.testing.history import (
    History,
    Operation,
    StoreModel,
    lease_safety,
    linearizability,
)

__all__ = ["INVARIANTS", "judge", "settled"]

_MAX_STEPS = 2_000_000


def no_stale_epoch_is_accepted(evidence: Evidence) -> Iterator[str]:
    """Nothing is accepted under an epoch below one that was accepted before it."""
    for name in split_brain(evidence):
        yield f"{name} was accepted after something of a later reign"


def no_replay_gets_in(evidence: Evidence) -> Iterator[str]:
    """A command of a reign that is over is refused once a later one has begun."""
    for fate in evidence.fates:
        if fate.id.startswith("replay-") and fate.is_accepted:
            yield f"{fate.id} got in under epoch {fate.epoch}"


def commands_are_acted_on_once(evidence: Evidence) -> Iterator[str]:
    """The handler is called at most once for a command."""
    seen: set[str] = set()
    for note in evidence.notes:
        if note.what == "acted":
            if note.id in seen:
                yield f"{note.id} was acted on again, by {note.who}"
            seen.add(note.id)


def only_accepted_commands_are_acted_on(evidence: Evidence) -> Iterator[str]:
    """What was acted on is in the store, begun, under the same epoch."""
    started = {fate.id: fate.epoch for fate in evidence.fates if fate.started is not None}
    for note in evidence.notes:
        if note.what == "acted" and started.get(note.id) != note.epoch:
            yield f"{note.id} was acted on under epoch {note.epoch}, and is not so in the store"


def outcomes_are_true(evidence: Evidence) -> Iterator[str]:
    """A command is recorded as applied if, and only if, it was acted on."""
    acted = {note.id for note in evidence.notes if note.what == "acted"}
    for fate in evidence.fates:
        if fate.status is not None and (fate.status == "applied") != (fate.id in acted):
            was = "was" if fate.id in acted else "was not"
            yield f"{fate.id} is recorded as {fate.status}, and {was} acted on"


def what_was_promised_is_kept(evidence: Evidence) -> Iterator[str]:
    """A command whose issuer heard that it got in is in the store."""
    kept = {fate.id for fate in evidence.fates}
    for note in evidence.notes:
        if note.what == "issued" and note.id not in kept:
            yield f"{note.id} was issued, and is gone"


def every_command_ends(evidence: Evidence) -> Iterator[str]:
    """When all is healed, whatever was accepted gets its outcome."""
    for fate in evidence.fates:
        if fate.status is None:
            yield f"{fate.id} has no outcome"


def effects_are_idempotent(evidence: Evidence) -> Iterator[str]:
    """An effect that happens again is the same again."""
    first: dict[str, str] = {}
    for note in evidence.notes:
        if note.what == "effect" and first.setdefault(note.id, note.text) != note.text:
            yield f"{note.id} was once {first[note.id]!r} and then {note.text!r}"


def one_leader_an_epoch(evidence: Evidence) -> Iterator[str]:
    """No two processes lead under one epoch."""
    leaders: dict[int, str] = {}
    for note in evidence.notes:
        if note.what == "leads" and leaders.setdefault(note.epoch, note.who) != note.who:
            yield f"{leaders[note.epoch]} and {note.who} led under epoch {note.epoch}"


INVARIANTS: Mapping[str, Callable[[Evidence], Iterator[str]]] = {
    check.__name__: check
    for check in (
        no_stale_epoch_is_accepted,
        no_replay_gets_in,
        commands_are_acted_on_once,
        only_accepted_commands_are_acted_on,
        outcomes_are_true,
        what_was_promised_is_kept,
        every_command_ends,
        effects_are_idempotent,
        one_leader_an_epoch,
    )
}
"""By name; each is asked once, when the run is over."""


def judge(evidence: Evidence) -> Judged:
    """Ask every invariant, and have the checkers of histories look at what was recorded."""
    violations = list(evidence.problems)
    for name, check in INVARIANTS.items():
        violations += [f"{name}: {found}" for found in check(evidence)]
    leases = lease_safety.check(evidence.history, beliefs=evidence.has_true_clocks)
    violations += [f"leases_are_safe: {breach}" for breach in leases.breaches]
    violations += [f"no_holder_still_believes: {overlap}" for overlap in leases.overlaps]
    model = StoreModel(is_new=evidence.has_new_store)
    stored = History(one for one in evidence.history if one.verb in {"get", "commit"})
    verdict = linearizability.check(stored, model, max_steps=_MAX_STEPS)
    violations += [f"the_store_is_linearizable: {found}" for found in verdict.violations]
    undecided = [
        f"whether {'the store' if key is None else key} is linearizable: too many answers were lost"
        for key in verdict.undecided
    ]
    return Judged(
        violations=tuple(violations),
        undecided=tuple(undecided),
        histories_checked=evidence.lives,
    )


def settled(history: History, outcomes: Mapping[str, Committed | NotSeen], *, end: int) -> History:
    """Return a history in which commits of unknown outcome are settled by their receipts.

    Args:
        history: What was recorded.
        outcomes: What the store says of transactions by id, when nothing is under way any more.
        end: An instant after all others.
    """
    return History(_settled(one, outcomes, end) for one in history)


def _settled(one: Operation, outcomes: Mapping[str, Committed | NotSeen], end: int) -> Operation:
    if one.verb != "commit" or one.outcome != "info":
        return one
    receipt = outcomes.get(str(one.arguments[1]))
    if isinstance(receipt, Committed):
        result = ("committed", receipt.revision)
        return msgspec.structs.replace(one, outcome="ok", returned=end, result=result)
    if isinstance(receipt, NotSeen):
        return msgspec.structs.replace(one, outcome="fail", returned=end)
    return one
