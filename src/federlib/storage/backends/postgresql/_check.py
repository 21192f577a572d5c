"""Reading all that a PostgreSQL store keeps, and saying what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from federlib.storage.backends.postgresql._link import Link
from federlib.storage.backends.postgresql._schema import quote_name
from federlib.storage.limits import MAX_VALUE_BYTES
from federlib.storage.protocol import StoreMeta, StoreProblem

__all__ = ["find_problems"]

_PATIENCE_S = 3_600.0
_MOST = 1_000


def find_problems(link: Link, schema: str) -> Sequence[StoreProblem]:
    """Return what cannot be what federlib wrote; about 1,000 at most.

    One statement, so one snapshot: what is written meanwhile is not taken for damage.
    """
    s = quote_name(schema)
    link.ask("SELECT set_config('statement_timeout', '0', false)")
    try:
        rows = link.ask(
            f"""
            WITH head AS (SELECT revision, store_id FROM {s}.store), edge AS (
                SELECT min(revision) AS low, max(revision) AS high, count(*) AS many FROM {s}.change
            )
            SELECT 'meta/store', h.store_id, encode(r.value, 'hex')
                FROM head h LEFT JOIN {s}.record r ON r.key = 'meta/store'
            UNION ALL SELECT 'record ' || key, 'revisions up to ' || h.revision,
                   'revision ' || r.revision || ', created ' || r.created
                FROM {s}.record r, head h
                WHERE r.revision > h.revision OR r.created > r.revision OR r.created < 1
            UNION ALL SELECT 'record ' || key, 'at most {MAX_VALUE_BYTES} bytes',
                   octet_length(value) || ' bytes'
                FROM {s}.record WHERE octet_length(value) > {MAX_VALUE_BYTES}
            UNION ALL SELECT 'changes', 'all revisions from ' || e.low || ' to ' || h.revision,
                   e.many || ' rows up to ' || e.high
                FROM edge e, head h
                WHERE e.high IS DISTINCT FROM h.revision OR e.many <> e.high - e.low + 1
            UNION ALL SELECT 'change ' || revision, 'as many keys as values and creations',
                   cardinality(keys) || ', ' || cardinality(vals) || ', ' || cardinality(created)
                FROM {s}.change WHERE cardinality(keys) <> cardinality(vals)
                    OR cardinality(keys) <> cardinality(created)
            UNION ALL SELECT 'record ' || k.key, 'as change ' || c.revision || ' left it',
                   coalesce('revision ' || r.revision, 'nothing')
                FROM {s}.change c, unnest(c.keys, c.vals) AS k (key, val)
                LEFT JOIN {s}.record r ON r.key = k.key
                WHERE k.val IS NOT NULL AND coalesce(r.revision, 0) < c.revision
                    AND NOT EXISTS (SELECT 1 FROM {s}.change d
                        WHERE d.revision > c.revision AND k.key = ANY (d.keys))
            UNION ALL SELECT 'receipt ' || id, 'a revision up to ' || h.revision,
                   'revision ' || t.revision
                FROM {s}.receipt t, head h WHERE t.revision > h.revision OR t.revision < 1
            LIMIT {_MOST}""",  # noqa: S608 (a quoted name and numbers)
            patience_s=_PATIENCE_S,
        )
    finally:
        link.close()
    return [
        StoreProblem(str(what), str(expected), str(found))
        for what, expected, found in rows
        if what != "meta/store" or not _is_named(str(found or ""), str(expected))
    ]


def _is_named(value: str, store_id: str) -> bool:
    """Say whether the value of `meta/store`, in hexadecimal digits, names the store."""
    try:
        return msgspec.json.decode(bytes.fromhex(value), type=StoreMeta).store_id == store_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
