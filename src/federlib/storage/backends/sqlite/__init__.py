"""`sqlite://`: the embedded default, a store in one SQLite file."""

from federlib.storage.backends.sqlite._examine import examine
from federlib.storage.backends.sqlite.store import SqliteStore, open_engine, open_store, parse_url

__all__ = ["SqliteStore", "examine", "open_engine", "open_store", "parse_url"]
