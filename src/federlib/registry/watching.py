"""`Changes`: the registry as a stream of what became different."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import attrs

from federlib.lease.backends.mirror import read_moment
from federlib.registry.roster import Member, Sighted, is_news, judge
from federlib.skewclock import Clock, SkewTolerance
from federlib.storage.protocol import Batch, Record, Resync, Subscription

__all__ = ["Change", "Changes"]

_NEVER = 2**63


@attrs.frozen
class Change:
    """What became different about one member.

    Attributes:
        before: The member as last told; None at first sight.
        after: The member now; None when its entry is gone.
    """

    before: Member | None
    after: Member | None

    @property
    def member(self) -> Member:
        """The member as last seen."""
        member = self.after or self.before
        assert member is not None
        return member


class Changes:
    """An endless stream of `Change`, as `Registry.watch` gives it.

    `anext` may be cancelled at any time; nothing is lost, the next call goes on.
    """

    # A class, because a cancelled generator would be over.

    def __init__(
        self,
        subscription: Subscription,
        *,
        sight: Callable[[Record], Sighted | None],
        read: Callable[[], Awaitable[list[Record]]],
        first: Iterable[Record],
        clock: Clock,
        tolerance: SkewTolerance,
    ) -> None:
        self._subscription = subscription
        self._sight = sight
        self._read = read
        self._clock = clock
        self._tolerance = tolerance
        self._sighted: dict[str, Sighted] = {}
        self._told: dict[str, Member] = {}
        self._pending: deque[Change] = deque()
        self._due_boot_ns = 0
        self._is_stale = False
        self._take_all(first)

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> Change:
        """Wait for the next change: those that are there come first.

        An expiry is told within about a second, though no record changes.

        Raises:
            Unavailable: The store cannot be read; a later call may succeed.
            CorruptRecord: The store is no longer the one that was opened.
        """
        while not self._pending:
            if self._is_stale:
                self._take_all(await self._read())
                self._is_stale = False
                continue
            item = await self._subscription.__anext__()
            if isinstance(item, Batch):
                self._take_batch(item)
            elif isinstance(item, Resync):
                self._is_stale = True
            self._rejudge_when_due()
        return self._pending.popleft()

    def _take_all(self, records: Iterable[Record]) -> None:
        fresh = {record.key: record for record in records}
        for key in [key for key in self._sighted if key not in fresh]:
            self._take(key, None)
        for record in fresh.values():
            self._take(record.key, record)
        self._rejudge()

    def _take_batch(self, batch: Batch) -> None:
        for event in batch.events:
            self._take(event.key, event.record)

    def _take(self, key: str, record: Record | None) -> None:
        known = self._sighted.get(key)
        if known is not None and record is not None and record.revision < known.revision:
            return
        sighted = None if record is None else self._sight(record)
        if sighted is None:
            self._sighted.pop(key, None)
        else:
            self._sighted[key] = sighted
            self._due_boot_ns = min(self._due_boot_ns, self._end_of(sighted))
        self._tell(key)

    def _tell(self, key: str) -> None:
        sighted, before = self._sighted.get(key), self._told.get(key)
        after: Member | None = None
        if sighted is not None:
            after = judge(sighted, read_moment(self._clock), self._tolerance)
        if not is_news(before, after):
            return
        if after is None:
            del self._told[key]
        else:
            self._told[key] = after
        self._pending.append(Change(before, after))

    def _rejudge_when_due(self) -> None:
        # Heartbeats only push expiries away: until the earliest, nobody can expire.
        if self._clock.boot_ns() >= self._due_boot_ns:
            self._rejudge()

    def _rejudge(self) -> None:
        for key in self._sighted:
            self._tell(key)
        ends = map(self._end_of, self._sighted.values())
        self._due_boot_ns = min(ends, default=_NEVER)

    def _end_of(self, sighted: Sighted) -> int:
        """Say when a member expires, on our boot clock, if nothing is heard of it."""
        now = read_moment(self._clock)
        left_ns = sighted.horizon(now.clock_id, self._tolerance).left_ns(now)
        return now.boot_ns + left_ns if left_ns > 0 else _NEVER
