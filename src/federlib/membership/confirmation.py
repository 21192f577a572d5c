"""Whether a peer that others speak of is really there, asked as its role allows.

    manager = RoleAwareConfirmationManager(timeouts, jitter=rng.random)
    manager.start_confirmation("gate-1", PeerRole.GATE, now_s=0.0)
    for effect in manager.tick(now_s=manager.next_wake_s()):
        ...                    # AskPeer: send a confirmation ping; RemovePeer: forget it
    manager.on_evidence("gate-1", Evidence.ACK, now_s=0.8)      # PeerConfirmed

Gates, managers and peers of unknown role are asked soon after their discovery, within a second
and with jitter, then at growing distances while the passive timeout runs. When it has run out
they are asked `confirmation_attempts` times more; only when the last of these stays unanswered
are they removed. These attempts are the last word, not the first: a peer that answers at once
is known within a second, and one that was away for a minute is not given up for it.

Workers push heartbeats. They are waited for and never asked.

A peer that is removed was never met, and so is not DEAD.

What confirms a peer is written in `CONFIRMS`.

Does not promise: that what it asks is sent; effects are the caller's to carry out.

Source: seed §12.5; research note §1.4.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from enum import StrEnum
from typing import Literal

import attrs

from federlib.errors import InvalidInput
from federlib.membership.roles import (
    DEFAULT_STRATEGIES,
    PeerRole,
    RoleBasedConfirmationStrategy,
    RoleStrategies,
    check_role,
)
from federlib.membership.timeouts import AdaptiveTimeouts

__all__ = [
    "CONFIRMS",
    "AskPeer",
    "ConfirmationEffect",
    "ConfirmationState",
    "Evidence",
    "PeerConfirmed",
    "RemovePeer",
    "RoleAwareConfirmationManager",
    "StaleUnconfirmed",
]

STALE_AFTER_S = 60.0
"""A peer that is UNCONFIRMED for longer is warned of, once. Source: seed 12.7.6."""

FIRST_ASK_S = 1.0
"""The first question comes within this; half of it at least, and jitter decides."""

ATTEMPT_BASE_S = 1.0
"""How long an answer is waited for next door and when we are well."""

MAX_ATTEMPT_S = 10.0
"""How long at most, whatever distance and load say: it bounds a bogus name's life."""

ASKS_A_TICK = 32
PACE_S = 0.1
"""Of more questions at once than `ASKS_A_TICK` the rest waits so long: no burst at a start."""


class Evidence(StrEnum):
    """How a peer came to our notice."""

    ACK = "ack"
    HEARTBEAT = "heartbeat"
    MESSAGE = "message"
    INDIRECT_ACK = "indirect_ack"
    CONFIG = "config"
    DNS = "dns"
    GOSSIP = "gossip"
    FORWARDED_JOIN = "forwarded_join"


CONFIRMS = frozenset({Evidence.ACK, Evidence.HEARTBEAT, Evidence.MESSAGE, Evidence.INDIRECT_ACK})
"""What makes a peer ALIVE: an ack, a heartbeat or any other valid authenticated message from
that peer itself, or its answer to a probe that a helper sent for us. What others say of it does
not: configuration, DNS, gossip, or a join that somebody forwarded.

Source: seed 12.3.2, 12.3.7; research note §1.4."""


@attrs.define
class ConfirmationState:
    """What is pending for one UNCONFIRMED peer.

    Attributes:
        peer: Who.
        role: What it is said to do.
        strategy: How it is confirmed.
        discovered_at: When; the caller's monotonic clock, seconds.
        attempts: How often it was asked after its passive timeout.
        last_attempt_at: When it was last asked; 0 where it never was.
        timer_token: Names the one timer that is live.
        early_asks: How often it was asked before.
        next_ask_at: When it is asked next; infinite where it never is.
        is_last_word: Whether its passive timeout has run out.
        is_stale: Whether it was warned of.
    Source: seed 12.5.2 for the first seven.
    """

    peer: str
    role: PeerRole
    strategy: RoleBasedConfirmationStrategy
    discovered_at: float
    attempts: int = 0
    last_attempt_at: float = 0.0
    timer_token: str | None = None
    early_asks: int = 0
    next_ask_at: float = math.inf
    is_last_word: bool = False
    is_stale: bool = False


@attrs.frozen
class AskPeer:
    """Send a confirmation ping.

    Attributes:
        peer: To whom.
        role: What it is said to do; never a worker.
        attempt: Which question this is, from 1.
        is_last_word: Whether it counts as one of `confirmation_attempts`.
        timeout_s: How long its answer is waited for.
    """

    peer: str
    role: PeerRole
    attempt: int
    is_last_word: bool
    timeout_s: float


@attrs.frozen
class RemovePeer:
    """Forget a peer; it is removed, not DEAD.

    Attributes:
        peer: Whom.
        role: What it is said to do.
        reason: Its word did not come in time, or no question was answered.
        elapsed_s: Since its discovery.
        attempts: How often it was asked after its passive timeout.
    """

    peer: str
    role: PeerRole
    reason: Literal["passive_timeout", "attempts_exhausted"]
    elapsed_s: float
    attempts: int


@attrs.frozen
class StaleUnconfirmed:
    """Warn of a peer that has been UNCONFIRMED for a minute.

    Attributes:
        peer: Whom.
        role: What it is said to do.
        elapsed_s: Since its discovery.
        asks: How often it was asked.
    """

    peer: str
    role: PeerRole
    elapsed_s: float
    asks: int


@attrs.frozen
class PeerConfirmed:
    """A peer has spoken itself.

    Attributes:
        peer: Who.
        role: What it is said to do.
        evidence: By what.
        elapsed_s: Since its discovery.
        asks: How often it was asked.
    """

    peer: str
    role: PeerRole
    evidence: Evidence
    elapsed_s: float
    asks: int


ConfirmationEffect = AskPeer | RemovePeer | StaleUnconfirmed


class RoleAwareConfirmationManager:
    """The peers that are UNCONFIRMED, and what to do about each of them next.

    Pure: the caller gives the time, in seconds that never go back, calls `tick` at `next_wake_s`
    and carries out what it returns. Not shared between threads.

    Every peer leaves: at the latest after twice its passive timeout, and for those that are
    asked `confirmation_attempts` times the longer of `attempt_interval` and `MAX_ATTEMPT_S`
    more, plus what `PACE_S` takes if very many are asked at once.

    Args:
        timeouts: How long to wait.
        jitter: Gives numbers from 0 to 1, for example `random.Random(seed).random`.
        strategies: How peers of each role are confirmed.
        max_pending: At most so many peers; more are refused.
    Source: seed 12.5.1.
    """

    def __init__(
        self,
        timeouts: AdaptiveTimeouts,
        *,
        jitter: Callable[[], float],
        strategies: RoleStrategies = DEFAULT_STRATEGIES,
        max_pending: int = 4_096,
    ) -> None:
        if type(max_pending) is not int or max_pending < 1:
            raise InvalidInput("max_pending", expected="an integer from 1", found=max_pending)
        self._timeouts = timeouts
        self._jitter = jitter
        self._strategies = strategies
        self._max_pending = max_pending
        self._pending_confirmations: dict[str, ConfirmationState] = {}
        # (when, which timer, whose); what is outdated is passed over, and cleared if it piles up.
        self._timers: list[tuple[float, int, str]] = []
        self._armed = 0
        self._not_before_s = -math.inf

    def __len__(self) -> int:
        return len(self._pending_confirmations)

    def __contains__(self, peer: object) -> bool:
        return peer in self._pending_confirmations

    def pending(self) -> tuple[ConfirmationState, ...]:
        """Return copies of all that is pending, longest pending first."""
        return tuple(attrs.evolve(each) for each in self._pending_confirmations.values())

    def next_wake_s(self) -> float | None:
        """Return when `tick` has something to do; None where nothing is pending."""
        while self._timers and not self._is_live(self._timers[0]):
            heapq.heappop(self._timers)
        return max(self._timers[0][0], self._not_before_s) if self._timers else None

    def start_confirmation(self, peer: str, role: PeerRole, *, now_s: float) -> bool:
        """Begin to wait for a peer's own word, and to ask for it if its role allows.

        A peer that is pending already keeps its time of discovery; its role is taken in if it
        was UNKNOWN.

        Returns:
            False where there is no room for it, and it should be forgotten.
        Raises:
            InvalidInput: It is no role.
        Source: seed 12.5.3.
        """
        role = check_role(role)
        state = self._pending_confirmations.get(peer)
        if state is not None:
            if state.role is PeerRole.UNKNOWN and role is not PeerRole.UNKNOWN:
                state.role, state.strategy = role, self._strategies.for_role(role)
                # The passive timeout of its role is another; it may be asked no more.
                state.is_last_word = False
                self._begin(state, now_s)
            return True
        if len(self._pending_confirmations) >= self._max_pending:
            return False
        state = ConfirmationState(peer, role, self._strategies.for_role(role), now_s)
        self._pending_confirmations[peer] = state
        self._begin(state, now_s)
        return True

    def cancel_confirmation(self, peer: str) -> bool:
        """Stop waiting for a peer, whatever the reason; return whether it was pending.

        Source: seed 12.5.4.
        """
        return self._pending_confirmations.pop(peer, None) is not None

    def on_evidence(self, peer: str, evidence: Evidence, *, now_s: float) -> PeerConfirmed | None:
        """Take in that a peer came to our notice; return what is to be told if that confirms it.

        Source: seed 12.3.7; `CONFIRMS`.
        """
        state = self._pending_confirmations.get(peer)
        if state is None or evidence not in CONFIRMS:
            return None
        self.cancel_confirmation(peer)
        asks = state.early_asks + state.attempts
        return PeerConfirmed(peer, state.role, evidence, now_s - state.discovered_at, asks)

    def tick(self, *, now_s: float) -> tuple[ConfirmationEffect, ...]:
        """Do all that is due, and return it in the order it fell due."""
        effects: list[ConfirmationEffect] = []
        asks = 0
        while (wake_s := self.next_wake_s()) is not None and wake_s <= now_s:
            if asks == ASKS_A_TICK:
                self._not_before_s = now_s + PACE_S
                break
            state = self._pending_confirmations[heapq.heappop(self._timers)[2]]
            due = self._fall_due(state, now_s)
            asks += any(isinstance(each, AskPeer) for each in due)
            effects += due
        return tuple(effects)

    def get_adaptive_timeout(self, peer: str, base_timeout: float) -> float:
        """Return how long to wait for a peer that is pending, or any other; seconds.

        Source: seed 12.5.8; see `AdaptiveTimeouts.get_adaptive_timeout`.
        """
        state = self._pending_confirmations.get(peer)
        role = PeerRole.UNKNOWN if state is None else state.role
        return self._timeouts.get_adaptive_timeout(peer, base_timeout, role)

    def _fall_due(self, state: ConfirmationState, now_s: float) -> list[ConfirmationEffect]:
        effects: list[ConfirmationEffect] = []
        elapsed_s = now_s - state.discovered_at
        # As the timer was set: a difference may round to less than a minute, for ever.
        if not state.is_stale and now_s >= state.discovered_at + STALE_AFTER_S:
            state.is_stale = True
            asks = state.early_asks + state.attempts
            effects.append(StaleUnconfirmed(state.peer, state.role, elapsed_s, asks))
        if not state.is_last_word and now_s >= self._passive_end_s(state):
            effects.append(self._handle_passive_timeout(state, now_s))
        elif now_s >= state.next_ask_at:
            effects.append(self._attempt_proactive_confirmation(state, now_s))
        if state.peer in self._pending_confirmations:
            self._arm(state)
        return effects

    def _handle_passive_timeout(
        self, state: ConfirmationState, now_s: float
    ) -> AskPeer | RemovePeer:
        """Begin the last word, or remove the peer if its role is never asked. Seed 12.5.5."""
        if not state.strategy.enable_proactive_confirmation:
            return self._remove_unconfirmed_peer(state, now_s, "passive_timeout")
        state.is_last_word = True
        return self._attempt_proactive_confirmation(state, now_s)

    def _attempt_proactive_confirmation(
        self, state: ConfirmationState, now_s: float
    ) -> AskPeer | RemovePeer:
        """Ask once more, or remove the peer if that was the last time. Seed 12.5.6."""
        strategy = state.strategy
        if state.is_last_word and state.attempts >= strategy.confirmation_attempts:
            return self._remove_unconfirmed_peer(state, now_s, "attempts_exhausted")
        state.last_attempt_at = now_s
        wanted_s = self._timeouts.get_adaptive_timeout(state.peer, ATTEMPT_BASE_S, state.role)
        timeout_s = min(wanted_s, MAX_ATTEMPT_S)
        if state.is_last_word:
            state.attempts += 1
            state.next_ask_at = now_s + max(strategy.attempt_interval, timeout_s)
        else:
            state.early_asks += 1
            gap_s = FIRST_ASK_S * 2.0 ** min(state.early_asks, 20)
            state.next_ask_at = now_s + gap_s * (1 + self._jitter()) / 2
        attempt = state.early_asks + state.attempts
        return AskPeer(state.peer, state.role, attempt, state.is_last_word, timeout_s)

    def _remove_unconfirmed_peer(
        self,
        state: ConfirmationState,
        now_s: float,
        reason: Literal["passive_timeout", "attempts_exhausted"],
    ) -> RemovePeer:
        """Forget it: it was never met, and so is not DEAD. Seed 12.5.7."""
        self.cancel_confirmation(state.peer)
        elapsed_s = now_s - state.discovered_at
        return RemovePeer(state.peer, state.role, reason, elapsed_s, state.attempts)

    def _passive_end_s(self, state: ConfirmationState) -> float:
        # Asked anew each time: load may rise or fall while a peer is waited for.
        return state.discovered_at + self._timeouts.passive_timeout_s(state.role)

    def _begin(self, state: ConfirmationState, now_s: float) -> None:
        state.next_ask_at = math.inf
        if state.strategy.enable_proactive_confirmation:
            within_s = min(FIRST_ASK_S, state.strategy.passive_timeout / 10)
            state.next_ask_at = now_s + within_s * (1 + self._jitter()) / 2
        self._arm(state)

    def _arm(self, state: ConfirmationState) -> None:
        at_s = state.next_ask_at
        if not state.is_last_word:
            at_s = min(at_s, self._passive_end_s(state))
        if not state.is_stale:
            at_s = min(at_s, state.discovered_at + STALE_AFTER_S)
        self._armed += 1
        state.timer_token = str(self._armed)
        if len(self._timers) > 2 * len(self._pending_confirmations) + 64:
            self._timers = [timer for timer in self._timers if self._is_live(timer)]
            heapq.heapify(self._timers)
        heapq.heappush(self._timers, (at_s, self._armed, state.peer))

    def _is_live(self, timer: tuple[float, int, str]) -> bool:
        state = self._pending_confirmations.get(timer[2])
        return state is not None and state.timer_token == str(timer[1])
