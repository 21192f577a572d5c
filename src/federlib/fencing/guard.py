"""`FenceGuard`: refuses old tokens, in the same commit as the effect.

Source: design §5, fencing.
"""

from __future__ import annotations

import secrets  # noqa: TID251 (a shell: ids of transactions and commands)
from collections.abc import Sequence

from federlib.errors import InvalidInput, OutcomeUnknown, StaleToken, Unavailable
from federlib.fencing.decide import check_token, decide_token
from federlib.fencing.records import FenceMark, decode_mark, encode, fence_key
from federlib.storage import (
    Absent,
    AtRevision,
    Check,
    Committed,
    Conflicted,
    Put,
    RecordStore,
    Transaction,
    Write,
)
from federlib.storage.limits import (
    MAX_CHECKS,
    MAX_WRITES,
    check_transaction,
    check_transaction_id,
)

__all__ = ["FenceGuard", "commit_again", "draw_token"]

_ATTEMPTS = 16
"""A rival that makes us try again has raised the mark, so this many raises in one go."""

_RESENDS = 3


def draw_token() -> str:
    """Draw 16 random hex digits, for the id of a command or a transaction."""
    return secrets.token_hex(8)


async def commit_again(store: RecordStore, transaction: Transaction) -> Committed | Conflicted:
    """Commit; where no answer comes and the transaction has an id, send the same again.

    Raises:
        OutcomeUnknown: No answer, four times over; or once, without an id.
    """
    for _ in range(_RESENDS if transaction.id is not None else 0):
        try:
            return await store.commit(transaction)
        except OutcomeUnknown:
            continue
    return await store.commit(transaction)


class FenceGuard:
    """Guards one resource by a durable high-water mark of fencing tokens.

    What the guard commits has been accepted under a token that was not below any accepted
    before it: the check and the effect are one transaction, so no clock has a part in it.
    Keeps nothing between calls; any number of guards may guard one resource.

    Args:
        store: Where the mark and the effects are.
        resource: The name of what is guarded, for example the name of a lease.
    Raises:
        InvalidInput: The name is empty, too long, or has a control character.
    """

    def __init__(self, store: RecordStore, resource: str) -> None:
        self.resource = resource
        self._store = store
        self._key = fence_key(resource)

    async def high_water(self) -> int:
        """Read the highest token accepted so far; 0 before any.

        Raises:
            CorruptRecord: The mark cannot be read.
        """
        mark, _ = await self._read()
        return 0 if mark is None else mark.high_water

    async def admit(self, token: int) -> None:
        """Raise the mark to `token`, so that every lower one is refused from now on.

        Raises:
            StaleToken: The token is below the mark.
            InvalidInput: Not an integer from 1 to the largest int64.
            Unavailable: The store is away, or rivals raised the mark 16 times meanwhile.
            OutcomeUnknown: No answer came; admitting the same token again is safe.
        """
        mark, _ = await self._read()
        if decide_token(mark, token) != "equal":
            await self._fenced(token, (), (), None)

    async def transaction(
        self,
        token: int,
        writes: Sequence[Write],
        checks: Sequence[Check] = (),
        id: str | None = None,  # noqa: A002 (the name it has in Transaction)
    ) -> Committed | Conflicted:
        """Commit `writes`, if `token` is not below the mark at that instant.

        Equal tokens do not disturb each other; a higher one raises the mark in the same
        commit. Where only the mark has moved meanwhile, it is tried again.

        Args:
            token: The caller's fencing token.
            writes: The effect; at most 63, the mark takes one of 64.
            checks: The caller's own; at most 63. Where they fail, `Conflicted` names them.
            id: Makes it safe to repeat: the first result comes back, even if a higher
                token has been accepted since. Repeat it with the same writes and checks.
        Raises:
            StaleToken: The token is below the mark; nothing was written.
            InvalidInput: Not a token, a limit is exceeded, or the mark itself is written.
            CorruptRecord: The mark cannot be read; nothing was written.
            Unavailable: The store is away, or rivals raised the mark 16 times meanwhile.
            OutcomeUnknown: No answer came.
        """
        check_token(token)
        self._check_room(writes, checks)
        if writes or checks:
            check_transaction(Transaction(tuple(writes), tuple(checks)))
        if id is None:
            return await self._fenced(token, writes, checks, None)
        check_transaction_id(id)
        return await self._fenced_once(token, writes, checks, id)

    async def _fenced_once(
        self, token: int, writes: Sequence[Write], checks: Sequence[Check], name: str
    ) -> Committed | Conflicted:
        """Commit under an id; an earlier commit under it wins over whatever holds now."""
        try:
            result = await self._fenced(token, writes, checks, name)
        except (StaleToken, InvalidInput) as error:
            # InvalidInput: the mark has moved since, so the repeated transaction differs.
            earlier = await self._store.outcome(name)
            if isinstance(earlier, Committed):
                return earlier
            raise error from None
        if isinstance(result, Conflicted):
            earlier = await self._store.outcome(name)
            return earlier if isinstance(earlier, Committed) else result
        return result

    async def _fenced(
        self, token: int, writes: Sequence[Write], checks: Sequence[Check], name: str | None
    ) -> Committed | Conflicted:
        for _ in range(_ATTEMPTS):
            check, raised = await self._against_mark(token)
            result = await commit_again(
                self._store,
                Transaction((*raised, *writes), (check, *checks), name),
            )
            if isinstance(result, Committed) or all(m.key != self._key for m in result.failed):
                return result
        raise Unavailable(
            f"the fence of {self.resource!r}",
            f"others raised its mark {_ATTEMPTS} times meanwhile",
            hint="try again",
        )

    async def _against_mark(self, token: int) -> tuple[Check, tuple[Write, ...]]:
        """Return the check that keeps the mark in place, and the write that raises it."""
        mark, revision = await self._read()
        verdict = decide_token(mark, token)
        if mark is not None and verdict == "stale":
            raise StaleToken(self.resource, token=token, high_water=mark.high_water)
        check = Absent(self._key) if mark is None else AtRevision(self._key, revision)
        if verdict == "equal":
            return check, ()
        raised = FenceMark(resource=self.resource, high_water=token)
        return check, (Put(self._key, encode(raised)),)

    async def _read(self) -> tuple[FenceMark | None, int]:
        record = await self._store.get(self._key)
        if record is None:
            return None, 0
        return decode_mark(record, self.resource), record.revision

    def _check_room(self, writes: Sequence[Write], checks: Sequence[Check]) -> None:
        for field, items, limit in (
            ("writes", writes, MAX_WRITES - 1),
            ("checks", checks, MAX_CHECKS - 1),
        ):
            if len(items) > limit:
                raise InvalidInput(field, expected=f"at most {limit}", found=len(items))
            if any(item.key == self._key for item in items):
                raise InvalidInput(field, expected="not the mark itself", found=self._key)
