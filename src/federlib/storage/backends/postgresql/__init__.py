"""A store in PostgreSQL: `postgresql://user:password@host:5432/database`."""

from federlib.storage.backends.postgresql.store import PostgresStore, open_store

# isort: split
# Behind what names a missing extra.
from federlib.storage.backends.postgresql._examine import examine

__all__ = ["PostgresStore", "examine", "open_store"]
