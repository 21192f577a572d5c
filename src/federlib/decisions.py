"""Decisions in the store of a fleet: from the id in a command's record to the trace behind it.

    log = DecisionLog(fed.store)
    await log.keep(made)                            # before the command that follows from it
    entry = await fed.commands.log.find(command_id)
    made = await log.find(entry.command.decision_id)

A decision is written once, under its id, and never changed. Two leaders that answer one request
have one id, so the second finds what the first wrote.

Does not promise: that old decisions are removed; they are a few kilobytes each.
Hazards: where a trace is too large for a record it is left out; the decision can be made again
from its inputs and its version.
"""

from __future__ import annotations

import msgspec

from federlib._prefixes import DECISION_PREFIX
from federlib.dmn import DecisionMade, decode_made, encode_made
from federlib.errors import CorruptRecord
from federlib.storage import Absent, Committed, Put, RecordStore, Transaction, segment
from federlib.storage.limits import MAX_VALUE_BYTES

__all__ = ["DECISION_PREFIX", "DecisionLog", "read_made"]


class DecisionLog:
    """The decisions of a fleet, by id.

    Args:
        store: The record store under everything.
    """

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    async def keep(self, made: DecisionMade) -> bool:
        """Write a decision, once.

        Args:
            made: What was decided; without its trace, where that is too large for a record.
        Returns:
            Whether it was written now; otherwise it was there already.
        Raises:
            InvalidInput: Its id cannot be part of a key, or it is too large without its trace.
            Unavailable: The store cannot be reached.
            OutcomeUnknown: It may have been written; doing it again is safe.
        """
        key = _key(made.decision_id)
        data = encode_made(made)
        if len(data) > MAX_VALUE_BYTES:
            bare = msgspec.structs.replace(made.decision, trace=None)
            data = encode_made(msgspec.structs.replace(made, decision=bare))
        done = await self._store.commit(Transaction((Put(key, data),), (Absent(key),)))
        return isinstance(done, Committed)

    async def find(self, decision_id: str) -> DecisionMade | None:
        """Read a decision; None where there is none of this id.

        Raises:
            CorruptRecord: What is stored is no decision, or another one.
            InvalidInput: The id cannot be part of a key.
            Unavailable: The store cannot be reached.
        """
        key = _key(decision_id)
        record = await self._store.get(key)
        return None if record is None else read_made(key, record.value)


def read_made(key: str, value: bytes) -> DecisionMade:
    """Read what is stored of a decision.

    Args:
        key: Under which key.
        value: What is there.
    Raises:
        CorruptRecord: It is no decision, or not the one of this key.
    """
    made = decode_made(value, where=key)
    if _key(made.decision_id) != key:
        raise CorruptRecord(key, expected="the decision of this key", found=made.decision_id)
    return made


def _key(decision_id: str) -> str:
    return DECISION_PREFIX + segment(decision_id, field="decision_id")
