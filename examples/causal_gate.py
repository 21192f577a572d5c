"""Restart many machines: refused without reasons, let through with them, and remembered.

python examples/causal_gate.py
"""

from __future__ import annotations

import random

import anyio
import msgspec

import federlib
from federlib.causal import ExpectedEffect, GateConfig, Hypothesis, Watched, measure_effect
from federlib.fencing import Command, Outcome
from federlib.identity import IdentityStore

AT = 90
"""The first sample after the restart."""

CARELESS = Hypothesis(
    hypothesis_id="leak-restart-1",
    action="restart_many",
    treatment="restart",
    outcome="latency",
    mechanism="memory that leaks slows each request; a restart gives it back",
    through=("memory",),
    graph={  # each node with what acts on it directly
        "load": (),
        "alarm": ("load",),
        "restart": ("alarm",),
        "memory": ("restart",),
        "latency": ("load", "memory"),
    },
    confounders=("load",),
    expected=ExpectedEffect(direction="decrease", at_least=5.0, unit="ms", within_s=0.5),
    rollback="none needed, a restarted process serves as before",
)
# What was stated stays as it is: a better hypothesis gets an id of its own.
CAREFUL = msgspec.structs.replace(CARELESS, hypothesis_id="leak-restart-2", adjustment=("load",))


def watch(chance: random.Random, *, gained_ms: float = 0.0) -> Watched:
    """Sample load and latency of a group of machines, 90 times before and 60 times after."""
    load = [50 + chance.gauss(0, 8) for _ in range(AT + 60)]
    latency = [20 + 0.3 * each + chance.gauss(0, 1) for each in load]
    return Watched(latency[:AT] + [each - gained_ms for each in latency[AT:]], {"load": load})


async def main() -> None:
    """Ask for a restart without and with reasons; then see what came of it."""
    chance = random.Random(1)  # noqa: S311 (chance need not be secret)
    gate = GateConfig(mode="enforced", confounders={"restart_many": ("load",)})
    async with (
        federlib.connect(
            "sqlite:///fleet.db", identity=IdentityStore("identities"), causal=gate, ttl_s=2
        ) as fed,
        anyio.create_task_group() as group,
        fed.elect("coordinator") as seat,
    ):

        async def restart(command: Command) -> str:
            print(f"restarting {', '.join(command.read(dict)['nodes'])}")
            return "applied"

        async def ask(causal_id: str) -> Command | Outcome:
            nodes = {"nodes": ["n1", "n2", "n3"]}
            return await fed.commands.issue("restart_many", nodes, gate=seat, causal_id=causal_id)

        group.start_soon(fed.commands.consume, "coordinator", restart)
        await anext(state async for state in seat.changes() if state.role == "leader")

        # A canary has shown that it helps, but not that it was not the load.
        canary = measure_effect(watch(chance, gained_ms=12), watch(chance), at=AT)
        for hypothesis in (CARELESS, CAREFUL):
            await fed.causal.state(hypothesis)
            await fed.causal.attach(hypothesis.hypothesis_id, canary, source="canary of Monday")
        refused = await ask(CARELESS.hypothesis_id)
        assert isinstance(refused, Outcome) and refused.status == "rejected_causal"
        print(f"{CARELESS.hypothesis_id}: {refused.status}: {refused.detail}")

        issued = await ask(CAREFUL.hypothesis_id)
        assert isinstance(issued, Command), issued
        print(f"{CAREFUL.hypothesis_id}: issued; the canary gained {-canary.effect:.1f} ms")
        outcome = await fed.commands.outcome(issued, wait_s=5)
        assert outcome is not None and outcome.status == "applied", outcome

        await anyio.sleep(CAREFUL.expected.within_s)
        seen = measure_effect(watch(chance, gained_ms=11), watch(chance), at=AT)
        result = await fed.causal.conclude(issued.scope, issued.command_id, seen)
        track = await fed.causal.track(CAREFUL.hypothesis_id)
        print(f"{result.finding}: {seen.effect:.1f} ms ({seen.low:.1f} to {seen.high:.1f})")
        print(f"{track.hypothesis_id}: supported {track.supported}, refuted {track.refuted}")
        assert (result.finding, track.supported, track.refuted) == ("supported", 1, 0)
        group.cancel_scope.cancel()


anyio.run(main)
