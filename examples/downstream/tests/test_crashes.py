"""Three workers in the simulator: killed, stopped, cut off, with wrong clocks and lost answers.

Every run draws another seed. A failure tells it, with the command that replays it.
"""

import pytest

from billing.book import Book, StaleError
from billing.worker import bill
from federlib.errors import OutcomeUnknown, Unavailable
from federlib.lease import Holder, StoreLeaseBackend
from federlib.skewclock import SkewTolerance
from federlib.testing.sim import (
    SECOND_NS,
    Link,
    Network,
    Node,
    SimulatedClock,
    SimulatedStore,
    Simulation,
    Spread,
)

MS = 1_000_000
INVOICES = [f"2024-{number:03}" for number in range(20)]
SKEW_NS = SECOND_NS


class World:
    """The network, the store, the book, and three workers on three machines."""

    def __init__(self, sim: Simulation, book: Book) -> None:
        self.sim = sim
        self.network = Network(sim, Link(delay=Spread((MS, 100 * MS)), loss_ppm=10_000))
        self.store = SimulatedStore(sim, self.network)
        self.store.faults.lost_answer_ppm = 50_000
        self.book = book
        self.nodes = [self.start(name) for name in ("ada", "ben", "cyd")]

    def start(self, name: str) -> Node:
        offset_ns = self.sim.rng("clocks").randrange(-SKEW_NS, SKEW_NS)
        clock = SimulatedClock(self.sim, f"machine-{name}", offset_ns=offset_ns, drift_ppm=100)
        node = Node(self.sim, name, self.work, clock)
        node.start()
        return node

    async def work(self, node: Node) -> None:
        backend = StoreLeaseBackend(self.store.client(node), node.clock, SkewTolerance())
        for turn in range(1_000_000):
            holder = Holder(node.name, f"{node.life}.{turn}")
            try:
                await bill(backend, self.book, INVOICES, holder=holder, sleep=node.pace.sleep)
            except (OutcomeUnknown, Unavailable, StaleError):
                self.sim.note("gave up a turn", node.name)
            await node.pace.sleep(1)

    def harm(self) -> None:
        """Let something happen to somebody every few seconds, for two minutes."""
        draw = self.sim.rng("harm")
        while self.sim.now_ns < 120 * SECOND_NS:
            node, seconds = draw.choice(self.nodes), draw.randrange(1, 20)
            match draw.choice(("kill", "stop", "cut")):
                case "kill":
                    node.kill()
                case "stop":
                    node.stop()
                case "cut":
                    self.network.part([node.name], [self.store.name])
            self.sim.run(until_ns=self.sim.now_ns + seconds * SECOND_NS)
            self.heal(node)

    def heal(self, node: Node) -> None:
        self.network.heal()
        if node.is_up:
            node.go_on()
        else:
            node.start()


@pytest.mark.parametrize("_turn", range(20))  # each with a seed of its own
def test_whatever_happens_each_invoice_is_posted_once(sim: Simulation, _turn: int) -> None:
    world = World(sim, Book())
    world.harm()
    assert len(world.book.posted) == len(set(world.book.posted))
    sim.run(until_ns=sim.now_ns + 120 * SECOND_NS)
    assert sorted(world.book.posted) == INVOICES


def test_the_same_seed_is_the_same_story(sim: Simulation) -> None:
    digests = set()
    for _ in range(2):
        with Simulation(sim.seed) as again:
            World(again, Book()).harm()
            digests.add(again.trace.digest)
    assert len(digests) == 1


class CarelessBook(Book):
    """Compares no tokens."""

    def _admit(self, fence: int) -> None:
        self.highest = fence


def posts_twice(seed: int) -> bool:
    with Simulation(seed) as sim:
        world = World(sim, CarelessBook())
        world.harm()
        return len(world.book.posted) > len(set(world.book.posted))


def test_a_book_that_compares_no_tokens_is_found_out() -> None:
    assert any(posts_twice(seed) for seed in range(300))
