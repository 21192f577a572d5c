"""Real PostgreSQL for the tests of its driver: one server a worker, a schema of its own a store."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from federlib.skewclock import Clock
from federlib.storage import open_store
from federlib.storage.backends.postgresql import PostgresStore
from federlib.testing.servers import PostgresServer


def new_url(server: PostgresServer, *, port: int | None = None, more: str = "") -> str:
    """Name a store that nobody has opened yet, by another port where a proxy stands between."""
    url = server.url if port is None else server.url.replace(f":{server.port}/", f":{port}/")
    return f"{url}?schema=test_{secrets.token_hex(6)}{more}"


def schema_of(url: str) -> str:
    return url.partition("schema=")[2].partition("&")[0]


@asynccontextmanager
async def opened(url: str, clock: Clock | None = None) -> AsyncIterator[PostgresStore]:
    store = await open_store(url, clock=clock)
    assert isinstance(store, PostgresStore)
    try:
        yield store
    finally:
        await store.aclose()


def run(server: PostgresServer, *statements: str) -> list[tuple[object, ...]]:
    """Run statements past the driver; return the rows of the last."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        rows: list[tuple[object, ...]] = []
        for statement in statements:
            cursor = connection.execute(statement)
            rows = cursor.fetchall() if cursor.description is not None else []
        return rows


def terminate_all(server: PostgresServer) -> int:
    """End every connection of the driver, as an administrator does; return how many."""
    rows = run(
        server,
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
        "WHERE application_name = 'federlib'",
    )
    count = rows[0][0]
    assert isinstance(count, int)
    return count
