"""A federation for threads, on both kinds of store: embedded, and behind an event loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import attrs
import pytest

import federlib.blocking
from federlib.blocking import Federation
from federlib.identity import IdentityStore
from federlib.skewclock import Clock
from federlib.telemetry import RecordingSink, Telemetry
from federlib.telemetry.logs import Level, LogValue


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, LogValue]]] = []

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        fields.pop("hlc", None)
        self.events.append((event, fields))

    def names(self) -> list[str]:
        return [event for event, _ in self.events]


@attrs.define
class Place:
    """Where federations of one test meet."""

    url: str
    identities: IdentityStore
    sink: RecordingSink = attrs.field(factory=RecordingSink)
    log: Log = attrs.field(factory=Log)

    def connect(
        self,
        *,
        ttl_s: float | None = None,
        clock: Clock | None = None,
        close_timeout_s: float = 5.0,
    ) -> AbstractContextManager[Federation]:
        return federlib.blocking.connect(
            self.url,
            identity=self.identities,
            telemetry=Telemetry(metrics=self.sink, logger=self.log),
            ttl_s=ttl_s,
            clock=clock,
            close_timeout_s=close_timeout_s,
        )


@pytest.fixture
def identities(tmp_path: Path) -> IdentityStore:
    return IdentityStore(tmp_path / "identities")


@pytest.fixture
def shared(tmp_path: Path, identities: IdentityStore) -> Place:
    """Return a place where several federations meet."""
    return Place(f"sqlite:///{tmp_path}/fleet.db", identities)


@pytest.fixture(params=["sqlite", "file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path, identities: IdentityStore) -> Place:
    urls = {
        "sqlite": f"sqlite:///{tmp_path}/fleet.db",
        "file": f"file:///{tmp_path}/fleet",
        "memory": "memory://",
    }
    return Place(urls[request.param], identities)


@pytest.fixture
def fed(place: Place) -> Iterator[Federation]:
    with place.connect() as fed:
        yield fed
