"""Keys, records, transactions and what a watch tells."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime

from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.storage import (
    META_KEY,
    Absent,
    AtRevision,
    Batch,
    Capabilities,
    Check,
    Committed,
    Conflicted,
    Delete,
    Event,
    Mismatch,
    NotSeen,
    Page,
    Progress,
    Put,
    Record,
    Resync,
    StoreMeta,
    StoreProblem,
    Transaction,
    Write,
    segment,
)
from federlib.storage.keys import MAX_KEY_BYTES
from federlib.storage.limits import MAX_ID
from federlib.storage.lines import ExportHeader
from federlib.testing.strategies._plain import any_text, booleans, counts, plain_text, seconds

__all__ = [
    "STRATEGIES",
    "illegal_keys",
    "illegal_names",
    "keys",
    "names",
    "prefixes",
    "transaction_ids",
    "values",
]

_NAME_BYTES = 200
_revisions = counts(1)


def keys() -> st.SearchStrategy[str]:
    """Generate legal keys of one to four segments, some as long as a key may be."""
    part = plain_text(max_bytes=MAX_KEY_BYTES, min_size=1, without="/")
    parts = st.lists(part.filter(lambda text: text not in {".", ".."}), min_size=1, max_size=4)
    whole = parts.map(lambda found: unicodedata.normalize("NFC", "/".join(found)))
    return whole.filter(lambda key: len(key.encode()) <= MAX_KEY_BYTES)


def prefixes() -> st.SearchStrategy[str]:
    """Generate beginnings of legal keys, cut anywhere; the empty one too."""
    return st.builds(lambda key, end: key[:end], keys(), st.integers(0, MAX_KEY_BYTES))


def values() -> st.SearchStrategy[bytes]:
    """Generate values of records: any bytes, short ones."""
    return st.binary(max_size=64)


def transaction_ids() -> st.SearchStrategy[str]:
    """Generate legal ids of transactions: 1 to 128 characters."""
    return plain_text(max_bytes=MAX_KEY_BYTES, min_size=1, max_size=MAX_ID)


def _is_name(text: str) -> bool:
    try:
        segment(text, max_bytes=_NAME_BYTES)
    except InvalidInput:
        return False
    return True


def names() -> st.SearchStrategy[str]:
    """Generate names of leases, elections, scopes and resources; `/`, `%`, `.` and `~` too."""
    odd = st.text("/%.~a\u0301e", min_size=1, max_size=12)
    whole = odd.map(lambda text: unicodedata.normalize("NFC", text))
    return (plain_text(max_bytes=_NAME_BYTES, min_size=1) | whole).filter(_is_name)


def _illegal_texts(max_bytes: int) -> st.SearchStrategy[str]:
    """Generate what neither a key nor a name may be."""
    around = plain_text(max_bytes=30)
    control = st.characters(categories=["Cc"])
    broken = control | st.sampled_from(("\ud800", "e\u0301", "\u212b"))
    spoilt = st.builds(lambda a, bad, b: f"{a}x{bad}x{b}", around, broken, around)
    too_long = st.integers(max_bytes + 1, 2 * max_bytes).map(lambda size: "k" * size)
    # Few characters, many bytes.
    too_wide = st.integers(max_bytes // 3 + 1, max_bytes).map(lambda size: "漢" * size)
    return spoilt | too_long | too_wide | st.just("")


def illegal_keys() -> st.SearchStrategy[str]:
    """Generate text that every store refuses as a key, each for one of the rules."""
    empty_part = st.builds(
        lambda key, odd, end: odd.format(key[:100], end[:100]),
        plain_text(max_bytes=100, min_size=1, without="{}"),
        st.sampled_from(("{}//{}", "/{}", "{}/", "{}/.", "{}/../{}", "./{}", "{}/./{}")),
        plain_text(max_bytes=100, min_size=1, without="{}"),
    )
    return empty_part | _illegal_texts(MAX_KEY_BYTES)


def illegal_names() -> st.SearchStrategy[str]:
    """Generate text that is refused as the name of a lease, an election, a scope or a resource."""
    # Each of these takes three bytes in a key.
    escaped = st.integers(_NAME_BYTES // 3 + 1, _NAME_BYTES).map(lambda size: "/" * size)
    return escaped | _illegal_texts(_NAME_BYTES)


@st.composite
def _records(draw: st.DrawFn, key: str | None = None, at: int | None = None) -> Record:
    revision = draw(_revisions) if at is None else at
    created = draw(st.integers(1, revision) | st.just(revision))
    return Record(draw(keys()) if key is None else key, draw(values()), revision, created)


def _by_key(found: list[str]) -> list[str]:
    return sorted(found, key=str.encode)


@st.composite
def _pages(draw: st.DrawFn) -> Page:
    found = _by_key(draw(st.lists(keys(), unique=True, max_size=4)))
    records = tuple(draw(_records(key)) for key in found)
    newest = max((record.revision for record in records), default=1)
    is_last = not records or draw(booleans)
    return Page(records, draw(counts(newest)), None if is_last else records[-1].key)


_checks: st.SearchStrategy[Check] = st.builds(AtRevision, keys(), _revisions) | st.builds(
    Absent, keys()
)
# Only a driver writes the store's own record.
_written = keys().filter(lambda key: key != META_KEY)
_puts = st.builds(Put, _written, values())
_deletes = st.builds(Delete, _written)


@st.composite
def _transactions(draw: st.DrawFn) -> Transaction:
    writes: list[Write] = draw(
        st.lists(_puts | _deletes, max_size=4, unique_by=lambda write: write.key)
    )
    checks = draw(st.lists(_checks, min_size=0 if writes else 1, max_size=4))
    return Transaction(tuple(writes), tuple(checks), draw(st.none() | transaction_ids()))


_mismatches = st.builds(Mismatch, keys(), st.none() | _revisions, st.none() | _revisions).filter(
    lambda failed: failed.expected != failed.found
)


@st.composite
def _events(draw: st.DrawFn, key: str | None = None, at: int | None = None) -> Event:
    key = draw(keys()) if key is None else key
    return Event(key, draw(st.none() | _records(key, at)))


@st.composite
def _batches(draw: st.DrawFn) -> Batch:
    revision = draw(_revisions)
    found = _by_key(draw(st.lists(keys(), unique=True, min_size=1, max_size=4)))
    return Batch(revision, tuple(draw(_events(key, revision)) for key in found))


_store_ids = st.text("0123456789abcdef", min_size=32, max_size=32)
_words = any_text(max_size=200)
_moments = st.datetimes(min_value=datetime(1970, 1, 1)).map(  # noqa: DTZ001 (made aware below)
    lambda moment: moment.replace(tzinfo=UTC).isoformat()
)

STRATEGIES: Mapping[type, st.SearchStrategy[object]] = {
    Absent: st.builds(Absent, keys()),
    AtRevision: st.builds(AtRevision, keys(), _revisions),
    Batch: _batches(),
    Capabilities: st.builds(
        Capabilities,
        durable=booleans,
        shared=booleans,
        multi_host=booleans,
        server_clock=booleans,
        push_watch=booleans,
        wake_latency_s=seconds(0, 60),
    ),
    Committed: st.builds(Committed, _revisions),
    Conflicted: st.builds(Conflicted, st.lists(_mismatches, min_size=1, max_size=4).map(tuple)),
    Delete: _deletes,
    Event: _events(),
    ExportHeader: st.builds(ExportHeader, store_id=_store_ids, revision=counts(), at=_moments),
    Mismatch: _mismatches,
    NotSeen: st.just(NotSeen()),
    Page: _pages(),
    Progress: st.builds(Progress, _revisions),
    Put: _puts,
    Record: _records(),
    Resync: st.builds(Resync, _revisions),
    StoreMeta: st.builds(StoreMeta, _store_ids),
    StoreProblem: st.builds(StoreProblem, _words, _words, _words),
    Transaction: _transactions(),
}
