"""The synchronous engine of the PostgreSQL driver: who asks on which connection.

One connection commits, a few read, one is kept for leases, one listens. It blocks, so the
async driver calls it in threads, and a blocking caller may use it as it is.

Hazards: after a fork the child must not use what the parent connected, so every verb raises
`Fenced` there.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg

from federlib.errors import FederlibError, OutcomeUnknown, StoreDenied, Unavailable
from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.storage.backends._blocking.grouping import GroupingEngine
from federlib.storage.backends.postgresql._check import find_problems
from federlib.storage.backends.postgresql._errors import Severed, translate
from federlib.storage.backends.postgresql._feed import PostgresFeed
from federlib.storage.backends.postgresql._link import PATIENCE_S, Link, now_s
from federlib.storage.backends.postgresql._links import Links, Listener
from federlib.storage.backends.postgresql._rows import Outcome, Statements
from federlib.storage.backends.postgresql._setup import open_schema
from federlib.storage.protocol import (
    COMMIT_TIMEOUT_S,
    Batch,
    Committed,
    NotSeen,
    Page,
    Record,
    StoreProblem,
)

__all__ = ["PostgresEngine"]

_T = TypeVar("_T")
_ASK_AGAIN_S = 0.1


class PostgresEngine(GroupingEngine):
    """One open store. Thread-safe; every verb blocks.

    Args:
        where: How errors call it, without secrets.
        conninfo: As libpq takes it; holds a password.
        schema: Where the tables are.
        connections: How many may read at once.
        new_store_id: The id that a new store gets.

    Attributes:
        where: How errors call this store.
        schema: Where the tables are.
        listener: Tells of what was notified.

    Raises:
        Unavailable: The server cannot be reached; see also its subclasses.
        CorruptRecord: What lies in the schema is not a store that this version reads.
    """

    def __init__(
        self, where: str, conninfo: str, *, schema: str, connections: int, new_store_id: str
    ) -> None:
        super().__init__(where)
        self.schema: str = schema
        self._conninfo = conninfo
        self._rows = Statements(schema, where)
        self._writer: Link | None = self.connect()
        try:
            self._store_id = open_schema(self._writer, schema, where, new_store_id)
        except BaseException:
            self._writer.close()
            raise
        self._links = Links(where, self.connect, most=connections, patience_s=PATIENCE_S)
        self.listener: Listener = Listener(self.connect)
        self.channel: str = channel_name(self._store_id, "commit")
        self._hint = f"""SELECT set_config('synchronous_commit', 'off', true),
            pg_notify('{self.channel}', '')""".encode()

    def connect(self) -> Link:
        """Open one more connection, set up as all are; the caller closes it.

        Raises:
            Unavailable: The server cannot be reached, or refuses.
        """
        try:
            return Link(self._conninfo)
        except Severed as error:
            raise Unavailable(self.where, str(error)) from error
        except psycopg.Error as error:
            raise translate(error, self.where) from error

    @property
    def store_id(self) -> str:
        """The id drawn when this store was created."""
        return self._store_id

    def check_usable(self) -> None:
        """Raise unless this process opened the store, and has not closed it.

        Raises:
            Fenced: This process is a fork of the one that opened it.
            Unavailable: It was closed.
        """
        self._check_open()

    def require_store(self, link: Link) -> None:
        """Raise unless a connection leads to the store that was opened.

        Raises:
            CorruptRecord: Another one lies there.
            psycopg.Error, Severed: As `Link.ask`.
        """
        self._rows.revision(link, self._store_id)

    def _read(self, request: Callable[[Link], _T]) -> _T:
        self._check_open()
        try:
            return self._links.use(request)
        except psycopg.Error as error:
            raise translate(error, self.where) from error

    def get(self, key: str) -> Record | None:
        """Read one record."""
        return self._read(lambda link: self._rows.get(link, key))

    def scan(self, prefix: str, after: str | None, limit: int) -> Page:
        """Read one page, as one snapshot."""
        return self._read(lambda link: self._rows.scan(link, prefix, after, limit))

    def outcome(self, transaction_id: str) -> Committed | NotSeen:
        """Look for a receipt."""
        return self._read(lambda link: self._rows.outcome(link, transaction_id))

    def read_revision(self) -> int:
        """Read the store's revision."""
        return self._read(lambda link: self._rows.revision(link, self._store_id))

    def read_changes(self, after: int, limit: int) -> Sequence[Batch] | None:
        """Read commits after a revision; None where history no longer has them."""
        return self._read(lambda link: self._rows.changes(link, self._store_id, after, limit))

    def server_now_ns(self) -> int:
        """Read the server's wall clock; Unix nanoseconds."""
        return self._read(self._rows.now_ns)

    def open_feed(self, wake: Callable[[], None]) -> PostgresFeed:
        """Open what a watching thread asks; the caller closes it."""
        return PostgresFeed(
            self.listener, self.channel, wake, self.read_revision, self.read_changes
        )

    def check(self) -> Sequence[StoreProblem]:
        """Read everything that is stored, and return what is wrong; repairs nothing."""
        return self._read(lambda link: find_problems(link, self.schema))

    def _prepare(self) -> None:
        self._check_open()
        if self._writer is not None and not self._writer.is_usable():
            self._drop_writer()
        if self._writer is None:
            self._writer = self.connect()

    def _commit_group(self, group: Sequence[Attempt]) -> Sequence[Outcome]:
        end_s = now_s() + COMMIT_TIMEOUT_S
        try:
            outcomes = self._send(group, end_s)
        except Severed as error:
            return self._inquire(group, str(error), end_s)
        if self._writer is not None and any(_has_batch(outcome) for outcome in outcomes):
            self._writer.hint(self._hint)
        return outcomes

    def _send(self, group: Sequence[Attempt], end_s: float) -> Sequence[Outcome]:
        assert self._writer is not None
        patience_s = max(0.1, end_s - now_s())
        try:
            return self._rows.commit(
                self._writer,
                self._store_id,
                [attempt.transaction for attempt in group],
                patience_s=patience_s,
            )
        except psycopg.Error as error:
            raise translate(error, self.where) from error
        except BaseException as error:
            # In the middle of an answer there is no way to go on.
            if not isinstance(error, FederlibError):
                self._drop_writer()
            raise

    def _inquire(self, group: Sequence[Attempt], reason: str, end_s: float) -> Sequence[Outcome]:
        """Say what became of a group whose answer got lost.

        Who gave an id is sent again: the server keeps a receipt of what took effect.
        """
        named = [attempt for attempt in group if attempt.transaction.id is not None]
        again: dict[int, Outcome] = {}
        while named and not again and now_s() < end_s:
            try:
                if self._writer is None:
                    self._writer = self.connect()
                sent = self._send(named, end_s)
                again = {id(one): outcome for one, outcome in zip(named, sent, strict=True)}
            except StoreDenied:
                break
            except (Severed, Unavailable):
                # Nothing is learnt by it.
                threading.Event().wait(_ASK_AGAIN_S)
            except FederlibError as error:
                again = {id(one): error for one in named}
        return [
            again.get(id(attempt))
            or OutcomeUnknown("commit", transaction_id=attempt.transaction.id, reason=reason)
            for attempt in group
        ]

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def close(self, patience_s: float) -> None:
        """Let go of everything; what is busy is let go of when it is done."""
        if os.getpid() != self._pid or self._is_closed:
            return
        self._is_closed = True
        self.listener.close(patience_s)
        self._links.close()
        self._shut(patience_s)

    def _let_go(self) -> None:
        self._drop_writer()


def channel_name(store_id: str, what: str) -> str:
    """Name a channel of one store: lower case, at most 63 bytes, no two alike."""
    return f"federlib_{hashlib.blake2b(f'{store_id} {what}'.encode(), digest_size=16).hexdigest()}"


def _has_batch(outcome: Outcome) -> bool:
    return not isinstance(outcome, FederlibError) and outcome[1] is not None
