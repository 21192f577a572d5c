"""Leases in etcd, on leases of its own: the cluster itself lets them run out."""

from federlib.lease.backends.etcd.backend import EtcdLeaseBackend, open_backend

__all__ = ["EtcdLeaseBackend", "open_backend"]
