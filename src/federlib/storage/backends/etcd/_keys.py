"""Where a store keeps what in etcd: everything lies under one prefix.

| key | what |
|---|---|
| `<prefix>k/<key>` | a record |
| `<prefix>l/…` | leases; not the store's business |
| `<prefix>r/<transaction id>` | the receipt of a transaction with an id |
| `<prefix>k~` | the tick: put last in every commit, and behind the records for watches |

The tick's mod_revision is the store's revision; its version counts commits.

etcd's revisions are of the whole cluster. A store's own begin at 1 with its creation, so
`base`, the revision of etcd before that, is subtracted from each.
"""

from __future__ import annotations

import attrs

from federlib.errors import CorruptRecord
from federlib.storage.backends.etcd._wire import KeyValue
from federlib.storage.protocol import META_KEY, Record

__all__ = ["NEVER", "Layout", "Place", "successor"]

NEVER = 2**63 - 1
"""A revision that no key will ever have."""


def successor(prefix: bytes) -> bytes:
    """Return the first key, in byte order, behind all that begin with `prefix`.

    UTF-8 has no byte 0xFF, so the last byte can always grow.
    """
    return prefix[:-1] + bytes((prefix[-1] + 1,))


@attrs.frozen
class Layout:
    """The keys of one store.

    Attributes:
        prefix: What each of them begins with.
        users: What the keys of records begin with.
        receipts: What the keys of receipts begin with.
        tick: The tick's key.
        meta: The key of the record that names the store.
    """

    prefix: str
    users: bytes = attrs.field(init=False)
    receipts: bytes = attrs.field(init=False)
    tick: bytes = attrs.field(init=False)
    meta: bytes = attrs.field(init=False)

    @users.default
    def _users(self) -> bytes:
        return f"{self.prefix}k/".encode()

    @receipts.default
    def _receipts(self) -> bytes:
        return f"{self.prefix}r/".encode()

    @tick.default
    def _tick(self) -> bytes:
        return f"{self.prefix}k~".encode()

    @meta.default
    def _meta(self) -> bytes:
        return self.users + META_KEY.encode()

    def user(self, key: str) -> bytes:
        """Return where the record of a key lies."""
        return self.users + key.encode()

    def receipt(self, transaction_id: str) -> bytes:
        """Return where the receipt of a transaction lies."""
        return self.receipts + transaction_id.encode()

    def page(self, prefix: str, after: str | None) -> tuple[bytes, bytes]:
        """Return the range of the records under a prefix and behind a key: start and end."""
        is_behind = after is not None and after >= prefix
        start = self.user(after) + b"\0" if is_behind and after is not None else self.user(prefix)
        return start, successor(self.user(prefix))


@attrs.frozen
class Place:
    """One store: its keys, and where its revisions begin.

    Attributes:
        where: How errors call it.
        layout: Its keys.
        base: The revision of etcd before the store's first.
        meta: The value of the record that names it, as opened.
    """

    where: str
    layout: Layout
    base: int
    meta: bytes

    def revision(self, mod_revision: int) -> int:
        """Return the store's revision of one of etcd's."""
        return mod_revision - self.base

    def mod_revision(self, revision: int) -> int:
        """Return etcd's revision of one of the store's, for a comparison.

        One that the store can never have becomes `NEVER`: 0 would mean 'absent' to etcd.
        """
        return revision + self.base if 1 <= revision < NEVER - self.base else NEVER

    def key(self, found: KeyValue) -> str:
        """Return the key of a record.

        Raises:
            CorruptRecord: It is none of ours.
        """
        try:
            return found.key[len(self.layout.users) :].decode()
        except UnicodeDecodeError as error:
            raise CorruptRecord(
                self.where, expected="keys in UTF-8", found=found.key, hint="delete it"
            ) from error

    def record(self, found: KeyValue) -> Record:
        """Return the record that etcd keeps under one of our keys.

        Raises:
            CorruptRecord: The key is none of ours.
        """
        return Record(
            self.key(found),
            found.value,
            self.revision(found.mod_revision),
            self.revision(found.create_revision),
        )
