"""The policies that come with federlib decide as the plain functions here: the baseline."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.dmn import Model, compile_model, dump_json, dump_xml, parse_model
from federlib.dmn.analysis.gaps import analyse
from federlib.dmn.policies import POLICIES, PolicyName, load_mapping, load_policy
from federlib.errors import InvalidInput, MissingExtra

MODELS = {name: compile_model(load_policy(name)) for name in POLICIES}


def scaling(
    *,
    queue_depth: int,
    workers: int,
    min_workers: int,
    max_workers: int,
    cpu: float,
    seconds_since_change: float,
) -> tuple[str, int]:
    """Scale as it was done before there was a table."""
    if workers < min_workers:
        return "scale_up", min_workers - workers
    if workers > max_workers:
        return "scale_down", workers - max_workers
    if seconds_since_change < 60:
        return "hold", 0
    room = max_workers - workers
    waiting = queue_depth / workers if workers else queue_depth
    if waiting > 10 and room >= 2:
        return "scale_up", 2
    if (waiting > 4 or cpu >= 85) and room >= 1:
        return "scale_up", 1
    if waiting < 1 and cpu < 40 and workers > min_workers:
        return "scale_down", 1
    return "hold", 0


def routing(*, health: str | None, is_draining: bool, load: float, rtt_ms: float | None) -> str:
    """Sort a candidate as it was done before there was a table."""
    if is_draining or health in {None, "unhealthy"} or load >= 1:
        return "excluded"
    if health in {"overloaded", "stressed"} or rtt_ms is None:
        return "last_resort"
    if health == "healthy" and load < 0.8 and rtt_ms < 100:
        return "primary"
    return "secondary" if rtt_ms < 250 else "last_resort"


def restart(
    *, exit_code: int | None, is_draining: bool, failures: int, uptime_s: float
) -> tuple[str, int]:
    """Start again as it was done before there was a table."""
    if is_draining or exit_code == 0:
        return "leave", 0
    if exit_code == 2 or failures >= 5:
        return "quarantine", 0
    if failures <= 1 and uptime_s >= 60:
        return "restart", 0
    return "restart_later", min(2**failures, 300)


counts = st.integers(0, 60)


@given(counts, counts, counts, counts, st.integers(0, 100), st.integers(0, 200))
def test_scaling_decides_as_before(
    queue_depth: int, workers: int, low: int, more: int, cpu: int, since: int
) -> None:
    expected = scaling(
        queue_depth=queue_depth,
        workers=workers,
        min_workers=low,
        max_workers=low + more,
        cpu=cpu,
        seconds_since_change=since,
    )
    facts = {
        "queue depth": queue_depth,
        "workers": workers,
        "min workers": low,
        "max workers": low + more,
        "cpu": cpu,
        "seconds since change": since,
    }
    action, delta = expected
    assert MODELS["scaling"].outputs(facts, "scaling") == {"action": action, "delta": delta}


def test_scaling_decides_as_before_on_every_boundary() -> None:
    rows = product(
        (0, 3, 4, 5, 16, 17, 40, 41), (0, 1, 4, 9, 10, 11), (0, 4), (4, 10),
        (0, 39, 40, 84, 85, 100), (59, 60),
    )  # fmt: skip
    for queue_depth, workers, low, high, cpu, since in rows:
        action, delta = scaling(
            queue_depth=queue_depth,
            workers=workers,
            min_workers=low,
            max_workers=high,
            cpu=cpu,
            seconds_since_change=since,
        )
        facts = {
            "queue depth": queue_depth,
            "workers": workers,
            "min workers": low,
            "max workers": high,
            "cpu": cpu,
            "seconds since change": since,
        }
        assert MODELS["scaling"].outputs(facts) == {"action": action, "delta": delta}, facts


def test_routing_decides_as_before_on_every_boundary() -> None:
    rows = product(
        (None, "healthy", "busy", "stressed", "overloaded", "unhealthy"), (False, True),
        (0, 0.79, 0.8, 0.99, 1), (None, 0, 99.9, 100, 249.9, 250, 1000),
    )  # fmt: skip
    for health, is_draining, load, rtt_ms in rows:
        facts = {"health": health, "is draining": is_draining, "load": load, "rtt ms": rtt_ms}
        expected = routing(health=health, is_draining=is_draining, load=load, rtt_ms=rtt_ms)
        assert MODELS["routing"].outputs(facts) == expected, facts


def test_restart_decides_as_before_on_every_boundary() -> None:
    rows = product((None, -9, 0, 1, 2, 137), (False, True), range(12), (0, 59.9, 60, 3600))
    for exit_code, is_draining, failures, uptime_s in rows:
        facts = {
            "exit code": exit_code,
            "is draining": is_draining,
            "failures": failures,
            "uptime s": uptime_s,
        }
        action, delay_s = restart(
            exit_code=exit_code, is_draining=is_draining, failures=failures, uptime_s=uptime_s
        )
        expected = {"action": action, "delay s": delay_s}
        assert MODELS["restart"].outputs(facts) == expected, facts


@pytest.mark.parametrize("name", POLICIES)
def test_no_policy_leaves_anything_open(name: PolicyName) -> None:
    for analysis in analyse(MODELS[name]):
        assert analysis.gaps == ()
        assert analysis.unreachable == ()
        assert analysis.is_exhaustive or name == "scaling"  # its columns are computed


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_the_same_in_every_form(name: PolicyName) -> None:
    model = load_policy(name)
    assert parse_model(dump_json(model), "json") == model
    again = compile_model(parse_model(dump_xml(model), "xml"))
    assert again.default_decision == MODELS[name].default_decision == name


@pytest.mark.parametrize("name", POLICIES)
def test_a_mapping_gives_every_input_of_its_policy(name: PolicyName) -> None:
    mapping = load_mapping(name)
    assert mapping.event == f"{name}.decision.requested"
    assert sorted(mapping.facts) == sorted(each.name for each in load_policy(name).inputs)


@pytest.mark.parametrize("load", [load_policy, load_mapping])
def test_without_yaml_the_extra_is_named(
    load: Callable[[PolicyName], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtra, match=r"federlib\[dmn\]"):
        load("scaling")


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(InvalidInput, match="restart, routing, scaling"):
        load_policy("other")  # type: ignore[arg-type]  # that is the case
    with pytest.raises(InvalidInput):
        load_mapping("../events")  # type: ignore[arg-type]  # that is the case


def test_a_policy_says_which_rule_and_why() -> None:
    model: Model = MODELS["restart"]
    decision = model.decide({"exit code": 2, "failures": 1, "uptime s": 1}, trace=True)
    assert decision.matched == ("misused",)
    assert decision.trace is not None
    (rule,) = [each for each in decision.trace[-1].rules if each.applied]
    assert rule.annotations == ("Wrong arguments stay wrong",)
