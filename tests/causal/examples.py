"""A hypothesis that holds, and what the tests of the gate share."""

from __future__ import annotations

import msgspec

from federlib.causal import Evidence, ExpectedEffect, Hypothesis, Measured

GRAPH = {
    "load": (),
    "alarm": ("load",),
    "restart": ("alarm",),
    "memory": ("restart",),
    "latency": ("load", "memory"),
}

SOUND = Hypothesis(
    hypothesis_id="leak-restart",
    action="restart_many",
    treatment="restart",
    outcome="latency",
    mechanism="a restart gives leaked memory back",
    through=("memory",),
    graph=GRAPH,
    confounders=("load",),
    adjustment=("load",),
    expected=ExpectedEffect(direction="decrease", at_least=5.0, unit="ms", within_s=600.0),
    rollback="none needed",
    author="ops",
    stated_at_ns=1,
)

MEASURED = Measured(
    design="difference_in_differences",
    effect=-12.0,
    low=-15.0,
    high=-9.0,
    level=0.95,
    before=90,
    after=60,
    adjusted_for=("load",),
    placebo_low=-1.0,
    placebo_high=1.0,
)


def changed(**fields: object) -> Hypothesis:
    return msgspec.structs.replace(SOUND, **fields)


def measured(**fields: object) -> Measured:
    return msgspec.structs.replace(MEASURED, **fields)


def evidence(**fields: object) -> Evidence:
    made = Evidence(
        hypothesis_id=SOUND.hypothesis_id,
        measured=MEASURED,
        source="canary",
        observed_at_ns=1,
        recorded_at_ns=1,
        author="ops",
    )
    return msgspec.structs.replace(made, **fields)
