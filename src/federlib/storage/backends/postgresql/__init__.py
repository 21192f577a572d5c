"""A store in PostgreSQL: `postgresql://user:password@host:5432/database`."""

from federlib.storage.backends.postgresql.store import PostgresStore, open_store

__all__ = ["PostgresStore", "open_store"]
