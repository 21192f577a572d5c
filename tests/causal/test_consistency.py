"""A hypothesis can be wrong by its own words; all of what is wrong is told at once."""

from __future__ import annotations

import pytest

from causal.examples import GRAPH, SOUND, changed
from federlib.causal import examine


def test_a_sound_hypothesis_has_no_faults() -> None:
    found = examine(SOUND)
    assert found.is_consistent
    assert (found.faults, found.open_trail, found.valid_sets) == ((), None, ())


def test_an_open_back_door_is_shown_with_what_would_close_it() -> None:
    found = examine(changed(adjustment=()))
    assert found.open_trail == "restart <- alarm <- load -> latency"
    assert found.valid_sets == (("load",), ("alarm",))
    assert found.faults == (
        "adjustment: {} leaves open restart <- alarm <- load -> latency",
        "adjust for {load} or {alarm}",
    )


def test_a_set_of_what_nobody_measures_is_not_offered() -> None:
    found = examine(changed(adjustment=(), unobserved=("alarm",)))
    assert found.valid_sets == (("load",),)
    hidden = examine(changed(adjustment=(), unobserved=("alarm", "load")))
    assert hidden.valid_sets == ()
    assert "no set of observed nodes would do" in hidden.faults[-1]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"treatment": "reboot"}, "treatment: the graph has no node 'reboot'"),
        ({"confounders": ("load", "tide")}, "confounders: the graph has no node 'tide'"),
        ({"outcome": "restart"}, "treatment and outcome are both 'restart'"),
        ({"graph": {**GRAPH, "load": ("latency",)}}, "graph: "),
        ({"graph": {**GRAPH, "memory": ("ghost",)}}, "graph: "),
        (
            {"graph": {**GRAPH, "memory": ()}},
            "no path of arrows leads from 'restart' to 'latency'",
        ),
        ({"through": ("alarm",)}, "through: the graph has no arrow restart -> alarm"),
        ({"confounders": ("memory",)}, "confounders: 'memory' comes after 'restart'"),
        (
            {"graph": {**GRAPH, "moon": ("load",)}, "confounders": ("moon",)},
            "confounders: in the graph 'moon' is no cause of both",
        ),
        ({"adjustment": ("load", "memory")}, "adjustment: 'memory' comes after 'restart'"),
        ({"adjustment": ("load", "latency")}, "adjustment: 'latency' is itself treatment or"),
        ({"unobserved": ("load",)}, "adjustment: 'load' is stated as unobserved"),
    ],
)
def test_each_inconsistency_is_told(fields: dict[str, object], fault: str) -> None:
    found = examine(changed(**fields))
    assert not found.is_consistent
    assert any(each.startswith(fault) for each in found.faults), found.faults


def test_an_instrument_is_no_common_cause_though_it_reaches_both() -> None:
    # `lot` acts on latency through the restart alone.
    graph = {**GRAPH, "lot": (), "restart": ("alarm", "lot")}
    found = examine(changed(graph=graph, confounders=("lot",)))
    assert any("'lot' is no cause of both" in each for each in found.faults)


def test_adjusting_for_a_common_effect_is_told_by_the_trail_that_it_opens() -> None:
    graph = {"a": (), "b": (), "m": ("a", "b"), "restart": ("a",), "latency": ("b", "restart")}
    found = examine(changed(graph=graph, through=(), confounders=(), adjustment=("m",)))
    assert found.open_trail == "restart <- a -> m <- b -> latency"
    assert found.valid_sets == ((),)


def test_every_fault_comes_at_once() -> None:
    found = examine(changed(adjustment=(), through=("alarm",), confounders=("memory",)))
    assert len(found.faults) >= 4
    assert all(len(each) <= 500 for each in found.faults)
