"""Lifecycle and confirmation together, played at random against what must always hold.

A peer is never SUSPECT or DEAD without having spoken; no worker is ever asked; whoever is
UNCONFIRMED leaves in bounded time; nothing grows without bound.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from federlib.membership.confirmation import (
    CONFIRMS,
    MAX_ATTEMPT_S,
    AskPeer,
    Evidence,
    RemovePeer,
    RoleAwareConfirmationManager,
)
from federlib.membership.lifecycle import (
    TRANSITIONS,
    Change,
    IncarnationTracker,
    NodeLifecycleState,
    TrackerLimits,
)
from federlib.membership.roles import PeerRole
from federlib.membership.timeouts import HARD_CEILING, AdaptiveTimeouts, Unmeasured

UNCONFIRMED, ALIVE = NodeLifecycleState.UNCONFIRMED, NodeLifecycleState.ALIVE
MOST_UNCONFIRMED, MOST, MOST_TOMBSTONES = 6, 9, 4

# Twice the longest passive timeout, and five attempts of the longest wait.
LONGEST_S = HARD_CEILING * 180 + 5 * MAX_ATTEMPT_S

names = st.sampled_from([f"peer-{number}" for number in range(12)])
numbers = st.integers(0, 3)
states = st.sampled_from(NodeLifecycleState)
roles = st.sampled_from(PeerRole)


class Membership(RuleBasedStateMachine):
    """What a member does with both, as its core does."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.lhm = 0
        self.tracker = IncarnationTracker(
            TrackerLimits(
                max_members=MOST,
                max_unconfirmed=MOST_UNCONFIRMED,
                max_tombstones=MOST_TOMBSTONES,
            )
        )
        timeouts = AdaptiveTimeouts(Unmeasured(), lhm=lambda: self.lhm)
        self.confirmation = RoleAwareConfirmationManager(timeouts, jitter=lambda: 0.5)
        self.roles: dict[str, PeerRole] = {}
        self.met: set[tuple[str, int]] = set()

    def after(self, change: Change) -> None:
        """Judge one change, and let the confirmation manager follow it."""
        if change.after is not change.before:
            assert change.after in TRANSITIONS[change.before]
        if change.after in {NodeLifecycleState.SUSPECT, NodeLifecycleState.DEAD}:
            assert (change.name, change.epoch) in self.met
        if change.after is UNCONFIRMED:
            role = self.roles.setdefault(change.name, PeerRole.UNKNOWN)
            assert self.confirmation.start_confirmation(change.name, role, now_s=self.now_s)

    @rule(name=names, epoch=numbers, incarnation=numbers, state=states, role=roles)
    def somebody_speaks_of_it(
        self,
        name: str,
        epoch: int,
        incarnation: int,
        state: NodeLifecycleState,
        role: PeerRole,
    ) -> None:
        if self.tracker.get(name) is None:
            self.roles[name] = role
        self.after(
            self.tracker.hear(
                name, epoch=epoch, incarnation=incarnation, state=state, now_s=self.now_s
            )
        )

    @rule(name=names, epoch=numbers, incarnation=numbers, evidence=st.sampled_from(Evidence))
    def it_comes_to_notice(
        self, name: str, epoch: int, incarnation: int, evidence: Evidence
    ) -> None:
        if evidence not in CONFIRMS:
            assert self.confirmation.on_evidence(name, evidence, now_s=self.now_s) is None
            return
        change = self.tracker.confirm(name, epoch=epoch, incarnation=incarnation, now_s=self.now_s)
        if change.after is not None and change.after is not UNCONFIRMED:
            self.met.add((name, change.epoch))
            self.confirmation.on_evidence(name, evidence, now_s=self.now_s)
        self.after(change)

    @rule(name=names, state=st.sampled_from([NodeLifecycleState.SUSPECT, NodeLifecycleState.DEAD]))
    def we_judge_it(self, name: str, state: NodeLifecycleState) -> None:
        found = self.tracker.get(name)
        if found is not None and found.state not in {UNCONFIRMED, NodeLifecycleState.LEFT}:
            self.after(
                self.tracker.hear(
                    name,
                    epoch=found.epoch,
                    incarnation=found.incarnation,
                    state=state,
                    now_s=self.now_s,
                )
            )

    @precondition(lambda self: self.tracker.count(NodeLifecycleState.DEAD))
    @rule()
    def the_dead_are_forgotten(self) -> None:
        for name in self.tracker.get_nodes_by_state(NodeLifecycleState.DEAD):
            self.after(self.tracker.remove_node(name, now_s=self.now_s))

    @rule(lhm=st.integers(0, 8))
    def we_are_so_well(self, lhm: int) -> None:
        self.lhm = lhm

    @rule(seconds=st.floats(0.01, 400))
    def time_passes(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while (wake_s := self.confirmation.next_wake_s()) is not None and wake_s <= until_s:
            self.now_s = max(self.now_s, wake_s)
            for effect in self.confirmation.tick(now_s=self.now_s):
                if isinstance(effect, AskPeer):
                    assert effect.role is not PeerRole.WORKER
                    assert self.roles[effect.peer] is not PeerRole.WORKER
                elif isinstance(effect, RemovePeer):
                    change = self.tracker.remove_node(effect.peer, now_s=self.now_s)
                    assert change.before is UNCONFIRMED
                    self.after(change)
        self.now_s = until_s

    @invariant()
    def all_is_bounded(self) -> None:
        assert len(self.tracker) <= MOST
        assert self.tracker.count(UNCONFIRMED) <= MOST_UNCONFIRMED
        assert self.tracker.tombstones <= MOST_TOMBSTONES
        assert len(self.confirmation) <= MOST_UNCONFIRMED

    @invariant()
    def whoever_is_unconfirmed_is_being_confirmed(self) -> None:
        unconfirmed = set(self.tracker.get_nodes_by_state(UNCONFIRMED))
        assert {each.peer for each in self.confirmation.pending()} == unconfirmed

    @invariant()
    def whoever_is_unconfirmed_leaves_in_bounded_time(self) -> None:
        for name in self.tracker.get_nodes_by_state(UNCONFIRMED):
            standing = self.tracker.get(name)
            assert standing is not None
            assert self.now_s - standing.since_s <= LONGEST_S

    @invariant()
    def counts_agree_with_what_is_held(self) -> None:
        by_state = [self.tracker.get_nodes_by_state(state) for state in NodeLifecycleState]
        assert sum(map(len, by_state)) == len(self.tracker)


TestMembership = Membership.TestCase
TestMembership.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, database=None
)
