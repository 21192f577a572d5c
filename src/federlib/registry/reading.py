"""`Reader`: takes members from the store, and remembers when it first saw each heartbeat."""

from __future__ import annotations

from federlib.errors import CorruptRecord
from federlib.lease.backends.mirror import Sightings, read_moment
from federlib.lease.judge import Moment
from federlib.registry.records import decode_member, member_key
from federlib.registry.roster import Member, Sighted, judge
from federlib.skewclock import Clock, SkewTolerance
from federlib.storage.protocol import Record, RecordStore
from federlib.telemetry import Telemetry

__all__ = ["Reader"]

_MAX_TOLD = 1_000


class Reader:
    """Reads and judges members, as this process sees them.

    Args:
        store: Where the records lie.
        clock: The clocks of this process.
        tolerance: For members on other machines.
        telemetry: Hears once of each record that cannot be read.
    """

    def __init__(
        self, store: RecordStore, clock: Clock, tolerance: SkewTolerance, telemetry: Telemetry
    ) -> None:
        self.store = store
        self.clock = clock
        self.tolerance = tolerance
        self._telemetry = telemetry
        self._sightings = Sightings()
        self._told: dict[str, int] = {}

    async def find(self, worker_id: str) -> tuple[Record, Member] | None:
        """Read one member, and its record; None where there is none.

        Raises:
            InvalidInput: Not a worker id.
            CorruptRecord: The record cannot be read.
        """
        record = await self.store.get(member_key(worker_id))
        return None if record is None else (record, self.judge(self._decode(record)))

    async def scan(self, prefix: str) -> tuple[list[Record], int]:
        """Read all records under a prefix; return them and the first page's revision."""
        page = await self.store.scan(prefix)
        revision, records = page.revision, [*page.records]
        while page.next is not None:
            page = await self.store.scan(prefix, after=page.next)
            records += page.records
        return records, revision

    def sight(self, record: Record, problems: list[CorruptRecord] | None = None) -> Sighted | None:
        """Take in a record; one that cannot be read is told, and is no member."""
        try:
            return self._decode(record)
        except CorruptRecord as error:
            if problems is not None:
                problems.append(error)
            self._tell(record, error)
            return None

    def judge(self, sighted: Sighted, now: Moment | None = None) -> Member:
        """Say how a member stands now; several at one look are judged at one moment."""
        return judge(sighted, now or read_moment(self.clock), self.tolerance)

    def end_of(self, sighted: Sighted) -> int | None:
        """Say when a member expires on our boot clock if nothing is heard of it.

        None where it is expired already.
        """
        now = read_moment(self.clock)
        left_ns = sighted.horizon(now.clock_id, self.tolerance).left_ns(now)
        return now.boot_ns + left_ns if left_ns > 0 else None

    def _decode(self, record: Record) -> Sighted:
        found = decode_member(record.key, record.value)
        boot_ns = self.clock.boot_ns()
        seen_ns = self._sightings.first(record.key, record.revision, boot_ns)
        return Sighted(found, record.revision, seen_ns)

    def _tell(self, record: Record, error: CorruptRecord) -> None:
        # Once, not at each look.
        if self._told.get(record.key) == record.revision:
            return
        if len(self._told) >= _MAX_TOLD:
            del self._told[next(iter(self._told))]
        self._told[record.key] = record.revision
        self._telemetry.log("warning", "registry_record_corrupt", error=str(error))
