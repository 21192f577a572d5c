"""What etcd's keys of leases hold, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from federlib.errors import CorruptRecord
from federlib.lease.backends.etcd._records import Floor, Grant, encode, read_floor, read_grant
from federlib.storage.backends.etcd._wire import KeyValue


def test_what_was_written_is_read_again() -> None:
    grant = Grant(floor=3, since_ns=5)
    assert read_grant(KeyValue(key=b"g", value=encode(grant))) == grant
    assert read_floor(KeyValue(key=b"f", value=encode(Floor(token=7)))) == 7


@pytest.mark.parametrize("read", [read_grant, read_floor])
@pytest.mark.parametrize(
    ("value", "names"),
    [
        (b"", "Expected|truncated"),
        (b"{}", "`v`"),
        (b'{"token":7}', "`v`"),
        (b'{"v":1,"token":-1}', "token"),
        (b'{"v":2,"token":"x"}', "newer federlib"),
        (b"[" * 10_000, "Expected|truncated|recursion"),
    ],
)
def test_what_is_not_of_this_format_is_corrupt(
    read: Callable[[KeyValue], object], value: bytes, names: str
) -> None:
    with pytest.raises(CorruptRecord, match=names) as refused:
        read(KeyValue(key=b"leases/\xff", value=value))
    assert "leases/" in str(refused.value)
