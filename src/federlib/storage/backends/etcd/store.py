"""A store in an etcd cluster, shared by processes of any number of hosts.

    store = await open_store("etcd://a,b,c")                       # 2379 is the port
    store = await open_store("etcds://user:secret@a,b,c?ca=ca.pem&cert=me.pem&key=me.key")

Options: `prefix` (what every key begins with, `federlib/` by default), and for `etcds://`
`ca`, `cert` and `key` (PEM files). `@`, `:`, `/`, `%`, `?` and `#` in a user or a password
are percent-encoded.

Needs etcd 3.4 or newer with its JSON gateway, which is on unless it was turned off.

Does not promise: any history that the cluster has compacted; a watcher is told to scan again.
Hazards: whoever else writes under the prefix writes past all checks. A cluster restored from
a snapshot has forgotten what came after it: raise the floor of the fencing tokens.
"""

from __future__ import annotations

import secrets  # noqa: TID251 (a shell draws the id of a new store)

from federlib._pace import ThreadPace
from federlib.skewclock import Clock
from federlib.storage.backends._blocking.direct import DirectStore
from federlib.storage.backends._blocking.opening import open_in_thread
from federlib.storage.backends._blocking.site import LoopSite, Site, ThreadSite
from federlib.storage.backends._blocking.store import EngineStore
from federlib.storage.backends.etcd._engine import EtcdEngine
from federlib.storage.backends.etcd._url import parse_url
from federlib.storage.protocol import Capabilities
from federlib.telemetry import Telemetry

__all__ = ["CAPABILITIES", "DirectEtcdStore", "EtcdStore", "open_engine", "open_store"]

LEASE_BACKEND = "etcd"

CAPABILITIES = Capabilities(
    durable=True,
    shared=True,
    multi_host=True,
    server_clock=False,
    push_watch=True,
    wake_latency_s=0.1,
)


async def open_store(url: str, clock: Clock, telemetry: Telemetry) -> EtcdStore:
    """Open, and on first use create, the store that an `etcd://` or `etcds://` URL names.

    Raises:
        InvalidInput: The URL is malformed, or a file that it names cannot be used.
        Unavailable: The cluster cannot be reached, or refuses us (`StoreDenied`, `StoreFull`).
        OutcomeUnknown: The store was to be created, and no answer came: open it again.
        CorruptRecord: What lies there is not a store of a format that this version reads.
    """
    engine = await open_in_thread(lambda: open_engine(url))
    telemetry.log("debug", "store_opened", store=engine.where, store_id=engine.store_id)
    return EtcdStore(engine, CAPABILITIES, clock, telemetry)


def open_engine(url: str) -> EtcdEngine:
    """Open the engine alone, for a caller that may block; raises as `open_store`."""
    return EtcdEngine(parse_url(url), new_store_id=secrets.token_hex(16))


class EtcdStore(EngineStore[EtcdEngine]):
    """A `RecordStore` in an etcd cluster. Any number of event loops may share it."""

    @property
    def engine(self) -> EtcdEngine:
        """The blocking engine underneath."""
        return self._engine

    @property
    def lease_backend(self) -> str:
        """The entry point of `federlib.leases` that leases on this store."""
        return LEASE_BACKEND

    def site(self) -> Site:
        """Return where blocking work of leases on this store is done."""
        return LoopSite(self._crew)

    def direct(self, pace: ThreadPace) -> DirectEtcdStore:
        """Return the same store for one that may block."""
        return DirectEtcdStore(
            self._engine,
            self._watcher,
            self._capabilities,
            clock=self._clock,
            pace=pace,
            close=self._close,
        )


class DirectEtcdStore(DirectStore):
    """The same for one that may block. Thread-safe."""

    @property
    def engine(self) -> EtcdEngine:
        """The blocking engine underneath."""
        engine = self._engine
        assert isinstance(engine, EtcdEngine)
        return engine

    @property
    def lease_backend(self) -> str:
        """The entry point of `federlib.leases` that leases on this store."""
        return LEASE_BACKEND

    def site(self) -> Site:
        """Return where blocking work of leases on this store is done."""
        return ThreadSite(self._pace)
