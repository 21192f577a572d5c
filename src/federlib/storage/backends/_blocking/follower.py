"""Where one subscription stands: in the log up to where the watcher was, then in its inbox."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Sequence

from federlib.errors import FederlibError
from federlib.storage.backends._blocking.watch import CHUNK, Watcher, narrow
from federlib.storage.protocol import Batch, Progress, Resync, WatchItem

__all__ = ["Follower"]

_PROGRESS_EVERY_S = 1.0


class Follower:
    """What a subscription gives next; whoever holds it does the waiting and the reading.

    Attributes:
        quiet_until_s: When it owes a `Progress` if nothing happens; the caller's clock. It
            is kept between calls: a consumer that gives up and comes back still hears of it.
    """

    def __init__(
        self, watcher: Watcher, prefix: str, *, after: int, head: int, wake: Callable[[], None]
    ) -> None:
        """Subscribe; `wake` is called from other threads, as in `Watcher.subscribe`."""
        self.quiet_until_s: float = 0.0
        self._watcher = watcher
        self._prefix = prefix
        self._position = after
        self._ready: deque[Batch] = deque()
        self._owes_progress = True
        self._inbox, self._log_end = watcher.subscribe(prefix, after=after, head=head, wake=wake)

    def log_due(self) -> tuple[int, int] | None:
        """Say what to read from the log before there is a next item: after where, how many."""
        if self._ready or self._position >= self._log_end:
            return None
        return self._position, min(CHUNK, self._log_end - self._position)

    def take_log(self, batches: Sequence[Batch] | None) -> None:
        """Take what was read; None or nothing says that the history is gone."""
        if not batches:
            self._watcher.lose(self._inbox)
            self._log_end = self._position
            return
        self._position = min(batches[-1].revision, self._log_end)
        # What lies behind the end comes by the inbox. Revisions may have gaps, so as many
        # commits as were asked for can be more than were wanted.
        wanted = (batch for batch in batches if batch.revision <= self._log_end)
        narrowed = (narrow(batch, self._prefix) for batch in wanted)
        self._ready.extend(batch for batch in narrowed if batch is not None)

    def next_item(self, now_s: float) -> WatchItem | None:
        """Return the next item, or None: wait to be woken, or until `quiet_until_s`.

        Raises:
            FederlibError: The store cannot be read.
        """
        if self._ready:
            return self._ready.popleft()
        try:
            item = self._watcher.take(self._inbox)
        except FederlibError as error:
            # A copy: several subscriptions may raise it, each with its own traceback.
            raise copy.copy(error) from error
        if isinstance(item, Resync):
            self._position = self._log_end = item.revision
            self._owes_progress = True
            return item
        if isinstance(item, Batch):
            self._position, self._owes_progress = item.revision, True
            return item
        self._position = max(self._position, item)
        if not self._owes_progress and now_s < self.quiet_until_s:
            return None
        self._owes_progress, self.quiet_until_s = False, now_s + _PROGRESS_EVERY_S
        return Progress(self._position)

    def close(self) -> None:
        """Tell the watcher to forget this subscription."""
        self._watcher.unsubscribe(self._inbox)
