"""`Fleet`: simulated processes that elect a leader, issue commands and act on them.

    with Fleet(seed=7) as fleet:
        fleet.run(seconds=60)
    assert not fleet.violations

The coroutines are those of `federlib.lease` and `federlib.fencing`, on a simulated store. What
commands do happens outside that store, in a `Ledger` which sees everything and forgets nothing.
"""

from __future__ import annotations

import math
from functools import partial

import attrs

from federlib._pace import Pace
from federlib.errors import InvalidInput, OutcomeUnknown, StaleToken, Unavailable
from federlib.fencing import Command, CommandConsumer, FenceGuard, Outcome, issue
from federlib.fencing.consumer import ActuationStatus
from federlib.lease import Holder, LeaseBackend, StoreLeaseBackend
from federlib.lease.holding import Holding
from federlib.lease.waiting import Line
from federlib.skewclock import SkewTolerance
from federlib.storage import Batch, RecordStore
from federlib.telemetry import SILENT
from federlib.testing.sim.audit import Audit
from federlib.testing.sim.faults import MAX_MS
from federlib.testing.sim.kernel import SECOND_NS, Simulation
from federlib.testing.sim.ledger import Ledger, Reign
from federlib.testing.sim.node import Node
from federlib.testing.sim.site import Site
from federlib.testing.sim.witness import Witness

__all__ = ["ELECTION", "ElectionSite", "Fleet", "Terms"]

ELECTION = "leader"
"""The name of the lease, of the election, and of the scope of its commands."""


@attrs.frozen(kw_only=True)
class Terms:
    """What a fleet is like.

    Attributes:
        nodes: How many processes.
        ttl_s: Of the leader's lease; seconds.
        tolerance_s: How much the clocks of two machines may differ; seconds.
        command_every_s: How often a leader issues a command; seconds, 0 for never.
        act_s: How long a command takes to be acted on; seconds.
        resign_percent: How likely a leader steps down each time that it might issue a command.
        consumers: How many of the processes act on commands.
        offset_ms: Wall clocks start up to so far from the truth; milliseconds.
        drift_ppm: Clocks run up to so much too fast or too slow; parts per million.
    Raises:
        InvalidInput: One of them is no number, or none that can be.
    """

    nodes: int = 5
    ttl_s: float = 2.0
    tolerance_s: float = 1.0
    command_every_s: float = 0.5
    act_s: float = 0.1
    resign_percent: int = 4
    consumers: int = 2
    offset_ms: int = 200
    drift_ppm: int = 200

    def __attrs_post_init__(self) -> None:
        """Refuse what no fleet can be like."""
        for name, (low, high) in _WHOLE.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InvalidInput(name, expected=f"an integer, {low} to {high}", found=value)
        for name in ("ttl_s", "tolerance_s", "command_every_s", "act_s"):
            value = getattr(self, name)
            if type(value) not in {int, float} or not 0 <= value < math.inf:
                raise InvalidInput(name, expected="seconds, 0 or more", found=value)


_WHOLE = {
    "nodes": (1, 100_000),
    "resign_percent": (0, 100),
    "consumers": (0, 100_000),
    "offset_ms": (0, MAX_MS),
    "drift_ppm": (0, 999_999),
}
"""The least and the most of what is counted in terms."""


class ElectionSite(Site):
    """A site around one election, with those who judge what is done there.

    Attributes:
        terms: What it is like.
        ledger: What was done to the world, and what must hold of it.
        audit: Judges what is stored.
        witness: Keeps what is called and answered; None where nobody asked for it.
        held: What each process holds, as far as it knows.
    """

    def __init__(self, sim: Simulation, terms: Terms, *, has_witness: bool = False) -> None:
        """Make one without processes."""
        if not isinstance(terms, Terms):
            raise InvalidInput("terms", expected="Terms", found=terms)
        self.terms: Terms = terms
        self.ledger: Ledger = Ledger(sim)
        self.audit: Audit = Audit(
            ELECTION,
            now_ns=lambda: sim.now_ns,
            is_well=self.is_well,
            believer=self._find_believer,
            accuse=self.ledger.accuse,
        )
        self.witness: Witness | None = Witness(lambda: sim.now_ns) if has_witness else None
        super().__init__(sim, self._hear if has_witness else self.audit.hear)
        self.held: dict[str, Holding] = {}

    @property
    def violations(self) -> list[str]:
        """What must not happen and did; in order."""
        return self.ledger.violations

    @property
    def leader(self) -> Node | None:
        """The process that was granted the lease last, if it lives and has not lost it."""
        return self.nodes.get(self.ledger.leader or "")

    def store_of(self, node: Node) -> RecordStore:
        """Return the store as the present life of a process has it."""
        client, witness = self.store.client(node), self.witness
        return client if witness is None else witness.store(client, f"{node.name}/{node.life}")

    def leases_of(self, node: Node, store: RecordStore) -> LeaseBackend:
        """Return the leases in its store as the present life of a process has them."""
        tolerance, witness = SkewTolerance(self.terms.tolerance_s), self.witness
        leases = StoreLeaseBackend(store, node.clock, tolerance)
        return leases if witness is None else witness.leases(leases, f"{node.name}/{node.life}")

    def _hear(self, batch: Batch) -> None:
        assert self.witness is not None
        self.audit.hear(batch)
        self.witness.hear(batch)

    def _died(self, name: str) -> None:
        self.held.pop(name, None)
        self.ledger.died(name)

    def _find_believer(self) -> str | None:
        if self.has_odd_clocks:
            return None
        return next((name for name, held in self.held.items() if not held.lost), None)


class Fleet(ElectionSite):
    """A world of simulated processes around one election.

    Args:
        seed: What everything follows from.
        terms: What it is like.
        keep_trace: Keep the events of the trace, not only their hash.
        has_witness: Keep every call and its answer.
        sim: One that several fleets share, instead of one for this seed.
    """

    def __init__(
        self,
        seed: int,
        terms: Terms | None = None,
        *,
        keep_trace: bool = False,
        has_witness: bool = False,
        sim: Simulation | None = None,
    ) -> None:
        sim = Simulation(seed, keep_trace=keep_trace) if sim is None else sim
        super().__init__(sim, Terms() if terms is None else terms, has_witness=has_witness)
        for number in range(self.terms.nodes):
            name = f"n{number + 1}"
            clock = self.draw_clock(
                name, offset_ms=self.terms.offset_ms, drift_ppm=self.terms.drift_ppm
            )
            is_consumer = number < self.terms.consumers
            program = partial(_live, self, is_consumer)
            self.nodes[name] = Node(self.sim, name, program, clock, died=self._died)
        for node in self.nodes.values():
            node.start()

    def replay_stale(self) -> bool:
        """Have some process issue a command again in the name of a reign that is over."""
        over = self.ledger.reigns[:-1]
        up = [node for node in self.nodes.values() if node.is_up]
        if not over or not up:
            return False
        rng = self.sim.rng("replay")
        node = rng.choice(up)
        node.spawn("replay", _Life(self, node).replay(rng.choice(over)))
        return True


async def _live(fleet: Fleet, is_consumer: bool, node: Node) -> None:  # noqa: FBT001 (bound once)
    """Stand for election for ever; act on commands beside it."""
    life = _Life(fleet, node)
    if is_consumer:
        node.spawn("consumer", life.consume())
    await life.stand()


class _Life:
    """One life of one process."""

    def __init__(self, fleet: Fleet, node: Node) -> None:
        self.fleet = fleet
        self.node = node
        self.pace: Pace = node.pace
        self.store = fleet.store_of(node)
        self.leases = fleet.leases_of(node, self.store)
        self.hex = fleet.hex_drawer(f"{node.name}/{node.life}")
        self.draw = fleet.sim.rng(f"resign {node.name}").randrange
        self.claims = 0
        self.issued = 0

    async def stand(self) -> None:
        pause_s = 0.1
        while True:
            self.claims += 1
            holder = Holder(self.node.name, f"{self.node.life}.{self.claims}")
            line = Line(
                self.leases,
                ELECTION,
                holder,
                ttl_s=self.fleet.terms.ttl_s,
                clock=self.node.clock,
                telemetry=SILENT,
                pace=self.pace,
            )
            try:
                lease = await line.acquire(None)
            except (Unavailable, OutcomeUnknown):
                await self.pace.sleep(pause_s)
                continue
            await self._hold(
                Holding(
                    self.leases,
                    lease,
                    sent_boot_ns=line.sent_boot_ns,
                    clock=self.node.clock,
                    telemetry=SILENT,
                    pace=self.pace,
                )
            )

    async def _hold(self, held: Holding) -> None:
        """Keep a lease until it is lost; what the leader does runs beside."""
        name, token = self.node.name, held.token
        self.fleet.ledger.granted(name, token)
        self.fleet.held[name] = held
        self.node.spawn("keeper", self._keep(held))
        is_admitted = False
        while not held.lost:
            try:
                if not is_admitted:
                    await FenceGuard(self.store, ELECTION).admit(token)
                    is_admitted = True
                await self.pace.sleep(self.fleet.terms.command_every_s or held.ttl_s / 3)
                if self.draw(100) < self.fleet.terms.resign_percent and not self.fleet.is_healed:
                    break
                if self.fleet.terms.command_every_s:
                    await self._issue(held)
            except StaleToken:
                break
            except (Unavailable, OutcomeUnknown):
                # It leads until its lease's deadline: what it tries next may get through.
                await self.pace.sleep(held.ttl_s / 10)
        self.fleet.ledger.lost(name, token)
        self.fleet.held.pop(name, None)
        if not held.is_over:
            await held._release()  # noqa: SLF001 (the shell of a `Holding`)

    async def _keep(self, held: Holding) -> None:
        while held.remaining_s():
            due_ns = held._renewal_due_ns - self.node.clock.boot_ns()  # noqa: SLF001 (as above)
            await self.pace.sleep(max(0, due_ns) / SECOND_NS)
            for pause_s in held._pauses_s():  # noqa: SLF001 (as above)
                if not held.remaining_s() or await held._try_to_renew():  # noqa: SLF001 (as above)
                    break
                await self.pace.sleep(min(pause_s, held.remaining_s()))

    async def _issue(self, held: Holding) -> None:
        self.issued += 1

        def gate() -> int:
            held.check()
            return held.token

        answer = await issue(
            self.store,
            ELECTION,
            "act",
            self.issued,
            epoch=held.token,
            issuer=self.node.name,
            clock=self.node.clock,
            gate_check=gate,
            token=self.hex,
        )
        if isinstance(answer, Outcome):
            self.fleet.ledger.refused(self.node.name, held.token)
        else:
            self.fleet.ledger.issued(answer.command_id, held.token)

    async def replay(self, reign: Reign) -> None:
        try:
            answer = await issue(
                self.store,
                ELECTION,
                "act again",
                epoch=reign.epoch,
                issuer=reign.leader,
                clock=self.node.clock,
                token=self.hex,
            )
        except (Unavailable, OutcomeUnknown):
            return
        if not isinstance(answer, Outcome):
            self.fleet.ledger.replayed(answer.command_id, reign.epoch)

    async def consume(self) -> None:
        consumer = CommandConsumer(
            self.store,
            ELECTION,
            self._act,
            consumer_id=self.node.name,
            clock=self.node.clock,
            token=self.hex,
            pace=self.pace,
        )
        await consumer.run()

    async def _act(self, command: Command) -> ActuationStatus:
        self.fleet.ledger.applied(command.command_id, command.leader_epoch, self.node.name)
        # What is done takes a while, and who does it may die over it.
        await self.pace.sleep(self.fleet.terms.act_s)
        return "applied"
