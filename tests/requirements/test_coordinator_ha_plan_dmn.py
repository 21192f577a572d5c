"""Coordinator HA plan, workstream 3 (decisions by tables): one test a sentence."""

from __future__ import annotations

import random
from pathlib import Path

import anyio
import pytest

import federlib
from federlib.decisions import DecisionLog
from federlib.dmn import (
    DecisionMade,
    DirectoryShelf,
    EventDecisions,
    VersionStore,
    compile_model,
    decode_made,
    diff_models,
    dump_json,
    dump_yaml,
    encode_made,
    load_model,
    read_decision,
    replay,
    write_decision,
)
from federlib.dmn.policies import POLICIES, load_mapping, load_policy
from federlib.fencing import Command
from federlib.identity import IdentityStore

pytestmark = pytest.mark.anyio

PATIENCE_S = 15.0
REQUEST: dict[str, object] = {
    "request_id": "r-1",
    "leader_epoch": 1,
    "pool": {
        "queue_depth": 50,
        "workers": 4,
        "min_workers": 1,
        "max_workers": 10,
        "cpu_percent": 50,
        "seconds_since_change": 100,
    },
}
FACTS: dict[str, object] = {
    "queue depth": 50,
    "workers": 4,
    "min workers": 1,
    "max workers": 10,
    "cpu": 50,
    "seconds since change": 100,
}


def test_scaling_routing_and_restart_are_versioned_decision_tables(tmp_path: Path) -> None:
    """§3, goals: move scaling/routing/restart policy into versioned decision tables.

    That they decide as before is in `tests/dmn/test_policies.py`, boundary by boundary.
    """
    store = VersionStore(DirectoryShelf(tmp_path))
    for name in POLICIES:
        published = store.publish(name, load_policy(name), at_ns=1, by="ops")
        assert (published.number, published.version) == (1, "1")
        assert store.load(name) == load_policy(name)
    assert store.names() == ["restart", "routing", "scaling"]


def test_evaluation_is_deterministic() -> None:
    """§3, deliverables: deterministic table evaluation."""
    first, second = compile_model(load_policy("scaling")), compile_model(load_policy("scaling"))
    items = list(FACTS.items())
    decided = set()
    for seed in range(20):
        random.Random(seed).shuffle(items)
        for model in (first, second):
            made = model.decide(dict(items), trace=True, now_ns=1)
            decided.add((str(made.outputs), made.matched, made.inputs_hash, str(made.trace)))
    assert len(decided) == 1


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_tables_are_kept_in_config_as_json_or_yaml(form: str, tmp_path: Path) -> None:
    """§3, deliverables: versioned decision tables in config (JSON/YAML)."""
    path = tmp_path / f"scaling.{form}"
    model = load_policy("scaling")
    path.write_bytes(dump_yaml(model) if form == "yaml" else dump_json(model))
    assert load_model(path) == model


def test_a_decision_explains_itself() -> None:
    """§3, deliverables: matched rule ids, normalised inputs hash, decision table version."""
    model = compile_model(load_policy("scaling"))
    made = model.decide(FACTS, trace=True, now_ns=1)
    assert made.matched == ("long-queue",)
    assert made.version == "1"
    assert made.content_hash == model.content_hash
    assert made.source.table == "scaling-table"
    again = model.decide({**FACTS, "cpu": 50.0}, now_ns=2)
    assert again.inputs_hash == made.inputs_hash
    assert model.decide({**FACTS, "cpu": 51}, now_ns=2).inputs_hash != made.inputs_hash


def test_event_payloads_become_facts() -> None:
    """§3, deliverables: adapter from current event payloads to DMN facts."""
    model = compile_model(load_policy("scaling"))
    made = EventDecisions(model, load_mapping("scaling")).answer(REQUEST, now_ns=1)
    assert made.decision.inputs == FACTS
    assert made.request_event == "scaling.decision.requested"


def test_a_trace_is_on_every_decision_made() -> None:
    """§3, acceptance: decision trace is emitted on every `decision.made`."""
    for name in POLICIES:
        decisions = EventDecisions(compile_model(load_policy(name)), load_mapping(name))
        for payload in (REQUEST, {}):
            made = decode_made(encode_made(decisions.answer(payload, now_ns=1)))
            assert made.event == "decision.made"
            assert made.decision.trace
            rules = [rule.id for table in made.decision.trace for rule in table.rules]
            assert set(made.decision.matched) <= set(rules)


async def test_a_command_leads_back_to_the_decision_behind_it(tmp_path: Path) -> None:
    """Scope baseline, phase 0: `decision_id` in command metadata; §3: with its trace."""
    url = f"sqlite:///{tmp_path}/fleet.db"
    identity = IdentityStore(tmp_path / "identities")
    decisions = EventDecisions(compile_model(load_policy("scaling")), load_mapping("scaling"))
    async with federlib.connect(url, identity=identity) as fed, fed.elect("coordinator") as seat:
        with anyio.fail_after(PATIENCE_S):
            async for state in seat.changes():
                if state.role == "leader":
                    break
        made: DecisionMade = decisions.answer(REQUEST, now_ns=1)
        log = DecisionLog(fed.store)
        assert await log.keep(made)
        issued = await fed.commands.issue(
            "scale", made.decision.outputs, gate=seat, decision_id=made.decision_id
        )
        assert isinstance(issued, Command)
        stored = await fed.commands.log.find(issued.command_id)
        assert stored is not None
        assert stored.command is not None
        assert stored.command.decision_id == made.decision_id
        behind = await log.find(stored.command.decision_id)
    assert behind == made
    assert behind.decision.matched == ("long-queue",)
    assert behind.decision.trace
    assert stored.command.read(dict[str, object]) == {"action": "scale_up", "delta": 2}


def test_a_decision_is_replayed_and_a_newer_version_is_compared(tmp_path: Path) -> None:
    """§3: versioned tables; what a newer version would decide is known before it decides."""
    store = VersionStore(DirectoryShelf(tmp_path))
    old = load_policy("scaling")
    store.publish("scaling", old, at_ns=1)
    made = compile_model(store.load("scaling")).decide(FACTS, now_ns=1)
    text = dump_json(old).replace(b'"> 10"', b'"> 20"').replace(b'"version":"1"', b'"version":"2"')
    path = tmp_path / "newer.json"
    path.write_bytes(text)
    store.publish("scaling", load_model(path), at_ns=2)
    newer = compile_model(store.load("scaling"))
    assert replay(made, newer).is_different
    found = diff_models(
        compile_model(store.load("scaling", 1)), newer, draw=random.Random(1).randrange, most=3_000
    )
    assert [each.rule for each in found.changes] == ["long-queue"]
    assert any(
        (each.rules_before, each.rules_after) == (("long-queue",), ("queue",))
        for each in found.differences
    )
    store.roll_back("scaling", at_ns=3)
    assert compile_model(store.load("scaling")).decide(FACTS, now_ns=1) == made


def test_a_decision_is_a_record_that_json_keeps() -> None:
    """§3, explain output: what a store keeps of a decision is all there is to it."""
    made = compile_model(load_policy("restart")).decide({"exit code": 2}, trace=True, now_ns=1)
    assert made.problems
    assert read_decision(write_decision(made)) == made
