"""A fleet on one store, and doors to it that close as networks and machines do."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import attrs
from anyio.abc import TaskGroup

import federlib
from dag.run_processes import Fleet, Process
from federlib import Federation
from federlib._tasks import open_task_group
from federlib.dag import Handler, RunRecord
from federlib.dag.records import decode
from federlib.dag.transitions import LogBatch, Transition
from federlib.errors import OutcomeUnknown, Unavailable
from federlib.identity import IdentityStore
from federlib.skewclock import Clock, SystemClock
from federlib.storage import (
    Committed,
    Conflicted,
    Page,
    Put,
    Record,
    RecordStore,
    Subscription,
    Transaction,
    WatchItem,
    open_store,
)
from federlib.telemetry import SILENT, Telemetry
from fencing.worlds import StoreProxy

__all__ = ["LIMIT_S", "Door", "World", "in_world", "logged", "touches", "transitions", "until"]

LIMIT_S = 20.0

Fits = Callable[[Transaction], bool]


def _never(_transaction: Transaction) -> bool:
    return False


class Door(StoreProxy):
    """One process's way to the store.

    Frozen, the process stands as after SIGSTOP: its commits wait before they are sent and go
    out when it thaws, whatever was cancelled meanwhile.

    Attributes:
        is_away: Nothing gets through, and the caller hears so.
        refused: How many calls were refused so.
        calls: How many calls got through, by verb.
        results: What became of each commit that was sent.
        frozen: Set once it stands.
        before: Asked before each commit is sent; may hold it up, or fail or refuse it instead.
        after: Asked before each answer is given; may hold it up, or lose it.
    """

    def __init__(self, base: RecordStore) -> None:
        super().__init__(base)
        self.is_away = False
        self.refused = 0
        self.calls = {"read": 0, "commit": 0, "event": 0}
        self.results: list[tuple[Transaction, Committed | Conflicted]] = []
        self.frozen = anyio.Event()
        self.before: Callable[[Transaction], Awaitable[Conflicted | None]] | None = None
        self.after: Callable[[Transaction], Awaitable[None]] | None = None
        self._thawed = anyio.Event()
        self._thawed.set()
        self._acts: list[tuple[Fits, Callable[[], None]]] = []
        self._fails: Fits = _never

    def freeze(self) -> None:
        """Stop the process now."""
        self._thawed = anyio.Event()
        self.frozen.set()

    def at(self, fits: Fits, act: Callable[[], None]) -> None:
        """Act right before the first commit that fits is sent."""
        self._acts.append((fits, act))

    def freeze_at(self, fits: Fits) -> None:
        """Stop the process right before it sends the first commit that fits."""
        self.at(fits, self.freeze)

    def thaw(self) -> None:
        """Let the process go on."""
        self._thawed.set()

    def cut(self) -> None:
        """Be away from now on."""
        self.is_away = True

    def break_at(self, fits: Fits) -> None:
        """Lose the answer of the first commit that fits, and be away from then on."""
        self._fails = fits

    def sent(self, fits: Fits) -> list[Transaction]:
        """List the commits that fit and were sent, accepted or not."""
        return [sent for sent, _ in self.results if fits(sent)]

    def conflicts(self, fits: Fits) -> list[Transaction]:
        """List the commits that fit and were refused by the store."""
        return [sent for sent, got in self.results if isinstance(got, Conflicted) and fits(sent)]

    def heal(self) -> None:
        self._fails = _never
        self.before = self.after = None
        self.is_away = False

    async def _pass(self, verb: str) -> None:
        await self._thawed.wait()
        if self.is_away:
            self.refused += 1
            raise Unavailable("the store", "cut off")
        self.calls[verb] += 1

    async def get(self, key: str) -> Record | None:
        await self._pass("read")
        return await self.base.get(key)

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        await self._pass("read")
        return await self.base.scan(prefix, after=after, limit=limit)

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        for planned in self._acts[:]:
            if planned[0](transaction):
                self._acts.remove(planned)
                planned[1]()
        if not self._thawed.is_set():
            # A stopped process is not cancelled: what it was about to send, it sends.
            with anyio.CancelScope(shield=True):
                await self._thawed.wait()
                return await self._send(transaction)
        return await self._send(transaction)

    async def _send(self, transaction: Transaction) -> Committed | Conflicted:
        await self._pass("commit")
        refusal = await self.before(transaction) if self.before is not None else None
        if refusal is not None:
            return refusal
        breaks = self._fails(transaction)
        if breaks:
            self._fails = _never
            self.is_away = True
        # What loses its answer has arrived, even if its process is killed meanwhile.
        with anyio.CancelScope(shield=breaks):
            result = await self.base.commit(transaction)
        self.results.append((transaction, result))
        if breaks:
            raise OutcomeUnknown("commit", transaction_id=transaction.id, reason="cut off")
        if self.after is not None:
            await self.after(transaction)
        return result

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[Subscription]:
        async with self.base.watch(prefix, after=after) as changes:
            yield _Behind(self, changes)


class _Behind:
    """A subscription that the door can hold up; nothing is lost by it."""

    def __init__(self, door: Door, changes: Subscription) -> None:
        self._door = door
        self._changes = changes
        self._next: WatchItem | None = None

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> WatchItem:
        if self._next is None:
            self._next = await anext(self._changes)
        await self._door._pass("event")
        item, self._next = self._next, None
        return item


@attrs.define
class World:
    """One store; each member has a connection, a door and an identity of its own."""

    url: str
    root: Path
    group: TaskGroup
    stack: AsyncExitStack
    doors: list[Door] = attrs.field(factory=list)
    _shared: RecordStore | None = None
    _homes: int = 0

    async def open(self) -> RecordStore:
        """Open the store once more; `memory://` is shared as an object."""
        if self._shared is not None:
            return self._shared
        store = await open_store(self.url)
        self.stack.push_async_callback(store.aclose)
        if self.url == "memory://":
            self._shared = store
        return store

    async def door(self) -> Door:
        door = Door(await self.open())
        self.doors.append(door)
        return door

    async def fleet(self, door: Door | None = None) -> Fleet:
        """Give what starts processes behind one door."""
        door = door or await self.door()
        return Fleet(door, self.home(), self.group)

    def calls(self, verb: str) -> int:
        """Count the calls of all members that got through."""
        return sum(door.calls[verb] for door in self.doors)

    def home(self) -> Path:
        """Return a directory of its own for identities."""
        self._homes += 1
        return self.root / f"home-{self._homes}"

    @asynccontextmanager
    async def member(
        self,
        door: Door | None = None,
        *,
        ttl_s: float = 10.0,
        clock: Clock | None = None,
        skew_tolerance_s: float | None = None,
        telemetry: Telemetry = SILENT,
    ) -> AsyncGenerator[Federation, None]:
        """Connect as one process does."""
        async with federlib.connect(
            door or await self.door(),
            identity=IdentityStore(self.home()),
            clock=clock or SystemClock(),
            skew_tolerance_s=skew_tolerance_s,
            ttl_s=ttl_s,
            telemetry=telemetry,
        ) as fed:
            yield fed

    async def join(
        self,
        run: str,
        handler: Handler,
        *,
        door: Door | None = None,
        ttl_s: float = 2.0,
        slots: int = 4,
        ended: list[RunRecord] | None = None,
    ) -> Process:
        """Start a process that takes part in a run: leads it or not, and does tasks."""

        async def body(process: Process) -> None:
            record = await process.fed.dag.work(run, handler, slots=slots)
            if ended is not None:
                ended.append(record)

        return await (await self.fleet(door)).start(body, ttl_s=ttl_s)


@asynccontextmanager
async def open_world(url: str, root: Path) -> AsyncGenerator[World, None]:
    """Open a world; nothing of it goes on afterwards, and it never takes for ever."""
    with anyio.fail_after(2 * LIMIT_S):
        async with AsyncExitStack() as stack, open_task_group() as group:
            world = World(url, root, group, stack)
            try:
                yield world
            finally:
                for door in world.doors:
                    door._acts.clear()
                    door.thaw()
                    door.heal()
                group.cancel_scope.cancel()


def in_world(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Give a test its `world`, on the loop and the store of its setting.

    Opened inside the test: a task group in a fixture would cancel the fixture's own runner.
    """
    signature = inspect.signature(test)
    asked = [parameter for name, parameter in signature.parameters.items() if name != "world"]
    kind = inspect.Parameter.KEYWORD_ONLY

    async def run(*, setting: list[str], tmp_path: Path, **given: object) -> None:
        urls = {
            "memory": "memory://",
            "sqlite": f"sqlite:///{tmp_path}/fleet.db",
            "file": f"file:///{tmp_path}/fleet",
        }
        async with open_world(urls[setting[1]], tmp_path) as world:
            await test(world=world, **given)

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(run, name, getattr(test, name))
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what pytest asks
        parameters=[
            *(parameter.replace(kind=kind) for parameter in asked),
            *(inspect.Parameter(name, kind) for name in ("setting", "tmp_path")),
        ]
    )
    return run


async def until(fact: Callable[[], object], what: str = "it", *, limit_s: float = LIMIT_S) -> None:
    """Wait for a fact of this process."""
    with anyio.move_on_after(limit_s) as scope:
        while not fact():
            await anyio.sleep(0.005)
    assert not scope.cancelled_caught, f"{what} did not happen within {limit_s:g} s"


def touches(*parts: str) -> Fits:
    """Fit a transaction that puts a key with all these parts in it."""
    return lambda transaction: any(
        isinstance(write, Put) and all(part in write.key for part in parts)
        for write in transaction.writes
    )


def transitions(transaction: Transaction) -> list[Transition]:
    """Return what a transaction appends to the log of a run; nothing if it does not."""
    return [
        transition
        for write in transaction.writes
        if isinstance(write, Put) and "/log/" in write.key
        for transition in decode(LogBatch, Record(write.key, write.value, 1, 1)).t
    ]


def logged(kind: type[Transition], node: int | None = None) -> Fits:
    """Fit a transaction that appends this transition, of this node or of any, to a log."""
    return lambda transaction: any(
        isinstance(found, kind) and node in {None, getattr(found, "node", None)}
        for found in transitions(transaction)
    )
