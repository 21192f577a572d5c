"""Two members elect a leader; it commands, a consumer acts, and a stale command is refused."""

from __future__ import annotations

import anyio

import federlib
from federlib.fencing import Command, Outcome
from federlib.identity import IdentityStore


class DeposedSeat:
    """A member that still believes in an epoch long gone."""

    name = "coordinator"

    def check(self) -> int:
        """Claim to lead under epoch 1."""
        return 1


async def main() -> None:
    """Elect, command, fail over, and try a command of the old epoch."""
    identities = IdentityStore("identities")
    async with (
        federlib.connect("sqlite:///fleet.db", identity=identities, ttl_s=2) as one,
        federlib.connect("sqlite:///fleet.db", identity=identities, ttl_s=2) as two,
        anyio.create_task_group() as group,
    ):

        async def apply(command: Command) -> str:
            print(f"applying {command.action} {command.read(dict)} of epoch {command.leader_epoch}")
            return "applied"

        group.start_soon(two.commands.consume, "coordinator", apply)
        epochs: list[int] = []
        for fed in (one, two):
            async with fed.elect("coordinator") as seat:

                async def command_once(epoch: int, fed=fed, seat=seat) -> None:
                    issued = await fed.commands.issue("scale", {"n": epoch}, gate=seat)
                    assert isinstance(issued, Command), issued
                    outcome = await fed.commands.outcome(issued, wait_s=5)
                    assert outcome is not None and outcome.status == "applied", outcome
                    epochs.append(epoch)

                await seat.lead(command_once)
        assert epochs[0] < epochs[1]
        refused = await one.commands.issue("scale", {"n": 9}, gate=DeposedSeat())
        assert isinstance(refused, Outcome)
        print(f"a command of epoch 1: {refused.status} ({refused.reason})")
        assert refused.status == "rejected_stale_epoch"
        group.cancel_scope.cancel()


anyio.run(main)
