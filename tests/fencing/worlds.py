"""What the tests of fencing share: a store, a clock, and stores that fail on purpose."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import count

from federlib.errors import OutcomeUnknown
from federlib.fencing import (
    Actuation,
    ActuationStatus,
    Command,
    CommandConsumer,
    Outcome,
    OutcomeLog,
    issue,
)
from federlib.fencing.records import encode_payload
from federlib.storage import (
    Capabilities,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Record,
    RecordStore,
    Subscription,
    Transaction,
)
from federlib.storage.backends.memory import MemoryStore
from federlib.telemetry import RecordingSink, Telemetry
from federlib.testing import ManualClock

SCOPE = "coordinator"


class Killed(BaseException):
    """The process dies here: no handler of ours may catch it."""


class Ledger:
    """A resource outside the store: writes down every call."""

    def __init__(self, answer: ActuationStatus | Actuation = "applied") -> None:
        self.calls: list[str] = []
        self.answer: ActuationStatus | Actuation = answer

    async def __call__(self, command: Command) -> ActuationStatus | Actuation:
        self.calls.append(command.command_id)
        return self.answer


def tokens() -> Callable[[], str]:
    """Draw tokens that are the same in every run of a test."""
    drawn: Iterator[int] = count(1)
    return lambda: f"{next(drawn):08x}"


class World:
    """A store, a clock, a sink, and whatever consumers a test wants."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store: RecordStore = MemoryStore(self.clock)
        self.sink = RecordingSink()
        self.telemetry = Telemetry(metrics=self.sink)
        self.token = tokens()
        self.ledger = Ledger()

    def consumer(
        self,
        consumer_id: str = "manager-1",
        *,
        store: RecordStore | None = None,
        reconcile: Ledger | None = None,
    ) -> CommandConsumer:
        return CommandConsumer(
            store or self.store,
            SCOPE,
            self.ledger,
            consumer_id=consumer_id,
            clock=self.clock,
            telemetry=self.telemetry,
            reconcile=reconcile,
            token=self.token,
        )

    async def issue(
        self,
        epoch: int | None = 1,
        *,
        action: str = "scale",
        command_id: str | None = None,
        decision_id: str | None = None,
        deadline_s: float | None = None,
        store: RecordStore | None = None,
    ) -> Command | Outcome:
        return await issue(
            store or self.store,
            SCOPE,
            action,
            {"n": 3},
            epoch=epoch,
            issuer="leader-1",
            clock=self.clock,
            command_id=command_id,
            decision_id=decision_id,
            deadline_s=deadline_s,
            telemetry=self.telemetry,
            token=self.token,
        )

    async def issued(self, epoch: int = 1, *, command_id: str | None = None) -> Command:
        command = await self.issue(epoch, command_id=command_id)
        assert isinstance(command, Command), command
        return command

    async def keys(self, prefix: str = "command/") -> list[str]:
        page = await self.store.scan(prefix)
        return [record.key.partition("/")[2].partition("/")[2] for record in page.records]


def a_command(
    command_id: str = "c1",
    *,
    epoch: int = 1,
    scope: str = SCOPE,
    action: str = "scale",
    deadline_ns: int | None = None,
) -> Command:
    """Make a command that was never issued: it comes past the store."""
    return Command(
        command_id=command_id,
        scope=scope,
        action=action,
        payload=encode_payload({"n": 3}),
        leader_epoch=epoch,
        issuer="leader-1",
        issued_at_ns=1,
        deadline_ns=deadline_ns,
    )


class StoreProxy:
    """Another store, seen through; subclasses break one verb."""

    def __init__(self, base: RecordStore) -> None:
        self.base = base

    @property
    def capabilities(self) -> Capabilities:
        return self.base.capabilities

    @property
    def store_id(self) -> str:
        return self.base.store_id

    async def get(self, key: str) -> Record | None:
        return await self.base.get(key)

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        return await self.base.scan(prefix, after=after, limit=limit)

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        return await self.base.commit(transaction)

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        return await self.base.outcome(transaction_id)

    def watch(self, prefix: str, *, after: int) -> AbstractAsyncContextManager[Subscription]:
        return self.base.watch(prefix, after=after)

    async def aclose(self) -> None:
        await self.base.aclose()


class KillingStore(StoreProxy):
    """Kills the process before or after its n-th commit, counted from 1."""

    def __init__(self, base: RecordStore, *, at: int, is_after: bool) -> None:
        super().__init__(base)
        self.at = at
        self.is_after = is_after
        self.commits = 0

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        self.commits += 1
        if self.commits == self.at and not self.is_after:
            raise Killed
        result = await self.base.commit(transaction)
        if self.commits == self.at:
            raise Killed
        return result


class ForgetfulStore(StoreProxy):
    """Loses the answers of the first commits: each happens, or not, and nobody hears."""

    def __init__(self, base: RecordStore, *, lost: int, is_applied: bool = True) -> None:
        super().__init__(base)
        self.lost = lost
        self.is_applied = is_applied

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        if self.lost == 0:
            return await self.base.commit(transaction)
        self.lost -= 1
        if self.is_applied:
            await self.base.commit(transaction)
        raise OutcomeUnknown("commit", transaction_id=transaction.id, reason="no answer")


class RivalStore(StoreProxy):
    """Lets a rival act right before chosen commits: the smallest gap there is."""

    def __init__(self, base: RecordStore, rivals: list[Transaction]) -> None:
        super().__init__(base)
        self.rivals = rivals

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        if self.rivals:
            await self.base.commit(self.rivals.pop(0))
        return await self.base.commit(transaction)


async def recorded(world: World, command_id: str) -> Outcome:
    outcome = await OutcomeLog(world.store).outcome(command_id, scope=SCOPE)
    assert outcome is not None
    return outcome


def acting(
    world: World,
    act: Callable[[Command], Awaitable[ActuationStatus | Actuation]],
    store: RecordStore | None = None,
) -> CommandConsumer:
    return CommandConsumer(
        store or world.store, SCOPE, act, consumer_id="manager-1", clock=world.clock,
        telemetry=world.telemetry, token=world.token,
    )  # fmt: skip
