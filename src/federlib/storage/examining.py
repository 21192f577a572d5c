"""What a driver can say of its engine before a store is opened: the findings of a doctor.

The module that an entry point of `federlib.stores` names may define, beside its opener,

    async def examine(url: str, clock: Clock, *, may_write: bool) -> Examined

It opens no store and makes none. It raises nothing for an engine that is away or refuses:
that is what it is there to tell. It takes a few seconds at most, and leaves nothing behind.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Literal, Protocol, cast

import attrs
import msgspec

from federlib.errors import InvalidInput
from federlib.skewclock import Clock
from federlib.storage.urls import ENTRY_POINTS, redact_url, url_scheme

__all__ = ["ClockOffset", "Examined", "Examiner", "Finding", "Verdict", "find_examiner"]

Verdict = Literal["ok", "warn", "fail", "skip"]
"""`skip`: it could not be looked at, or does not apply; `measured` says why."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Attributes:
        name: What, in a word or two.
        verdict: How it is.
        measured: What was found, without secrets.
        fix: What to do about it; empty where nothing is to be done.
        numbers: The same as numbers, each with its unit in its name.
    """

    name: str
    verdict: Verdict
    measured: str
    fix: str = ""
    numbers: dict[str, float] = {}


@attrs.frozen
class ClockOffset:
    """How far another clock is ahead of ours.

    Attributes:
        offset_s: Seconds; below 0 it is behind.
        uncertainty_s: How far the true offset may lie from that, either way; seconds.
        of: Whose clock.
    """

    offset_s: float
    uncertainty_s: float
    of: str


@attrs.frozen(kw_only=True)
class Examined:
    """What a driver found.

    Attributes:
        findings: In the order in which they are shown.
        store: Whether there is a store at the URL; `away` where the engine could not be asked,
            or the store cannot be opened as things are.
        clock: Of the engine, for one whose store does not tell the time itself.
    """

    findings: tuple[Finding, ...]
    store: Literal["there", "missing", "away"]
    clock: ClockOffset | None = None


class Examiner(Protocol):
    """What looks at an engine."""

    async def __call__(self, url: str, clock: Clock, *, may_write: bool) -> Examined:
        """Look, and tell.

        Args:
            url: Of the store.
            clock: Ours.
            may_write: Files may be made, that are gone afterwards.
        Raises:
            InvalidInput: The URL is malformed.
        """
        ...


def find_examiner(url: str) -> Examiner | None:
    """Return what looks at the engine of a URL; None for a driver that has nothing to say.

    Raises:
        InvalidInput: No driver is installed for the URL's scheme.
        MissingExtra: What the driver needs is not installed.
    """
    found = entry_points(group=ENTRY_POINTS)
    scheme = url_scheme(url)
    if scheme not in found.names:
        known = ", ".join(f"{name}://" for name in sorted(found.names))
        raise InvalidInput("store URL", expected=f"one of {known}", found=redact_url(url))
    module = import_module(found[scheme].module)
    return cast("Examiner | None", getattr(module, "examine", None))
