"""`file://`: a store in plain files of one directory."""

from federlib.storage.backends.file._examine import examine
from federlib.storage.backends.file.store import FileStore, open_engine, open_store, parse_url

__all__ = ["FileStore", "examine", "open_engine", "open_store", "parse_url"]
