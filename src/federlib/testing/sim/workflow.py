"""`WorkflowFleet`: simulated processes that do runs of tasks together, one run after the other.

    with WorkflowFleet(seed=7) as fleet:
        fleet.run(seconds=60)
    assert not fleet.violations

What runs is `federlib.dag` as it is shipped, with its leaders, workers, elections and keepers of
leases. Which process leads and which works, the workflows, how tasks behave, and who asks for a
run to be cancelled or resumed are drawn from the seed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

import attrs

from federlib.errors import InvalidInput, OutcomeUnknown, Unavailable
from federlib.lease.records import lease_key
from federlib.storage import Batch, RecordStore, Transaction
from federlib.testing.sim.backend import on_loop
from federlib.testing.sim.flows import Flow, draw_flow
from federlib.testing.sim.kernel import SECOND_NS, Simulation
from federlib.testing.sim.member import Member, Role, Sender
from federlib.testing.sim.node import Node
from federlib.testing.sim.run_audit import RunAudit
from federlib.testing.sim.site import Site

__all__ = ["CASTS", "WorkflowFleet", "WorkflowTerms"]

_KEPT_SENT = 200
_TIMEOUTS_S = (1, 2, 5)
_Work = Callable[[Node], Awaitable[None]]

CASTS: tuple[tuple[Role, ...], ...] = (
    ("leads and works", "leads and works"),
    ("leads and works", "leads and works", "leads and works", "leads and works"),
    ("leads and works", "leads and works", "works", "works"),
    ("leads", "leads", "works", "works"),
    ("leads and works", "leads", "works"),
)
"""Who takes which part; each seed draws one of these."""


@attrs.frozen(kw_only=True)
class WorkflowTerms:
    """What a fleet is like.

    Attributes:
        cast: Who takes which part; None draws it.
        ttl_s: Of all leases; seconds.
        tolerance_s: How much the clocks of two machines may differ; seconds.
        tasks: Of a workflow, at most.
        asked: Of how many runs in a hundred somebody asks that they be cancelled or resumed.
        offset_ms: Wall clocks start up to so far from the truth; milliseconds.
        drift_ppm: Clocks run up to so much too fast or too slow; parts per million.
        patience_s: How long a healed fleet has to bring its run to an end; seconds. As it is:
            for a chain of tasks, each failing and pausing as often as it may, and takeovers.
    """

    cast: tuple[Role, ...] | None = None
    ttl_s: float = 2.0
    tolerance_s: float = 1.0
    tasks: int = 20
    asked: int = 40
    offset_ms: int = 200
    drift_ppm: int = 200
    patience_s: int = 200


class WorkflowFleet(Site):
    """A world of simulated processes around one run at a time.

    Attributes:
        terms: What it is like.
        violations: What must not happen and did; in order.
        flows: The workflows so far; the last is at work.
        audits: What became of each run, by its id.
        finished: How many of the runs are over, and nobody asks any more of them.
        members: What each process is in its present life, by name.
        cast: Who takes which part, by name.
    """

    def __init__(
        self,
        seed: int,
        terms: WorkflowTerms | None = None,
        *,
        keep_trace: bool = False,
        sim: Simulation | None = None,
    ) -> None:
        """Make one and start it; `sim` is its kernel where there is one already."""
        sim = sim or Simulation(seed, keep_trace=keep_trace)
        self.terms: WorkflowTerms = WorkflowTerms() if terms is None else terms
        if not isinstance(self.terms, WorkflowTerms):
            raise InvalidInput("terms", expected="WorkflowTerms", found=terms)
        self.violations: list[str] = []
        self.flows: list[Flow] = []
        self.audits: dict[str, RunAudit] = {}
        self.finished: int = 0
        self.members: dict[str, Member] = {}
        self._by_lease: dict[str, RunAudit] = {}
        self._sent: deque[tuple[int, Transaction]] = deque(maxlen=_KEPT_SENT)
        super().__init__(sim, self._hear)
        # The shorter, the more of what a slow store does comes after it was given up.
        self.store.timeout_ns = sim.rng("timeout").choice(_TIMEOUTS_S) * SECOND_NS
        self._open_run()
        cast = self.terms.cast or sim.rng("cast").choice(CASTS)
        self.cast: dict[str, Role] = {f"n{n + 1}": role for n, role in enumerate(cast)}
        for name in self.cast:
            self.nodes[name] = self._make_node(name, self._live)
        # Who asks is struck by nothing but what is wrong with the network and the store.
        self._make_node("user", self._use).start()
        for node in self.nodes.values():
            node.start()

    def _make_node(self, name: str, work: _Work) -> Node:
        clock = self.draw_clock(
            name, offset_ms=self.terms.offset_ms, drift_ppm=self.terms.drift_ppm
        )
        return Node(self.sim, name, on_loop(work), clock)

    def sender(self, node: Node) -> RecordStore:
        """Return the store as a process sees it; what it sends is noted."""
        return Sender(self, node)

    def timer(self, node: Node) -> Callable[[], int]:
        """Return what reads the time by which a process's limits run out; nanoseconds."""
        return node.clock.boot_ns

    def _open_run(self) -> None:
        rng = self.sim.rng("flow")
        self.flows.append(draw_flow(rng, most=self.terms.tasks, asked=self.terms.asked))
        run_id = f"r{len(self.flows)}"
        audit = RunAudit(run_id, self.flows[-1].workflow, self.accuse)
        self.audits[run_id] = self._by_lease[lease_key(audit.book.keys.lease)] = audit
        self.sim.note("run", run_id, self.flows[-1].shape)

    @property
    def present(self) -> RunAudit:
        """The run that is at work."""
        return self.audits[f"r{len(self.flows)}"]

    @property
    def leader(self) -> Node | None:
        """The process that holds the lease of the present run's leader, by the records."""
        return self.nodes.get(self.present.book.holder or "")

    def accuse(self, invariant: str, found: str) -> None:
        """Note that something is not as it must be."""
        self.violations.append(f"{invariant}: {found}, at {self.sim.now_ns} ns")
        self.sim.note("violation", invariant)

    def _hear(self, batch: Batch) -> None:
        if not batch.events:
            return
        key = batch.events[0].key
        audit = self._by_lease.get(key)
        if key.startswith("dag/"):
            audit = self.audits.get(key.split("/", 2)[1])
        if audit is not None:
            audit.book.has_odd_clocks = self.has_odd_clocks
            audit.hear(batch)

    def note_sent(self, transaction: Transaction) -> None:
        """Remember what a process sent."""
        self._sent.append((self.present.book.epoch, transaction))

    def replay_stale(self) -> bool:
        """Have something sent again that a leader, or a worker under it, sent who is deposed."""
        keys, epoch = self.present.book.keys, self.present.book.epoch
        fenced = (keys.epoch, keys.logs, keys.dones, keys.progress, f"{keys.root}snap")
        over = [
            transaction
            for of_epoch, transaction in self._sent
            if of_epoch < epoch and any(part.key.startswith(fenced) for part in transaction.checks)
        ]
        up = [node for node in self.nodes.values() if node.is_up]
        if not over or not up:
            return False
        rng = self.sim.rng("replay")
        self._send_again(rng.choice(up), rng.choice(over))
        return True

    def _send_again(self, node: Node, transaction: Transaction) -> None:
        node.spawn("replay", self._replay(self.store.client(node), transaction))

    async def _replay(self, store: RecordStore, transaction: Transaction) -> None:
        try:
            await store.commit(transaction)
        except (Unavailable, OutcomeUnknown):
            return

    # What processes do.

    async def _live(self, node: Node) -> None:
        """Take part in one run after the other."""
        member = self.members[node.name] = Member(self, node, self.cast[node.name])
        number = 0
        while True:
            await member.until(partial(self._is_open, number))
            await member.take_part(number)
            number += 1

    def _is_open(self, number: int) -> bool:
        return len(self.flows) > number

    async def _use(self, node: Node) -> None:
        """Ask for one run after the other, as long as faults come."""
        member = Member(self, node, "asks")
        while True:
            await member.ask(len(self.flows) - 1)
            self.finished += 1
            if self.is_healed:
                return
            self._open_run()
