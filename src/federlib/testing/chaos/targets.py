"""What can be broken, and how each kind of fault is carried out there.

Source: design of the simulator's schedules, which every target plays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import quote

import attrs

from federlib.errors import InvalidInput
from federlib.storage import redact_url
from federlib.storage.urls import ENTRY_POINTS, url_scheme
from federlib.testing.chaos.endpoints import servers_of
from federlib.testing.chaos.hindrance import Hindrance
from federlib.testing.sim.faults import KINDS, OF_ONE, Fault, Kind

__all__ = ["TARGETS", "Target", "TargetName", "hindrance_of", "is_of_all", "why_not"]

TargetName = Literal["sim", "sqlite", "file", "postgres", "etcd"]
TARGETS: tuple[TargetName, ...] = get_args(TargetName)

_SCHEMES: Mapping[TargetName, str] = {
    "sqlite": "sqlite",
    "file": "file",
    "postgres": "postgresql",
    "etcd": "etcd",
}
_EMBEDDED = frozenset({"sqlite", "file"})

_NOT_IN_A_NETWORK: Mapping[Kind, str] = {
    "repeat": "a TCP connection delivers each byte once",
    "store_full": "the disk is the server's, behind the proxy",
}


@attrs.frozen
class Target:
    """A real store that processes are to share.

    Attributes:
        name: As on the command line.
        url: The store, as the harness reaches it; may hold a password.
        is_embedded: It has no network: what a network does is done inside each process.
    """

    name: TargetName
    url: str = attrs.field(repr=False)
    is_embedded: bool

    @classmethod
    def at(cls, name: TargetName, url: str | None, directory: Path) -> Target:
        """Return a target; embedded ones get a new store in a directory.

        Raises:
            InvalidInput: A server's URL is missing or of another scheme, an embedded target
                is given one, or no driver for the scheme is installed.
        """
        scheme = _SCHEMES[name]
        if name in _EMBEDDED:
            if url is not None:
                raise InvalidInput(
                    "--url",
                    expected=f"none: the target {name} gets a new store of its own",
                    found=redact_url(url),
                )
            place = directory / ("store.db" if name == "sqlite" else "store")
            return cls(name, f"{scheme}:///{quote(bytes(place))}", is_embedded=True)
        if url is None or url_scheme(url) != scheme:
            found = "none" if url is None else redact_url(url)
            raise InvalidInput("--url", expected=f"{scheme}://host:port/…", found=found)
        if scheme not in entry_points(group=ENTRY_POINTS).names:
            raise InvalidInput(
                "--target",
                expected=f"one whose driver is installed; there is none for {scheme}://",
                found=name,
            )
        servers_of(url)
        return cls(name, url, is_embedded=False)


def why_not(kind: Kind, target: TargetName) -> str | None:
    """Say why a kind of fault cannot be on a target; None where it can."""
    if target == "sim" or target in _EMBEDDED:
        return None
    return _NOT_IN_A_NETWORK.get(kind)


_HINDRANCES: Mapping[Kind, Callable[[int], Hindrance]] = {
    "isolate": lambda _: Hindrance(is_deaf=True, is_mute=True),
    "deafen": lambda _: Hindrance(is_deaf=True),
    "mute": lambda _: Hindrance(is_mute=True),
    "lose": lambda amount: Hindrance(loss_ppm=amount),
    "repeat": lambda amount: Hindrance(repeat_ppm=amount),
    "delay": lambda amount: Hindrance(delay_ms=max(1, amount)),
    "narrow": lambda amount: Hindrance(bytes_per_s=max(1, amount)),
    "store_down": lambda _: Hindrance(is_down=True),
    "store_full": lambda _: Hindrance(is_full=True),
    "store_slow": lambda amount: Hindrance(slow_ms=amount),
    "store_refuses": lambda amount: Hindrance(refuse_ppm=amount),
    "lost_answers": lambda amount: Hindrance(lost_answer_ppm=amount),
}
assert _HINDRANCES.keys() < set(KINDS)


def hindrance_of(fault: Fault) -> Hindrance | None:
    """Return what a fault puts between processes and their store; None if that is not its way."""
    make = _HINDRANCES.get(fault.kind)
    return None if make is None else make(fault.amount)


def is_of_all(kind: Kind) -> bool:
    """Say whether a fault strikes the whole fleet, not one process of it."""
    return kind in _HINDRANCES and kind not in OF_ONE
