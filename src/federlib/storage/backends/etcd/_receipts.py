"""Old receipts go, the oldest first, in a thread of their own: no commit waits for it."""

from __future__ import annotations

import threading

from federlib.errors import FederlibError
from federlib.storage.backends._embedded.table import RECEIPT_AGE_NS, RECEIPTS
from federlib.storage.backends.etcd import _wire as wire
from federlib.storage.backends.etcd._client import Ask, EtcdClient
from federlib.storage.backends.etcd._commits import guard, read_receipt
from federlib.storage.backends.etcd._errors import Compacted
from federlib.storage.backends.etcd._keys import Place, successor

__all__ = ["Pruner"]

PRUNE_EVERY = 1_000
"""Commits with an id by this process."""

_AT_ONCE = 100
"""Deletes in a transaction; etcd takes 128."""

_AT_MOST = 20 * _AT_ONCE
"""In one go: more than one process adds until the next."""


class Pruner:
    """Counts commits with an id, and deletes receipts that are old and many."""

    def __init__(
        self,
        place: Place,
        client: EtcdClient,
        *,
        max_receipts: int = RECEIPTS,
        prune_every: int = PRUNE_EVERY,
    ) -> None:
        self._place = place
        self._client = client
        self._max_receipts = max_receipts
        self._prune_every = prune_every
        self._mutex = threading.Lock()
        self._count = 0
        self._thread: threading.Thread | None = None

    def count(self, now_ns: int) -> None:
        """Count a commit with an id; every so many, start to prune. Never waits."""
        with self._mutex:
            self._count += 1
            is_busy = self._thread is not None and self._thread.is_alive()
            if self._count < self._prune_every or is_busy:
                return
            self._count = 0
            self._thread = threading.Thread(
                target=self._run, args=(now_ns,), name="federlib-etcd-prune", daemon=True
            )
            self._thread.start()

    def join(self, patience_s: float) -> None:
        """Wait for the thread, if there is one."""
        thread = self._thread
        if thread is not None:
            thread.join(patience_s)

    def _run(self, now_ns: int) -> None:
        try:
            self.prune(now_ns)
        except (FederlibError, Compacted):
            # Nobody waits for it; the next thousand commits try again.
            return

    def prune(self, now_ns: int) -> int:
        """Delete the oldest of those that need not be kept; say how many.

        Raises:
            FederlibError: The cluster cannot be asked.
        """
        start = self._place.layout.receipts
        end = successor(start)
        counted = self._range(wire.range_request(start, end, count_only=True))
        surplus = min(counted.count - self._max_receipts, _AT_MOST)
        if surplus <= 0:
            return 0
        # etcd sorts all of them for it: once in a thousand commits.
        oldest = self._range(wire.range_request(start, end, limit=surplus, oldest_first=True))
        old = [
            found
            for found in oldest.kvs
            if now_ns - read_receipt(self._place, found).at_ns > RECEIPT_AGE_NS
        ]
        pruned = 0
        for first in range(0, len(old), _AT_ONCE):
            pruned += self._delete(old[first : first + _AT_ONCE])
        return pruned

    def _range(self, request: wire.JsonObject) -> wire.RangeAnswer:
        ask = Ask(path=wire.RANGE, body=wire.encode(request), decode=wire.read_range)
        return self._client.ask(ask).answer

    def _delete(self, old: list[wire.KeyValue]) -> int:
        """Delete some, unless another process has done so already."""
        compare = [wire.modified_at(found.key, found.mod_revision) for found in old]
        body = wire.txn(guard(self._place) + compare, [wire.delete(found.key) for found in old], [])
        decode = wire.txn_reader(success=len(old), failure=0)
        ask = Ask(path=wire.TXN, body=body, decode=decode, safety="repeatable")
        return len(old) if self._client.ask(ask).answer.succeeded else 0
