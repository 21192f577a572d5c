"""`file://`: a store in plain files of one directory."""

from federlib.storage.backends.file.store import FileStore, open_engine, open_store, parse_url

__all__ = ["FileStore", "open_engine", "open_store", "parse_url"]
