"""What the servers can do when all of federlib is taken away.

PostgreSQL: one durable serialised transaction. Serialised, because each bumps one counter row,
as a store must whose revisions are in the order of its commits. etcd: the two transactions of
a lease cycle, under a lease that is granted once.
"""

from __future__ import annotations

import base64
import importlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["COMMIT", "etcd_pair", "one_commit", "one_transaction", "prepare"]

Body = Callable[[], object]

# A counter with room for its next versions in its page, as federlib's has.
_TABLES = """
BEGIN;
SELECT pg_advisory_xact_lock(4711);
CREATE SCHEMA IF NOT EXISTS raw;
CREATE TABLE IF NOT EXISTS raw.counter (
    one integer PRIMARY KEY, n bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
INSERT INTO raw.counter VALUES (1, 0) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS raw.row (
    k bigint PRIMARY KEY, v bytea NOT NULL, n bigint NOT NULL
) WITH (fillfactor = 70);
COMMIT;
"""

COMMIT = """
WITH c AS (UPDATE raw.counter SET n = n + 1 RETURNING n)
INSERT INTO raw.row AS r SELECT %s::bigint, %s::bytea, c.n FROM c
ON CONFLICT (k) DO UPDATE SET v = excluded.v, n = excluded.n"""

_VALUE = b"x" * 100


def prepare(url: str) -> None:
    """Make the tables, once."""
    psycopg = importlib.import_module("psycopg")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_TABLES, prepare=False)


@contextmanager
def one_commit(url: str, _place: Path) -> Iterator[Callable[[Body], object]]:
    """Commit counter row and row in one round trip."""
    prepare(url)
    psycopg = importlib.import_module("psycopg")
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
        cursor = connection.cursor(binary=True)
        yield lambda _body: cursor.execute(COMMIT, (1, _VALUE))


@contextmanager
def one_transaction(url: str, _place: Path) -> Iterator[Callable[[Body], object]]:
    """Commit counter row and row as a client does that knows nothing better."""
    prepare(url)
    psycopg = importlib.import_module("psycopg")
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
        cursor = connection.cursor(binary=True)
        cursor.execute(COMMIT, (2, _VALUE))

        def cycle(_body: Body) -> None:
            cursor.execute("BEGIN")
            cursor.execute("UPDATE raw.counter SET n = n + 1 RETURNING n")
            (number,) = cursor.fetchone()
            cursor.execute("UPDATE raw.row SET v = %s, n = %s WHERE k = 2", (_VALUE, number))
            cursor.execute("COMMIT")

        yield cycle


@contextmanager
def etcd_pair(url: str, _place: Path) -> Iterator[Callable[[Body], object]]:
    """Put a key if it is absent, with a lease; delete it if it is ours."""
    httpx = importlib.import_module("httpx")
    base = f"http://{urlsplit(url).netloc.split(',')[0]}"
    headers = [("Accept-Encoding", "identity"), ("Content-Type", "application/json")]
    limits = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}
    with httpx.HTTPTransport(trust_env=False) as transport:

        def post(url: object, body: bytes) -> bytes:
            request = httpx.Request(
                "POST", url, headers=headers, content=body, extensions={"timeout": limits}
            )
            response = transport.handle_request(request)
            answer = bytes(response.read())
            if response.status_code != httpx.codes.OK:
                raise RuntimeError(f"etcd answered {response.status_code}: {answer[:200]!r}")
            return answer

        grant = post(httpx.URL(f"{base}/v3/lease/grant"), b'{"TTL":"120"}')
        txn = httpx.URL(f"{base}/v3/kv/txn")
        lease = json.loads(grant)["ID"]
        key = _text(f"raw/{os.getpid()}")
        put = {"request_put": {"key": key, "value": _text("x" * 100), "lease": lease}}
        get = {"request_range": {"key": key}}
        take = _txn(key, {"target": "CREATE", "create_revision": "0"}, put, get)
        free = _txn(
            key, {"target": "LEASE", "lease": lease}, {"request_delete_range": {"key": key}}, get
        )
        rounds = itertools.count()

        def cycle(_body: Body) -> None:
            if b'"succeeded":true' not in post(txn, take):
                raise RuntimeError(f"round {next(rounds)}: the key was there")
            if b'"succeeded":true' not in post(txn, free):
                raise RuntimeError(f"round {next(rounds)}: the key was gone")

        yield cycle


def _text(words: str) -> str:
    return base64.b64encode(words.encode()).decode()


def _txn(key: str, check: dict[str, str], done: object, otherwise: object) -> bytes:
    compare = {"key": key, "result": "EQUAL", **check}
    return json.dumps({"compare": [compare], "success": [done], "failure": [otherwise]}).encode()
