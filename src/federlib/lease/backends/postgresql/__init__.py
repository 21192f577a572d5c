"""Leases in PostgreSQL, judged by the server's clock: one round trip a verb."""

from federlib.lease.backends.postgresql.backend import PostgresLeaseBackend, open_backend

__all__ = ["PostgresLeaseBackend", "open_backend"]
