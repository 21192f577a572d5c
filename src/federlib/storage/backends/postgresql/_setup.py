"""The first look at a schema: made where there is none, brought up to date, or refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import msgspec
import psycopg

from federlib.errors import CorruptRecord, FederlibError, Unavailable
from federlib.storage.backends.postgresql._errors import Severed, translate
from federlib.storage.backends.postgresql._link import Link
from federlib.storage.backends.postgresql._schema import FORMAT, migrations, quote_name
from federlib.storage.protocol import StoreMeta

__all__ = ["OLDEST", "alone", "find_store", "list_tables", "open_schema"]

OLDEST = 130_000
_TABLES = {"store", "record", "change", "receipt"}
_PATIENCE_S = 30.0


def open_schema(link: Link, schema: str, where: str, new_store_id: str) -> str:
    """Make a schema a store, or find one there; return its id. Safe against rivals.

    Raises:
        CorruptRecord: Something else lies there, or a newer format.
        Unavailable: The server is too old or refuses; see also its subclasses.
    """
    if link.encoding != "UTF8":
        raise Unavailable(where, f"its database is encoded in {link.encoding}, not in UTF8")
    if link.version < OLDEST:
        raise Unavailable(where, f"PostgreSQL {link.version // 10_000} is older than 13")
    try:
        found = find_store(link, schema, where)
        if found is None or found[1] < FORMAT:
            _migrate(link, schema, where, new_store_id)
            found = find_store(link, schema, where)
        if found is None:
            raise CorruptRecord(where, expected="a store just made", found="none")
    except Severed as error:
        raise Unavailable(where, str(error)) from error
    except psycopg.Error as error:
        raise translate(error, where) from error
    store_id, found_format = found
    if found_format > FORMAT:
        raise CorruptRecord(
            where,
            expected=f"format {FORMAT} or older",
            found=f"format {found_format}, written by a newer version of federlib",
            hint="upgrade federlib",
        )
    return store_id


def find_store(link: Link, schema: str, where: str) -> tuple[str, int] | None:
    """Return the store's id and format; None where the schema is missing or empty."""
    tables = list_tables(link, schema)
    if not tables:
        return None
    if not tables >= _TABLES:
        raise CorruptRecord(
            where,
            expected=f"the tables {', '.join(sorted(_TABLES))} in schema {schema}",
            found=", ".join(sorted(tables)),
            hint="name another schema with ?schema=",
        )
    s = quote_name(schema)
    rows = link.ask(f"SELECT store_id, format FROM {s}.store")  # noqa: S608 (a quoted name)
    if len(rows) != 1 or not isinstance(rows[0][0], str) or not isinstance(rows[0][1], int):
        raise CorruptRecord(where, expected="one row in table store", found=f"{len(rows)}")
    return rows[0][0], rows[0][1]


def list_tables(link: Link, schema: str) -> set[str]:
    """List the tables and views of a schema; none where there is no such schema."""
    rows = link.ask(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
        (schema,),
    )
    return {str(row[0]) for row in rows}


@contextmanager
def alone(link: Link, what: str) -> Iterator[Callable[[str], None]]:
    """Run statements as one transaction that no rival for `what` runs at the same time.

    Yields:
        What runs statements.
    """
    run = partial(link.script, patience_s=_PATIENCE_S)
    digest = hashlib.blake2b(what.encode(), digest_size=8).digest()
    run(f"BEGIN; SELECT pg_advisory_xact_lock({int.from_bytes(digest, 'big', signed=True)})")
    try:
        yield run
        run("COMMIT")
    except (psycopg.Error, FederlibError):
        run("ROLLBACK")
        raise


def _migrate(link: Link, schema: str, where: str, new_store_id: str) -> None:
    with alone(link, schema) as run:
        found = find_store(link, schema, where)
        done = 0 if found is None else found[1]
        if found is None:
            run(f"CREATE SCHEMA IF NOT EXISTS {quote_name(schema)}")
        meta = msgspec.json.encode(StoreMeta(new_store_id, FORMAT))
        for step in migrations(schema, store_id=new_store_id, meta=meta)[done:]:
            run(step)
