"""One connection: each request has an end in time, and a hint may follow that nobody waits for.

libpq waits for ever where a server has stopped or a network swallows everything. Here every
wait has a deadline, after which the connection is given up.
"""

from __future__ import annotations

import select
import time
from collections.abc import Mapping, Sequence
from typing import TypeVar

import psycopg
from psycopg import pq
from psycopg.abc import PQGen

from federlib.storage.backends.postgresql._errors import Severed, is_severed

__all__ = ["PATIENCE_S", "Link", "Row", "now_s"]

PATIENCE_S = 5.0
"""How long one request may take; seconds. The server is told to give up before."""

_LOOK_EVERY_S = 0.1
_STATEMENT_TIMEOUT_MS = 4_500

_RV = TypeVar("_RV")
Row = tuple[object, ...]

# Plans are made once and kept, so they must be right for tables that grow by a thousand times.
_SETTINGS = f"""SELECT
    set_config('statement_timeout', '{_STATEMENT_TIMEOUT_MS}', false),
    set_config('idle_in_transaction_session_timeout', '10000', false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('search_path', 'pg_catalog', false),
    set_config('standard_conforming_strings', 'on', false),
    set_config('array_nulls', 'on', false),
    set_config('lock_timeout', '0', false),
    set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('enable_seqscan', 'off', false),
    set_config('enable_hashjoin', 'off', false),
    set_config('enable_mergejoin', 'off', false),
    set_config('jit', 'off', false),
    set_config('bytea_output', 'hex', false),
    set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
             ELSE current_setting('synchronous_commit') END, false),
    current_setting('server_encoding'), current_setting('server_version_num')::int"""


def now_s() -> float:
    """Read the clock that patience is measured by; seconds."""
    return time.monotonic()  # noqa: TID251 (a shell: how long a server may take)


class _Bounded(psycopg.Connection[Row]):
    """A connection whose waits end."""

    end_s: float = float("inf")

    def wait(
        self, gen: PQGen[_RV], interval: float = _LOOK_EVERY_S, timeout: float | None = None
    ) -> _RV:
        """Wait as psycopg does, looking at the clock ten times a second."""
        return super().wait(_until(gen, self.end_s), interval, timeout)


def _until(gen: PQGen[_RV], end_s: float) -> PQGen[_RV]:
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and now_s() >= end_s:
                raise Severed("no answer in time")
            wanted = gen.send(ready)
    except StopIteration as end:
        value: _RV = end.value
        return value


class Link:
    """One connection to the server; used by one thread at a time.

    Args:
        conninfo: As libpq takes it; holds a password.

    Attributes:
        encoding: Of the database.
        version: Of the server, for example 160014.

    Raises:
        psycopg.Error: The server cannot be reached, or refuses.
        Severed: It let us in, and said nothing more.
    """

    def __init__(self, conninfo: str) -> None:
        # Told at the start, the encoding wins over what the role or the environment says.
        self._connection = _Bounded.connect(
            conninfo, autocommit=True, prepare_threshold=0, client_encoding="UTF8"
        )
        self._cursor = self._connection.cursor(binary=True)
        self._has_hint = False
        try:
            (row,) = self.ask(_SETTINGS)
        except BaseException:
            self.close()
            raise
        self.encoding: str = str(row[-2])
        self.version: int = int(str(row[-1]))

    def ask(
        self,
        query: str,
        params: Sequence[object] | Mapping[str, object] | None = None,
        *,
        patience_s: float = PATIENCE_S,
    ) -> list[Row]:
        """Run one statement and return its rows.

        Raises:
            psycopg.Error: The server refused it: nothing has happened.
            Severed: The connection ended first, or nothing came in time: it may have happened.
        """
        self._connection.end_s = now_s() + patience_s
        try:
            self._cursor.execute(query, params)
            # Not `description`, which is made anew each time it is asked for.
            return self._cursor.fetchall() if self._cursor.rownumber is not None else []
        except psycopg.Error as error:
            if is_severed(error) or self._connection.closed:
                raise Severed(str(error)) from error
            raise

    def script(self, statements: str, *, patience_s: float) -> None:
        """Run statements that return nothing, as one transaction unless they say otherwise.

        Raises:
            psycopg.Error, Severed: As `ask`.
        """
        self._connection.end_s = now_s() + patience_s
        try:
            self._connection.execute(statements, prepare=False)
        except psycopg.Error as error:
            if is_severed(error) or self._connection.closed:
                raise Severed(str(error)) from error
            raise

    def hint(self, statement: bytes) -> None:
        """Send a statement and do not wait for it; the next request takes in its end."""
        if self._has_hint or self._connection.closed:
            return
        try:
            self._connection.pgconn.send_query(statement)
            self._connection.pgconn.flush()
        except psycopg.Error:
            # The next request finds out.
            return
        self._has_hint = True

    def is_usable(self) -> bool:
        """Say, without a request, whether the server is still there as far as we have heard.

        A connection that was dropped while it lay idle has said so by now. Found before
        anything is sent, that is nobody's lost answer.
        """
        try:
            if self._has_hint:
                self._take_in_hint()
            pgconn = self._connection.pgconn
            if self._connection.closed or pgconn.status != pq.ConnStatus.OK:
                return False
            if _is_readable(pgconn.socket, 0):
                pgconn.consume_input()
                # A notice is taken in by now; an end would still be there to be read.
                return pgconn.status == pq.ConnStatus.OK and not _is_readable(pgconn.socket, 0)
        except (psycopg.Error, Severed, OSError):
            return False
        return True

    def _take_in_hint(self) -> None:
        pgconn = self._connection.pgconn
        end_s = now_s() + PATIENCE_S
        while True:
            while pgconn.is_busy():
                if not _is_readable(pgconn.socket, end_s - now_s()):
                    raise Severed("a hint got no answer")
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                self._has_hint = False
                return

    @property
    def socket(self) -> int:
        """The file descriptor, for waiting until the server says something."""
        return self._connection.pgconn.socket

    def notices(self) -> list[str]:
        """Take what was notified since the last call: the channels.

        Raises:
            Severed: The connection ended.
        """
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
        except psycopg.Error as error:
            raise Severed(str(error)) from error
        channels: list[str] = []
        while (told := pgconn.notifies()) is not None:
            channels.append(told.relname.decode())
        return channels

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def _is_readable(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1_000))
