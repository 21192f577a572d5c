"""A lease backend of your own, on a dictionary. Run it: two workers share one lease."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import anyio
from msgspec.structs import replace

from federlib import lease as fl
from federlib.skewclock import Clock, SystemClock


class DictLeaseBackend(fl.LeaseBackend):
    """Leases for the tasks of one process, without a queue."""

    capabilities = fl.LeaseCapabilities(fair_queue=False, multi_host=False, survives_restart=False)

    def __init__(self, clock: Clock) -> None:
        self.clock, self.changed = clock, anyio.Event()
        self.names: dict[str, tuple[int, fl.Lease | None, int]] = {}

    def _put(self, lease: fl.Lease, *, held: bool = True) -> fl.Lease:
        now, boot, ttl_ns = self.clock.wall_ns(), self.clock.boot_ns(), lease.ttl_ms * 1_000_000
        lease = replace(lease, renewed_at=now, expires_at=now + ttl_ns, renewed_boot_ns=boot)
        until = boot + ttl_ns if held else 0
        self.names[lease.name] = lease.fencing_token, lease if held else None, until
        self.changed.set()
        self.changed = anyio.Event()  # one event a change: who watches waits for the next
        return lease

    async def acquire(
        self, name: str, holder: fl.Holder, *, ttl_s: float, queue: bool = False
    ) -> fl.Lease | fl.Busy:
        (token, old, end), now = self.names.get(name, (0, None, 0)), self.clock.wall_ns()
        who, session, left = holder.holder_id, holder.session, (end - self.clock.boot_ns()) / 1e9
        if old and (old.holder_id, old.session) == (who, session):
            return self._put(replace(old, ttl_ms=round(ttl_s * 1_000)))
        if old and left > 0:
            return fl.Busy(name=name, holder=old.holder_id, expires=old.expires_at,
                           ahead=0, retry_in_s=left)  # fmt: skip
        return self._put(fl.Lease(
            name=name, holder_id=who, session=session, fencing_token=token + 1,
            ttl_ms=round(ttl_s * 1_000), acquired_at=now, renewed_at=now, expires_at=now))  # fmt: skip

    async def renew(self, lease: fl.Lease) -> fl.Lease | fl.NotHeld:
        token, found, _ = self.names.get(lease.name, (0, None, 0))
        if found is None or token != lease.fencing_token:
            return fl.NotHeld(lease.name, lease.fencing_token, found.holder_id if found else None)
        return self._put(lease)

    async def release(self, lease: fl.Lease) -> fl.Released | fl.NotHeld:
        if isinstance(answer := await self.renew(lease), fl.NotHeld):
            return answer
        self._put(lease, held=False)
        return fl.Released(lease.name, lease.fencing_token)

    async def inspect(self, name: str) -> fl.LeaseState:
        (token, lease, end), boot = self.names.get(name, (0, None, 0)), self.clock.boot_ns()
        return fl.LeaseState(name=name, fencing_token=token, lease=lease, is_live=boot < end)

    async def _states(self, name: str) -> AsyncGenerator[fl.LeaseState, None]:
        for changed in iter(lambda: self.changed, None):
            yield await self.inspect(name)
            await changed.wait()

    @asynccontextmanager
    async def watch(self, name: str) -> AsyncGenerator[AsyncGenerator[fl.LeaseState, None], None]:
        async with aclosing(self._states(name)) as states:
            yield states


async def main(mine: DictLeaseBackend, ben: fl.Holder) -> None:
    async with fl.hold(mine, "report", holder_id="ada", clock=mine.clock) as lease:
        print(lease, "meanwhile:", await mine.acquire("report", ben, ttl_s=1))
    print("and then:", await mine.acquire("report", ben, ttl_s=1))


if __name__ == "__main__":
    anyio.run(main, DictLeaseBackend(SystemClock()), fl.Holder("ben", "1"))
