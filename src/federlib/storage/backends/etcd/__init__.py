"""`etcd://`: a store in an etcd cluster, for fleets of several hosts."""

from federlib.storage.backends.etcd._examine import examine
from federlib.storage.backends.etcd._url import parse_url
from federlib.storage.backends.etcd.store import EtcdStore, open_engine, open_store

__all__ = ["EtcdStore", "examine", "open_engine", "open_store", "parse_url"]
