"""One turn of a worker: whoever has the lease posts what is not posted yet."""

from collections.abc import Awaitable, Callable, Sequence

from billing.book import Book
from federlib.lease import Busy, Holder, LeaseBackend, NotHeld

TTL_S = 10.0
POSTING_S = 1.0


async def bill(
    backend: LeaseBackend,
    book: Book,
    invoices: Sequence[str],
    *,
    holder: Holder,
    sleep: Callable[[float], Awaitable[None]],
) -> int:
    """Return how many were posted; 0 where another has the lease.

    `sleep` is `anyio.sleep` in production. Handed in, it is also a simulated process's own.
    """
    lease = await backend.acquire("billing", holder, ttl_s=TTL_S)
    if isinstance(lease, Busy):
        return 0
    posted = book.begin(lease.fencing_token)
    count = 0
    for invoice in invoices:
        if invoice in posted:
            continue
        renewed = await backend.renew(lease)
        if isinstance(renewed, NotHeld):
            return count
        lease = renewed
        await sleep(POSTING_S)
        book.post(invoice, fence=lease.fencing_token)
        count += 1
    await backend.release(lease)
    return count
