"""One name as one answer showed it, and what that means for one who asks. Pure."""

from __future__ import annotations

import attrs

from federlib.lease.backends.etcd._records import Grant, Held, Keys, read_grant, read_held
from federlib.storage.backends.etcd._wire import KeyValue, RangeAnswer

__all__ = ["Picture"]


@attrs.frozen
class Picture:
    """One name at one revision.

    Attributes:
        keys: Of the name.
        revision: Of etcd.
        held: Who holds it, or None.
        grant: The last grant, or None where there is none.
        grant_revision: Where it was written; 0 where there is none.
        held_revision: When its holder last wrote; 0 where nobody holds it.
        places: The keys of the places and where they were created and last written, in order.
    """

    keys: Keys
    revision: int
    held: Held | None
    held_revision: int
    grant: Grant | None
    grant_revision: int
    places: tuple[KeyValue, ...] = ()

    @classmethod
    def of(
        cls, keys: Keys, revision: int, held: RangeAnswer, last: RangeAnswer, line: RangeAnswer
    ) -> Picture:
        """Read one.

        Raises:
            CorruptRecord: A record is not of this format.
        """
        return cls(
            keys=keys,
            revision=revision,
            held=read_held(held.kvs[0]) if held.kvs else None,
            held_revision=held.kvs[0].mod_revision if held.kvs else 0,
            grant=read_grant(last.kvs[0]) if last.kvs else None,
            grant_revision=last.kvs[0].mod_revision if last.kvs else 0,
            places=line.kvs,
        )

    @property
    def token(self) -> int:
        """The highest token ever granted; 0 if none is known."""
        return self.grant.token_at(self.grant_revision) if self.grant is not None else 0

    def own(self, place: bytes) -> KeyValue | None:
        """Find a place."""
        return next((one for one in self.places if one.key == place), None)

    def ahead_of(self, place: bytes) -> tuple[KeyValue, ...]:
        """Return the places ahead of one; all of them where it is not among them."""
        for index, one in enumerate(self.places):
            if one.key == place:
                return self.places[:index]
        return self.places
