"""The gate before disruptive actions: what is believed to cause what, and on what evidence.

    async with federlib.connect(url, causal=GateConfig(mode="enforced")) as fed:
        await fed.causal.state(hypothesis)          # treatment, outcome, graph, adjustment, …
        measured = measure_effect(canary, peers, at=60)
        await fed.causal.attach(hypothesis.hypothesis_id, measured, source="canary of Monday")
        await fed.commands.issue("restart_many", nodes, gate=seat, causal_id="leak-restart")
        # … and after the window of the expected effect:
        await fed.causal.conclude(scope, command_id, measure_effect(treated, rest, at=60))

`judge` and `examine` are pure. A command that is refused ends as `rejected_causal` in the
log, with every reason.

Does not promise: that a stated graph is true. It promises that a hypothesis agrees with its
own graph, that the effect was measured with what the graph asks to be taken out, and that
the next command sees how often the last ones were borne out. Nor does it stand at the
consumer: a leader that is connected without the gate issues what it likes.

Hazards: a common cause that is missing from the graph and from the series is invisible; name
those that you know in `GateConfig.confounders`. A covariate that is measured badly is taken
out badly. Series of few or of slow samples give wide intervals, and wide intervals refuse.
"""

from __future__ import annotations

from federlib.causal.consistency import Examined, examine
from federlib.causal.document import read_hypothesis
from federlib.causal.effect import Watched, assess, measure_effect
from federlib.causal.gate import DISRUPTIVE, GateConfig, ScaleDown, is_disruptive, judge
from federlib.causal.keeping import CAUSAL_VERDICTS, Causal
from federlib.causal.records import (
    Evidence,
    ExpectedEffect,
    Finding,
    Hypothesis,
    Measured,
    Mode,
    Result,
    Ruling,
    TrackRecord,
    Verdict,
)
from federlib.causal.view import Intervention

__all__ = [
    "CAUSAL_VERDICTS",
    "DISRUPTIVE",
    "Causal",
    "Evidence",
    "Examined",
    "ExpectedEffect",
    "Finding",
    "GateConfig",
    "Hypothesis",
    "Intervention",
    "Measured",
    "Mode",
    "Result",
    "Ruling",
    "ScaleDown",
    "TrackRecord",
    "Verdict",
    "Watched",
    "assess",
    "examine",
    "is_disruptive",
    "judge",
    "measure_effect",
    "read_hypothesis",
]
