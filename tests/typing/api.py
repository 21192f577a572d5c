"""The public API as its users type it: checked by mypy and pyright, never run."""

from __future__ import annotations

import random
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Literal

import anyio

import federlib
import federlib.blocking
from federlib.causal import (
    Evidence,
    Examined,
    ExpectedEffect,
    Finding,
    GateConfig,
    Hypothesis,
    Intervention,
    Measured,
    Result,
    ScaleDown,
    TrackRecord,
    Verdict,
    Watched,
    assess,
    examine,
    is_disruptive,
    judge,
    measure_effect,
    read_hypothesis,
)
from federlib.dag import RunRecord, RunState, TaskRun
from federlib.decisions import DecisionLog
from federlib.dmn import (
    CompiledTable,
    Decider,
    Decision,
    DecisionMade,
    DecisionNode,
    DecisionTable,
    Definitions,
    Difference,
    DirectoryShelf,
    EventDecisions,
    EventMapping,
    Gap,
    History,
    InputClause,
    InputData,
    MemoryShelf,
    Model,
    ModelDiff,
    ModelProblem,
    ModelProblems,
    OutputClause,
    Published,
    Replay,
    Rule,
    TableAnalysis,
    TckReport,
    VersionStore,
    analyse,
    compile_model,
    content_hash,
    decode_made,
    diff_models,
    dump_json,
    dump_model,
    dump_xml,
    dump_yaml,
    encode_made,
    facts_of,
    find_problems,
    hash_inputs,
    load_model,
    normalised,
    parse_model,
    read_decision,
    replay,
    run_tck,
    write_decision,
)
from federlib.dmn.feel import Value, evaluate
from federlib.dmn.policies import load_mapping, load_policy
from federlib.dmn.render import render_html, render_markdown, render_text
from federlib.errors import Fenced, LeaseBusy, Unavailable
from federlib.fencing import Command, Outcome
from federlib.lease import Busy, HeldLease, LeasePolicy
from federlib.registry import HostSummary, Member
from federlib.skewclock import HlcTimestamp, hlc_text, read_clock
from federlib.storage import Absent, Committed, Conflicted, Put, Record, WatchItem

data = b"report"


async def upload(content: bytes, *, fence: int) -> None:
    """Stand in for a resource that compares tokens."""


async def do_task(task: TaskRun) -> object:
    """Stand in for real work."""
    return {"task": task.task_id, "key": task.idempotency_key, "inputs": task.inputs}


async def main() -> None:
    """The program of the README."""
    async with federlib.connect("sqlite:///fleet.db") as fed:        # FEDERLIB_STORE if omitted
        async with fed.hold("nightly-report", ttl_s=15) as lease:
            await upload(data, fence=lease.token)                     # the store refuses an older token

        async with fed.elect("coordinator") as seat:                  # observer while the store is away
            async for state in seat.changes():
                if state.role == "leader":
                    result = await fed.commands.issue("scale", {"n": 3}, gate=seat)
                    settled: Command | Outcome = result
                    del settled
                    break

        run = await fed.dag.submit({"a": [], "b": ["a"]}, run_id="r1")
        await fed.dag.work(run, handler=do_task)                      # leads or works, until the run ends


async def more() -> None:
    """The rest of the members, with their types."""
    policy = LeasePolicy(tries=1, attempt_share=0.5, acquire_share=0.3)
    async with federlib.connect(
        ttl_s=5, skew_tolerance_s=1, leases="etcd://a,b,c", policy=policy
    ) as fed:
        got: HeldLease | Busy = await fed.try_acquire("x", policy=policy)
        if isinstance(got, Busy):
            holder: str | None = got.holder
            print(holder, got.expires)
        else:
            async with got as lease:
                lease.check()
                token: int = lease.token
                done: Committed | Conflicted = await fed.guard("x").transaction(
                    token, (Put("x/1", b"1"),), (Absent("x/1"),)
                )
                print(done)
        ended: RunRecord = await fed.dag.work("r1", do_task, slots=2)
        state: RunState = await fed.dag.inspect("r1")
        counts: dict[str, int] = state.counts()
        print(ended.state, counts, (await fed.identity()).worker_id, fed.clock.wall_ns())
        stamp: HlcTimestamp = fed.hlc.observe(fed.hlc.now())
        print(hlc_text(stamp), read_clock(fed.hlc).hlc_logical)


async def registry() -> None:
    """Who is there."""
    async with federlib.connect() as fed, fed.registry.join(slots=8, labels={"a": "b"}) as me:
        me.report(load=0.5)
        members: list[Member] = await fed.registry.members(kind="worker", state=None)
        hosts: dict[str, HostSummary] = await fed.registry.by_host()
        print(me.worker_id, [(m.state, m.record.labels) for m in members], hosts)
        async with fed.registry.watch() as changes:
            async for change in changes:
                before: Member | None = change.before
                print(before, change.member.age_s)
                break
        removed: int = await fed.registry.collect()
        print(removed, (await fed.registry.inspect()).problems)


def upload_now(content: bytes, *, fence: int) -> None:
    """Stand in for a resource that compares tokens."""


def do_task_now(task: TaskRun) -> object:
    """Stand in for real work."""
    return task.task_id


def act(command: Command) -> Literal["applied"]:
    """Stand in for an actuator."""
    return "applied"


def blocking() -> None:
    """The same verbs, for threads."""
    with federlib.blocking.connect("sqlite:///fleet.db", leases="file:///leases") as fed:
        with fed.hold("nightly-report", ttl_s=15, wait_s=5) as lease:
            lease.check()
            upload_now(data, fence=lease.token)
        got: federlib.blocking.HeldLease | Busy = fed.try_acquire("x")
        if isinstance(got, Busy):
            print(got.holder)
        else:
            with got as held:
                lost: bool = held.lost
                print(lost, held.remaining_s())
        with fed.elect("coordinator") as seat:
            for state in seat.changes():
                if state.role == "leader":
                    result: Command | Outcome = fed.commands.issue("scale", {"n": 3}, gate=seat)
                    print(result)
                    break
            seat.lead(seat.check)
        fed.commands.consume("coordinator", act)
        done: Committed | Conflicted = fed.guard("x").transaction(1, (Put("x/1", b"1"),))
        run = fed.dag.submit({"a": [], "b": ["a"]}, run_id="r1")
        ended: RunRecord = fed.dag.work(run, handler=do_task_now)
        seen: RunState = fed.dag.inspect(run)
        record: Record | None = fed.store.get("x/1")
        with fed.store.watch("x/", after=0) as changes:
            item: WatchItem = next(changes)
        with fed.registry.join(slots=2) as member:
            member.report(load=1)
        print(done, ended, seen, record, item, fed.identity().worker_id, fed.clock.wall_ns())


def decide(path: Path, now_ns: int) -> bytes:
    """Ask a model, and keep the record."""
    try:
        model: Model = compile_model(load_model(path))
    except ModelProblems as error:
        problems: tuple[str, ...] = tuple(error.problems)
        print(problems)
        raise
    facts = {"queue depth": 120, "pool": "batch", "since": [1, 2.5, Decimal(3)]}
    outputs: object = model.outputs(facts, now_ns=now_ns)
    decision: Decision = model.decide(facts, "scaling", trace=True, now_ns=now_ns)
    matched: tuple[str, ...] = decision.matched
    for table in decision.trace or ():
        print(table.element, [(rule.id, [cell.text for cell in rule.cells]) for rule in table.rules])
    decider: Decider = model.decider("scaling")
    tables: Mapping[str, tuple[CompiledTable, ...]] = model.tables()
    print(outputs, matched, decider.outputs(facts), decider.source.version, list(tables))
    record: bytes = write_decision(decision)
    again: Replay = replay(read_decision(record), model)
    reasons: tuple[str, ...] = again.reasons
    values: Mapping[str, Value] = {"pool": "batch"}
    print(again.is_different, reasons, hash_inputs(values), evaluate("1 + a", {"a": 2}))
    return record


def write() -> bytes:
    """Make a model in a program, and write it."""
    table = DecisionTable(
        (InputClause("cpu", type_ref="number"),),
        (OutputClause("action", allowed='"up", "hold"'),),
        (Rule(("> 80",), ('"up"',), id="hot"), Rule(("-",), ('"hold"',))),
        hit_policy="FIRST",
    )
    model: Definitions = normalised(
        Definitions(
            "scaling",
            inputs=(InputData("cpu", "number"),),
            decisions=(DecisionNode("action", table, inputs=("cpu",)),),
        )
    )
    problems: list[ModelProblem] = list(find_problems(model))
    drawings: tuple[str, str, str] = (render_text(model), render_markdown(model), render_html(model))
    print(problems, drawings, content_hash(model), dump_yaml(model), dump_xml(model))
    same: Definitions = parse_model(dump_json(model), "json")
    return dump_model(same, "xml")


def compare(old: Model, new: Model, kit: Path) -> None:
    """Look into tables without asking them."""
    found: ModelDiff = diff_models(old, new, draw=random.Random(1).randrange)
    differences: tuple[Difference, ...] = found.differences
    print(found.is_proof, found.method, [(each.facts, each.before, each.after) for each in differences])
    for analysis in analyse(new):
        one: TableAnalysis = analysis
        gaps: tuple[Gap, ...] = one.gaps
        print(one.is_exhaustive, [gap.example for gap in gaps], one.overlaps, one.unreachable)
    report: TckReport = run_tck(kit)
    print(report.passed, [failure.test for failure in report.failed])


def versions(model: Definitions, now_ns: int) -> Definitions:
    """Publish, pin, roll back."""
    store = VersionStore(DirectoryShelf(Path("/srv/policies")))
    published: Published = store.publish("scaling", model, at_ns=now_ns, by="ana", note="first")
    pinned: History = store.pin("scaling", published.number, at_ns=now_ns)
    newest: History = store.unpin("scaling", at_ns=now_ns)
    print(pinned, newest, store.roll_back("scaling", at_ns=now_ns), VersionStore(MemoryShelf()).names())
    return store.load("scaling", published.number)


async def answer(payload: Mapping[str, object]) -> bytes:
    """From an event to a command, by a policy that comes with federlib."""
    mapping: EventMapping = load_mapping("scaling")
    decisions = EventDecisions(compile_model(load_policy("scaling")), mapping)
    async with federlib.connect() as fed, fed.elect("coordinator") as seat:
        made: DecisionMade = decisions.answer(payload, now_ns=fed.clock.wall_ns())
        log = DecisionLog(fed.store)
        is_new: bool = await log.keep(made)
        before: DecisionMade | None = await log.find(made.decision_id)
        facts: dict[str, object] = facts_of(payload, mapping)
        print(is_new, before, facts, decode_made(encode_made(made)) == made)
        done: Command | Outcome = await fed.commands.issue(
            "scale", made.decision.outputs, gate=seat, decision_id=made.decision_id
        )
        print(done)
        return encode_made(made)


def stated(document: bytes) -> Hypothesis:
    """Read a hypothesis, or make one."""
    read: Hypothesis = read_hypothesis(document, form="yaml")
    made = Hypothesis(
        hypothesis_id="leak-restart",
        action="restart_many",
        treatment="restart",
        outcome="latency",
        mechanism="memory that leaks slows each request",
        graph={"load": (), "restart": ("load",), "latency": ("restart", "load")},
        expected=ExpectedEffect(direction="decrease", at_least=5, unit="ms", within_s=600),
        rollback="none needed",
        adjustment=("load",),
    )
    examined: Examined = examine(made)
    print(read, examined)
    return made


async def justify(hypothesis: Hypothesis, treated: Watched, control: Watched) -> Verdict:
    """State, measure, command, conclude."""
    config = GateConfig(
        mode="enforced",
        scale_down=ScaleDown(present="from", target="n", max_share=0.25, max_step=10, floor=2),
        confounders={"restart_many": ("load",)},
    )
    measured: Measured = measure_effect(treated, control, at=90, average=3)
    finding: Finding = assess(hypothesis.expected, measured)
    print(finding, is_disruptive(config, "restart_many", b"{}"))
    async with federlib.connect(causal=config) as fed, fed.elect("coordinator") as seat:
        known: Hypothesis = await fed.causal.state(hypothesis)
        evidence: Evidence = await fed.causal.attach(known.hypothesis_id, measured, source="canary")
        done: Command | Outcome = await fed.commands.issue(
            "restart_many", {"nodes": ["a"]}, gate=seat, causal_id=known.hypothesis_id
        )
        result: Result = await fed.causal.conclude("coordinator", done.command_id, measured)
        same: Result | None = await fed.causal.result("coordinator", done.command_id)
        track: TrackRecord = await fed.causal.track(known.hypothesis_id)
        print(result.finding, same, track.supported, await fed.causal.find(known.hypothesis_id))
        async for each in fed.causal.interventions(scope="coordinator"):
            intervention: Intervention = each
            print(intervention.verdict)
        return judge(
            "restart_many",
            known,
            config=fed.causal.config,
            now_ns=fed.clock.wall_ns(),
            evidence=evidence,
            track=track,
        )


def justify_now(hypothesis: Hypothesis, measured: Measured) -> Result:
    """The same, for threads."""
    with federlib.blocking.connect(causal=GateConfig(mode="advisory")) as fed:
        known: Hypothesis = fed.causal.state(hypothesis)
        evidence: Evidence = fed.causal.attach(known.hypothesis_id, measured)
        for each in fed.causal.interventions():
            print(each.command_id, evidence)
        return fed.causal.conclude("coordinator", "c1", measured)


async def errors() -> None:
    """What to catch."""
    try:
        await main()
    except LeaseBusy as busy:
        name: str = busy.name
        print(name, busy.holder, busy.wait_s)
    except Fenced as fenced:
        reason: str = fenced.reason
        print(reason)
    except Unavailable as away:
        print(away.what, away.hint)


anyio.run(main)
