"""The verbs of leases as one statement each, on the one connection that is kept for them.

Every verb may be repeated, so a connection that ends is replaced and the verb sent once
more; only where that fails too is it unknown what happened.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

import psycopg

from federlib.errors import Conflict, CorruptRecord, FederlibError, OutcomeUnknown, Unavailable
from federlib.lease.backends.postgresql._schema import (
    FORMAT,
    TABLES,
    TOKENS_END,
    definitions,
)
from federlib.lease.backends.postgresql._statements import Statements
from federlib.lease.protocol import Busy, Holder, Lease, LeaseState, NotHeld, Released
from federlib.lease.queue import GRANT_GRACE_S, wait_ttl_ms
from federlib.lease.records import MAX_TOKEN
from federlib.storage.backends.postgresql._engine import PostgresEngine, channel_name
from federlib.storage.backends.postgresql._errors import Severed, translate
from federlib.storage.backends.postgresql._link import PATIENCE_S, Link, Row
from federlib.storage.backends.postgresql._setup import alone, list_tables

__all__ = ["Seen", "Verbs"]

_T = TypeVar("_T")
_NS = 1_000_000_000
_MS = 1_000_000
_MIN_PATIENCE_S = 0.25


class Seen:
    """What `inspect` read.

    Attributes:
        state: Of the name.
        left_s: How long its lease lives on if nobody renews it; seconds, 0 where none does.
    """

    def __init__(self, state: LeaseState, left_s: float) -> None:
        self.state = state
        self.left_s = left_s


class Verbs:
    """What is asked of the server. Thread-safe; every verb blocks.

    Args:
        engine: Of the store in whose schema the leases lie.
        session: Unlike that of any other process; names this one's channels.
    """

    def __init__(self, engine: PostgresEngine, session: str) -> None:
        self._engine = engine
        self._session = session
        self._where = engine.where
        self._mutex = threading.Lock()
        self._link: Link | None = None
        self._is_set_up = False
        self._sql = Statements.of(engine.schema)

    def name_channel(self, name: str) -> str:
        """Name the channel on which changes of a lease are told to whoever watches it."""
        return channel_name(self._engine.store_id, f"lease {name}")

    def turn_channel(self, name: str) -> str:
        """Name the channel on which this process is told that it is next."""
        return channel_name(self._engine.store_id, f"turn {self._session} {name}")

    def acquire(
        self, name: str, holder: Holder, *, ttl_ms: int, queue: bool
    ) -> tuple[Lease | Busy, Sequence[str]]:
        """Try once; see `LeaseBackend.acquire`. Tells who was skipped, too."""
        params = {
            **self._naming(name, holder),
            "ttl": ttl_ms,
            "stand": queue,
            "wait": wait_ttl_ms(ttl_ms) * _MS,
            "grace": round(GRANT_GRACE_S * _NS),
            "turn_channel": self.turn_channel(name),
        }
        try:
            row = self._ask(self._sql.acquire, params, patience_s=_patience_s(ttl_ms))[0]
        except psycopg.Error as error:
            if error.sqlstate == TOKENS_END:
                raise _no_token() from error
            raise translate(error, self._where) from error
        granted, token, who, found_ttl, acquired, renewed, ahead, left, skipped, _ = cast(
            "tuple[bool, int, str | None, int, int, int, int, int, list[str] | None, None]", row
        )
        if granted:
            return _lease(name, holder, token, ttl_ms, acquired, renewed), skipped or ()
        return Busy(
            name=name,
            holder=who,
            expires=None if who is None else renewed + found_ttl * _MS,
            ahead=ahead,
            retry_in_s=max(0.001, left / _NS),
        ), ()

    def renew(self, lease: Lease) -> Lease | NotHeld:
        """Push the expiry to now + ttl; see `LeaseBackend.renew`."""
        holder = Holder(lease.holder_id, lease.session)
        params = {
            **self._naming(lease.name, holder),
            "token": _comparable(lease.fencing_token),
            "ttl": lease.ttl_ms,
        }
        row = self._plainly(self._sql.renew, params, patience_s=_patience_s(lease.ttl_ms))[0]
        is_held, who, acquired, renewed, _ = cast("tuple[bool, str | None, int, int, None]", row)
        if not is_held:
            return NotHeld(lease.name, lease.fencing_token, who)
        return _lease(lease.name, holder, lease.fencing_token, lease.ttl_ms, acquired, renewed)

    def release(self, lease: Lease) -> Released | NotHeld:
        """Free it; see `LeaseBackend.release`."""
        holder = Holder(lease.holder_id, lease.session)
        params = {**self._naming(lease.name, holder), "token": _comparable(lease.fencing_token)}
        asked: list[None] = []

        def request(link: Link) -> list[Row]:
            asked.append(None)
            return link.ask(self._sql.release, params)

        row = self._carefully(request)[0]
        was_held, who, _, _ = cast("tuple[bool, str | None, None, None]", row)
        # Asked twice, the first answer got lost: it may be we who freed it.
        if was_held or (len(asked) > 1 and who is None):
            return Released(lease.name, lease.fencing_token)
        return NotHeld(lease.name, lease.fencing_token, who)

    def _naming(self, name: str, holder: Holder) -> dict[str, object]:
        return {
            "name": name,
            "who": holder.holder_id,
            "claim": holder.session,
            "name_channel": self.name_channel(name),
        }

    def withdraw(self, name: str, holder: Holder) -> None:
        """Leave the queue."""
        self._plainly(self._sql.withdraw, self._naming(name, holder))

    def inspect(self, name: str) -> Seen:
        """Read a name, and how long its lease lives on."""
        rows = self._plainly(self._sql.inspect, {"name": name})
        if not rows:
            return Seen(LeaseState(name=name, fencing_token=0, lease=None, is_live=False), 0.0)
        token, who, claim, ttl_ms, acquired, renewed, now, waiters = cast(
            "tuple[int, str | None, str, int, int, int, int, list[str]]", rows[0]
        )
        lease = None
        if who is not None:
            lease = _lease(name, Holder(who, claim), token, ttl_ms, acquired, renewed)
        left_ns = 0 if lease is None else lease.expires_at - now
        state = LeaseState(
            name=name,
            fencing_token=token,
            lease=lease,
            is_live=left_ns > 0,
            waiters=tuple(waiters),
        )
        return Seen(state, max(0.0, left_ns / _NS))

    def watch(self, name: str) -> None:
        """Have changes of a name notified for the next minute."""
        self._plainly(self._sql.watch, {"name": name})

    def list_names(self) -> Sequence[str]:
        """List the names that were ever granted and are not forgotten, in byte order."""
        names: list[str] = []
        while True:
            rows = self._plainly(self._sql.names, {"after": names[-1] if names else ""})
            if not rows:
                return names
            names += [cast("str", row[0]) for row in rows]

    def floor(self) -> int:
        """Read the floor."""
        rows = self._plainly(self._sql.floor, {})
        if not rows:
            raise CorruptRecord(
                f"{self._where}, leases",
                expected="one row in table lease_floor",
                found="none",
                hint="insert (format, token) as at least the highest token ever granted",
            )
        return cast("int", rows[0][0])

    def raise_floor(self, token: int) -> None:
        """Make every later grant higher than `token`."""
        self._plainly(self._sql.raise_floor, {"token": token})
        # Where the row is gone, nothing was raised.
        self.floor()

    def collect(self, free_before_ns: int) -> int:
        """Forget names that have been free since before an instant; return how many."""
        rows = self._plainly(self._sql.collect, {"before": free_before_ns})
        return cast("int", rows[0][0])

    def _plainly(
        self, query: str, params: Mapping[str, object], *, patience_s: float = PATIENCE_S
    ) -> list[Row]:
        return self._carefully(lambda link: link.ask(query, params, patience_s=patience_s))

    def _carefully(self, request: Callable[[Link], _T]) -> _T:
        try:
            return self._request(request)
        except psycopg.Error as error:
            raise translate(error, self._where) from error

    def _ask(self, query: str, params: Mapping[str, object], *, patience_s: float) -> list[Row]:
        return self._request(lambda link: link.ask(query, params, patience_s=patience_s))

    def _request(self, request: Callable[[Link], _T]) -> _T:
        with self._mutex:
            try:
                return request(self._connected())
            except Severed as error:
                self._drop()
                lost = error
            except psycopg.Error:
                raise
            except BaseException as error:
                if not isinstance(error, FederlibError):
                    # In the middle of an answer there is no way to go on.
                    self._drop()
                raise
            try:
                return request(self._connected())
            except (Severed, Unavailable) as error:
                self._drop()
                raise OutcomeUnknown(
                    "a lease's request", transaction_id=None, reason=str(lost)
                ) from error

    def _connected(self) -> Link:
        self._engine.check_usable()
        if self._link is not None and not self._link.is_usable():
            self._drop()
        if self._link is None:
            link = self._engine.connect()
            try:
                # Of several hosts it may be one of another cluster.
                self._engine.require_store(link)
                self._set_up(link)
            except BaseException:
                link.close()
                raise
            self._link = link
        return self._link

    def _set_up(self, link: Link) -> None:
        if self._is_set_up:
            return
        schema = self._engine.schema
        if not list_tables(link, schema) >= TABLES:
            with alone(link, f"leases of {schema}") as run:
                if not list_tables(link, schema) >= TABLES:
                    run(definitions(schema))
        rows = link.ask(self._sql.floor)
        found = cast("int", rows[0][1]) if rows else 0
        if found != FORMAT:
            raise CorruptRecord(
                f"{self._where}, leases",
                expected=f"format {FORMAT}",
                found=f"format {found}, written by another version of federlib",
                hint="upgrade federlib",
            )
        self._is_set_up = True

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def close(self) -> None:
        """Let go of the connection."""
        with self._mutex:
            self._drop()


def _comparable(token: int) -> int:
    """Return a token as the server can compare it: -1, which none ever is, beyond 64 bit."""
    return token if 0 <= token <= MAX_TOKEN else -1


def _patience_s(ttl_ms: int) -> float:
    """Say how long one try may take: another must still fit in before the lease runs out."""
    return min(PATIENCE_S, max(_MIN_PATIENCE_S, ttl_ms / 3_000))


def _lease(
    name: str, holder: Holder, token: int, ttl_ms: int, acquired_ns: int, renewed_ns: int
) -> Lease:
    return Lease(
        name=name,
        holder_id=holder.holder_id,
        session=holder.session,
        fencing_token=token,
        ttl_ms=ttl_ms,
        acquired_at=acquired_ns,
        renewed_at=renewed_ns,
        expires_at=renewed_ns + ttl_ms * _MS,
    )


def _no_token() -> Conflict:
    return Conflict(
        "fencing token",
        expected=f"below {MAX_TOKEN}, so that a higher one can follow",
        actual=str(MAX_TOKEN),
        hint="the name cannot be leased again: choose another name, or another store",
    )
