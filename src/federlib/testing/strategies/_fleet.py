"""Who is there, and what time it is there: identities, members, clocks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from federlib.errors import CorruptRecord
from federlib.identity import HostRecord, SeenStoreRecord, SlotRecord, WorkerIdentity
from federlib.identity.records import MAX_SEQ
from federlib.registry import Change, HostSummary, Member, MemberRecord, Roster
from federlib.registry.records import MAX_LABEL_BYTES, MAX_LABELS, MAX_SLOTS, member_key
from federlib.skewclock import (
    ClockReading,
    HlcCounts,
    SkewTolerance,
    hlc_logical,
    hlc_physical_ns,
)
from federlib.testing.strategies._plain import (
    any_text,
    booleans,
    counts,
    hlc_timestamps,
    plain_text,
    seconds,
)

__all__ = [
    "STRATEGIES",
    "host_ids",
    "illegal_labels",
    "illegal_worker_ids",
    "labels",
    "member_kinds",
    "worker_ids",
]

_DAY_MS = 86_400_000
_LONG_AGO_S = 1e9
_MAX_WALL_US = 253_402_300_799 * 10**6  # the last second of the year 9999


def host_ids() -> st.SearchStrategy[str]:
    """Generate ids of hosts: UUIDs in lower case."""
    return st.uuids().map(str)


_seqs = st.integers(0, MAX_SEQ)
_identities = st.builds(WorkerIdentity, host_ids(), _seqs)


def worker_ids() -> st.SearchStrategy[str]:
    """Generate worker ids, `host_uuid:worker_seq`."""
    return _identities.map(str)


def illegal_worker_ids() -> st.SearchStrategy[str]:
    """Generate text that is close to a worker id and is none."""
    forms = (
        "{}",
        "{}:",
        "{}:-1",
        "{}:01",
        "{}:1000000",
        " {}:1",
        "{}:1\n",
        "{}:\u0661",
        ":{}",
        "{}:+1",
    )
    odd = st.builds(str.format, st.sampled_from(forms), host_ids())
    upper = (
        st.uuids()
        .map(lambda host: f"{str(host).upper()}:0")
        .filter(lambda text: text != text.lower())
    )
    plain = st.uuids().map(lambda host: f"{host.hex}:0")
    return odd | upper | plain | st.just("")


def member_kinds() -> st.SearchStrategy[str]:
    """Generate what a member may say that it does."""
    return plain_text(max_bytes=MAX_LABEL_BYTES, min_size=1)


def labels() -> st.SearchStrategy[dict[str, str]]:
    """Generate what a member may say of itself."""
    return st.dictionaries(member_kinds(), plain_text(max_bytes=MAX_LABEL_BYTES), max_size=4)


def illegal_labels() -> st.SearchStrategy[dict[str, str]]:
    """Generate labels that the registry refuses: too many, too long, or not plain text."""
    bad = st.sampled_from(("l" * (MAX_LABEL_BYTES + 1), "a\x00b", "e\u0301", "\ud800"))
    as_name = st.builds(lambda word: {word: "x"}, bad | st.just(""))
    as_value = st.builds(lambda word: {"x": word}, bad)
    too_many = st.integers(MAX_LABELS + 1, 2 * MAX_LABELS).map(
        lambda count: {str(number): "" for number in range(count)}
    )
    return as_name | as_value | too_many


@st.composite
def _member_records(draw: st.DrawFn, worker: WorkerIdentity | None = None) -> MemberRecord:
    worker = worker or draw(_identities)
    started_ns = draw(counts())
    last_seen = draw(counts(started_ns))
    return MemberRecord(
        worker_id=str(worker),
        host_id=worker.host_id,
        incarnation=draw(counts(1)),
        session=draw(any_text(min_size=1, max_size=MAX_LABEL_BYTES)),
        kind=draw(member_kinds()),
        labels=draw(labels()),
        slots=draw(counts(0, MAX_SLOTS)),
        load=draw(seconds(0, 1e6)),
        pid=draw(counts(1)),
        hostname=draw(any_text(max_size=MAX_LABEL_BYTES)),
        version=draw(any_text(max_size=MAX_LABEL_BYTES)),
        started_at_ns=started_ns,
        last_seen=last_seen,
        clock_id=draw(plain_text(max_bytes=60)),
        boot_ns=draw(counts()),
        ttl_ms=draw(counts(1, _DAY_MS)),
        left_at_ns=last_seen if draw(booleans) else None,
    )


@st.composite
def _members(draw: st.DrawFn, worker: WorkerIdentity | None = None) -> Member:
    record, age_s = draw(_member_records(worker)), draw(seconds(0, _LONG_AGO_S))
    if record.left_at_ns is not None:
        return Member(record, "left", age_s)
    return Member(record, "live" if age_s * 1_000 < record.ttl_ms else "expired", age_s)


@st.composite
def _rosters(draw: st.DrawFn) -> Roster:
    workers = sorted(draw(st.lists(_identities, unique=True, max_size=3)))
    broken = draw(st.lists(worker_ids(), unique=True, max_size=1))
    return Roster(
        members=tuple(draw(_members(worker)) for worker in workers),
        problems=tuple(
            CorruptRecord(member_key(worker), expected="MemberRecord", found=b"")
            for worker in broken
        ),
    )


@st.composite
def _changes(draw: st.DrawFn) -> Change:
    worker = draw(_identities)
    one = _members(worker)
    before = draw(st.none() | one)
    return Change(before, draw(one if before is None else st.none() | one))


@st.composite
def _host_summaries(draw: st.DrawFn) -> HostSummary:
    live, expired = draw(counts(0, 1_000)), draw(counts(0, 1_000))
    # A host without any member has no summary.
    left = draw(counts(0 if live or expired else 1, 1_000))
    return HostSummary(
        host_id=draw(host_ids()),
        hostname=draw(any_text(max_size=MAX_LABEL_BYTES)),
        live=live,
        expired=expired,
        left=left,
        slots=draw(counts(0, live * MAX_SLOTS)),
        load=draw(seconds(0, 1e6)) if live else 0.0,
        oldest_heartbeat_s=draw(seconds(0, _LONG_AGO_S)) if live or expired else None,
    )


@st.composite
def _clock_readings(draw: st.DrawFn) -> ClockReading:
    wall_ns = draw(counts(0, _MAX_WALL_US)) * 1_000 + draw(counts(0, 999))
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=wall_ns // 1_000)
    stamp = draw(hlc_timestamps())
    return ClockReading(
        wall_unix_nanos=wall_ns,
        monotonic_nanos=draw(counts()),
        hlc_physical_nanos=hlc_physical_ns(stamp),
        hlc_logical=hlc_logical(stamp),
        tz="UTC",
        iso8601=moment.isoformat(timespec="microseconds"),
        clock_id=draw(plain_text(max_bytes=60)),
    )


STRATEGIES: Mapping[type, st.SearchStrategy[object]] = {
    Change: _changes(),
    ClockReading: _clock_readings(),
    HlcCounts: st.builds(
        HlcCounts, refused=counts(), behind=counts(), overflows=counts(), set_backs=counts()
    ),
    HostRecord: st.builds(
        HostRecord,
        host_id=host_ids(),
        machine_id=st.none() | any_text(min_size=1, max_size=256),
        created_ns=counts(),
    ),
    HostSummary: _host_summaries(),
    Member: _members(),
    MemberRecord: _member_records(),
    Roster: _rosters(),
    SeenStoreRecord: st.builds(
        SeenStoreRecord,
        key=any_text(min_size=1, max_size=2_048),
        store_id=any_text(min_size=1, max_size=256),
        seen_ns=counts(),
    ),
    SkewTolerance: st.builds(SkewTolerance, seconds(0, 3_600)),
    SlotRecord: st.builds(
        SlotRecord, host_id=host_ids(), seq=_seqs, incarnation=counts(1), claimed_ns=counts()
    ),
    WorkerIdentity: _identities,
}
