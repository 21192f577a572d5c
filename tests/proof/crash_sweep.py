"""One run of a fleet in which processes die at chosen writes, and the judgement of it."""

from __future__ import annotations

import math
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import anyio
import attrs
from anyio.abc import TaskGroup

from dag.run_lab import view
from federlib._tasks import open_task_group
from federlib.dag import Handler, Policy, TaskFailed, TaskRun, Workflow
from federlib.dag.plan import Plan, join_chunks, split_plan
from federlib.dag.records import RunRecord
from federlib.dag.runlog import RunLog
from federlib.errors import FederlibError, OutcomeUnknown, Unavailable
from federlib.lease.records import LeaseRecord, decode_lease, is_queue_key, is_waiter_key
from federlib.skewclock import Clock
from federlib.storage import Committed, RecordStore, Transaction
from federlib.storage.scanning import scan_all
from proof.mortal import Dead, Fault, Member, Terms, Watched
from proof.run_book import RunBook, Who

__all__ = ["CASTS", "RUN_ID", "Case", "Ending", "Part", "play"]

RUN_ID = "r"
_LIMIT_S = 300.0
_POLL_S = 0.2
_REPLAYED = 8


@attrs.frozen
class AheadClock:
    """A host's clock, as a process sees it for which more time has passed."""

    base: Clock
    ahead_s: float

    @property
    def clock_id(self) -> str:
        return self.base.clock_id

    def boot_ns(self) -> int:
        return self.base.boot_ns() + round(self.ahead_s * 1e9)

    def monotonic_ns(self) -> int:
        return self.base.monotonic_ns() + round(self.ahead_s * 1e9)

    def wall_ns(self) -> int:
        return self.base.wall_ns() + round(self.ahead_s * 1e9)


Role = Literal["leads and works", "leads", "works", "cancels", "resumes"]


@attrs.frozen
class Part:
    """One process of a cast.

    Attributes:
        role: What it does.
        start_s: When it starts; seconds from the beginning.
        after: Whose death it waits for before that, by place in the cast.
        who: Its identity, where it is not one of its own.
        ahead_s: How far its clocks are ahead: for it, leases of the others have run out.
    """

    role: Role
    start_s: float = 0.0
    after: int | None = None
    who: Who | None = None
    ahead_s: float = 0.0


_BOTH: Role = "leads and works"

CASTS: Mapping[str, tuple[Part, ...]] = {
    # The first of each is the victim.
    "leads and works": (Part(_BOTH), Part(_BOTH, 0.1)),
    "leads and works alone": (Part(_BOTH), Part(_BOTH, after=0)),
    "is born again": (Part(_BOTH), Part(_BOTH, after=0, who=("p0", 2))),
    "is followed by one that dies": (Part(_BOTH), Part(_BOTH, 0.1), Part(_BOTH, after=1)),
    "is asked": (Part(_BOTH), Part(_BOTH, 0.1), Part("cancels", 0.5), Part("resumes")),
    "asks": (Part("cancels", 0.5), Part(_BOTH), Part(_BOTH, 0.1), Part("resumes", 4)),
    "leads": (Part("leads"), Part("works", 0.05), Part("leads", 0.1)),
    "works": (Part("works", 0.05), Part("leads"), Part("works", 0.05)),
    "is late": (Part(_BOTH), Part(_BOTH, after=0, ahead_s=60)),
}


@attrs.frozen(kw_only=True)
class Case:
    """A workflow and how its tasks behave.

    Attributes:
        workflow: The tasks.
        terms: Of the fleet.
        failing: How many first attempts of a task fail; by its id, else none.
        policy: Of the run.
        durations_s: How long tasks take; which one a task takes follows from its id.
        one_in: Of so many tasks one hands something on.
        submits: Each process submits the run before it does anything else.
    """

    workflow: Workflow
    terms: Terms
    failing: Mapping[str, int] = {}
    policy: Policy = attrs.field(factory=lambda: Policy(backoff_s=0.3))
    durations_s: tuple[float, ...] = (0.0, 0.0, 0.15, 0.4)
    one_in: int = 3
    submits: bool = False

    def duration_s(self, task_id: str) -> float:
        """Say how long a task takes: many end at the same instant, and some never wait."""
        return self.durations_s[zlib.crc32(task_id.encode()) % len(self.durations_s)]

    def result(self, task_id: str) -> object:
        """Say what a task hands on; None for nothing."""
        return f"of {task_id}" if zlib.crc32(task_id.encode()) % self.one_in == 0 else None

    def plan(self) -> Plan:
        """Return the plan as it is stored."""
        chunks = split_plan(self.workflow)
        record = RunRecord(
            run_id=RUN_ID,
            name="",
            plan_hash="",
            chunks=len(chunks),
            tasks=len(self.workflow.tasks),
            submitted_ns=0,
        )
        return join_chunks(chunks, record, where="plan")


@attrs.define
class Ending:
    """What came of a run.

    Attributes:
        writes: How many commits each process of the cast sent.
        deaths: Which of them were killed, by place.
        epochs: How many reigns there were.
        again: How many calls of a handler came to nothing.
        refused: How many commits of the dead arrived after their time and changed nothing.
        stale: How many finishes reached a leader for which they came too late.
        takeover_s: How long after a leader's death the next one led, by the place of the dead.
    """

    writes: list[int]
    deaths: list[int]
    epochs: int
    again: int
    refused: int
    stale: int
    takeover_s: dict[int, float]


async def play(
    case: Case,
    cast: tuple[Part, ...],
    base: RecordStore,
    plan: Plan,
    faults: Mapping[int, Fault],
) -> Ending:
    """Let a fleet do a run, and judge it.

    Args:
        case: The run.
        cast: The fleet.
        base: With the run submitted, unless the processes do so.
        plan: Of the run, so that it is read once.
        faults: What happens to whom, by place in the cast.
    Raises:
        AssertionError: The run is not as promised.
    """
    stage = _Stage(case, cast, base, plan, faults)
    problems = stage.store.problems
    with anyio.move_on_after(_LIMIT_S) as limit:
        try:
            async with open_task_group() as group:
                stage.start(group)
        except FederlibError as error:
            problems.append(f"a process falls: {error!r}")
    # The first is the cause of the others.
    assert not problems, problems[0]
    assert not limit.cancelled_caught, f"the run never ends: it is {stage.book.state}"
    try:
        await stage.judge()
    except FederlibError as error:
        raise AssertionError(f"what is left cannot be read: {error!r}") from error
    return stage.ending()


class _Stage:
    """One fleet at its work."""

    def __init__(
        self,
        case: Case,
        cast: tuple[Part, ...],
        base: RecordStore,
        plan: Plan,
        faults: Mapping[int, Fault],
    ) -> None:
        self.case = case
        self.cast = cast
        self.plan = plan
        self.faults = faults
        self.book = RunBook(RUN_ID, plan)
        self.book.state = "" if case.submits else "running"
        self.store = Watched(base, self.book)
        self.nodes = {task_id: node for node, task_id in enumerate(plan.ids)}
        self.members: dict[int, Member] = {}
        self.died_at: dict[int, tuple[float, int]] = {}
        self.died_leading: set[int] = set()
        self.takeover_s: dict[int, float] = {}
        self.refused = 0
        self.ends = [anyio.Event() for _ in cast]

    def start(self, group: TaskGroup) -> None:
        for place in range(len(self.cast)):
            group.start_soon(self._live, place)

    async def _live(self, place: int) -> None:
        """Be one process, from its start to its end or death; then be its ghost."""
        part = self.cast[place]
        if part.after is not None:
            await self.ends[part.after].wait()
            if part.after not in self.died_at:
                return
        await anyio.sleep(part.start_s)
        died, terms = anyio.Event(), self.case.terms
        async with anyio.create_task_group() as group:
            try:
                with anyio.CancelScope() as life:

                    def kill() -> None:
                        self.died_at[place] = (anyio.current_time(), self.book.known.epoch)
                        if self.book.known.leader == member.who[0]:
                            self.died_leading.add(place)
                        self.ends[place].set()
                        life.cancel()
                        died.set()

                    member = self.members[place] = Member(
                        part.who or (f"p{place}", 1),
                        self.store,
                        attrs.evolve(terms, clock=AheadClock(terms.clock, part.ahead_s)),
                        fault=self.faults.get(place),
                        kill=kill,
                    )
                    group.start_soon(self._haunt, place, died)
                    await self._act(member, part.role)
            except* Dead:
                assert died.is_set()
            if not died.is_set():
                group.cancel_scope.cancel()
        self.ends[place].set()

    async def _act(self, member: Member, role: Role) -> None:
        if self.case.submits:
            await self._submit(member)
        if role == "cancels":
            await _surely(lambda: member.runs.cancel(RUN_ID))
        handler = self._handler(member)
        while self.book.state != "success":
            if self.book.state == "running" or await member.runs.is_asked(RUN_ID):
                await self._take_part(member, role, handler)
            elif role in {"cancels", "resumes"}:
                await _surely(lambda: member.runs.resume(RUN_ID, retry_failed=True))
            if self.book.state != "success":
                await anyio.sleep(_POLL_S)

    async def _submit(self, member: Member) -> None:
        await _surely(
            lambda: member.runs.submit(self.case.workflow, run_id=RUN_ID, policy=self.case.policy)
        )

    async def _take_part(self, member: Member, role: Role, handler: Handler) -> None:
        match role:
            case "leads and works":
                await member.lead_and_work(handler)
            case "leads":
                await member.lead()
            case "works":
                await member.work(handler)
            case "cancels" | "resumes":
                pass

    def _handler(self, member: Member) -> Handler:
        case, book = self.case, self.book

        async def handle(task: TaskRun) -> object:
            await member.cable.check()
            node = self.nodes[task.task_id]
            wanted = {parent: case.result(parent) for parent in task.task.needs}
            given = {parent: value for parent, value in wanted.items() if value is not None}
            try:
                effect = book.begin(
                    member.who, node, task.attempt, inputs=task.inputs, expected=given
                )
            except AssertionError as problem:
                self.store.problems.append(str(problem))
                raise
            if (duration_s := case.duration_s(task.task_id)) > 0:
                await anyio.sleep(duration_s)
            await member.cable.check()
            effect.took_ns, effect.is_good = 0, task.attempt > case.failing.get(task.task_id, 0)
            if not effect.is_good:
                raise TaskFailed("as it was told to")
            return case.result(task.task_id)

        return handle

    # After a death

    async def _haunt(self, place: int, died: anyio.Event) -> None:
        """Let what a dead process sent arrive late or again: after the takeover, and at the end."""
        await died.wait()
        at_s, epoch = self.died_at[place]
        who, book = self.members[place].who, self.book
        await self._until(
            lambda: book.known.epoch != epoch or who in book.bereft,
            at_s + 2 * self.case.terms.ttl_s,
        )
        if self.book.known.epoch != epoch and place in self.died_leading:
            self.takeover_s[place] = anyio.current_time() - at_s
        sent = self.members[place].cable.sent
        if self.faults[place].how == "killed before" and self.book.state != "success":
            # It may well be accepted, if nobody leads in the place of the dead.
            await self._replay(sent[-1], epoch)
        for _ in range(2):
            for transaction in reversed(sent[-_REPLAYED:]):
                if self._is_fenced(transaction, epoch):
                    await self._replay(transaction, epoch)
            await self._until(lambda: self.book.state == "success")

    async def _until(self, there: Callable[[], bool], until_s: float = math.inf) -> None:
        while not there() and self.book.state != "success" and anyio.current_time() < until_s:
            await anyio.sleep(0.05)

    def _is_fenced(self, transaction: Transaction, epoch: int) -> bool:
        """Say whether only a leader, or a worker under it, may write this, and it is deposed."""
        keys = self.book.keys
        touched = [*transaction.writes, *transaction.checks]
        theirs = (keys.epoch, keys.logs, keys.dones, keys.progress, f"{keys.root}snap")
        return self.book.known.epoch != epoch and any(
            part.key.startswith(theirs) for part in touched
        )

    async def _replay(self, transaction: Transaction, epoch: int) -> None:
        before, is_fenced = self.store.last, self._is_fenced(transaction, epoch)
        result = await self.store.send(transaction)
        is_new = isinstance(result, Committed) and result.revision > before
        if is_fenced and is_new:
            text = f"of epoch {epoch}, accepted under {self.book.known.epoch}: {transaction}"
            self.store.problems.append(text[:500])
        self.refused += not is_new

    # The end

    async def judge(self) -> None:
        book = self.book
        killed = {self.members[place].who for place in self.died_at}
        faulty = {self.members[place].who for place in self.faults if place in self.members}
        book.check_end(killed, is_rerun=self.case.policy.on_failover == "rerun")
        keys = book.keys
        left = [record async for record in scan_all(self.store.base, keys.root)]
        # A worker whose last word is not heard leaves its record behind, as if it had died.
        book.check_left(left, faulty)
        await self._judge_leases(killed)
        log = RunLog(self.store.base, RUN_ID)
        log.keep_plan(self.plan)
        state, _ = await log.fold()
        assert state.accepted() == [(n, *found) for n, found in book.known.accepted.items()]
        seen = view(state)
        for place, member in self.members.items():
            lived = member.log.lived
            if place not in self.died_at and lived is not None and lived.epoch == book.known.epoch:
                assert view(lived) == seen, "the fold is not what the leader knows"

    async def _judge_leases(self, killed: set[Who]) -> None:
        """Check that only the dead still hold leases or stand in line."""
        names = {who[0] for who in killed}
        async for record in scan_all(self.store.base, "lease/"):
            if is_waiter_key(record.key):
                assert any(name in record.key for name in names), f"left behind: {record.key}"
                continue
            if is_queue_key(record.key):
                continue
            found: LeaseRecord = decode_lease(record.key, record.value)
            if found.lease is not None:
                assert found.lease.holder_id in names, f"left behind: {record.key}"

    def ending(self) -> Ending:
        return Ending(
            writes=[
                len(self.members[place].cable.sent) if place in self.members else 0
                for place in range(len(self.cast))
            ],
            deaths=sorted(self.died_at),
            epochs=self.book.known.reigns,
            again=len(self.book.known.effects) - len(self.plan.graph),
            refused=self.refused,
            stale=self.book.known.refused,
            takeover_s=self.takeover_s,
        )


async def _surely(ask: Callable[[], Awaitable[object]]) -> None:
    """Ask until there is an answer, as a user would."""
    while True:
        try:
            await ask()
        except (Unavailable, OutcomeUnknown):
            await anyio.sleep(_POLL_S)
        else:
            return
