"""A store in PostgreSQL, for fleets of any number of hosts.

    store = await open_store("postgresql://user:password@db.example:5432/fleet?schema=federlib")

The URL is libpq's, several hosts and all its options included; two options are ours:
`schema` (``federlib``) and `connections` (4), how many connections may read at once. One more
commits and one listens, opened when they are needed. Connections to another host are
encrypted and the server's certificate is verified, unless the URL says otherwise (`sslmode`).

Does not promise: anything that the server does not. A commit is durable if the server's
`synchronous_commit` and disks are; one that fails over to a standby that lags loses commits.
Hazards: PgBouncer in transaction mode drops what the driver prepares and listens to.

Source: design §4.
"""

from __future__ import annotations

import secrets  # noqa: TID251 (a shell draws the id of a new store)

from federlib._pace import ThreadPace
from federlib.errors import MissingExtra
from federlib.skewclock import Clock
from federlib.storage.protocol import Capabilities
from federlib.telemetry import Telemetry

try:
    import psycopg  # noqa: F401
except ImportError as _error:
    raise MissingExtra("postgres", needed_for="a postgresql:// store") from _error

from federlib.storage.backends._blocking.direct import DirectStore
from federlib.storage.backends._blocking.opening import open_in_thread
from federlib.storage.backends._blocking.site import LoopSite, Site, ThreadSite
from federlib.storage.backends._blocking.store import EngineStore
from federlib.storage.backends.postgresql._engine import PostgresEngine
from federlib.storage.backends.postgresql._url import parse_url

__all__ = ["DirectPostgresStore", "PostgresStore", "open_engine", "open_store"]

LEASE_BACKEND = "postgresql"
CAPABILITIES = Capabilities(
    durable=True,
    shared=True,
    multi_host=True,
    server_clock=True,
    push_watch=True,
    wake_latency_s=0.1,
)


async def open_store(url: str, clock: Clock, telemetry: Telemetry) -> PostgresStore:
    """Open, and on first use create, the store that a `postgresql://` URL names.

    Raises:
        InvalidInput: The URL is malformed.
        Unavailable: The server cannot be reached (`StoreDenied`, `StoreFull`).
        CorruptRecord: What lies there is not a store of a format that this version reads.
    """
    engine = await open_in_thread(lambda: open_engine(url))
    telemetry.log("debug", "store_opened", store=engine.where, store_id=engine.store_id)
    return PostgresStore(engine, CAPABILITIES, clock, telemetry)


def open_engine(url: str) -> PostgresEngine:
    """Open the engine alone, for a caller that may block; raises as `open_store`."""
    place = parse_url(url)
    return PostgresEngine(
        place.where,
        place.conninfo,
        schema=place.schema,
        connections=place.connections,
        new_store_id=secrets.token_hex(16),
    )


class PostgresStore(EngineStore[PostgresEngine]):
    """A `RecordStore` in PostgreSQL. Any number of event loops may share it."""

    @property
    def engine(self) -> PostgresEngine:
        """The blocking engine underneath."""
        return self._engine

    @property
    def lease_backend(self) -> str:
        """The entry point of `federlib.leases` that leases on this store."""
        return LEASE_BACKEND

    def site(self) -> Site:
        """Return where blocking work of leases on this store is done."""
        return LoopSite(self._crew)

    async def server_now_ns(self) -> int:
        """Read the server's wall clock; Unix nanoseconds."""
        return await self._crew.read(self._engine.server_now_ns)

    def direct(self, pace: ThreadPace) -> DirectPostgresStore:
        """Return the same store for one that may block."""
        return DirectPostgresStore(
            self._engine,
            self._watcher,
            self._capabilities,
            clock=self._clock,
            pace=pace,
            close=self._close,
        )


class DirectPostgresStore(DirectStore):
    """The same for one that may block. Thread-safe."""

    @property
    def engine(self) -> PostgresEngine:
        """The blocking engine underneath."""
        engine = self._engine
        assert isinstance(engine, PostgresEngine)
        return engine

    @property
    def lease_backend(self) -> str:
        """The entry point of `federlib.leases` that leases on this store."""
        return LEASE_BACKEND

    def site(self) -> Site:
        """Return where blocking work of leases on this store is done."""
        return ThreadSite(self._pace)

    async def server_now_ns(self) -> int:
        """Read the server's wall clock; Unix nanoseconds."""
        return self.engine.server_now_ns()
