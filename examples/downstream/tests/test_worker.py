"""A worker on a real lease backend, in a store in memory; time passes by hand."""

import pytest

from billing.book import Book, StaleError
from billing.worker import TTL_S, bill
from federlib.lease import Holder, Lease, LeaseBackend
from federlib.storage import RecordStore
from federlib.testing import ManualClock

ADA, BEN = Holder("ada", "1"), Holder("ben", "1")
INVOICES = ["2024-001", "2024-002", "2024-003"]


@pytest.mark.anyio
async def test_one_turn_posts_everything_once_and_gives_the_lease_back(
    lease_backend: LeaseBackend, manual_clock: ManualClock
) -> None:
    book = Book()

    async def sleep(seconds: float) -> None:
        manual_clock.advance(seconds)

    assert await bill(lease_backend, book, INVOICES, holder=ADA, sleep=sleep) == 3
    assert await bill(lease_backend, book, INVOICES, holder=BEN, sleep=sleep) == 0
    assert book.posted == INVOICES
    assert (await lease_backend.inspect("billing")).lease is None


@pytest.mark.anyio
async def test_a_worker_that_slept_too_long_is_shut_out_by_the_book(
    lease_backend: LeaseBackend, manual_clock: ManualClock
) -> None:
    book = Book()

    async def sleep(_seconds: float) -> None:
        if book.highest == 1:  # in the middle of Ada's turn: her machine stands still
            manual_clock.advance(TTL_S + 1)
            await bill(lease_backend, book, INVOICES, holder=BEN, sleep=sleep)

    with pytest.raises(StaleError):
        await bill(lease_backend, book, INVOICES, holder=ADA, sleep=sleep)
    assert book.posted == INVOICES


@pytest.mark.anyio
async def test_what_a_worker_leaves_in_the_store_can_be_looked_at(
    lease_backend: LeaseBackend, memory_store: RecordStore
) -> None:
    assert isinstance(await lease_backend.acquire("billing", ADA, ttl_s=TTL_S), Lease)
    assert [r.key for r in (await memory_store.scan("lease/")).records] == ["lease/billing/lease"]
