"""What a watcher's copy of a queue reads again, and when: places that are only kept cost little."""

from __future__ import annotations

import pytest

from federlib.errors import CorruptRecord
from federlib.lease.backends.mirror import Mirror, Sightings
from federlib.lease.judge import Moment
from federlib.lease.protocol import Holder, Lease
from federlib.lease.queue import Terms
from federlib.lease.records import (
    LeaseRecord,
    WaiterRecord,
    encode,
    lease_key,
    waiter_key,
)
from federlib.skewclock import SkewTolerance
from federlib.storage import Batch, Event, Record

S = 1_000_000_000
HERE = "host/boot-1/"
THERE = "other/boot-1/"


def at(boot_s: float, wall_s: float | None = None) -> Moment:
    wall_ns = round((boot_s if wall_s is None else wall_s) * S)
    return Moment(wall_ns=wall_ns, boot_ns=round(boot_s * S), clock_id=HERE)


def place(
    who: str, revision: int, *, created: int, at_s: float, clock_id: str = HERE, ttl_s: int = 2
) -> Record:
    record = WaiterRecord(
        name="x",
        holder_id=who,
        session="1",
        wait_ttl_ms=ttl_s * 1_000,
        clock_id=clock_id,
        renewed_boot_ns=round(at_s * S),
        expires_at_ns=round((at_s + ttl_s) * S),
    )
    return Record(waiter_key("x", Holder(who, "1")), encode(record), revision, created)


def lease(revision: int, *, at_s: float, ttl_s: int = 60) -> Record:
    held = Lease(
        name="x",
        holder_id="h",
        session="1",
        fencing_token=1,
        ttl_ms=ttl_s * 1_000,
        acquired_at=0,
        renewed_at=round(at_s * S),
        expires_at=round((at_s + ttl_s) * S),
        clock_id=HERE,
        renewed_boot_ns=round(at_s * S),
    )
    record = LeaseRecord(name="x", fencing_token=1, lease=held, freed_at_ns=None)
    return Record(lease_key("x"), encode(record), revision, 1)


def mirror_of(*records: Record) -> Mirror:
    mirror = Mirror("x", Sightings(), Terms(SkewTolerance(1.0)))
    for record in records:
        mirror.put(record, 0)
    return mirror


def keep(mirror: Mirror, record: Record, boot_s: float) -> None:
    mirror.apply(Batch(record.revision, (Event(record.key, record),)), round(boot_s * S))


def unreadable(record: Record) -> Record:
    return Record(record.key, b"?", record.revision, record.created)


def test_a_place_that_is_kept_is_not_read_until_one_may_have_ended() -> None:
    mirror = mirror_of(
        lease(1, at_s=0),
        place("a", 2, created=2, at_s=0),
        place("b", 3, created=3, at_s=0.5),
    )
    told = mirror.state(at(0.5))
    assert told.waiters == ("a", "b")
    keep(mirror, unreadable(place("a", 4, created=2, at_s=1)), 1)
    assert not mirror.has_news
    assert not mirror.has_passed(told, at(1.9))
    # The lease is renewed: that is told, and the line is as it was.
    keep(mirror, lease(5, at_s=1.9), 1.9)
    assert mirror.state(at(1.9)).waiters == ("a", "b")
    # When the first place would have ended, all of them are read.
    assert mirror.has_passed(told, at(2))
    with pytest.raises(CorruptRecord):
        mirror.state(at(2))


def test_who_did_not_keep_its_place_has_left_the_line_at_its_end() -> None:
    mirror = mirror_of(
        lease(1, at_s=0),
        place("a", 2, created=2, at_s=0),
        place("b", 3, created=3, at_s=0),
    )
    told = mirror.state(at(0))
    keep(mirror, place("b", 4, created=3, at_s=1), 1)
    assert not mirror.has_passed(told, at(1.999))
    assert mirror.has_passed(told, at(2))
    assert mirror.state(at(2)).waiters == ("b",)
    # One that is dead may come back by a refresh: it is looked at each time.
    keep(mirror, place("a", 5, created=2, at_s=2.1), 2.1)
    assert mirror.has_passed(told, at(2.2))
    assert mirror.state(at(2.2)).waiters == ("a", "b")


def test_a_step_of_the_judges_own_wall_clock_ends_places_at_once() -> None:
    mirror = mirror_of(lease(1, at_s=0), place("a", 2, created=2, at_s=0, clock_id=THERE))
    told = mirror.state(at(0))
    assert told.waiters == ("a",)
    assert not mirror.has_passed(told, at(0.6))
    # 2 s to live and 1 s of tolerance by the wall clock, which has jumped an hour ahead.
    assert mirror.has_passed(told, at(0.6, wall_s=3_600))
    assert mirror.state(at(0.6, wall_s=3_600)).waiters == ()


def test_who_comes_and_who_goes_is_news() -> None:
    mirror = mirror_of(lease(1, at_s=0), place("a", 2, created=2, at_s=0))
    assert mirror.state(at(0)).waiters == ("a",)
    keep(mirror, place("b", 3, created=3, at_s=0), 0)
    assert mirror.has_news
    assert mirror.state(at(0)).waiters == ("a", "b")
    mirror.apply(Batch(4, (Event(place("a", 2, created=2, at_s=0).key, None),)), 0)
    assert mirror.has_news
    assert mirror.state(at(0)).waiters == ("b",)


def test_a_lease_that_ran_out_is_told_without_news() -> None:
    mirror = mirror_of(lease(1, at_s=0, ttl_s=10))
    told = mirror.state(at(0))
    assert told.is_live
    assert not mirror.has_passed(told, at(9.9))
    assert mirror.has_passed(told, at(10))
    assert not mirror.state(at(10)).is_live


def test_a_read_that_is_behind_takes_nothing_back() -> None:
    mirror = mirror_of(lease(1, at_s=0))
    mirror.put(place("a", 5, created=2, at_s=1), S)
    mirror.put(place("a", 2, created=2, at_s=0), S)
    told = mirror.state(at(1))
    assert not mirror.has_passed(told, at(2.9))
    assert mirror.state(at(2.9)).waiters == ("a",)
