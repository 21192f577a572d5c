"""`Registry`: which workers there are, verb by verb.

Source: A2.2 §2.3, design §5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from federlib import registry
from federlib.blocking._caller import Caller
from federlib.blocking._loop import Loop
from federlib.registry import Change, HostSummary, Member, Membership, Roster, State
from federlib.registry.registry import KEEP_S

__all__ = ["Registry"]

_NO_LABELS: Mapping[str, str] = MappingProxyType({})


class Registry:
    """Workers, kept fresh by heartbeats. Thread-safe.

    The verbs, arguments and errors of `federlib.registry.Registry`.
    """

    def __init__(self, found: registry.Registry, *, caller: Caller, loop: Loop) -> None:
        """Wrap a registry whose store answers in the calling thread; `loop` sends heartbeats."""
        self._registry = found
        self._caller = caller
        self._loop = loop

    @contextmanager
    def join(
        self,
        *,
        kind: str = "worker",
        labels: Mapping[str, str] = _NO_LABELS,
        slots: int = 1,
        ttl_s: float | None = None,
    ) -> Iterator[Membership]:
        """Be in the registry for as long as the body runs; heartbeats come from a thread.

        Of the membership use `report` and what it says of itself. The body is not
        interrupted when the identity is lost; the `with` raises `Fenced` at its end.
        """
        with self._loop.entered(
            lambda fed: fed.registry.join(kind=kind, labels=labels, slots=slots, ttl_s=ttl_s)
        ) as member:
            yield member

    def inspect(self, *, host_id: str | None = None) -> Roster:
        """Read all members, or those of one host, whatever their state; without effect."""
        return self._caller.call(self._registry.inspect, host_id=host_id)

    def members(
        self,
        *,
        state: State | None = "live",
        kind: str | None = None,
        host_id: str | None = None,
        labels: Mapping[str, str] = _NO_LABELS,
    ) -> list[Member]:
        """Find members, by host and number; the live ones unless asked otherwise."""
        return self._caller.call(
            self._registry.members, state=state, kind=kind, host_id=host_id, labels=labels
        )

    def by_host(self) -> dict[str, HostSummary]:
        """Take the members of each host together; keyed by host id."""
        return self._caller.call(self._registry.by_host)

    def find(self, worker_id: str) -> Member | None:
        """Read one member, whatever its state; None if it never joined."""
        return self._caller.call(self._registry.find, worker_id)

    @contextmanager
    def watch(self) -> Iterator[Iterator[Change]]:
        """Stream what becomes different: the members that are there first, then each change."""
        with self._caller.entered(self._registry.watch) as changes:
            yield self._caller.iterate(changes)

    def collect(self, *, older_than_s: float = KEEP_S) -> int:
        """Remove members that have not been live for long; return how many."""
        return self._caller.call(self._registry.collect, older_than_s=older_than_s)
