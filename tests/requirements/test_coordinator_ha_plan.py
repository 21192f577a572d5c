"""Coordinator HA plan: one test a sentence, through the public API, as far as it is done."""

from __future__ import annotations

import json
import typing
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import msgspec
import pytest
from click.testing import CliRunner

import federlib
from causal.examples import MEASURED, SOUND
from federlib.causal import GateConfig
from federlib.cli.app import app
from federlib.dag import Policy, Run, TaskRun
from federlib.dag.records import Claim
from federlib.errors import LeaseLost, NotLeader, StaleToken
from federlib.federation import Federation
from federlib.fencing import Command, CommandStatus, Outcome, violations
from federlib.graph import NODE_STATES
from federlib.identity import IdentityStore
from federlib.leadership import Elector, LeaderGate
from federlib.lease import LeasePolicy, lease_url
from federlib.storage import Put, open_store
from federlib.testing.store_view import StoreView

pytestmark = pytest.mark.anyio

PATIENCE_S = 15.0
ELECTION = "coordinator"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/fleet.db"


class Fleet:
    """Processes on one store, each with an identity of its own."""

    def __init__(self, url: str, root: Path) -> None:
        self._url = url
        self._root = root

    def connect(self, who: str, *, ttl_s: float = 60) -> AbstractAsyncContextManager[Federation]:
        return federlib.connect(self._url, identity=IdentityStore(self._root / who), ttl_s=ttl_s)

    @asynccontextmanager
    async def connect_cuttable(
        self, who: str, *, ttl_s: float
    ) -> AsyncIterator[tuple[Federation, StoreView]]:
        """Connect a process that can be cut off: what it held it then leaves behind."""
        store = StoreView(await open_store(self._url))
        try:
            async with federlib.connect(
                store, identity=IdentityStore(self._root / who), ttl_s=ttl_s
            ) as fed:
                yield fed, store
        finally:
            await store.base.aclose()


@pytest.fixture
def fleet(url: str, tmp_path: Path) -> Fleet:
    return Fleet(url, tmp_path / "identities")


async def until_leading(seat: Elector) -> int:
    with anyio.fail_after(PATIENCE_S):
        async for state in seat.changes():
            if state.role == "leader":
                return state.epoch
    raise AssertionError


async def until_following(seat: Elector) -> str:
    with anyio.fail_after(PATIENCE_S):
        async for state in seat.changes():
            if state.role == "follower" and state.leader is not None:
                return state.leader
    raise AssertionError


async def rob(fed: Federation) -> None:
    """Take the lease of the election from its holder, who does not hear of it for long."""
    held = (await fed.inspect(ELECTION)).lease
    assert held is not None
    await fed.leases.release(held)


class Lanes:
    """What commands act on: it counts how often, and under which epochs."""

    def __init__(self) -> None:
        self.effects: list[tuple[str, int]] = []

    async def apply(self, command: Command) -> typing.Literal["applied", "noop"]:
        if command.action == "look":
            return "noop"
        if command.action == "break":
            message = "the lane does not answer"
            raise ConnectionError(message)
        self.effects.append((command.command_id, command.leader_epoch))
        return "applied"


@asynccontextmanager
async def consuming(fed: Federation, lanes: Lanes) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(fed.commands.consume, ELECTION, lanes.apply)
        yield
        group.cancel_scope.cancel()


async def settled(fed: Federation, command: Command | Outcome) -> Outcome:
    assert isinstance(command, Command)
    outcome = await fed.commands.outcome(command, wait_s=PATIENCE_S)
    assert outcome is not None
    return outcome


# Phase 0


async def test_a_command_carries_its_id_epoch_decision_dag_and_causal_fields(fleet: Fleet) -> None:
    """Scope baseline, phase 0: command metadata."""
    async with fleet.connect("a") as fed, fed.elect(ELECTION) as seat:
        epoch = await until_leading(seat)
        command = await fed.commands.issue(
            "stop_lane",
            {"lane": "blue"},
            gate=seat,
            command_id="c-1",
            decision_id="d-1",
            dag_id="run-1",
            dag_node="build",
            causal_id="h-1",
        )
        assert isinstance(command, Command)
        found = (command.command_id, command.leader_epoch, command.decision_id)
        assert found == ("c-1", epoch, "d-1")
        assert (command.dag_id, command.dag_node, command.causal_id) == ("run-1", "build", "h-1")
        assert command.read(dict[str, str]) == {"lane": "blue"}
        stored = await fed.commands.log.find("c-1")
        assert stored is not None
        assert stored.command == command


async def test_the_consumer_rejects_a_stale_epoch(fleet: Fleet) -> None:
    """Scope baseline, phase 0: stale-epoch rejection in manager command consumer."""
    lanes = Lanes()
    async with fleet.connect("a") as fed:
        async with fed.elect(ELECTION) as seat:
            epoch = await until_leading(seat)
            waiting = await fed.commands.issue("stop_lane", gate=seat)
            # A newer leader is heard of before anybody has acted.
            await fed.guard(ELECTION).admit(epoch + 1)
        async with consuming(fed, lanes):
            outcome = await settled(fed, waiting)
    assert outcome.status == "rejected_stale_epoch"
    assert lanes.effects == []


async def test_outcomes_are_there_after_the_store_was_closed_and_opened(fleet: Fleet) -> None:
    """Scope baseline, phase 0: durable command outcome log."""
    lanes = Lanes()
    async with fleet.connect("a") as fed, fed.elect(ELECTION) as seat, consuming(fed, lanes):
        await until_leading(seat)
        command = await fed.commands.issue("scale", {"n": 3}, gate=seat)
        outcome = await settled(fed, command)
    async with fleet.connect("a") as fed:
        assert isinstance(command, Command)
        again = await fed.commands.log.find(command.command_id)
        assert again is not None
        assert (again.command, again.outcome) == (command, outcome)
        assert await fed.commands.counts() == {"applied": 1}


# Workstream 1


@pytest.mark.parametrize("backend", ["file", "sqlite", "postgres", "etcd"])
def test_the_variable_of_the_plan_names_the_lease_backend(backend: str) -> None:
    """§1: `ORXAQ_AUTONOMY_LEADER_LEASE_BACKEND`, and backend-specific connection variables."""
    name = "ORXAQ_AUTONOMY_LEADER_LEASE_"
    scheme = {"postgres": "postgresql"}.get(backend, backend)
    environ = {f"{name}{backend.upper()}_URL": f"{scheme}://a", f"{name}BACKEND": backend}
    assert lease_url(environ).startswith(f"{scheme}://")


def test_there_is_a_retry_and_timeout_policy_for_renewing_and_acquiring() -> None:
    """§1: retry and timeout policy for lease renew and acquire."""
    policy = LeasePolicy()
    assert policy.renewal_limit_s(15, 13.5) + policy.acquire_limit_s(15) < 13.5
    assert 0 < next(policy.renewal_pauses_s(15)) < 15
    assert policy.worst_share < 0.9


async def test_only_one_leader_can_issue_mutating_commands(fleet: Fleet) -> None:
    """§1, acceptance: only one leader can issue mutating commands under normal operation."""
    async with fleet.connect("a") as one, fleet.connect("b") as two, one.elect(ELECTION) as led:
        await until_leading(led)
        async with two.elect(ELECTION) as follows:
            await until_following(follows)
            accepted = await one.commands.issue("scale", {"n": 1}, gate=led)
            refused = await two.commands.issue("scale", {"n": 2}, gate=follows)
        assert isinstance(accepted, Command)
        assert isinstance(refused, Outcome)
        assert refused.status == "rejected_not_leader"
        assert await one.commands.counts() == {"rejected_not_leader": 1}


async def test_followers_remain_read_only(fleet: Fleet) -> None:
    """§1, acceptance: follower nodes remain read-only and continue telemetry export."""
    lanes = Lanes()
    async with fleet.connect("a") as one, fleet.connect("b") as two, one.elect(ELECTION) as led:
        await until_leading(led)
        async with two.elect(ELECTION) as follows, consuming(two, lanes):
            leader = await until_following(follows)
            with pytest.raises(NotLeader):
                follows.check()
            refused = await two.commands.issue("stop_lane", gate=follows)
            assert isinstance(refused, Outcome)
            assert lanes.effects == []
            # It still sees everything.
            assert leader == (await one.identity()).worker_id
            assert (await two.inspect(ELECTION)).fencing_token == led.check()
            assert await two.commands.counts() == {"rejected_not_leader": 1}


# Workstream 2


async def test_the_gate_stands_before_every_mutating_action_and_hands_on_the_epoch(
    fleet: Fleet,
) -> None:
    """§2, deliverables: leader gate in actuation paths; epoch included in emitted events."""
    refused: list[tuple[str, str]] = []
    emitted: list[tuple[str, int]] = []

    async def record(action: str, error: Exception) -> None:
        refused.append((action, str(error)))

    async def stop_lane(epoch: int) -> None:
        emitted.append(("lane.stopped", epoch))

    async with fleet.connect("a") as fed, fed.elect(ELECTION) as seat:
        gate = LeaderGate(seat, record)
        epoch = await until_leading(seat)
        await gate.call("stop_lane", stop_lane)
    assert emitted == [("lane.stopped", epoch)]
    with pytest.raises(NotLeader):
        await gate.call("stop_lane", stop_lane)
    assert [action for action, _ in refused] == ["stop_lane"]
    assert len(emitted) == 1


def test_the_statuses_are_those_of_the_plan() -> None:
    """§2, deliverables: applied, noop, rejected_*, actuation_failed."""
    statuses = set(typing.get_args(CommandStatus))
    rejected = {status for status in statuses if status.startswith("rejected_")}
    assert statuses - rejected == {"applied", "noop", "actuation_failed"}
    assert rejected >= {"rejected_stale_epoch", "rejected_not_leader", "rejected_duplicate"}


async def test_each_command_ends_in_the_status_that_fits(fleet: Fleet) -> None:
    """§2, deliverables: unified command status transitions."""
    lanes = Lanes()
    async with fleet.connect("a") as fed, fed.elect(ELECTION) as seat:
        await until_leading(seat)
        late = await fed.commands.issue("scale", gate=seat, deadline_s=1e-9)
        issued = {
            "applied": await fed.commands.issue("scale", gate=seat),
            "noop": await fed.commands.issue("look", gate=seat),
            "actuation_failed": await fed.commands.issue("break", gate=seat),
            "rejected_expired": late,
        }
        async with consuming(fed, lanes):
            found = {(await settled(fed, command)).status for command in issued.values()}
            for status, command in issued.items():
                assert (await settled(fed, command)).status == status
        assert found == set(issued)
        assert await fed.commands.counts() == dict.fromkeys(sorted(issued), 1)


async def test_commands_of_a_deposed_leader_are_never_applied(fleet: Fleet) -> None:
    """§2, acceptance: stale/split-brain commands are never applied."""
    lanes = Lanes()
    async with fleet.connect("a") as old, fleet.connect("b") as new, old.elect(ELECTION) as stale:
        before = await until_leading(stale)
        await rob(new)
        async with new.elect(ELECTION) as seat, consuming(new, lanes):
            after = await until_leading(seat)
            assert after > before
            # Split brain: both believe that they lead.
            assert (stale.check(), seat.check()) == (before, after)
            applied = await new.commands.issue("scale", {"n": 1}, gate=seat)
            refused = await old.commands.issue("scale", {"n": 2}, gate=stale)
            assert isinstance(refused, Outcome)
            assert refused.status == "rejected_stale_epoch"
            assert (await settled(new, applied)).status == "applied"
            with pytest.raises(StaleToken):
                await old.guard(ELECTION).transaction(before, (Put("lanes/blue", b"stopped"),))
            assert await new.store.get("lanes/blue") is None
    assert [epoch for _, epoch in lanes.effects] == [after]


async def test_the_log_can_be_replayed_and_audited(fleet: Fleet) -> None:
    """§2, acceptance: command log supports replay/audit of every command decision."""
    lanes = Lanes()
    async with fleet.connect("a") as fed, fed.elect(ELECTION) as seat:
        epoch = await until_leading(seat)
        async with consuming(fed, lanes):
            for number in range(5):
                command = await fed.commands.issue(
                    "scale" if number % 2 else "look",
                    gate=seat,
                    decision_id=f"d-{number}",
                    dag_node="build" if number == 3 else None,
                )
                await settled(fed, command)
        log = fed.commands.log
        audit = await log.audit()
        assert violations(audit) == ()
        replayed: tuple[str, ...] = await log.replay(
            lambda done, event: (
                (*done, event.command_id)
                if isinstance(event.record, Outcome) and event.record.status == "applied"
                else done
            ),
            (),
        )
        assert replayed == tuple(command_id for command_id, _ in lanes.effects)
        by_decision = [entry async for entry in log.commands(decision_id="d-2")]
        by_node = [entry async for entry in log.commands(dag_node="build")]
        by_epoch = [entry async for entry in log.commands(epoch=epoch)]
    assert (len(by_decision), len(by_node), len(by_epoch)) == (1, 1, 5)
    assert by_node[0].command.decision_id == "d-3"


# Workstream 4


def test_the_node_states_are_those_of_the_plan() -> None:
    """§4, deliverables: pending|ready|running|success|failed|blocked."""
    assert tuple(NODE_STATES) == ("pending", "ready", "running", "success", "failed", "blocked")


def test_a_claim_is_task_attempt_and_epoch() -> None:
    """§4, deliverables: idempotent worker claim contract (task_id, attempt, leader_epoch)."""
    fields = [field.name for field in msgspec.structs.fields(Claim)]
    assert fields[:3] == ["node", "attempt", "epoch"]


class Work:
    """What the workers of a run did, and a way to hold them up in the middle."""

    def __init__(self, *held_up: str) -> None:
        self.done: list[tuple[str, str, int, int]] = []
        self.began = {task: anyio.Event() for task in held_up}
        self.runs_at = dict[str, str]()
        self.go_on = anyio.Event()

    async def do(self, who: str, task: TaskRun) -> None:
        self.done.append((who, task.task_id, task.attempt, task.epoch))
        if task.task_id in self.began:
            self.runs_at.setdefault(task.task_id, who)
            self.began[task.task_id].set()
            await self.go_on.wait()

    def ids(self) -> list[str]:
        return [task_id for _, task_id, _, _ in self.done]


async def wait_for(*events: anyio.Event) -> None:
    with anyio.fail_after(PATIENCE_S):
        for event in events:
            await event.wait()


async def test_a_run_goes_on_from_its_latest_frontier_when_its_leader_is_gone(
    fleet: Fleet,
) -> None:
    """§4, acceptance: DAG execution continues from latest persisted frontier."""
    work = Work("c")
    async with fleet.connect_cuttable("a", ttl_s=0.5) as (dying, store):
        plan = {"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}
        await dying.dag.submit(plan, run_id="r1", policy=Policy(backoff_s=0.01))
        async with anyio.create_task_group() as group:
            group.start_soon(dying.dag.work, "r1", partial(work.do, "dying"))
            await wait_for(work.began["c"])
            store.is_cut = True
            group.cancel_scope.cancel()
    work.go_on.set()
    async with fleet.connect("b", ttl_s=2) as heir:
        with anyio.fail_after(PATIENCE_S):
            ended = await heir.dag.work("r1", partial(work.do, "heir"))
        state = await heir.dag.inspect("r1")
    assert ended.state == "success"
    # What was finished stays finished; what was under way is tried again; the rest follows.
    assert [(who, task) for who, task, _, _ in work.done] == [
        ("dying", "a"), ("dying", "b"), ("dying", "c"), ("heir", "c"), ("heir", "d"),
    ]  # fmt: skip
    assert [attempt for _, _, attempt, _ in work.done] == [1, 1, 1, 2, 1]
    assert [span.epoch for span in state.epochs] == sorted({epoch for *_, epoch in work.done})


async def test_failover_recovers_the_run_without_doing_a_living_workers_task_twice(
    fleet: Fleet,
) -> None:
    """§4, acceptance: leader failover recovers active DAG state without duplicate side effects."""
    work = Work("x", "y")
    async with (
        fleet.connect_cuttable("a", ttl_s=0.5) as (dying, store),
        fleet.connect("b", ttl_s=10) as heir,
        anyio.create_task_group() as living,
    ):
        run = await dying.dag.submit(
            {"x": [], "y": [], "z": ["x", "y"]}, run_id="r1", policy=Policy(backoff_s=0.01)
        )
        ended: list[str] = []

        async def live(run: Run) -> None:
            ended.append((await heir.dag.work(run, partial(work.do, "heir"), slots=1)).state)

        async with anyio.create_task_group() as group:
            group.start_soon(partial(dying.dag.work, run, partial(work.do, "dying"), slots=1))
            with anyio.fail_after(PATIENCE_S):
                while not work.runs_at:
                    await anyio.sleep(0.01)
            living.start_soon(live, run)
            await wait_for(work.began["x"], work.began["y"])
            store.is_cut = True
            group.cancel_scope.cancel()
        with anyio.fail_after(PATIENCE_S):
            while len((await heir.dag.inspect(run)).epochs) < 2:
                await anyio.sleep(0.05)
        work.go_on.set()
        with anyio.fail_after(PATIENCE_S):
            while not ended:
                await anyio.sleep(0.01)
        state = await heir.dag.inspect(run)
    assert ended == ["success"]
    kept = next(task for task, who in work.runs_at.items() if who == "heir")
    assert work.ids().count(kept) == 1
    assert work.ids().count("z") == 1
    # The dead worker's claim as well, if its lease ran out after the leader's.
    assert state.adopted in (1, 2)
    # One accepted finish a task, all of them under the epoch that leads.
    assert sorted(node for node, _, _ in state.accepted()) == [0, 1, 2]
    assert {epoch for _, _, epoch in state.accepted()} == {state.epochs[-1].epoch}


# Workstream 5


async def until_commanded(
    fed: Federation, seat: Elector, action: str, payload: object = None, *, causal_id: str = ""
) -> Command | Outcome:
    await until_leading(seat)
    return await fed.commands.issue(action, payload, gate=seat, causal_id=causal_id or None)


@pytest.mark.parametrize(
    ("action", "payload"),
    [("restart_many", None), ("isolate_node", {"node": "a"}), ("scale", {"from": 8, "n": 2})],
)
async def test_disruptive_actions_require_a_hypothesis(
    url: str, tmp_path: Path, action: str, payload: object
) -> None:
    """§5, deliverables: hypothesis metadata is required for disruptive actions."""
    gate = GateConfig(mode="enforced")
    async with (
        federlib.connect(url, identity=IdentityStore(tmp_path), ttl_s=60, causal=gate) as fed,
        fed.elect(ELECTION) as seat,
    ):
        refused = await until_commanded(fed, seat, action, payload)
        assert isinstance(refused, Outcome)
        assert refused.status == "rejected_causal"
        assert refused.reason.startswith("no hypothesis")
        gentle = await until_commanded(fed, seat, "scale", {"from": 8, "n": 7})
        assert isinstance(gentle, Command)


@pytest.mark.parametrize("mode", ["off", "advisory", "enforced"])
async def test_the_gate_is_advisory_first_and_enforced_later(
    url: str, tmp_path: Path, mode: typing.Literal["off", "advisory", "enforced"]
) -> None:
    """§5, acceptance: disruptive controls require causal metadata (advisory, then enforced)."""
    gate = GateConfig(mode=mode)
    async with (
        federlib.connect(url, identity=IdentityStore(tmp_path), ttl_s=60, causal=gate) as fed,
        fed.elect(ELECTION) as seat,
    ):
        issued = await until_commanded(fed, seat, "restart_many")
        assert isinstance(issued, Outcome) == (mode == "enforced")
        entry = await fed.commands.log.find(issued.command_id)
        assert entry is not None
        found = msgspec.json.decode(entry.command.causal)
        rulings = {"off": None, "advisory": "advised", "enforced": "refused"}
        assert (found and found["ruling"]) == rulings[mode]


async def test_hypothesis_evidence_and_outcome_can_be_shown(url: str, tmp_path: Path) -> None:
    """§5: evidence summary in command records; hypothesis, evidence, outcome on a dashboard."""
    lanes = Lanes()
    gate = GateConfig(mode="enforced")
    hypothesis = msgspec.structs.replace(
        SOUND, expected=msgspec.structs.replace(SOUND.expected, within_s=1e-9)
    )
    async with (
        federlib.connect(url, identity=IdentityStore(tmp_path), ttl_s=60, causal=gate) as fed,
        fed.elect(ELECTION) as seat,
        consuming(fed, lanes),
    ):
        await fed.causal.state(hypothesis)
        evidence = await fed.causal.attach("leak-restart", MEASURED, source="a canary")
        command = await until_commanded(fed, seat, "restart_many", causal_id="leak-restart")
        assert isinstance(command, Command)
        assert (await settled(fed, command)).status == "applied"
        result = await fed.causal.conclude(ELECTION, command.command_id, MEASURED)
        (shown,) = [each async for each in fed.causal.interventions()]
        assert shown.hypothesis == hypothesis
        assert shown.verdict is not None
        assert shown.verdict.evidence == evidence
        assert (shown.status, shown.result) == ("applied", result)
        assert (await fed.causal.track("leak-restart")).supported == 1


# Workstream 6


async def test_status_tells_leader_epoch_lease_age_and_outcomes_at_one_look(
    fleet: Fleet, url: str
) -> None:
    """§6, deliverables: CLI status endpoints for lease + command fence state."""
    lanes = Lanes()
    async with fleet.connect("a") as fed, fed.elect(ELECTION) as seat, consuming(fed, lanes):
        epoch = await until_leading(seat)
        await settled(fed, await fed.commands.issue("scale", gate=seat))
        await settled(fed, await fed.commands.issue("look", gate=seat))
        told = await anyio.to_thread.run_sync(
            partial(CliRunner().invoke, app, ["status", url, "--json"])
        )
        leader = (await fed.identity()).worker_id
    assert told.exit_code == 0, told.output
    status = json.loads(told.stdout)
    assert status["health"] == "healthy"
    (lease,) = status["leases"]
    assert (lease["name"], lease["leader"], lease["epoch"]) == (ELECTION, leader, epoch)
    assert lease["ttl_s"] == 60
    assert 0 <= lease["lease_age_s"] <= 60
    assert status["commands"] == {"applied": 1, "noop": 1}


async def test_a_leader_whose_time_has_run_out_is_not_asked_again(fleet: Fleet) -> None:
    """§2, goals: leader role enforced consistently, also when the store is away."""
    async with (
        fleet.connect_cuttable("a", ttl_s=0.3) as (fed, store),
        fed.elect(ELECTION) as seat,
    ):
        await until_leading(seat)
        store.is_cut = True
        with anyio.fail_after(PATIENCE_S):
            async for state in seat.changes():
                if state.role != "leader":
                    break
        with pytest.raises((NotLeader, LeaseLost)):
            seat.check()
