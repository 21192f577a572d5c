"""What a chaos run writes down, and what its processes are told.

Lines of JSON everywhere: the ledger of what was done to the world (`Note`), the orders to a
process (`Order`), and the result (`Result`), whose fields are a contract.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from federlib.testing.chaos.faces import Face
from federlib.testing.chaos.hindrance import Hindrance
from federlib.testing.sim.faults import Kind

__all__ = [
    "FaultCount",
    "Hinder",
    "Leave",
    "Note",
    "Order",
    "Quiet",
    "Replay",
    "Result",
    "Slo",
    "Strike",
    "Terms",
    "Wear",
    "What",
]

What = Literal[
    "ready",
    "leads",
    "lost",
    "effect",
    "marked",
    "issued",
    "refused",
    "unknown",
    "acted",
    "answer_lost",
    "ended",
    "killed",
    "strike",
    "mended",
    "missed",
    "healed",
    "quiet",
]


class Note(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the ledger: something that happened in the world.

    Attributes:
        at_ns: When, on this machine's true boot clock; nanoseconds.
        who: Which process; "" for the harness.
        what: `leads`, `lost`: it heard so of itself. `effect`: a leader did something of its
            own, `marked` it as done. `issued`, `refused`, `unknown`: what became of a command
            that it issued. `acted`: a consumer acts on a command. The rest is of the harness.
        id: Of the effect or command.
        epoch: Under which.
        since_ns: Where it took a while: when it began.
        pid: The process that wrote this line.
        text: What the effect was; a reason; a kind of fault.
    """

    at_ns: int
    who: str
    what: What
    id: str = ""
    epoch: int = 0
    since_ns: int = 0
    pid: int = 0
    text: str = ""


class Strike(msgspec.Struct, frozen=True):
    """A fault that was carried out.

    Attributes:
        kind: What it was.
        who: Whom it struck; "" for all.
        begin_ns: When; nanoseconds of the true boot clock.
        end_ns: When it was taken back; None if it never was.
    """

    kind: Kind
    who: str
    begin_ns: int
    end_ns: int | None = None


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is told when it starts; it comes through a pipe, as it may hold secrets.

    Attributes:
        url: The store, as this process reaches it.
        election: The name of the lease, of the election, and of the scope of its commands.
        who: Its name in the ledger.
        seq: The number of its identity.
        life: Which life of it this is, from 1.
        directory: Where the ledger, the histories and the identities are.
        ttl_s: Of the leader's lease; seconds.
        tolerance_s: How far clocks may differ; seconds.
        command_every_s: How often a leader does something; seconds.
        act_s: How long acting on a command takes; seconds.
        is_consumer: It acts on commands.
        face: What its clocks show; None for those of this machine.
        hindrance: What stands between it and its store; None where that is in the network.
        answer_s: How long it waits for an answer of its store; seconds.
        seed: Of its own chance.
        parent: The process id of the harness.
    """

    url: str
    election: str
    who: str
    seq: int
    life: int
    directory: str
    ttl_s: float
    tolerance_s: float
    command_every_s: float
    act_s: float
    is_consumer: bool
    face: Face | None
    hindrance: Hindrance | None
    answer_s: float
    seed: int
    parent: int


class Hinder(msgspec.Struct, frozen=True, tag="hinder"):
    """From now on this stands between you and your store."""

    hindrance: Hindrance


class Wear(msgspec.Struct, frozen=True, tag="wear"):
    """From now on your clocks show this."""

    face: Face


class Replay(msgspec.Struct, frozen=True, tag="replay"):
    """Issue a command in the name of a reign that is over, as a leader would that woke up."""

    epoch: int
    id: str


class Quiet(msgspec.Struct, frozen=True, tag="quiet"):
    """Begin nothing new; what was begun goes on."""


class Leave(msgspec.Struct, frozen=True, tag="leave"):
    """Step down and end."""


Order = Hinder | Wear | Replay | Quiet | Leave


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """One objective, and how it was kept.

    Attributes:
        name: Which.
        limit: What may be measured at most.
        measured: What was.
        passed: Whether it is within.
    """

    name: str
    limit: float
    measured: float
    passed: bool = msgspec.field(name="pass")


class FaultCount(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the faults of one kind.

    Attributes:
        planned: How many the schedule has.
        carried_out: How many were.
        missed: How many found nobody to strike until the end.
        not_applicable: Why this kind cannot be on this target; None where it can.
    """

    planned: int
    carried_out: int = 0
    missed: int = 0
    not_applicable: str | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a run went; as JSON the fields are a contract.

    Attributes:
        target: What was broken.
        seed: What chance came from.
        slo: The objectives.
        faults: By kind, all of them.
        histories_checked: Of how many processes, or seeds, the history was checked.
        violations: How much was that must not be.
    """

    target: str
    seed: int
    slo: tuple[Slo, ...]
    faults: dict[str, FaultCount]
    histories_checked: int
    violations: int

    @property
    def passed(self) -> bool:
        """Whether every objective was kept and nothing was that must not be."""
        return all(slo.passed for slo in self.slo) and not self.violations
