"""A commit as one transaction of etcd, and what its answer says.

It succeeds if the store is the one that was opened, each check holds, and no receipt has its
id. Then the writes, the receipt and the tick are put. Otherwise the very same transaction
reads what it compared, so a conflict names what was found at one revision.
"""

from __future__ import annotations

import attrs
import msgspec

from federlib.errors import CorruptRecord, InvalidInput
from federlib.storage.backends._digest import digest_of
from federlib.storage.backends.etcd import _wire as wire
from federlib.storage.backends.etcd._keys import Place
from federlib.storage.protocol import (
    AtRevision,
    Committed,
    Conflicted,
    Mismatch,
    Put,
    Transaction,
    Write,
)

__all__ = ["Plan", "Receipt", "guard", "is_same_store", "other_store", "read_receipt"]


class Receipt(msgspec.Struct, frozen=True, array_like=True):
    """That a transaction with an id took effect; its revision is that of its key.

    Attributes:
        digest: Of the whole transaction, so that an id is not used for two.
        at_ns: When, by the clock of whoever committed; Unix nanoseconds.
    """

    digest: bytes
    at_ns: int


_receipts = msgspec.json.Decoder(Receipt)


def read_receipt(place: Place, found: wire.KeyValue) -> Receipt:
    """Read what is kept under the key of a receipt.

    Raises:
        CorruptRecord: It is no receipt.
    """
    try:
        return _receipts.decode(found.value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptRecord(
            f"{place.where}, receipt {found.key!r}", expected="digest and time", found=found.value
        ) from error


def guard(place: Place) -> list[wire.JsonObject]:
    """Compare: the store is the one that was opened, by its value and by its creation."""
    meta = place.layout.meta
    return [wire.created_at(meta, place.base + 1), wire.value_is(meta, place.meta)]


def is_same_store(place: Place, meta: tuple[wire.KeyValue, ...]) -> bool:
    """Say whether what a range of `meta/store` found is what was opened."""
    found = [(one.create_revision, one.value) for one in meta]
    return found == [(place.base + 1, place.meta)]


def other_store(place: Place, meta: tuple[wire.KeyValue, ...]) -> CorruptRecord:
    """Say that `meta/store` is not what was opened; `meta` is what a range of it found."""
    if not meta:
        found = "nothing: it was deleted"
    elif meta[0].value == place.meta:
        found = f"the same, created again at revision {meta[0].create_revision} of etcd"
    else:
        found = meta[0].value.decode(errors="replace")
    return CorruptRecord(
        f"{place.where}, meta/store",
        expected=f"{place.meta.decode()}, as it was opened",
        found=found,
        hint="close the store and open it again",
    )


@attrs.frozen
class Plan:
    """One commit of one store.

    Attributes:
        place: The store.
        transaction: What is to be committed.
        now_ns: The wall clock, for the age of the receipt; Unix nanoseconds.
    """

    place: Place
    transaction: Transaction
    now_ns: int
    digest: bytes = attrs.field(init=False)

    @digest.default
    def _digest(self) -> bytes:
        return digest_of(self.transaction) if self.transaction.id is not None else b""

    @property
    def body(self) -> bytes:
        """The transaction of etcd, as JSON."""
        place, layout, transaction = self.place, self.place.layout, self.transaction
        compare = guard(place)
        failure = [wire.read(layout.meta)]
        success = [self._write(write) for write in transaction.writes]
        if transaction.id is not None:
            receipt = layout.receipt(transaction.id)
            compare.append(wire.created_at(receipt, 0))
            failure.append(wire.read(receipt))
            value = wire.encode(Receipt(self.digest, self.now_ns))
            success.append(wire.put(receipt, value))
        for check in transaction.checks:
            key = layout.user(check.key)
            if isinstance(check, AtRevision):
                compare.append(wire.modified_at(key, place.mod_revision(check.revision)))
            else:
                compare.append(wire.created_at(key, 0))
            failure.append(wire.read(key, keys_only=True))
        success.append(wire.put(layout.tick, b""))
        return wire.txn(compare, success, failure)

    def _write(self, write: Write) -> wire.JsonObject:
        key = self.place.layout.user(write.key)
        return wire.put(key, write.value) if isinstance(write, Put) else wire.delete(key)

    def decode(self, body: bytes) -> wire.TxnAnswer:
        """Decode the answer; raises `msgspec.ValidationError` where it cannot be etcd's."""
        has_id = self.transaction.id is not None
        success = len(self.transaction.writes) + has_id + 1
        failure = 1 + has_id + len(self.transaction.checks)
        return wire.txn_reader(success=success, failure=failure)(body)

    def read(self, answer: wire.TxnAnswer) -> Committed | Conflicted:
        """Read what became of it.

        Raises:
            CorruptRecord: The store is not the one that was opened.
            InvalidInput: The id was used for another transaction.
        """
        if answer.succeeded:
            return Committed(self.place.revision(answer.header.revision))
        found = [response.response_range.kvs for response in answer.responses]
        meta = found.pop(0)
        if not is_same_store(self.place, meta):
            raise other_store(self.place, meta)
        if self.transaction.id is not None and (receipts := found.pop(0)):
            return self._repeat(receipts[0])
        failed: list[Mismatch] = []
        for check, kvs in zip(self.transaction.checks, found, strict=True):
            expected = check.revision if isinstance(check, AtRevision) else None
            revision = self.place.revision(kvs[0].mod_revision) if kvs else None
            if revision != expected:
                failed.append(Mismatch(check.key, expected, revision))
        if not failed:
            # All of it was compared and read at one revision: etcd contradicts itself.
            raise CorruptRecord(
                self.place.where, expected="a failed comparison", found="none in what it read"
            )
        return Conflicted(tuple(failed))

    def _repeat(self, found: wire.KeyValue) -> Committed:
        if read_receipt(self.place, found).digest != self.digest:
            raise InvalidInput(
                "id",
                expected="the transaction first committed under it",
                found=self.transaction.id,
            )
        return Committed(self.place.revision(found.mod_revision))

    def is_final(self, conflict: Conflicted, answer: wire.TxnAnswer) -> bool:
        """Say whether an earlier try of this very transaction can no longer take effect.

        A revision that has passed, or been overtaken, never comes back; a key that is there
        may be deleted, and then a check for its absence holds again.
        """
        head = self.place.revision(answer.header.revision)
        return any(
            failed.expected is not None and failed.expected <= head for failed in conflict.failed
        )
