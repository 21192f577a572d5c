"""The causal gate without an event loop: the same verbs, the same rulings."""

from __future__ import annotations

from pathlib import Path

import msgspec

from causal.examples import MEASURED, SOUND
from federlib import blocking
from federlib.causal import GateConfig
from federlib.fencing import Command, Outcome
from federlib.identity import IdentityStore


def test_the_gate_judges_for_threads_too(tmp_path: Path) -> None:
    expected = msgspec.structs.replace(SOUND.expected, within_s=1e-9)
    hypothesis = msgspec.structs.replace(SOUND, expected=expected)
    gate = GateConfig(mode="enforced")
    with (
        blocking.connect(
            f"sqlite:///{tmp_path}/fleet.db", identity=IdentityStore(tmp_path), causal=gate
        ) as fed,
        fed.elect("boss") as seat,
    ):
        assert next(state for state in seat.changes() if state.role == "leader").epoch == 1
        assert fed.causal.config == gate
        refused = fed.commands.issue("restart_many", gate=seat)
        assert isinstance(refused, Outcome)
        assert refused.status == "rejected_causal"
        assert fed.causal.state(hypothesis) == hypothesis
        evidence = fed.causal.attach("leak-restart", MEASURED, source="canary")
        assert fed.causal.evidence("leak-restart") == (evidence,)
        assert list(fed.causal.hypotheses()) == [fed.causal.find("leak-restart")]
        passed = fed.commands.issue("restart_many", gate=seat, causal_id="leak-restart")
        assert isinstance(passed, Command)
        assert fed.causal.result("boss", passed.command_id) is None
        shown = {each.command_id: each for each in fed.causal.interventions(scope="boss")}
        assert shown[passed.command_id].hypothesis == hypothesis
        assert shown[refused.command_id].status == "rejected_causal"
        assert fed.causal.track("leak-restart").supported == 0
