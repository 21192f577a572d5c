"""Stored records: where they lie, and what is refused."""

from __future__ import annotations

import pytest

from federlib.errors import CorruptRecord, InvalidInput
from federlib.lease import Holder, Lease
from federlib.lease.records import (
    LeaseRecord,
    QueueRecord,
    WaiterRecord,
    decode_lease,
    decode_queue,
    decode_waiter,
    encode,
    is_queue_key,
    is_waiter_key,
    lease_key,
    queue_key,
    waiter_key,
)

KEY = lease_key("n")


def _lease(*, name: str = "n", token: int = 7, ttl_ms: int = 1) -> Lease:
    return Lease(
        name=name,
        holder_id="w",
        session="1",
        fencing_token=token,
        ttl_ms=ttl_ms,
        acquired_at=0,
        renewed_at=0,
        expires_at=1,
    )


def _record(lease: Lease | None) -> LeaseRecord:
    return LeaseRecord(name="n", fencing_token=7, lease=lease, freed_at_ns=None if lease else 5)


@pytest.mark.parametrize("record", [_record(_lease()), _record(None)])
def test_what_was_written_is_read_again(record: LeaseRecord) -> None:
    assert decode_lease(KEY, encode(record)) == record


@pytest.mark.parametrize(
    ("lease", "names"),
    [
        (_lease(token=6), "lease.fencing_token"),
        (_lease(name="other"), "lease.name"),
        (_lease(ttl_ms=0), "lease.ttl_ms"),
    ],
)
def test_a_lease_that_contradicts_its_record_is_corrupt(lease: Lease, names: str) -> None:
    with pytest.raises(CorruptRecord, match=names):
        decode_lease(KEY, encode(_record(lease)))


def test_a_waiter_without_a_ttl_is_corrupt() -> None:
    waiter = WaiterRecord(
        name="n",
        holder_id="w",
        session="1",
        wait_ttl_ms=0,
        clock_id="",
        renewed_boot_ns=0,
        expires_at_ns=0,
    )
    with pytest.raises(CorruptRecord, match=r"\$\.wait_ttl_ms"):
        decode_waiter("k", encode(waiter))


def test_a_key_says_whether_it_is_a_waiter_s_whatever_the_names_are() -> None:
    assert is_waiter_key(waiter_key("wait/lease", Holder("a/b", "..")))
    assert not is_waiter_key(lease_key("wait"))
    assert not is_waiter_key(lease_key("a/wait/b"))


def test_a_holder_too_long_for_a_key_is_refused() -> None:
    with pytest.raises(InvalidInput):
        waiter_key("n", Holder("h" * 150, "s" * 150))


@pytest.mark.parametrize("name", ["n", "queue", "a/queue", "wait", "wait/queue"])
def test_a_key_says_whether_it_is_a_queue_s_whatever_the_names_are(name: str) -> None:
    assert is_queue_key(queue_key(name))
    for other in (lease_key(name), waiter_key(name, Holder("queue", "queue"))):
        assert not is_queue_key(other)


@pytest.mark.parametrize(
    "value",
    [b"", b"{}", b'{"v":2,"name":"n"}', b'{"name":"n"}', b'{"v":1,"name":7}', b"[" * 10_000],
)
def test_a_sign_of_a_queue_that_cannot_be_read_is_corrupt(value: bytes) -> None:
    assert decode_queue(queue_key("n"), encode(QueueRecord(name="n"))).name == "n"
    with pytest.raises(CorruptRecord):
        decode_queue(queue_key("n"), value)
