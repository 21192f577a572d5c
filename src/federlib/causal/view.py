"""What of commands the gate needs to see, and how interventions are shown.

Structural: commands belong to `federlib.fencing`, a package of the same floor, which this
one therefore never imports.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

import attrs
import msgspec

from federlib.causal.records import Hypothesis, Result, Verdict

__all__ = ["Asked", "Intervention", "Log", "Logged"]


class Asked(Protocol):
    """A command, as far as the gate looks at it."""

    @property
    def command_id(self) -> str:
        """Unique in its scope."""
        ...

    @property
    def scope(self) -> str:
        """The election under which it was issued."""
        ...

    @property
    def action(self) -> str:
        """What to do."""
        ...

    @property
    def payload(self) -> msgspec.Raw:
        """Its arguments as JSON."""
        ...

    @property
    def causal_id(self) -> str | None:
        """The hypothesis behind it."""
        ...

    @property
    def causal(self) -> msgspec.Raw:
        """What the gate found, as JSON; null where it was not asked."""
        ...

    @property
    def issuer(self) -> str:
        """Who issued it."""
        ...

    @property
    def issued_at_ns(self) -> int:
        """When; Unix nanoseconds."""
        ...


class Ended(Protocol):
    """The outcome of a command."""

    @property
    def status(self) -> str:
        """What became of it."""
        ...

    @property
    def at_ns(self) -> int:
        """When; Unix nanoseconds."""
        ...


class Logged(Protocol):
    """A command and its outcome so far."""

    @property
    def command(self) -> Asked:
        """The command."""
        ...

    @property
    def outcome(self) -> Ended | None:
        """What became of it; None where it is pending."""
        ...


class Log(Protocol):
    """Reads commands; `federlib.fencing.OutcomeLog` is one."""

    async def find(self, command_id: str, *, scope: str | None = None) -> Logged | None:
        """Read one command."""
        ...

    def commands(
        self, *, scope: str | None = None, causal_id: str | None = None
    ) -> AsyncGenerator[Logged, None]:
        """Read those that match."""
        ...


@attrs.frozen(kw_only=True)
class Intervention:
    """A command that the gate judged or that names a hypothesis, with all that is known of it.

    Attributes:
        scope: The election under which it was issued.
        command_id: The command.
        action: What to do.
        issuer: Who issued it.
        issued_at_ns: When; Unix nanoseconds.
        status: The status of its outcome, or `pending`.
        causal_id: The hypothesis that it names.
        verdict: What the gate found; None where it was not asked.
        hypothesis: The hypothesis; None where there is none of that name.
        result: What came of it, against what was expected; None where nobody has said.
    """

    scope: str
    command_id: str
    action: str
    issuer: str
    issued_at_ns: int
    status: str
    causal_id: str | None
    verdict: Verdict | None
    hypothesis: Hypothesis | None
    result: Result | None
