"""`Ledger`: sees everything that a fleet does to the world, and says what must not have been.

It is no part of the fleet: it is asked nothing, it refuses nothing, and no fault reaches it.
So what it counts is what happened, whatever the fleet's own records say.
"""

from __future__ import annotations

import attrs

from federlib.testing.sim.kernel import Simulation

__all__ = ["Ledger", "Reign"]


@attrs.frozen
class Reign:
    """One grant of the lease, as its holder heard of it.

    Attributes:
        epoch: Its token.
        leader: Who got it.
        at_ns: When; nanoseconds of the simulation.
    """

    epoch: int
    leader: str
    at_ns: int


class Ledger:
    """What happened, and the invariants that are asked at every entry.

    Attributes:
        violations: In words, in order.
        reigns: Every grant of the lease, in the order in which it was heard of.
        leader: Who has the highest token that was heard of, while it lives and has not lost it.
        calls: How often the handler was called for each command.
        issued_count: Commands that got into the store.
        refused_count: Commands that did not.
    """

    def __init__(self, sim: Simulation) -> None:
        self.violations: list[str] = []
        self.reigns: list[Reign] = []
        self.leader: str | None = None
        self.calls: dict[str, int] = {}
        self.issued_count: int = 0
        self.refused_count: int = 0
        self._sim = sim
        self._leaderless_since_ns = 0
        self._longest_gap_ns = 0
        self._high = 0

    def accuse(self, invariant: str, found: str) -> None:
        """Note that something is not as it must be."""
        self.violations.append(f"{invariant}: {found}, at {self._sim.now_ns} ns")
        self._sim.note("violation", invariant)

    def granted(self, name: str, token: int) -> None:
        """Hear that a process was granted the lease."""
        self._sim.note("granted", name, token)
        self.reigns.append(Reign(token, name, self._sim.now_ns))
        if self._high > token:
            return  # The answer was slow, or clocks are so wrong that it was robbed at once.
        self._high = token
        if self.leader is None:
            gap_ns = self._sim.now_ns - self._leaderless_since_ns
            self._longest_gap_ns = max(self._longest_gap_ns, gap_ns)
        self.leader = name

    def lost(self, name: str, token: int) -> None:
        """Hear that a process knows that it holds the lease no more."""
        self._sim.note("lost", name, token)
        if self._high == token:
            self.leader = None
            self._leaderless_since_ns = self._sim.now_ns

    def issued(self, command_id: str, epoch: int) -> None:
        """Hear that a command is in the store, as far as its issuer knows."""
        self._sim.note("issued", command_id, epoch)
        self.issued_count += 1

    def refused(self, name: str, epoch: int) -> None:
        """Hear that a command was refused."""
        self._sim.note("refused", name, epoch)
        self.refused_count += 1

    def replayed(self, command_id: str, epoch: int) -> None:
        """Hear that a command of a reign that is over got into the store."""
        # Not wrong by itself: nobody of a later reign may have admitted its epoch yet.
        self._sim.note("replayed", command_id, epoch)

    def applied(self, command_id: str, epoch: int, by: str) -> None:
        """Hear, from the world, that a command is being acted on."""
        self._sim.note("applied", command_id, epoch, by)
        calls = self.calls[command_id] = self.calls.get(command_id, 0) + 1
        if calls > 1:
            self.accuse(
                "applied_at_most_once", f"command {command_id} for the {calls}. time, by {by}"
            )

    def died(self, name: str) -> None:
        """Hear that a process was killed."""
        if self.leader == name:
            self.leader = None
            self._leaderless_since_ns = self._sim.now_ns

    def longest_without_leader_ns(self, since_ns: int) -> int:
        """Return the longest time without a leader; with one that never ended, from `since_ns`."""
        if self.leader is not None:
            return self._longest_gap_ns
        return max(self._longest_gap_ns, self._sim.now_ns - since_ns)
