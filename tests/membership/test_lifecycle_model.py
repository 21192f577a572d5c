"""Every state that one peer can come into, by every claim that there is: the model, whole."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import product

import attrs

from federlib.membership.lifecycle import (
    TRANSITIONS,
    Change,
    IncarnationTracker,
    NodeLifecycleState,
    Outcome,
)

UNCONFIRMED = NodeLifecycleState.UNCONFIRMED
VERDICTS = {NodeLifecycleState.SUSPECT, NodeLifecycleState.DEAD}
RUNS = range(3)
INCARNATIONS = range(3)


@attrs.frozen
class World:
    """One tracker of one peer, and in which runs that has spoken."""

    tracker: IncarnationTracker = attrs.field(eq=False)
    spoken: frozenset[int]

    @property
    def key(self) -> tuple[object, ...]:
        """All that the future depends on; no time passes here."""
        standing = self.tracker.get("a")
        held = (
            None
            if standing is None
            else (standing.epoch, standing.incarnation, standing.state, standing.floor)
        )
        return held, self.tracker._tombstones.get("a"), self.spoken


def claims(world: World) -> Iterator[tuple[Change, World]]:
    """Yield what each claim makes of a world."""
    for epoch, incarnation in product(RUNS, INCARNATIONS):
        for state in NodeLifecycleState:
            tracker = copy.deepcopy(world.tracker)
            change = tracker.hear("a", epoch=epoch, incarnation=incarnation, state=state, now_s=0)
            yield change, World(tracker, world.spoken)
        tracker = copy.deepcopy(world.tracker)
        change = tracker.confirm("a", epoch=epoch, incarnation=incarnation, now_s=0)
        yield change, World(tracker, world.spoken | {epoch})
    standing = world.tracker.get("a")
    if standing is not None and None in TRANSITIONS[standing.state]:
        tracker = copy.deepcopy(world.tracker)
        yield tracker.remove_node("a", now_s=0), World(tracker, world.spoken)


def test_no_path_leads_to_a_verdict_on_a_run_that_never_spoke() -> None:
    first = World(IncarnationTracker(), frozenset())
    seen, waiting = {first.key}, [first]
    steps = 0
    while waiting:
        world = waiting.pop()
        before = world.tracker.get("a")
        for change, after in claims(world):
            steps += 1
            standing = after.tracker.get("a")
            assert (None if standing is None else standing.state) is change.after
            if change.after is not change.before:
                assert change.after in TRANSITIONS[change.before]
            if change.after in VERDICTS:
                assert change.epoch in after.spoken
            if change.before is UNCONFIRMED:
                assert change.after not in VERDICTS
            if before is not None and standing is not None and before.state is not UNCONFIRMED:
                # Of a run that was met nothing ever goes back.
                assert (standing.epoch, standing.incarnation) >= (
                    before.epoch,
                    before.incarnation,
                )
            is_idle = change.outcome in {Outcome.STALE, Outcome.TOMBSTONED, Outcome.UNKNOWN}
            assert not is_idle or (after.key[:2] == world.key[:2])
            if after.key not in seen:
                seen.add(after.key)
                waiting.append(after)
    assert len(seen) > 200
    assert steps > 10_000
