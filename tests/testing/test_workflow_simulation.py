"""Runs of tasks in the simulator: many seeds hold, each is the same every time, and it sees."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from federlib.dag import Workflow
from federlib.dag.runstate import Life
from federlib.dag.task import TaskSpec
from federlib.dag.transitions import (
    Adopted,
    Claimed,
    Ended,
    Failed,
    LogBatch,
    Lost,
    Resumed,
    Retried,
    Revoked,
    Succeeded,
    Transition,
)
from federlib.testing.sim import (
    PRESETS,
    Fault,
    Schedule,
    WorkflowFleet,
    WorkflowTerms,
    play_workflow,
    shrunk_workflow,
)
from federlib.testing.sim.flows import draw_flow
from federlib.testing.sim.kernel import Simulation
from federlib.testing.sim.run_audit import BODIES, Beginning
from federlib.testing.sim.run_book import Effect, Held, RunBook
from federlib.testing.sim.run_moves import MOVES, Move

CALM = Schedule()


def test_seeds_hold_and_are_worth_playing() -> None:
    played = [play_workflow(seed) for seed in range(30)]
    assert [p.violations for p in played if p.violations] == []
    assert sum(p.succeeded for p in played) > 500
    assert sum(p.called - p.succeeded for p in played) > 200
    assert sum(p.reigns for p in played) > sum(p.runs for p in played)
    assert sum(p.lost for p in played) > 20
    assert sum(p.refused for p in played) > 3


@pytest.mark.parametrize("name", PRESETS)
def test_presets_hold(name: str) -> None:
    played = play_workflow(3, PRESETS[name])
    assert played.violations == ()
    assert played.succeeded > 5


def test_where_nothing_goes_wrong_nothing_is_lost_and_each_run_has_one_leader() -> None:
    for seed in range(4):
        played = play_workflow(seed, CALM, safety_s=15)
        assert (played.violations, played.lost) == ((), 0)
        with WorkflowFleet(seed) as fleet:
            fleet.run(15)
            for flow, audit in zip(fleet.flows, fleet.audits.values(), strict=True):
                if not flow.requests:
                    assert audit.book.reigns <= 1
                    tries = Counter(node for node, _ in audit.book.effects)
                    for node, count in tries.items():
                        behaviour = flow.behaviours[node]
                        assert count <= 1 + behaviour.hangs + behaviour.fails


def test_the_trace_of_a_seed_is_the_same_in_every_process() -> None:
    program = (
        "from federlib.testing.sim import play_workflow\n"
        "print(*(play_workflow(seed, safety_s=15).digest for seed in (1, 2, 3)))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "4711")
    }
    assert len(seen) == 1
    assert len(set(seen.pop().split())) == 3


def test_a_trace_holds_integers_and_text_only() -> None:
    with WorkflowFleet(3, keep_trace=True) as fleet:
        fleet.run(5)
        kinds = {type(word) for event in fleet.sim.trace.events for word in event}
    assert kinds == {int, str}


def test_flows_of_every_shape_are_drawn_and_each_is_a_workflow() -> None:
    flows = [draw_flow(Simulation(seed).rng("flow")) for seed in range(200)]
    assert {flow.shape for flow in flows} == {"chain", "fan", "diamonds", "layers", "random"}
    for flow in flows:
        assert len(flow.workflow.graph()) == len(flow.behaviours) <= 20
    behaviours = [behaviour for flow in flows for behaviour in flow.behaviours]
    assert any(b.hangs for b in behaviours)
    assert any(0 < b.fails < 3 for b in behaviours)
    assert any(b.fails > 3 for b in behaviours)


def test_faults_strike_the_leader_of_the_present_run() -> None:
    with WorkflowFleet(1, WorkflowTerms(cast=("leads", "leads", "works"))) as fleet:
        assert fleet.leader is None
        fleet.run(1)
        leader = fleet.leader
        assert leader is not None
        assert fleet.cast[leader.name] == "leads"
        Schedule(faults=(Fault(at_ms=0, kind="kill", who="leader", for_ms=60_000),)).arm(fleet)
        fleet.run(10)
        assert not leader.is_up
        assert fleet.leader is not None
        assert fleet.leader is not leader


def test_what_an_old_leader_sent_is_sent_again_and_refused() -> None:
    with WorkflowFleet(2, WorkflowTerms(cast=("leads and works",) * 2)) as fleet:
        kills = tuple(Fault(at_ms=s, kind="kill", who="leader", for_ms=500) for s in (500, 6_000))
        replays = tuple(Fault(at_ms=s * 1_000, kind="replay") for s in range(5, 20))
        Schedule(faults=kills + replays).arm(fleet)
        fleet.run(25)
        assert fleet.violations == []
        assert fleet.troubles.begun["replay"] > 0
        assert max(audit.book.epoch for audit in fleet.audits.values()) > 1


def test_what_breaks_is_shrunk_to_the_faults_that_break_it() -> None:
    """A fleet of little patience, whose store is away when it should come to an end."""
    faults = (
        Fault(at_ms=300, kind="delay", for_ms=1, amount=5),
        Fault(at_ms=6_000, kind="store_down", for_ms=60_000),
        Fault(at_ms=6_600, kind="repeat", for_ms=1, amount=1),
    )
    terms = WorkflowTerms(patience_s=4)
    for seed in range(40):
        played = play_workflow(seed, Schedule(faults=faults), terms=terms, safety_s=8)
        if played.violations and not play_workflow(seed, CALM, terms=terms, safety_s=8).violations:
            break
    fewest = shrunk_workflow(played, terms=terms, safety_s=8)
    assert [fault.kind for fault in fewest.schedule.faults] == ["store_down"]
    assert fewest.violations[0].startswith("every_run_ends")


# Each invariant, on what it must reject.

LIFE: Life = ("n1", 1, 1)
NOW_NS = 1_000_000_000_000


def book() -> RunBook:
    """Two tasks, the second waits for the first, which is claimed under epoch 2 and is done."""
    tasks = (TaskSpec(id="t0", retries=1), TaskSpec(id="t1", needs=("t0",), retries=1))
    made = RunBook("r", Workflow("", tasks))
    made.epoch, made.leader = 2, "n2"
    made.claims[0], made.attempts[0], made.owners[0, 1] = Held(1, 2, LIFE), 1, LIFE
    made.effects[0, 1] = Effect(("n1", 1), 0, 1, 0, took_ns=5, is_good=True)
    return made


def free() -> RunBook:
    made = book()
    made.claims.clear()
    made.accepted[0] = (1, 2)
    return made


def ended() -> RunBook:
    made = free()
    made.outcome = "success"
    return made


def due_later() -> RunBook:
    made = free()
    made.due_ns[1] = NOW_NS + 1
    return made


def bad_effect() -> RunBook:
    made = book()
    made.effects[0, 1].is_good = False
    return made


def cut_off() -> RunBook:
    made = book()
    made.effects[0, 1].is_good = None
    return made


def failed_once() -> RunBook:
    made = bad_effect()
    made.failures[0] = 1
    return made


WRONG: list[tuple[str, RunBook, Transition]] = [
    ("claims_wait_for_their_parents", book(), Claimed(1, 1, 0)),
    ("nodes_are_released_once", book(), Claimed(0, 2, 0)),
    ("nodes_are_released_once", free(), Claimed(0, 2, 0)),
    ("attempts_count_up", free(), Claimed(1, 2, 0)),
    ("retries_wait_for_their_time", due_later(), Claimed(1, 1, 0)),
    ("finishes_equal_their_claim", book(), Succeeded(0, 2)),
    ("finishes_equal_their_claim", free(), Succeeded(0, 1)),
    ("finishes_were_said", book(), Succeeded(0, 1)),
    ("successes_follow_their_effect", bad_effect(), Succeeded(0, 1)),
    ("failures_have_a_cause", book(), Failed(0, 1, "", NOW_NS)),
    ("failures_have_a_cause", cut_off(), Failed(0, 1, "", NOW_NS)),
    ("failures_keep_to_the_budget", bad_effect(), Failed(0, 1, "", None)),
    ("failures_keep_to_the_budget", failed_once(), Failed(0, 1, "", NOW_NS)),
    ("attempts_end_once", free(), Lost(0, 1, "", NOW_NS)),
    ("attempts_end_once", book(), Revoked(0, 2)),
    ("attempts_end_once", book(), Adopted(0, 1, 1)),
    ("new_leaders_judge_every_claim", book(), Adopted(0, 1, 2)),
    ("nothing_moves_after_the_end", ended(), Claimed(1, 1, 0)),
    ("nothing_moves_after_the_end", free(), Resumed("")),
    ("the_end_is_the_end", free(), Ended("success")),
    ("only_what_failed_is_retried", ended(), Retried(1)),
]


@pytest.mark.parametrize(("name", "known", "transition"), WRONG)
def test_a_transition_that_must_not_be_is_named(
    name: str, known: RunBook, transition: Transition
) -> None:
    batch = LogBatch(epoch=2, at_ns=NOW_NS, t=(transition,), workers=(LIFE,))
    move = Move(book=known, batch=batch, transition=transition, said=frozenset())
    assert MOVES[name](move) is not None


def test_transitions_that_may_be_are_not_named() -> None:
    said = frozenset({(LIFE, 0, 1, True, 2)})
    adopted = book()
    adopted.claims[0].epoch = 1
    right: list[tuple[RunBook, Transition]] = [
        (book(), Succeeded(0, 1)),
        (free(), Claimed(1, 1, 0)),
        (adopted, Adopted(0, 1, 1)),
    ]
    for known, transition in right:
        batch = LogBatch(epoch=2, at_ns=NOW_NS, t=(transition,), workers=(LIFE,))
        move = Move(book=known, batch=batch, transition=transition, said=said)
        assert {name: found for name, check in MOVES.items() if (found := check(move))} == {}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("bodies_are_claimed", {"member": ("n2", 1)}),
        ("bodies_are_claimed", {"attempt": 2}),
        ("bodies_run_once", {}),
        ("bodies_follow_their_parents", {"node": 1}),
        ("bodies_are_given_what_parents_gave", {"inputs": {"t0": 1}}),
    ],
)
def test_a_call_of_a_body_that_must_not_be_is_named(name: str, fields: dict[str, object]) -> None:
    given: dict[str, object] = {
        "member": ("n1", 1),
        "node": 0,
        "attempt": 1,
        "inputs": {},
        "expected": {},
        **fields,
    }
    begun = Beginning(book=book(), **given)  # type: ignore[arg-type]  # as in the table
    assert BODIES[name](begun) is not None
