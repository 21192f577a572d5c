"""Playing seeds: a safety phase full of faults, then all is healed, and then it must go on.

    played = play(seed=7)
    played.violations       # must be empty
    played.digest           # the same on every machine

Source: design §7; TigerBeetle's safety and liveness modes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import attrs

from federlib.testing.sim.drawing import DRAWN, given_or_drawn
from federlib.testing.sim.fleet import ElectionSite, Fleet, Terms
from federlib.testing.sim.kernel import SECOND_NS
from federlib.testing.sim.presets import PRESETS
from federlib.testing.sim.schedule import SAFETY_S, Schedule
from federlib.testing.sim.shrinking import breaks_again, shrink
from federlib.testing.sim.witness import Judgement

__all__ = ["Played", "conclude", "explore", "patience_s", "play", "play_in", "shrunk"]

_SLACK_S = 10.0
_WORST_CLOCK = 3
"""A process whose clock runs at half its rate is waited for longer."""


@attrs.frozen(kw_only=True)
class Played:
    """What became of one seed.

    Attributes:
        seed: The seed.
        schedule: The faults that were played.
        violations: What must not be and was, in words.
        digest: Hash of the trace.
        events: How many ran.
        commits: How many the store has seen.
        reigns: How many leaders there were.
        applied: How many commands were acted on.
        failover_s: The longest time without a leader; seconds.
        begun: How often each kind of fault has begun.
        operations: How many calls and accepted writes were kept and checked; 0 where nobody
            asked for it.
        undecided: How many keys of that history were too much for the checker.
    """

    seed: int
    schedule: Schedule
    violations: tuple[str, ...]
    digest: str
    events: int
    commits: int
    reigns: int
    applied: int
    failover_s: float
    begun: Mapping[str, int]
    operations: int = 0
    undecided: int = 0

    @property
    def replay(self) -> str:
        """The command that plays it again, exactly, where `play` was given no terms."""
        command = f"federlib chaos --target sim --seed {self.seed}"
        name = self.schedule.name
        if PRESETS.get(name) == self.schedule:
            return f"{command} --preset {name}"
        return command if name == DRAWN else f"{command} --schedule FILE"


def play(
    seed: int,
    schedule: Schedule | None = None,
    *,
    terms: Terms | None = None,
    safety_s: int = SAFETY_S,
    check_history: bool = False,
) -> Played:
    """Play one seed to its end.

    Args:
        seed: Everything follows from it.
        schedule: The faults; by default drawn from the seed.
        terms: What the fleet is like.
        safety_s: How long faults may last; then they are healed, and the fleet must find a
            leader and get a command done within its lease's time to live, the tolerance and
            some seconds.
        check_history: Keep every call of every process, and ask at the end whether the store
            answered in some order, and whether leases kept to their rules
            (`federlib.testing.history`). The trace is the same; it takes nearly twice as long.
    Raises:
        InvalidInput: An argument is of another type, or out of range.
    """
    with Fleet(seed, terms, has_witness=check_history) as fleet:
        return play_in(fleet, schedule, safety_s=safety_s)


def play_in(fleet: Fleet, schedule: Schedule | None, *, safety_s: int) -> Played:
    """Play a fleet that was just made to its end; see `play`."""
    schedule = given_or_drawn(schedule, fleet.sim, safety_s)
    schedule.arm(fleet)
    fleet.run(safety_s)
    fleet.heal()
    healed_ns, done = fleet.sim.now_ns, len(fleet.ledger.calls)
    fleet.run(patience_s(fleet.terms))
    return conclude(fleet, schedule, healed_ns=healed_ns, done=done)


def conclude(fleet: ElectionSite, schedule: Schedule, *, healed_ns: int, done: int) -> Played:
    """Ask at the end whether a healed fleet has gone on, and say what became of it.

    Args:
        fleet: Healed long enough ago.
        schedule: What it was played with.
        healed_ns: When it was healed; nanoseconds of the simulation.
        done: How many commands had been acted on by then.
    """
    ledger = fleet.ledger
    if fleet.leader is None:
        ledger.accuse("a_leader_is_found", "nobody leads although nothing fails any more")
    elif len(ledger.calls) == done and fleet.terms.command_every_s:
        ledger.accuse("commands_go_on", "no command was acted on since nothing fails any more")
    left_out = sorted(fleet.nodes.keys() - fleet.audit.present - fleet.held.keys())
    if left_out:
        ledger.accuse("nobody_is_left_out", f"{', '.join(left_out)} neither lead nor wait")
    judged = fleet.witness.judge() if fleet.witness is not None else Judgement()
    for name, found in judged.faults:
        ledger.accuse(name, found)
    return Played(
        seed=fleet.sim.seed,
        schedule=schedule,
        violations=tuple(ledger.violations),
        digest=fleet.sim.trace.digest,
        events=fleet.sim.ran,
        commits=fleet.store.commits,
        reigns=len(ledger.reigns),
        applied=len(ledger.calls),
        failover_s=ledger.longest_without_leader_ns(healed_ns) / SECOND_NS,
        begun=dict(fleet.troubles.begun),
        operations=judged.operations,
        undecided=judged.undecided,
    )


def patience_s(terms: Terms) -> float:
    """Return how long a healed fleet is given; seconds."""
    return _WORST_CLOCK * (terms.ttl_s + terms.tolerance_s) + _SLACK_S


def explore(
    seeds: Iterable[int],
    schedule: Schedule | None = None,
    *,
    terms: Terms | None = None,
    check_history: bool = False,
) -> Iterator[Played]:
    """Play one seed after the other; as `play` does."""
    for seed in seeds:
        yield play(seed, schedule, terms=terms, check_history=check_history)


def shrunk(played: Played, *, terms: Terms | None = None) -> Played:
    """Play a seed that broke something with as few faults as still break the same."""
    again = partial(play, played.seed, terms=terms, check_history=played.operations > 0)
    is_broken = breaks_again(played.violations, lambda schedule: again(schedule).violations)
    return again(shrink(played.schedule, is_broken))
