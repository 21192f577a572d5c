"""The statements of a store, and what their rows mean."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import cast

from psycopg.types.numeric import Int4, Int8

from federlib.errors import CorruptRecord, FederlibError, InvalidInput
from federlib.storage.backends._digest import digest_of
from federlib.storage.backends.postgresql._link import Link, Row
from federlib.storage.backends.postgresql._schema import quote_name
from federlib.storage.limits import MAX_PAGE_BYTES
from federlib.storage.protocol import (
    AtRevision,
    Batch,
    Check,
    Committed,
    Conflicted,
    Event,
    Mismatch,
    NotSeen,
    Page,
    Put,
    Record,
    Transaction,
)

__all__ = ["Outcome", "Statements", "above"]

_READ_BYTES = 8 * 1024 * 1024
_HIGHEST = "\U0010ffff"
Outcome = tuple[Committed | Conflicted, Batch | None] | FederlibError


def above(prefix: str) -> str | None:
    """Return the least text that is greater than all that begins with `prefix`; None if none is.

    By code points, which is the order of UTF-8's bytes.
    """
    stem = prefix.rstrip(_HIGHEST)
    if not stem:
        return None
    last = ord(stem[-1]) + 1
    # Surrogates are no characters.
    return stem[:-1] + chr(0xE000 if last == 0xD800 else last)


class Statements:
    """What is asked of one schema, by one connection at a time.

    Args:
        schema: Where the tables are.
        where: How errors call the store.
    """

    def __init__(self, schema: str, where: str) -> None:
        s = quote_name(schema)
        self._where = where
        self._get = f"SELECT key, value, revision, created FROM {s}.record WHERE key = %s"  # noqa: S608 (a quoted name)
        bounded = f"""
            SELECT t.revision, r.key, r.value, r.revision, r.created FROM {s}.store t
            LEFT JOIN LATERAL (
                SELECT q.*, sum(octet_length(q.value)) OVER (ORDER BY q.key) - octet_length(q.value)
                    AS before
                FROM (SELECT * FROM {s}.record p WHERE p.key %s %%s %s
                      ORDER BY p.key LIMIT %%s) q
            ) r ON r.before <= {MAX_PAGE_BYTES}
            ORDER BY r.key"""  # noqa: S608
        self._scan = {
            (is_behind, has_end): bounded
            % (">" if is_behind else ">=", "AND p.key < %s" if has_end else "")
            for is_behind in (False, True)
            for has_end in (False, True)
        }
        self._outcome = f"SELECT revision FROM {s}.receipt WHERE id = %s"  # noqa: S608
        self._revision = f"SELECT store_id, revision FROM {s}.store"  # noqa: S608
        self._changes = f"""
            SELECT t.store_id, t.revision, c.revision, c.keys, c.vals, c.created
            FROM {s}.store t
            LEFT JOIN LATERAL (
                SELECT q.* FROM {s}.change q WHERE q.revision > %s
                    AND q.total_bytes <= {_READ_BYTES}
                        + (SELECT f.total_bytes FROM {s}.change f WHERE f.revision = %s)
                ORDER BY q.revision LIMIT %s
            ) c ON true ORDER BY c.revision"""  # noqa: S608
        self._commit = (
            f"SELECT * FROM {s}.commit_group("  # noqa: S608
            "%s::text, %s::text[], %s::bytea[], %s::int[], %s::text[], %s::bigint[], "
            "%s::int[], %s::text[], %s::bytea[])"
        )

    def get(self, link: Link, key: str) -> Record | None:
        """Read one record."""
        rows = link.ask(self._get, (key,))
        return _record(rows[0]) if rows else None

    def scan(self, link: Link, prefix: str, after: str | None, limit: int) -> Page:
        """Read one page, as one snapshot."""
        is_behind = after is not None and after >= prefix
        end = above(prefix)
        start = after if is_behind else prefix
        bounds = (start,) if end is None else (start, end)
        rows = link.ask(self._scan[is_behind, end is not None], (*bounds, Int8(limit + 1)))
        if not rows:
            raise self._torn("one row in table store", "none")
        revision = cast("int", rows[0][0])
        records: list[Record] = []
        size = 0
        for row in rows:
            if row[1] is None:
                break
            record = _record(row[1:])
            size += len(record.value)
            if len(records) == limit or (records and size > MAX_PAGE_BYTES):
                return Page(tuple(records), revision, records[-1].key)
            records.append(record)
        return Page(tuple(records), revision, None)

    def outcome(self, link: Link, transaction_id: str) -> Committed | NotSeen:
        """Look for a receipt."""
        rows = link.ask(self._outcome, (transaction_id,))
        return Committed(cast("int", rows[0][0])) if rows else NotSeen()

    def revision(self, link: Link, store_id: str) -> int:
        """Read the store's revision."""
        rows = link.ask(self._revision)
        if not rows:
            raise self._torn("one row in table store", "none")
        self._require(store_id, cast("str", rows[0][0]))
        return cast("int", rows[0][1])

    def now_ns(self, link: Link) -> int:
        """Read the server's wall clock; Unix nanoseconds."""
        rows = link.ask("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000")
        return cast("int", rows[0][0])

    def changes(self, link: Link, store_id: str, after: int, limit: int) -> Sequence[Batch] | None:
        """Read up to `limit` commits after a revision; None where history lacks them."""
        rows = link.ask(self._changes, (Int8(after), Int8(after + 1), Int8(limit)))
        if not rows:
            raise self._torn("one row in table store", "none")
        self._require(store_id, cast("str", rows[0][0]))
        head = cast("int", rows[0][1])
        if rows[0][2] != after + 1:
            # Below it: restored from a backup, and what comes next is another history.
            return () if head == after else None
        return [_batch(row[2:]) for row in rows]

    def commit(
        self, link: Link, store_id: str, group: Sequence[Transaction], *, patience_s: float
    ) -> list[Outcome]:
        """Commit transactions in their order, each with its own outcome.

        Raises:
            CorruptRecord: Another store lies there by now; nothing has happened.
            psycopg.Error, Severed: As `Link.ask`.
        """
        writes = [sorted(one.writes, key=lambda write: write.key) for one in group]
        checks = [check for one in group for check in one.checks]
        flat = [write for those in writes for write in those]
        rows = link.ask(
            self._commit,
            (
                store_id,
                [one.id for one in group],
                [None if one.id is None else digest_of(one) for one in group],
                _ends(len(one.checks) for one in group),
                [check.key for check in checks],
                [Int8(_expected(check)) for check in checks],
                _ends(len(those) for those in writes),
                [write.key for write in flat],
                [write.value if isinstance(write, Put) else None for write in flat],
            ),
            patience_s=patience_s,
        )
        if len(rows) == 1 and rows[0][0] == _OTHER_STORE:
            self._require(store_id, cast("list[str | None]", rows[0][2])[0] or "nothing")
        return [
            _outcome(one, [write.value if isinstance(write, Put) else None for write in those],
                     [write.key for write in those], row)
            for one, those, row in zip(group, writes, rows, strict=True)
        ]  # fmt: skip

    def _require(self, store_id: str, found: str) -> None:
        if found != store_id:
            raise CorruptRecord(
                f"{self._where}, meta/store", expected=f"store {store_id}", found=found
            )

    def _torn(self, expected: str, found: str) -> CorruptRecord:
        return CorruptRecord(self._where, expected=expected, found=found)


_COMMITTED, _CONFLICT, _REPEATED, _OTHER_ID, _OTHER_STORE = 0, 1, 2, 3, 9


def _expected(check: Check) -> int:
    """Return the revision to compare; 0 is 'absent', and -1 that no record ever has."""
    if not isinstance(check, AtRevision):
        return 0
    return check.revision if 1 <= check.revision < 2**63 else -1


def _ends(sizes: Iterable[int]) -> list[Int4]:
    return [Int4(end) for end in itertools.accumulate(sizes)]


def _record(row: Row) -> Record:
    key, value, revision, created = cast("tuple[str, bytes, int, int]", row)
    return Record(key, bytes(value), revision, created)


def _batch(row: Row) -> Batch:
    revision, keys, values, created = cast(
        "tuple[int, list[str], list[bytes | None], list[int]]", row
    )
    return Batch(revision, _events(revision, keys, values, created))


def _events(
    revision: int, keys: Sequence[str], values: Sequence[bytes | None], created: Sequence[int]
) -> tuple[Event, ...]:
    return tuple(
        Event(key, None if value is None else Record(key, bytes(value), revision, born))
        for key, value, born in zip(keys, values, created, strict=True)
    )


def _outcome(
    transaction: Transaction, values: Sequence[bytes | None], keys: Sequence[str], row: Row
) -> Outcome:
    status, revision, some, numbers = cast(
        "tuple[int, int, list[str] | None, list[int] | None]", row
    )
    if status == _CONFLICT:
        found = dict(zip(some or (), numbers or (), strict=True))
        expected = (
            (check.key, check.revision if isinstance(check, AtRevision) else None)
            for check in transaction.checks
        )
        return Conflicted(
            tuple(
                Mismatch(key, wanted, found[key] or None)
                for key, wanted in expected
                if key in found and (found[key] or None) != wanted
            )
        ), None
    if status == _OTHER_ID:
        return InvalidInput(
            "id", expected="the transaction first committed under it", found=transaction.id
        )
    done = Committed(revision)
    if status == _REPEATED:
        return done, None
    written = dict(zip(keys, values, strict=True))
    changed = some or ()
    events = _events(revision, changed, [written[key] for key in changed], numbers or ())
    return done, Batch(revision, events)
