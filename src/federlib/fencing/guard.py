"""`FenceGuard`: a durable high-water mark, raised in the same commit as the effect.

Source: HA plan §2 (stale commands are never applied); design §5, fencing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from federlib.errors import StaleToken, Unavailable
from federlib.fencing.records import FenceMark, check_token, decode, encode
from federlib.storage import (
    Absent,
    AtRevision,
    Check,
    Committed,
    Conflicted,
    Put,
    Record,
    RecordStore,
    Transaction,
    Write,
    segment,
)

__all__ = ["FenceGuard", "Verdict", "judge_token"]

Verdict = Literal["raise", "equal", "stale"]
_TRIES = 64


def judge_token(high_water: int, token: int) -> Verdict:
    """Say what a token means to a resource that has accepted `high_water`."""
    if token < high_water:
        return "stale"
    return "equal" if token == high_water else "raise"


class FenceGuard:
    """The fence of one resource in a record store.

        guard = FenceGuard(store, "accounts")
        await guard.transaction(lease.token, (Put("accounts/7", value),))

    A token below the highest one accepted is refused. The check and the effect are one
    commit: nothing can come between them.

    Args:
        store: Where the mark and the effects are.
        resource: What is guarded.
    Raises:
        InvalidInput: The resource cannot be part of a key.
    """

    def __init__(self, store: RecordStore, resource: str) -> None:
        self._store = store
        self.resource = resource
        self._key = f"fence/{segment(resource, field='resource')}"

    async def high_water(self) -> int:
        """Return the highest token accepted; 0 before the first."""
        return self._mark(await self._store.get(self._key))

    async def admit(self, token: int) -> None:
        """Raise the mark to `token`: from now on every lower one is refused.

        Raises:
            StaleToken: A higher token was accepted before.
        """
        await self.transaction(token, ())

    async def transaction(
        self,
        token: int,
        writes: Sequence[Write],
        checks: Sequence[Check] = (),
        *,
        id: str | None = None,  # noqa: A002 (the field's name in Transaction)
    ) -> Committed | Conflicted:
        """Commit `writes`, if `token` is not stale and `checks` hold; all or nothing.

        Args:
            token: Of the lease under which the effect is made.
            writes: At most 63: the mark takes one of the 64.
            checks: At most 63. A failed one comes back as `Conflicted`.
            id: As `Transaction.id`.
        Raises:
            StaleToken: A higher token was accepted before; nothing was written.
            InvalidInput: The token cannot be one, or the transaction is too large.
            Unavailable, OutcomeUnknown: As `RecordStore.commit`.
        """
        check_token(token)
        for _ in range(_TRIES):
            found = await self._store.get(self._key)
            high_water = self._mark(found)
            if judge_token(high_water, token) == "stale":
                raise StaleToken(self.resource, token=token, high_water=high_water)
            done = await self._store.commit(
                self._guarded(found, high_water, token, tuple(writes), tuple(checks), id)
            )
            if isinstance(done, Committed):
                return done
            others = tuple(miss for miss in done.failed if miss.key != self._key)
            if others or len(others) == len(done.failed):
                return Conflicted(others)
            # Only the mark moved: another token came in between; judge again.
        raise Unavailable(
            f"fence of {self.resource!r}", f"its mark moved {_TRIES} times while we tried"
        )

    def _guarded(
        self,
        found: Record | None,
        high_water: int,
        token: int,
        writes: tuple[Write, ...],
        checks: tuple[Check, ...],
        transaction_id: str | None,
    ) -> Transaction:
        seen: Check = (
            Absent(self._key) if found is None else AtRevision(self._key, found.revision)
        )
        if judge_token(high_water, token) == "raise":
            mark = FenceMark(resource=self.resource, high_water=token)
            writes = (*writes, Put(self._key, encode(mark)))
        return Transaction(writes, (*checks, seen), id=transaction_id)

    def _mark(self, record: Record | None) -> int:
        return decode(FenceMark, record).high_water if record is not None else 0
