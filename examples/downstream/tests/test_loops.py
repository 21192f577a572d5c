"""Two workers on real event loops, in time that jumps: a day's billing takes milliseconds."""

import anyio

from billing.book import Book, StaleError
from billing.worker import bill
from federlib.errors import OutcomeUnknown, Unavailable
from federlib.lease import Holder, StoreLeaseBackend
from federlib.skewclock import SkewTolerance
from federlib.testing import VirtualTime
from federlib.testing.shells import Process, ShellSite
from federlib.testing.sim import Fault, Schedule

INVOICES = [f"2024-{number:03}" for number in range(60)]

TROUBLE = Schedule(
    faults=(
        Fault(at_ms=5_500, kind="kill", who="any", for_ms=4_000),
        Fault(at_ms=20_200, kind="stop", who="any", for_ms=15_000),
        Fault(at_ms=50_000, kind="isolate", who="any", for_ms=20_000),
        Fault(at_ms=80_000, kind="lost_answers", for_ms=5_000, amount=500_000),
    )
)


def test_whatever_happens_each_invoice_is_posted_once(virtual_time: VirtualTime) -> None:
    book = Book()

    async def main() -> None:
        async with ShellSite(virtual_time.seed) as site:

            async def work(process: Process) -> None:
                backend = StoreLeaseBackend(site.client(process), process.clock, SkewTolerance(1))
                for turn in range(1_000_000):
                    holder = Holder(process.name, f"{process.life}.{turn}")
                    try:
                        await bill(backend, book, INVOICES, holder=holder, sleep=anyio.sleep)
                    except (OutcomeUnknown, Unavailable, StaleError):
                        pass
                    await anyio.sleep(1)

            for name in ("ada", "ben"):
                site.add(name, work, offset_ms=200, drift_ppm=100)
            TROUBLE.arm(site)
            await anyio.sleep(300)

    virtual_time.run(main)
    assert sorted(book.posted) == INVOICES
