"""What may judge a command before it is issued; structural, so that nobody needs to inherit.

Source: HA plan §5 (a gate for disruptive commands; its evidence in the command records).
"""

from __future__ import annotations

from typing import Protocol

from federlib.fencing.records import Command

__all__ = ["CommandGate", "Review"]


class Review(Protocol):
    """What a gate found about one command."""

    @property
    def is_refused(self) -> bool:
        """Whether the command must not be issued."""
        ...

    @property
    def reason(self) -> str:
        """Why, in words; goes into the outcome where it is refused."""
        ...

    def encode(self) -> bytes:
        """Return it as JSON, at most 64 KiB; kept in the command's field `causal`."""
        ...


class CommandGate(Protocol):
    """Judges commands before they are issued."""

    async def review(self, command: Command) -> Review | None:
        """Judge a command; None where it is not one to be judged. Must not change anything.

        None is said without waiting: only after a `Review` is the issuer's seat looked at again.
        What it raises ends the issuing, and nothing is recorded.
        """
        ...
