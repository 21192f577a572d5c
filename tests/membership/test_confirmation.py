"""Confirmation of peers that nobody here has met."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from federlib.errors import InvalidInput
from federlib.membership.confirmation import (
    ASKS_A_TICK,
    CONFIRMS,
    MAX_ATTEMPT_S,
    PACE_S,
    AskPeer,
    ConfirmationEffect,
    Evidence,
    PeerConfirmed,
    RemovePeer,
    RoleAwareConfirmationManager,
    StaleUnconfirmed,
)
from federlib.membership.roles import GATE_STRATEGY, PeerRole, get_strategy_for_role
from federlib.membership.timeouts import AdaptiveTimeouts, Unmeasured


class World:
    """A manager, its load, and its time, which jumps from one waking to the next."""

    def __init__(self, *, seed: int = 1, max_pending: int = 4_096) -> None:
        self.now_s = 100.0
        self.lhm = 0
        self.log: list[tuple[float, ConfirmationEffect]] = []
        self.timeouts = AdaptiveTimeouts(Unmeasured(), lhm=lambda: self.lhm)
        self.manager = RoleAwareConfirmationManager(
            self.timeouts, jitter=random.Random(seed).random, max_pending=max_pending
        )

    def start(self, role: PeerRole, *, peer: str = "p") -> bool:
        return self.manager.start_confirmation(peer, role, now_s=self.now_s)

    def run_to(self, until_s: float) -> None:
        while (wake_s := self.manager.next_wake_s()) is not None and wake_s <= until_s:
            assert wake_s >= self.now_s
            self.now_s = wake_s
            effects = self.manager.tick(now_s=wake_s)
            self.log += [(wake_s, each) for each in effects]
        self.now_s = until_s

    def asks(self, *, is_last_word: bool) -> list[float]:
        return [
            at_s - 100
            for at_s, each in self.log
            if isinstance(each, AskPeer) and each.is_last_word == is_last_word
        ]

    @property
    def removed(self) -> list[tuple[float, RemovePeer]]:
        return [(at_s - 100, each) for at_s, each in self.log if isinstance(each, RemovePeer)]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("role", "passive_s", "attempts"),
    [(PeerRole.GATE, 120, 5), (PeerRole.MANAGER, 90, 3), (PeerRole.UNKNOWN, 90, 3)],
)
def test_who_is_asked_is_asked_early_then_rarely_then_as_the_last_word(
    world: World, role: PeerRole, passive_s: float, attempts: int
) -> None:
    world.start(role)
    world.run_to(1_000)
    early, last = world.asks(is_last_word=False), world.asks(is_last_word=True)
    assert 0.5 <= early[0] <= 1
    gaps = [after - before for before, after in pairwise(early)]
    assert all(2**n <= gap <= 2 ** (n + 1) for n, gap in enumerate(gaps))
    assert len(early) in {6, 7}
    assert last == [passive_s + 5 * n for n in range(attempts)]
    [(at_s, removal)] = world.removed
    assert at_s == passive_s + 5 * attempts
    assert removal == RemovePeer("p", role, "attempts_exhausted", at_s, attempts)
    assert len(world.manager) == 0


def test_a_worker_is_waited_for_and_never_asked(world: World) -> None:
    world.start(PeerRole.WORKER)
    world.run_to(1_000)
    assert world.asks(is_last_word=False) == world.asks(is_last_word=True) == []
    assert world.removed == [(180.0, RemovePeer("p", PeerRole.WORKER, "passive_timeout", 180.0, 0))]


@pytest.mark.parametrize("evidence", Evidence, ids=str)
def test_what_confirms_a_peer(world: World, evidence: Evidence) -> None:
    world.start(PeerRole.GATE)
    world.run_to(101)
    found = world.manager.on_evidence("p", evidence, now_s=world.now_s)
    own_word = {"ack", "heartbeat", "message", "indirect_ack"}
    if evidence.value in own_word:
        assert found == PeerConfirmed("p", PeerRole.GATE, evidence, 1.0, 1)
        assert "p" not in world.manager
    else:
        assert evidence.value in {"config", "dns", "gossip", "forwarded_join"}
        assert found is None
        assert "p" in world.manager


def test_the_list_of_what_confirms_is_complete() -> None:
    assert {each.value for each in CONFIRMS} == {"ack", "heartbeat", "message", "indirect_ack"}


def test_an_answer_to_the_last_attempt_still_counts(world: World) -> None:
    world.start(PeerRole.MANAGER)
    world.run_to(100 + 90 + 14.9)
    assert world.removed == []
    assert world.manager.on_evidence("p", Evidence.ACK, now_s=world.now_s) is not None
    world.run_to(1_000)
    assert world.removed == []


def test_what_is_cancelled_is_silent(world: World) -> None:
    world.start(PeerRole.GATE)
    assert world.manager.cancel_confirmation("p")
    assert not world.manager.cancel_confirmation("p")
    assert world.manager.next_wake_s() is None
    assert world.manager.tick(now_s=1e6) == ()
    assert world.manager.on_evidence("p", Evidence.ACK, now_s=1e6) is None


def test_a_timer_of_an_earlier_wait_does_not_end_the_next(world: World) -> None:
    world.start(PeerRole.WORKER)
    world.run_to(200)
    world.manager.cancel_confirmation("p")
    world.start(PeerRole.WORKER)
    world.run_to(100 + 180)
    assert world.removed == []
    world.run_to(200 + 180)
    assert [at_s for at_s, _ in world.removed] == [280.0]


def test_a_second_start_does_not_make_a_peer_younger(world: World) -> None:
    world.start(PeerRole.WORKER)
    world.run_to(200)
    assert world.start(PeerRole.WORKER)
    world.run_to(1_000)
    assert [at_s for at_s, _ in world.removed] == [180.0]


@pytest.mark.parametrize("at_s", [110.0, 196.0], ids=["early", "in its last word"])
def test_a_role_that_becomes_known_is_taken_in(world: World, at_s: float) -> None:
    world.start(PeerRole.UNKNOWN)
    world.run_to(at_s)
    asked = len(world.log)
    world.start(PeerRole.WORKER)
    world.run_to(1_000)
    assert not any(isinstance(each, AskPeer) for _, each in world.log[asked:])
    [(removed_at_s, removal)] = world.removed
    assert (removed_at_s, removal.role) == (180.0, PeerRole.WORKER)


def test_a_role_that_is_known_stays(world: World) -> None:
    world.start(PeerRole.GATE)
    world.start(PeerRole.WORKER)
    assert [each.role for each in world.manager.pending()] == [PeerRole.GATE]


def test_a_peer_unconfirmed_for_a_minute_is_warned_of_once(world: World) -> None:
    world.start(PeerRole.WORKER)
    world.run_to(1_000)
    warned = [(at_s, e) for at_s, e in world.log if isinstance(e, StaleUnconfirmed)]
    assert warned == [(160.0, StaleUnconfirmed("p", PeerRole.WORKER, 60.0, 0))]


@pytest.mark.parametrize(
    ("role", "lhm", "at_s"),
    [
        (PeerRole.WORKER, 1, 360.0),
        (PeerRole.WORKER, 8, 360.0),
        (PeerRole.GATE, 8, 240.0 + 5 * 5),
        (PeerRole.MANAGER, 8, 180.0 + 3 * 5),
    ],
)
def test_our_own_load_gives_peers_twice_the_time_and_no_more(
    world: World, role: PeerRole, lhm: int, at_s: float
) -> None:
    world.lhm = lhm
    world.start(role)
    world.run_to(10_000)
    assert [at for at, _ in world.removed] == [at_s]


def test_load_is_asked_when_the_time_runs_out(world: World) -> None:
    world.start(PeerRole.WORKER)
    world.run_to(270)
    world.lhm = 8
    world.run_to(100 + 359)
    assert world.removed == []
    world.run_to(100 + 361)
    assert [at_s for at_s, _ in world.removed] == [360.0]


def test_an_answer_is_waited_for_as_long_as_distance_and_load_say_but_bounded() -> None:
    class Far(Unmeasured):
        def estimate_rtt_ucb_ms(self, peer: str) -> float:
            return 10_000.0

    manager = RoleAwareConfirmationManager(
        AdaptiveTimeouts(Far(), lhm=lambda: 8), jitter=lambda: 0.0
    )
    manager.start_confirmation("p", PeerRole.GATE, now_s=0)
    [ask] = manager.tick(now_s=0.5)
    assert isinstance(ask, AskPeer)
    assert ask.timeout_s == MAX_ATTEMPT_S
    assert manager.get_adaptive_timeout("p", 1.0) == pytest.approx(33.0)
    assert manager.get_adaptive_timeout("nobody", 1.0) == pytest.approx(55.0)


def test_a_fleet_that_starts_at_once_is_asked_at_a_pace(world: World) -> None:
    for number in range(1_000):
        world.start(PeerRole.GATE, peer=f"p{number}")
    # The loop was blocked, and finds all of them due.
    world.now_s = 110.0
    asked: list[str] = []
    for _ in range(1_000 // ASKS_A_TICK + 1):
        effects = world.manager.tick(now_s=world.now_s)
        assert len(effects) <= ASKS_A_TICK
        assert world.manager.tick(now_s=world.now_s) == ()
        asked += [each.peer for each in effects]
        world.now_s += PACE_S
    # Everybody once, before anybody twice.
    assert sorted(asked[:1_000]) == sorted({f"p{number}" for number in range(1_000)})


def test_the_number_of_peers_and_of_timers_is_bounded() -> None:
    world = World(max_pending=50)
    taken = [world.start(PeerRole.GATE, peer=f"bogus-{number}") for number in range(10_000)]
    assert (taken.count(True), len(world.manager)) == (50, 50)
    for number in range(10_000):
        world.manager.cancel_confirmation(f"bogus-{number % 50}")
        assert world.start(PeerRole.GATE, peer=f"bogus-{number % 50}")
    assert len(world.manager._timers) <= 2 * 50 + 65


def test_what_is_shown_is_a_copy(world: World) -> None:
    world.start(PeerRole.GATE)
    [state] = world.manager.pending()
    assert (state.peer, state.role, state.strategy) == ("p", PeerRole.GATE, GATE_STRATEGY)
    assert (state.discovered_at, state.attempts, state.last_attempt_at) == (100.0, 0, 0.0)
    assert state.timer_token is not None
    state.attempts = 99
    assert world.manager.pending()[0].attempts == 0


@pytest.mark.parametrize("max_pending", [0, True, 1.5])
def test_a_bound_that_is_none_is_refused(max_pending: int) -> None:
    with pytest.raises(InvalidInput, match="max_pending"):
        World(max_pending=max_pending)


@pytest.mark.parametrize("role", PeerRole, ids=str)
def test_the_strategies_are_those_of_the_role(world: World, role: PeerRole) -> None:
    world.start(role)
    assert world.manager.pending()[0].strategy is get_strategy_for_role(role)


def test_what_is_no_role_is_refused_and_a_word_is_one(world: World) -> None:
    with pytest.raises(InvalidInput, match="role: expected one of gate, manager, worker"):
        world.manager.start_confirmation("p", "wroker", now_s=0.0)  # type: ignore[arg-type]  # on purpose
    assert "p" not in world.manager
    world.manager.start_confirmation("p", "worker", now_s=0.0)  # type: ignore[arg-type]  # on purpose
    assert [each.role for each in world.manager.pending()] == [PeerRole.WORKER]
