"""What a lease looks like in etcd, and where; all below the prefix of the store.

| key | what |
|---|---|
| `l/floor` | every token is above it |
| `l/last/<name>` | the last grant; its mod_revision makes the token |
| `l/now/<name>/held` | who holds it; there for as long as it is held |
| `l/now/<name>/wait/<holder>.<session>` | a place in the queue; its create_revision says which |

What lies under `l/now/` is attached to a lease of etcd, which deletes it when it has run out.

A token is the floor that the grant compared plus the revision of that grant. Revisions rise
with every transaction of the cluster, so tokens rise, too, and nobody has to count.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import attrs
import msgspec

from federlib._json import RecordReader
from federlib.errors import Conflict
from federlib.lease.protocol import Holder, Lease
from federlib.lease.records import LEASE_PREFIX, MAX_TOKEN, name_prefix, waiter_key
from federlib.storage.backends.etcd._keys import successor
from federlib.storage.backends.etcd._wire import KeyValue
from federlib.storage.keys import unsegment

__all__ = [
    "FORMAT",
    "Floor",
    "Grant",
    "Held",
    "Keys",
    "Names",
    "check_room",
    "encode",
    "read_floor",
    "read_grant",
    "read_held",
]

FORMAT = 1
_MS = 1_000_000
_T = TypeVar("_T")

_REVISIONS = 2**50
"""More than any cluster will ever have: at a million a second, those of 35 years."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKEN)]


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a name, and what the holder's own clocks said.

    Attributes:
        v: Schema version.
        holder_id: Who.
        session: Which of its claims.
        ttl_ms: As asked for.
        acquired_ns: When it was granted; Unix nanoseconds.
        renewed_ns: When what keeps it alive was last sent; Unix nanoseconds.
        clock_id: Of `boot_ns`.
        boot_ns: The same instant by the holder's boot clock.
    """

    v: int = FORMAT
    holder_id: str
    session: str
    ttl_ms: Annotated[int, msgspec.Meta(ge=1)]
    acquired_ns: int
    renewed_ns: int
    clock_id: str
    boot_ns: int

    def belongs_to(self, holder: Holder) -> bool:
        """Say whether that holder has it, under that session."""
        return self.holder_id == holder.holder_id and self.session == holder.session

    def lease(self, name: str, token: int) -> Lease:
        """Return it as the protocol knows it."""
        return Lease(
            name=name,
            holder_id=self.holder_id,
            session=self.session,
            fencing_token=token,
            ttl_ms=self.ttl_ms,
            acquired_at=self.acquired_ns,
            renewed_at=self.renewed_ns,
            expires_at=self.renewed_ns + self.ttl_ms * _MS,
            clock_id=self.clock_id,
            renewed_boot_ns=self.boot_ns,
        )


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The last grant of a name; rewritten when it is released.

    Attributes:
        v: Schema version.
        floor: The one that was compared; of a released one nothing is read from it.
        token: Written when it is released; 0 before, while the revision makes it.
        since_ns: When it was granted, or freed; Unix nanoseconds.
    """

    v: int = FORMAT
    floor: Count = 0
    token: Count = 0
    since_ns: int = 0

    @property
    def is_released(self) -> bool:
        """Whether it was given back, so that nobody may renew it."""
        return self.token > 0

    def token_at(self, mod_revision: int) -> int:
        """Return the token, for the grant that was written at that revision."""
        return self.token or self.floor + mod_revision


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """What every later token is above.

    Attributes:
        v: Schema version.
        token: The floor.
    """

    v: int = FORMAT
    token: Count


encode = msgspec.json.Encoder().encode
_helds = RecordReader(Held, FORMAT)
_grants = RecordReader(Grant, FORMAT)
_floors = RecordReader(Floor, FORMAT)


def read_held(found: KeyValue) -> Held:
    """Read who holds a name.

    Raises:
        CorruptRecord: It is not of this format.
    """
    return _read(found, _helds)


def read_grant(found: KeyValue) -> Grant:
    """Read the last grant of a name; raises as `read_held`."""
    return _read(found, _grants)


def read_floor(found: KeyValue) -> int:
    """Read the floor; raises as `read_held`."""
    return _read(found, _floors).token


def _read(found: KeyValue, reader: RecordReader[_T]) -> _T:
    return reader.read(found.key.decode(errors="replace"), found.value)


def check_room(floor: int) -> None:
    """Raise `Conflict` where the floor leaves no room for any revision above it."""
    if floor > MAX_TOKEN - _REVISIONS:
        raise Conflict(
            "fencing token",
            expected=f"a floor of at most {MAX_TOKEN - _REVISIONS}, so that a higher token can "
            "follow",
            actual=str(floor),
            hint="no name can be leased again here: choose another store",
        )


@attrs.frozen
class Names:
    """The keys that are not of one name.

    Attributes:
        floor: The floor's.
        last: What the keys of grants begin with.
        now: What the keys of holders and places begin with.
        end: The first key behind those.
    """

    prefix: str
    floor: bytes = attrs.field(init=False)
    last: bytes = attrs.field(init=False)
    now: bytes = attrs.field(init=False)
    end: bytes = attrs.field(init=False)

    @floor.default
    def _floor(self) -> bytes:
        return f"{self.prefix}l/floor".encode()

    @last.default
    def _last(self) -> bytes:
        return f"{self.prefix}l/last/".encode()

    @now.default
    def _now(self) -> bytes:
        return f"{self.prefix}l/now/".encode()

    @end.default
    def _end(self) -> bytes:
        return successor(self.now)

    def keys(self, name: str) -> Keys:
        """Return the keys of one name.

        Raises:
            InvalidInput: No key can hold it.
        """
        part = name_prefix(name)[len(LEASE_PREFIX) :].encode()
        return Keys(name, self.last + part[:-1], self.now + part)

    def name_of(self, last: bytes) -> str:
        """Return the name whose last grant lies there."""
        return unsegment(last[len(self.last) :].decode(errors="replace"))


@attrs.frozen
class Keys:
    """Where the records of one name are.

    Attributes:
        name: The lease's.
        last: Its last grant.
        now: What the keys of its holder and of its places begin with.
        held: Who holds it.
        wait: What the keys of its places begin with.
        wait_end: The first key behind those.
    """

    name: str
    last: bytes
    now: bytes
    held: bytes = attrs.field(init=False)
    wait: bytes = attrs.field(init=False)
    wait_end: bytes = attrs.field(init=False)

    @held.default
    def _held(self) -> bytes:
        return self.now + b"held"

    @wait.default
    def _wait(self) -> bytes:
        return self.now + b"wait/"

    @wait_end.default
    def _wait_end(self) -> bytes:
        return successor(self.wait)

    def place(self, holder: Holder) -> bytes:
        """Return the key of one place; distinct for distinct holders and sessions.

        Raises:
            InvalidInput: No key can hold it.
        """
        return self.wait + waiter_key(self.name, holder).rpartition("/")[2].encode()

    def waiter(self, place: bytes) -> str:
        """Return the holder id of who stands there."""
        part = place[len(self.wait) :].decode(errors="replace")
        return unsegment(part.partition(".")[0])
