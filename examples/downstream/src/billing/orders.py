"""What the leader's commands do: the handler for a `CommandConsumer`."""

from federlib.fencing import Actuation, Command


class Till:
    """Keeps what was charged."""

    def __init__(self) -> None:
        self.cents = 0

    async def act(self, command: Command) -> Actuation:
        if command.action != "charge":
            return Actuation("noop", "not an action of the till")
        match command.arguments():
            case {"cents": int(cents)} if cents > 0 and not isinstance(cents, bool):
                self.cents += cents
                return Actuation("applied")
            case _:
                return Actuation("actuation_failed", "expected a number of cents above 0")
