"""The statements of the verbs: one round trip each.

What is usual is done by the statement itself: a free lease that nobody waits for is taken by
one UPDATE, which makes rivals look again. Only what is left over calls a function.
"""

from __future__ import annotations

import attrs

from federlib.lease.records import MAX_TOKEN
from federlib.storage.backends.postgresql._schema import quote_name

__all__ = ["Statements"]

_NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000"

_ACQUIRE = """
WITH n AS MATERIALIZED (SELECT {now} AS now), taken AS (
    UPDATE {s}.lease q
    SET token = greatest(q.token, (SELECT f.token FROM {s}.lease_floor f)) + 1,
        holder_id = %(who)s, session = %(claim)s, ttl_ms = %(ttl)s::bigint,
        acquired_ns = n.now, renewed_ns = n.now
    FROM n
    WHERE q.name = %(name)s AND q.holder_id IS NULL
        AND greatest(q.token, (SELECT f.token FROM {s}.lease_floor f)) < {max_token}
        AND NOT EXISTS (SELECT 1 FROM {s}.lease_waiter w WHERE w.name = %(name)s)
    RETURNING q.token, q.acquired_ns, q.watched_ns
)
SELECT true, t.token, NULL::text, NULL::bigint, t.acquired_ns, t.acquired_ns, 0::bigint, 0::bigint,
    NULL::text[], CASE WHEN t.watched_ns > t.acquired_ns
        THEN pg_notify(%(name_channel)s, '')::text END
    FROM taken t
UNION ALL
SELECT a.is_granted, a.token, a.holder_id, a.ttl_ms, a.acquired_ns, a.renewed_ns, a.ahead,
    a.left_ns, a.skipped, NULL
    FROM {s}.lease_acquire(%(name)s, %(who)s, %(claim)s, %(ttl)s::bigint, %(stand)s,
        %(wait)s::bigint, %(grace)s::bigint, %(turn_channel)s, %(name_channel)s) a
    WHERE NOT EXISTS (SELECT 1 FROM taken)"""

_RENEW = """
WITH kept AS (
    UPDATE {s}.lease q SET renewed_ns = {now}, ttl_ms = %(ttl)s::bigint
    WHERE q.name = %(name)s AND q.holder_id = %(who)s AND q.session = %(claim)s
        AND q.token = %(token)s::bigint
    RETURNING q.acquired_ns, q.renewed_ns, q.watched_ns
)
SELECT k.acquired_ns IS NOT NULL,
    (SELECT q.holder_id FROM {s}.lease q WHERE q.name = %(name)s), k.acquired_ns, k.renewed_ns,
    CASE WHEN k.watched_ns > k.renewed_ns THEN pg_notify(%(name_channel)s, '')::text END
    FROM (SELECT 1) one LEFT JOIN kept k ON true"""

# `lease_wake` looks anew, behind the lock: it sees who came while we waited for it.
_RELEASE = """
WITH n AS MATERIALIZED (SELECT {now} AS now), freed AS (
    UPDATE {s}.lease q SET holder_id = NULL, session = NULL, freed_ns = n.now
    FROM n
    WHERE q.name = %(name)s AND q.holder_id = %(who)s AND q.session = %(claim)s
        AND q.token = %(token)s::bigint
    RETURNING q.freed_ns, q.watched_ns
)
SELECT f.freed_ns IS NOT NULL, (SELECT q.holder_id FROM {s}.lease q WHERE q.name = %(name)s),
    CASE WHEN f.freed_ns IS NOT NULL THEN {s}.lease_wake(%(name)s, f.freed_ns)::text END,
    CASE WHEN f.watched_ns > f.freed_ns THEN pg_notify(%(name_channel)s, '')::text END
    FROM (SELECT 1) one LEFT JOIN freed f ON true"""

_INSPECT = """
SELECT l.token, l.holder_id, l.session, l.ttl_ms, l.acquired_ns, l.renewed_ns, n.now,
    ARRAY(SELECT w.holder_id FROM {s}.lease_waiter w
          WHERE w.name = l.name AND w.expires_ns > n.now ORDER BY w.place)
    FROM {s}.lease l, (SELECT {now} AS now) n WHERE l.name = %(name)s"""

_NAMES = """
SELECT name FROM {s}.lease WHERE token > 0 AND name > %(after)s ORDER BY name LIMIT 10000"""

_RAISE = """
UPDATE {s}.lease_floor SET token = %(token)s::bigint WHERE token < %(token)s::bigint"""

_WITHDRAW = "SELECT {s}.lease_withdraw(%(name)s, %(who)s, %(claim)s, %(name_channel)s)"


@attrs.frozen
class Statements:
    """The statements of one schema, with named parameters."""

    acquire: str
    renew: str
    release: str
    withdraw: str
    inspect: str
    watch: str
    names: str
    floor: str
    raise_floor: str
    collect: str

    @classmethod
    def of(cls, schema: str) -> Statements:
        """Write them for a schema."""
        s = quote_name(schema)

        def write(statement: str) -> str:
            whole = statement.replace("{s}", s).replace("{now}", _NOW)
            return whole.replace("{max_token}", str(MAX_TOKEN))

        return cls(
            acquire=write(_ACQUIRE),
            renew=write(_RENEW),
            release=write(_RELEASE),
            withdraw=write(_WITHDRAW),
            inspect=write(_INSPECT),
            watch=f"SELECT {s}.lease_watch(%(name)s)",
            names=write(_NAMES),
            floor=f"SELECT token, format FROM {s}.lease_floor",  # noqa: S608 (a quoted name)
            raise_floor=write(_RAISE),
            collect=f"SELECT {s}.lease_collect(%(before)s::bigint)",
        )
