"""A record store in the simulated network: linearizable, and faulty in every honest way.

The server applies each request at one instant. What may go wrong lies before and after it: a
request or its answer is lost, or slow, so that a commit takes effect after its caller gave up;
the server is away, or full. So a caller is told `OutcomeUnknown` exactly where it cannot know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal, cast

import attrs
import msgspec

from federlib.errors import FederlibError, InvalidInput, OutcomeUnknown, StoreFull, Unavailable
from federlib.storage import (
    Batch,
    Capabilities,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Progress,
    Put,
    Record,
    Resync,
    Subscription,
    Transaction,
    WatchItem,
)
from federlib.storage.backends._digest import digest_of
from federlib.storage.backends._embedded.table import Receipt, Table
from federlib.storage.keys import check_key, check_prefix
from federlib.storage.limits import check_scan, check_transaction, check_transaction_id
from federlib.storage.protocol import META_KEY, StoreMeta
from federlib.testing.sim.kernel import SECOND_NS, Simulation
from federlib.testing.sim.network import Network
from federlib.testing.sim.node import Node
from federlib.testing.sim.tasks import Future

__all__ = ["SimulatedStore", "StoreClient", "StoreFaults"]

CAPABILITIES = Capabilities(
    durable=True,
    shared=True,
    multi_host=True,
    server_clock=False,
    push_watch=True,
    wake_latency_s=0.0,
)

_MILLION = 1_000_000
_KEPT_BATCHES = 10_000
Verb = Literal["get", "scan", "commit", "outcome", "watch"]


@attrs.define
class StoreFaults:
    """How the store fails, from now on.

    Attributes:
        is_down: It answers nobody.
        is_full: It refuses every commit that writes.
        unavailable_ppm: Requests that it refuses; parts per million.
        lost_answer_ppm: Commits that take effect, and whose answer is lost.
        slow_ppm: Requests that take `slow_ns` more.
        slow_ns: How long those take.
    """

    is_down: bool = False
    is_full: bool = False
    unavailable_ppm: int = 0
    lost_answer_ppm: int = 0
    slow_ppm: int = 0
    slow_ns: int = 0


@attrs.define(eq=False)
class _Request:
    verb: Verb
    argument: object
    node: Node
    life: int
    answer: Future[object]
    is_taken: bool = False


@attrs.define(eq=False)
class _Feed:
    """One subscription as the server keeps it."""

    node: Node
    life: int
    prefix: str
    wire: _Wire
    sent: int = 0


class SimulatedStore:
    """The server; `client` gives each process its `RecordStore`.

    Attributes:
        name: Its place in the network.
        faults: What goes wrong; change it as you like.
        timeout_ns: After how long a client gives up; nanoseconds.
        quiet_ns: After how long a quiet subscription says how far it is; nanoseconds.
        commits: How many took effect.
    """

    def __init__(
        self,
        sim: Simulation,
        network: Network,
        *,
        name: str = "store",
        timeout_s: int = 5,
        hear: Callable[[Batch], object] = lambda _: None,
    ) -> None:
        """Make an empty store; `hear` is told of each commit as it is made."""
        self.name: str = name
        self.faults: StoreFaults = StoreFaults()
        self.timeout_ns: int = timeout_s * SECOND_NS
        self.quiet_ns: int = SECOND_NS
        self.commits: int = 0
        self.store_id: str = f"simulated-{sim.seed}"
        self._sim = sim
        self._network = network
        self._hear = hear
        self._below = sim.below("store")
        self._table = Table()
        self._history: deque[Batch] = deque(maxlen=_KEPT_BATCHES)
        self._feeds: list[_Feed] = []
        meta = Put(META_KEY, msgspec.json.encode(StoreMeta(self.store_id)))
        self._apply(Transaction((meta,)), b"")

    @property
    def revision(self) -> int:
        """Of the last commit."""
        return self._table.revision

    def look(self, key: str) -> Record | None:
        """Read a record without a request: for whoever judges."""
        return self._table.get(key)

    def look_through(self, prefix: str, after: str | None, limit: int) -> Page:
        """Read a page without a request: for whoever judges."""
        return self._table.page(prefix, after, limit)

    def client(self, node: Node) -> StoreClient:
        """Return the store as the present life of a process sees it."""
        return StoreClient(self, node)

    def ask(self, verb: Verb, argument: object, node: Node) -> Future[object]:
        """Send a request of a process; the answer comes, or an error when its time is over."""
        request = _Request(verb, argument, node, node.life, Future())
        if not node.is_up:
            return request.answer  # What a killed process still tries to say leaves it no more.
        if not self._network.send(node.name, self.name, self._receive, request):
            self._give_up(request, self.timeout_ns)
        return request.answer

    def _give_up(self, request: _Request, delay_ns: int) -> None:
        error: FederlibError = Unavailable(self.name, "no answer")
        if request.verb == "commit":
            transaction = cast("Transaction", request.argument)
            error = OutcomeUnknown("commit", transaction_id=transaction.id, reason="no answer")
        self._reply(request, error, delay_ns)

    def _reply(self, request: _Request, error: FederlibError, delay_ns: int) -> None:
        """Have a client find something out by itself."""
        self._sim.after(delay_ns, request.node.receive, (request.life, _fail, (request, error)))

    def _receive(self, request: _Request) -> None:
        if request.is_taken:
            self._take_again(request)
            return
        request.is_taken = True
        faults = self.faults
        if faults.is_down:
            self._give_up(request, self.timeout_ns)
        elif faults.unavailable_ppm and self._below(_MILLION) < faults.unavailable_ppm:
            self._answer(request, Unavailable(self.name, "it refused; nothing was sent"))
        elif faults.slow_ppm and self._below(_MILLION) < faults.slow_ppm:
            self._sim.after(faults.slow_ns, self._serve, request)
            if faults.slow_ns > self.timeout_ns:
                self._give_up(request, self.timeout_ns)
        else:
            self._serve(request)

    def _take_again(self, request: _Request) -> None:
        """Carry out a commit that somebody between has sent again; nobody hears the answer.

        Only with an id: whoever sends anything else twice has broken the store's protocol.
        """
        argument = request.argument
        if isinstance(argument, Transaction) and argument.id and not self.faults.is_down:
            try:
                self._commit(argument)
            except StoreFull:
                return

    def _serve(self, request: _Request) -> None:
        try:
            answer = self._do(request)
        except FederlibError as error:
            self._answer(request, error)
            return
        faults = self.faults
        is_commit = request.verb == "commit"
        if (
            is_commit
            and faults.lost_answer_ppm
            and (self._below(_MILLION) < faults.lost_answer_ppm)
        ):
            self._give_up(request, self.timeout_ns)
        else:
            self._answer(request, answer)

    def _answer(self, request: _Request, answer: object) -> None:
        call = _fail if isinstance(answer, FederlibError) else _tell
        message = (request.life, call, (request, answer))
        if not self._network.send(self.name, request.node.name, request.node.receive, message):
            self._give_up(request, self.timeout_ns)

    def _do(self, request: _Request) -> object:
        argument = request.argument
        match request.verb:
            case "commit":
                return self._commit(cast("Transaction", argument))
            case "get":
                return self._table.get(cast("str", argument))
            case "scan":
                return self._table.page(*cast("tuple[str, str | None, int]", argument))
            case "outcome":
                return self._table.outcome(cast("str", argument))
            case "watch":
                return self._watch(request, *cast("_WatchArguments", argument))

    def _commit(self, transaction: Transaction) -> Committed | Conflicted:
        if self.faults.is_full and transaction.writes:
            raise StoreFull(self.name, "no space left", hint="free some space and retry")
        digest = b"" if transaction.id is None else digest_of(transaction)
        outcome = self._table.decide(transaction, digest)
        if outcome is None:
            return Committed(self._apply(transaction, digest))
        return outcome

    def _apply(self, transaction: Transaction, digest: bytes) -> int:
        batch = self._table.plan(transaction)
        self._hear(batch)
        receipt = None
        if transaction.id is not None:
            receipt = Receipt(transaction.id, batch.revision, digest, self._sim.now_ns)
        self._table.apply(batch, receipt)
        self._history.append(batch)
        self.commits += 1
        self._sim.note("commit", batch.revision, *(event.key for event in batch.events))
        self._publish(batch)
        return batch.revision

    def _publish(self, batch: Batch) -> None:
        below: dict[str, Batch | None] = {}
        for feed in self._feeds:
            prefix = feed.prefix
            if prefix not in below:
                below[prefix] = _below(prefix, batch)
            item = below[prefix]
            if item is not None:
                self._send(feed, item)

    def _watch(self, request: _Request, prefix: str, after: int, wire: object) -> int:
        assert isinstance(wire, _Wire)
        self._feeds = [feed for feed in self._feeds if feed.node.life == feed.life]
        feed = _Feed(request.node, request.life, prefix, wire)
        if after < self._history[0].revision - 1 or after > self.revision:
            self._send(feed, Resync(self.revision))
        else:
            for batch in self._history:
                item = _below(prefix, batch) if batch.revision > after else None
                if item is not None:
                    self._send(feed, item)
        self._feeds.append(feed)
        return self.revision

    def _send(self, feed: _Feed, item: WatchItem) -> None:
        if feed.wire.is_closed:
            return
        feed.sent += 1
        message = (feed.life, feed.wire.take, (feed.sent, item))
        node = feed.node
        if not self._network.send(self.name, node.name, node.receive, message):
            # The connection is broken, and the client finds out when it hears nothing.
            self._sim.after(self.timeout_ns, node.receive, (feed.life, _break, feed.wire))

    def forget(self, wire: object) -> None:
        """Send nothing more over a connection."""
        self._feeds = [feed for feed in self._feeds if feed.wire is not wire]


def _below(prefix: str, batch: Batch) -> Batch | None:
    """Return what of a commit happened below a prefix."""
    events = batch.events
    if len(events) == 1:
        return batch if events[0].key.startswith(prefix) else None
    below = tuple(event for event in events if event.key.startswith(prefix))
    if len(below) == len(events):
        return batch
    return Batch(batch.revision, below) if below else None


_WatchArguments = tuple[str, int, object]


_Answer = tuple["_Request", object]


def _tell(message: _Answer) -> None:
    request, answer = message
    request.answer.set(answer)


def _fail(message: _Answer) -> None:
    request, error = message
    assert isinstance(error, FederlibError)
    request.answer.fail(error)


def _break(wire: object) -> None:
    assert isinstance(wire, _Wire)
    wire.fail()


class StoreClient:
    """A `RecordStore` of one life of a simulated process."""

    def __init__(self, store: SimulatedStore, node: Node) -> None:
        self._store = store
        self._node = node

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return CAPABILITIES

    @property
    def store_id(self) -> str:
        """Follows from the seed."""
        return self._store.store_id

    async def get(self, key: str) -> Record | None:
        """Read one record; see `RecordStore.get`."""
        check_key(key)
        return cast("Record | None", await self._store.ask("get", key, self._node))

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        """Read one page; see `RecordStore.scan`."""
        check_scan(prefix, after, limit)
        return cast("Page", await self._store.ask("scan", (prefix, after, limit), self._node))

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        """Apply all writes if all checks hold; see `RecordStore.commit`."""
        check_transaction(transaction)
        answer = await self._store.ask("commit", transaction, self._node)
        return cast("Committed | Conflicted", answer)

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Say whether a transaction took effect."""
        check_transaction_id(transaction_id)
        answer = await self._store.ask("outcome", transaction_id, self._node)
        return cast("Committed | NotSeen", answer)

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[Subscription]:
        """Subscribe to changes under `prefix`; see `RecordStore.watch`."""
        check_prefix(prefix)
        if type(after) is not int or after < 0:
            raise InvalidInput("after", expected="a revision, 0 or more", found=after)
        subscription = _ClientSubscription(self._store, self._node, prefix, after)
        await subscription.connect()
        try:
            yield subscription
        finally:
            subscription.close()

    async def aclose(self) -> None:
        """Nothing is open."""


class _Wire:
    """One connection of a subscription: puts in order what the network brings."""

    def __init__(self, heard: Callable[[], object]) -> None:
        self.items: deque[WatchItem] = deque()
        self.is_broken: bool = False
        self.is_closed: bool = False
        self._heard = heard
        self._taken = 0
        self._early: dict[int, WatchItem] = {}

    def take(self, message: tuple[int, WatchItem]) -> None:
        """Take in one message of the server, whatever its turn."""
        number, item = message
        following = self._taken + 1
        if number < following:
            return
        if number > following:
            self._early[number] = item
            return
        self.items.append(item)
        while self._early and following + 1 in self._early:
            following += 1
            self.items.append(self._early.pop(following))
        self._taken = following
        self._heard()

    def fail(self) -> None:
        """Learn that nothing more will come."""
        self.is_broken = True
        self._heard()


class _ClientSubscription:
    """One subscription; when its connection breaks it says so, and then connects anew."""

    def __init__(self, store: SimulatedStore, node: Node, prefix: str, after: int) -> None:
        self._store = store
        self._node = node
        self._prefix = prefix
        self._position = after
        self._wire: _Wire | None = None
        self._news: Future[None] = Future()
        self._waits_ns = 0
        self._is_armed = False

    async def connect(self) -> _Wire:
        """Ask for everything after what has come so far."""
        self._wire = wire = _Wire(self._hear)
        try:
            await self._store.ask("watch", (self._prefix, self._position, wire), self._node)
        except BaseException:
            self.close()
            raise
        return wire

    def close(self) -> None:
        """Hear nothing more over the present connection."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.is_closed = True
            self._store.forget(wire)

    def _hear(self) -> None:
        self._news.set(None)

    def _arm(self, delay_ns: int) -> None:
        # One alarm at a time, not one for every item that comes in time.
        self._is_armed = True
        self._node.later(delay_ns, self._ring, None)

    def _ring(self, _nothing: object) -> None:
        self._is_armed = False
        if self._wire is None or self._news.is_set:
            return
        quiet_ns = self._node.sim.now_ns - self._waits_ns
        if quiet_ns >= self._store.quiet_ns:
            self._news.set(None)
        else:
            self._arm(self._store.quiet_ns - quiet_ns)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> WatchItem:
        wire = self._wire or await self.connect()
        if not wire.items and not wire.is_broken:
            self._news = Future()
            self._waits_ns = self._node.sim.now_ns
            if not self._is_armed:
                self._arm(self._store.quiet_ns)
            await self._news
        if wire.items:
            item = wire.items.popleft()
            self._position = item.revision
            return item
        if wire.is_broken:
            self.close()
            raise Unavailable(self._store.name, "the connection broke")
        return Progress(self._position)
