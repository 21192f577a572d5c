"""The portable limits, on both sides of each boundary."""

from __future__ import annotations

import pytest

from federlib.errors import InvalidInput
from federlib.storage import META_KEY, Absent, AtRevision, Delete, Put, Transaction
from federlib.storage.limits import (
    MAX_TRANSACTION_BYTES,
    MAX_VALUE_BYTES,
    check_scan,
    check_transaction,
    check_transaction_id,
)

BIG = Put("k1", b"x" * MAX_VALUE_BYTES)


def _filling(extra: int) -> Put:
    """Give the put that makes a transaction with BIG one of 1 MiB and `extra` bytes."""
    return Put("k2", b"x" * (MAX_TRANSACTION_BYTES - MAX_VALUE_BYTES - len("k1k2") + extra))


@pytest.mark.parametrize(
    "transaction",
    [
        Transaction((Put("a", b""),)),
        Transaction((), (Absent("a"),)),
        Transaction((), (AtRevision(META_KEY, 1),)),
        Transaction(tuple(Delete(f"{i}") for i in range(64))),
        Transaction((), tuple(Absent(f"{i}") for i in range(64))),
        Transaction((), (Absent("a"), Absent("a"))),
        Transaction((BIG,)),
        Transaction((BIG, _filling(0))),
        Transaction((Put("a", b""),), id="x"),
        Transaction((Put("a", b""),), id="é" * 128),
    ],
    ids=range(10),
)
def test_what_is_within_the_limits_comes_back(transaction: Transaction) -> None:
    assert check_transaction(transaction) is transaction


@pytest.mark.parametrize(
    ("transaction", "field"),
    [
        (Transaction(), "transaction"),
        (Transaction(tuple(Delete(f"{i}") for i in range(65))), "writes"),
        (Transaction((), tuple(Absent(f"{i}") for i in range(65))), "checks"),
        (Transaction((Put("a", b""), Delete("a"))), "writes"),
        (Transaction((Put(META_KEY, b""),)), "writes"),
        (Transaction((Delete(META_KEY),)), "writes"),
        (Transaction((Put("k", b"x" * (MAX_VALUE_BYTES + 1)),)), "value of k"),
        (Transaction((Put("k", "text"),)), "value of k"),  # type: ignore[arg-type]  # on purpose
        (Transaction((BIG, _filling(1))), "transaction"),
        (Transaction((BIG, _filling(0)), (Absent("c"),)), "transaction"),
        (Transaction((Delete("a//b"),)), "key"),
        (Transaction((), (Absent(""),)), "key"),
        (Transaction((Put("a", b""),), id=""), "id"),
        (Transaction((Put("a", b""),), id="x" * 129), "id"),
        (Transaction((Put("a", b""),), id="a\nb"), "id"),
    ],
    ids=range(15),
)
def test_what_is_beyond_the_limits_is_refused_with_the_field(
    transaction: Transaction, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_transaction(transaction)
    assert caught.value.field == field
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["", "x" * 129, "a\0", "e\u0301", None, 7])
def test_an_illegal_id_is_called_an_id(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_transaction_id(name)
    assert caught.value.field == "id"


@pytest.mark.parametrize("limit", [1, 2, 999, 1_000])
def test_a_legal_scan_passes(limit: int) -> None:
    check_scan("a/", "a/b", limit)
    check_scan("", None, limit)
    check_scan("", "", limit)


@pytest.mark.parametrize(
    ("prefix", "after", "limit", "field"),
    [
        ("a\0", None, 1, "prefix"),
        ("", "a\0", 1, "after"),
        ("", "k" * 513, 1, "after"),
        ("", None, 0, "limit"),
        ("", None, 1_001, "limit"),
        ("", None, True, "limit"),
        ("", None, 1.5, "limit"),
        ("", None, "10", "limit"),
    ],
)
def test_an_illegal_scan_is_refused_with_the_field(
    prefix: str, after: str | None, limit: int, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_scan(prefix, after, limit)
    assert caught.value.field == field
