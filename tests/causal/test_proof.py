"""Restarts that help and restarts that only seem to: the gate tells them apart.

The simulated fleets were tuned on seeds 0 to 199; these tests use others, that nobody had
looked at before. More seeds, and what other ways of looking make of them:
`python -m benchmarks causal`.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

from federlib.causal import Evidence, GateConfig, Hypothesis, Verdict, judge, measure_effect

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))  # the benchmarks are not part of what is installed

from benchmarks import causal_worlds as worlds  # noqa: E402

SEEDS = range(2_000_000, 2_000_120)
ENFORCED = GateConfig(mode="enforced")
KNOWING = GateConfig(mode="enforced", confounders={"restart_many": ("load",)})


@cache
def episode(kind: worlds.Kind, seed: int) -> worlds.Episode:
    return worlds.episode(kind, seed)


def ruled(
    found: worlds.Episode,
    hypothesis: Hypothesis,
    *,
    looks_at_load: bool = True,
    config: GateConfig = ENFORCED,
) -> Verdict:
    treated, control = (found.treated, found.control) if looks_at_load else found.without_load()
    evidence = Evidence(
        hypothesis_id=hypothesis.hypothesis_id,
        measured=measure_effect(treated, control, at=worlds.BEFORE),
        source="simulated",
        observed_at_ns=0,
        recorded_at_ns=0,
        author="test",
    )
    return judge("restart_many", hypothesis, config=config, now_ns=1, evidence=evidence)


def test_at_least_95_of_100_confounded_restarts_are_refused() -> None:
    refused = [ruled(episode("confounded", s), worlds.hypothesis()).is_refused for s in SEEDS]
    assert sum(refused) >= 0.95 * len(SEEDS)


def test_at_least_95_of_100_truly_causal_restarts_pass() -> None:
    passed = [not ruled(episode("causal", s), worlds.hypothesis()).is_refused for s in SEEDS]
    assert sum(passed) >= 0.95 * len(SEEDS)


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_who_states_the_load_and_does_not_adjust_is_refused_by_the_graph(seed: int) -> None:
    verdict = ruled(episode("confounded", seed), worlds.hypothesis(adjustment=()))
    assert verdict.is_refused
    assert "leaves open restart <- alarm <- load -> latency" in verdict.reason


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_who_leaves_the_load_out_is_refused_where_the_fleet_knows_it(seed: int) -> None:
    blind = worlds.hypothesis(is_load_known=False)
    verdict = ruled(episode("confounded", seed), blind, looks_at_load=False, config=KNOWING)
    assert verdict.is_refused
    assert "has to weigh 'load'" in verdict.reason


def test_an_episode_is_the_same_each_time() -> None:
    assert worlds.episode("causal", 1) == worlds.episode("causal", 1)
    assert worlds.episode("causal", 1) != worlds.episode("causal", 2)
