"""The embedded default: a store in one SQLite file, shared by the processes of one machine.

    store = await open_store("sqlite:///fleet.db")

`sqlite:///fleet.db` is relative to the working directory, `sqlite:////var/lib/fleet.db` is
absolute; `%20` and the like are decoded. The one option is `?allow_network_fs=1`.

Beside the database lie SQLite's own `-wal` and `-shm` and two empty lock files, `.turn`
and `.main`. Copy a store with SQLite's backup, never the one file alone.

Does not promise: several hosts, or safety on a disk that lies about fsync.
Hazards: a process that is stopped inside its commit holds up all other writers.
"""

from __future__ import annotations

import os
import secrets  # noqa: TID251 (a shell draws the id of a new store)
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import anyio
import anyio.lowlevel
import anyio.to_thread
import attrs

from federlib.errors import InvalidInput, OutcomeUnknown, Unavailable
from federlib.skewclock import Clock
from federlib.storage.backends._commit_line import Attempt
from federlib.storage.backends._filesystem import refuse_network_filesystem, translate_os_error
from federlib.storage.backends._sqlite_engine import SqliteEngine
from federlib.storage.backends._sqlite_subscription import SqliteSubscription
from federlib.storage.backends._sqlite_watch import Watcher
from federlib.storage.keys import check_key, check_prefix
from federlib.storage.limits import check_scan, check_transaction, check_transaction_id
from federlib.storage.protocol import (
    COMMIT_TIMEOUT_S,
    Capabilities,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Record,
    Subscription,
    Transaction,
)
from federlib.storage.urls import redact_url
from federlib.telemetry import Telemetry

__all__ = ["SqliteStore", "SqliteUrl", "open_store", "parse_url"]

CAPABILITIES = Capabilities(
    durable=True,
    shared=True,
    multi_host=False,
    server_clock=False,
    push_watch=False,
    wake_latency_s=0.1,
)

_THREADS = 4
_CLOSE_TIMEOUT_S = 5.0
_LEASES = "lease/"
_T = TypeVar("_T")


@attrs.frozen
class SqliteUrl:
    """What a `sqlite://` URL says.

    Attributes:
        path: As written: relative to the working directory, or absolute.
        allow_network_fs: Open it on a network file system, too.
    """

    path: str
    allow_network_fs: bool = False


def parse_url(url: str) -> SqliteUrl:
    """Read `sqlite:///relative`, `sqlite:////absolute` and the options.

    Raises:
        InvalidInput: Anything else.
    """
    if any(unicodedata.category(c) == "Cc" for c in url):
        raise InvalidInput("store URL", expected="no control character", found=redact_url(url))
    parts = urlsplit(url)
    path = unquote(parts.path[1:], errors="surrogateescape")
    if parts.scheme != "sqlite" or parts.netloc or not path or "\0" in path:
        raise InvalidInput(
            "store URL",
            expected="sqlite:///relative/path or sqlite:////absolute/path",
            found=redact_url(url),
        )
    if parts.fragment or path.endswith("/") or path == ":memory:":
        raise InvalidInput(
            "store URL",
            expected="the path of a file (write # as %23; memory:// exists)",
            found=redact_url(url),
        )
    return SqliteUrl(path, _parse_options(parts.query))


def _parse_options(query: str) -> bool:
    allow_network_fs = False
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "allow_network_fs" or value not in {"0", "1"}:
            raise InvalidInput("store URL option", expected="allow_network_fs=0 or =1", found=name)
        allow_network_fs = value == "1"
    return allow_network_fs


async def open_store(url: str, clock: Clock, telemetry: Telemetry) -> SqliteStore:
    """Open, and on first use create, the store that a `sqlite://` URL names.

    Raises:
        InvalidInput: The URL is malformed, its path cannot be a file, or it lies on a
            network file system.
        Unavailable: The store cannot be reached or created (`StoreDenied`, `StoreFull`).
        CorruptRecord: What lies there is not a store of a format that this version reads.
    """
    place = parse_url(url)
    new_store_id = secrets.token_hex(16)

    def open_engine() -> SqliteEngine:
        try:
            path = Path(os.path.realpath(place.path))
        except OSError as error:  # the working directory is gone
            raise translate_os_error(error, f"sqlite store {place.path}") from error
        if not place.allow_network_fs:
            refuse_network_filesystem(path)
        return SqliteEngine(path, new_store_id=new_store_id)

    # Shielded: an engine that nobody takes over would keep its files open.
    with anyio.CancelScope(shield=True):
        engine = await anyio.to_thread.run_sync(open_engine, limiter=anyio.CapacityLimiter(1))
    telemetry.log("debug", "store_opened", store=engine.where, store_id=engine.store_id)
    return SqliteStore(engine, clock, telemetry)


class _Threads:
    """The limiters of one event loop: several for any work, one more for leases alone."""

    def __init__(self) -> None:
        self._work = anyio.CapacityLimiter(_THREADS)
        self._leases = anyio.CapacityLimiter(1)

    def limiter(self, *, is_lease: bool) -> anyio.CapacityLimiter:
        return self._leases if is_lease and self._work.available_tokens < 1 else self._work


class SqliteStore:
    """A `RecordStore` in one SQLite file. Any number of event loops may share it."""

    def __init__(self, engine: SqliteEngine, clock: Clock, telemetry: Telemetry) -> None:
        """Take over an open engine; `open_store` is the way to get a store."""
        self._engine = engine
        self._clock = clock
        self._telemetry = telemetry
        self._watcher = Watcher(engine)
        engine.on_commit = self._watcher.nudge
        self._threads = anyio.lowlevel.RunVar[_Threads]("federlib-sqlite-threads")
        self._is_closed = False

    @property
    def capabilities(self) -> Capabilities:
        """What this driver can do."""
        return CAPABILITIES

    @property
    def store_id(self) -> str:
        """The id drawn when this store was created."""
        return self._engine.store_id

    @property
    def path(self) -> Path:
        """The database, absolute and resolved."""
        return self._engine.path

    async def get(self, key: str) -> Record | None:
        """Read one record; linearizable."""
        check_key(key)
        return await self._read(lambda: self._engine.get(key), is_lease=key.startswith(_LEASES))

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        """Read one page of the records whose key starts with `prefix`."""
        check_scan(prefix, after, limit)
        return await self._read(
            lambda: self._engine.scan(prefix, after, limit), is_lease=prefix.startswith(_LEASES)
        )

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Say whether a transaction with this id took effect."""
        check_transaction_id(transaction_id)
        return await self._read(lambda: self._engine.outcome(transaction_id))

    async def _read(self, verb: Callable[[], _T], *, is_lease: bool = False) -> _T:
        return await anyio.to_thread.run_sync(
            verb, abandon_on_cancel=True, limiter=self._limiter(is_lease=is_lease)
        )

    def _limiter(self, *, is_lease: bool) -> anyio.CapacityLimiter:
        threads = self._threads.get(None)
        if threads is None:
            threads = _Threads()
            self._threads.set(threads)
        return threads.limiter(is_lease=is_lease)

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        """Apply all writes if all checks hold; linearizable. A conflict is a value.

        Until COMMIT is sent it can be cancelled, and gives up after `COMMIT_TIMEOUT_S`; in
        both cases nothing has happened. From then on it is shielded, for as long again.

        Raises:
            InvalidInput: A limit is exceeded, or the id was used for another transaction.
            Unavailable: Nothing was sent.
            OutcomeUnknown: It was sent and no answer came.
            CorruptRecord: The store is no longer the one that was opened.
        """
        check_transaction(transaction)
        attempt = Attempt(transaction, now_ns=self._clock.wall_ns())
        try:
            with anyio.move_on_after(COMMIT_TIMEOUT_S):
                await anyio.to_thread.run_sync(
                    self._engine.run,
                    attempt,
                    abandon_on_cancel=True,
                    limiter=self._limiter(is_lease=_is_of_leases(transaction)),
                )
        except anyio.get_cancelled_exc_class():
            if not attempt.has_answer and attempt.abandon():
                raise
            await self._wait_for(attempt)
            # A cancelled scope cancels again at the next await. Anything else that cancels
            # does so once only, and must not be swallowed.
            if anyio.current_effective_deadline() > -float("inf"):
                raise
        if not attempt.has_answer:
            if attempt.abandon():
                raise Unavailable(
                    self._engine.where,
                    f"other work kept it busy for {COMMIT_TIMEOUT_S:g} s; nothing was sent",
                    hint="retry",
                )
            await self._wait_for(attempt)
        return attempt.answer()

    async def _wait_for(self, attempt: Attempt) -> None:
        with anyio.CancelScope(shield=True):
            has_answer = await anyio.to_thread.run_sync(
                attempt.wait, COMMIT_TIMEOUT_S, limiter=anyio.CapacityLimiter(1)
            )
        if not has_answer:
            self._telemetry.log("warning", "store_outcome_unknown", store=self._engine.where)
            raise OutcomeUnknown(
                "commit",
                transaction_id=attempt.transaction.id,
                reason=f"no answer within {COMMIT_TIMEOUT_S:g} s",
            )

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[Subscription]:
        """Subscribe to whole transactions after revision `after`, filtered to `prefix`."""
        check_prefix(prefix)
        if type(after) is not int or after < 0:
            raise InvalidInput("after", expected="a revision, 0 or more", found=after)
        head = await self._read(self._engine.read_revision)
        subscription = SqliteSubscription(
            self._engine,
            self._watcher,
            prefix,
            after=after,
            head=head,
            limiter=self._limiter(is_lease=prefix.startswith(_LEASES)),
        )
        try:
            yield subscription
        finally:
            subscription.close()

    async def aclose(self) -> None:
        """Let go of files, threads and connections; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        with anyio.move_on_after(2 * _CLOSE_TIMEOUT_S, shield=True):
            await anyio.to_thread.run_sync(
                self._close, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )

    def _close(self) -> None:
        self._watcher.stop(_CLOSE_TIMEOUT_S)
        self._engine.close(_CLOSE_TIMEOUT_S)


def _is_of_leases(transaction: Transaction) -> bool:
    writes, checks = transaction.writes, transaction.checks
    return all(item.key.startswith(_LEASES) for item in (*writes, *checks))
