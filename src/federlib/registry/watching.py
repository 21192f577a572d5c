"""`Changes`: the registry as a stream of what became different."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import attrs

from federlib.registry.reading import Reader
from federlib.registry.records import REGISTRY_PREFIX
from federlib.registry.roster import Member, Sighted, is_news
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
        reader: Reader,
        first: Iterable[Record],
    ) -> None:
        self._subscription = subscription
        self._reader = reader
        self._sighted: dict[str, Sighted] = {}
        self._told: dict[str, Member] = {}
        self._pending: deque[Change] = deque()
        self._due_boot_ns = _NEVER
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
                records, _ = await self._reader.scan(REGISTRY_PREFIX)
                self._take_all(records)
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
        sighted = None if record is None else self._reader.sight(record)
        if sighted is None:
            self._sighted.pop(key, None)
        else:
            self._sighted[key] = sighted
            self._expect(sighted)
        self._tell(key)

    def _tell(self, key: str) -> None:
        sighted, before = self._sighted.get(key), self._told.get(key)
        after = None if sighted is None else self._reader.judge(sighted)
        if not is_news(before, after):
            return
        if after is None:
            del self._told[key]
        else:
            self._told[key] = after
        self._pending.append(Change(before, after))

    def _rejudge_when_due(self) -> None:
        # Heartbeats only push expiries away: until the earliest, nobody can expire.
        if self._reader.clock.boot_ns() >= self._due_boot_ns:
            self._rejudge()

    def _rejudge(self) -> None:
        self._due_boot_ns = _NEVER
        for key, sighted in self._sighted.items():
            self._tell(key)
            self._expect(sighted)

    def _expect(self, sighted: Sighted) -> None:
        """Look again no later than this member expires."""
        end = self._reader.end_of(sighted)
        if end is not None:
            self._due_boot_ns = min(self._due_boot_ns, end)
