"""Leadership: who leads, and nobody else's commands.

    async with fed.elect("coordinator") as seat:
        async for state in seat.changes():
            if state.role == "leader":
                ...  # seat.check() before each effect; state.epoch goes with it

Does not promise: that two processes never *believe* at once that they lead. It promises
that only one epoch's commands are accepted, by fencing.
Hazards: an effect that does not carry the epoch is not fenced.
"""

from __future__ import annotations

from federlib.leadership.election import LeaderState, Role
from federlib.leadership.elector import Elector
from federlib.leadership.gate import Gate, LeaderGate

__all__ = ["Elector", "Gate", "LeaderGate", "LeaderState", "Role"]
