"""`Causal`, verb by verb.

Source: HA plan §5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from federlib.blocking._caller import Caller

if TYPE_CHECKING:  # Few ask for a gate, and it takes long to import.
    from federlib import causal
    from federlib.causal import (
        Evidence,
        GateConfig,
        Hypothesis,
        Intervention,
        Measured,
        Result,
        TrackRecord,
    )

__all__ = ["Causal"]


class Causal:
    """The causal gate of one federation, and what it keeps in the store.

    The verbs, arguments and errors of `federlib.causal.Causal`.
    """

    def __init__(self, gate: causal.Causal, caller: Caller) -> None:
        """Wrap a gate whose store answers in the calling thread."""
        self._gate = gate
        self._caller = caller

    @property
    def config(self) -> GateConfig:
        """What is asked for, and how strictly."""
        return self._gate.config

    def state(self, hypothesis: Hypothesis) -> Hypothesis:
        """Write a hypothesis down, once and for all; the same again changes nothing."""
        return self._caller.call(self._gate.state, hypothesis)

    def find(self, hypothesis_id: str) -> Hypothesis | None:
        """Read a hypothesis; None where there is none."""
        return self._caller.call(self._gate.find, hypothesis_id)

    def hypotheses(self) -> Iterator[Hypothesis]:
        """Read all hypotheses, in order of their ids."""
        return self._caller.iterate(self._gate.hypotheses())

    def attach(
        self,
        hypothesis_id: str,
        measured: Measured,
        *,
        source: str = "",
        observed_at_ns: int | None = None,
    ) -> Evidence:
        """Record evidence for a hypothesis; the gate looks at the newest."""
        return self._caller.call(
            self._gate.attach,
            hypothesis_id,
            measured,
            source=source,
            observed_at_ns=observed_at_ns,
        )

    def evidence(self, hypothesis_id: str) -> tuple[Evidence, ...]:
        """Read all evidence for a hypothesis, the newest last."""
        return self._caller.call(self._gate.evidence, hypothesis_id)

    def track(self, hypothesis_id: str) -> TrackRecord:
        """Read how often a hypothesis was borne out; zeros before any result."""
        return self._caller.call(self._gate.track, hypothesis_id)

    def conclude(self, scope: str, command_id: str, measured: Measured) -> Result:
        """Record what came of an applied command, and count it for its hypothesis."""
        return self._caller.call(self._gate.conclude, scope, command_id, measured)

    def result(self, scope: str, command_id: str) -> Result | None:
        """Read what came of a command; None where nobody has concluded that."""
        return self._caller.call(self._gate.result, scope, command_id)

    def interventions(
        self, *, scope: str | None = None, hypothesis_id: str | None = None
    ) -> Iterator[Intervention]:
        """Read the commands that the gate judged or that name a hypothesis."""
        found = self._gate.interventions(scope=scope, hypothesis_id=hypothesis_id)
        return self._caller.iterate(found)
