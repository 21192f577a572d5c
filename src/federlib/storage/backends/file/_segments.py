"""The journal of a file store: segments on a disk, each a run of commits.

    journal/00000000000000000001.log    the commits from revision 1 on
    journal/00000000000000004711.log    those from 4711 on
    journal/00000000000000004000.state  everything as it was at revision 4000 (`_states`)

A segment appears under its name only when its beginning is synced. It ends with a closing
frame before the next one is made, so nobody goes on in it by mistake; behind the last frame of
the last segment lie zeros, reserved so that a commit need not change the size of the file.

Only the last frame can be torn, because each commit is synced before the next is written. So
what is not whole there is cut off, if nothing whole follows; anywhere else it is damage.

Used under the engine's mutex, and written to only in the store's turn.
"""

from __future__ import annotations

import errno
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import attrs

from federlib.errors import CorruptRecord
from federlib.storage.backends._embedded.table import Receipt
from federlib.storage.backends.file import _journal as frames
from federlib.storage.backends.file._journal import HEAD_BYTES, Frame, FrameReader
from federlib.storage.backends.file._journal_files import (
    DIRECTORY,
    LOG,
    PLEA,
    check_beginning,
    file_name,
    list_numbered,
    temporary_name,
)
from federlib.storage.disk import Disk, DiskFile
from federlib.storage.protocol import Batch

__all__ = ["Journal", "Segment"]

_PROBE_BYTES = 4
_READ_BYTES = 8 * 1024 * 1024


@attrs.define
class Segment:
    """One file of the journal.

    Attributes:
        first: The revision of its first commit.
        file: Open.
        starts: Where each commit begins, in order.
        end: Behind the last frame.
        room: The size of the file.
        is_closed: It ends with a closing frame.
    """

    first: int
    file: DiskFile
    end: int
    starts: array[int] = attrs.field(factory=lambda: array("Q"))
    room: int = 0
    is_closed: bool = False

    @property
    def last(self) -> int:
        """The revision of its last commit."""
        return self.first + len(self.starts) - 1


class Journal:
    """The open segments.

    Attributes:
        revision: Of the last commit that was read.
        bytes_since_state: How much was read behind `state_revision`.
        state_revision: The newest state that is known of.
        state_bytes: How large that is.
        cut_bytes: How much of a torn commit was cut off.
    """

    def __init__(
        self, disk: Disk, where: str, store_id: str, *, segment_bytes: int, reserve_bytes: int
    ) -> None:
        self.revision = 0
        self.state_revision = 0
        self.state_bytes = 0
        self.bytes_since_state = 0
        self.cut_bytes = 0
        self._disk = disk
        self._where = where
        self._segment_bytes = segment_bytes
        self._reserve_bytes = reserve_bytes
        self._salt = frames.salt_of(store_id)
        self._beginning = frames.beginning("journal", store_id)
        self._segments: list[Segment] = []

    @property
    def segments(self) -> Sequence[Segment]:
        """All open segments, in order."""
        return self._segments

    def _damaged(self, what: str, *, expected: str, found: str) -> CorruptRecord:
        return CorruptRecord(f"{self._where}, {what}", expected=expected, found=found, hint=PLEA)

    # Reading.

    def open(self, first: int) -> None:
        """Open a segment, whose commits come next."""
        name = file_name(first, LOG)
        file = self._disk.open(name)
        try:
            check_beginning(file, self._beginning, f"{self._where}, {name}")
        except BaseException:
            file.close()
            raise
        self._segments.append(Segment(first, file, len(self._beginning)))
        self.revision = first - 1

    def check_same_store(self) -> None:
        """Raise unless the segment that is written to still is one of this store."""
        segment = self._segments[-1]
        name = file_name(segment.first, LOG)
        check_beginning(segment.file, self._beginning, f"{self._where}, {name}")

    @property
    def is_young(self) -> bool:
        """The last segment has no commit but those it was made with; it may be made anew."""
        segment = self._segments[-1]
        return not segment.is_closed and len(segment.starts) <= (segment.first == 1)

    def check_present(self) -> None:
        """Raise unless the segment that is written to is still there.

        Raises:
            FileNotFoundError: It was removed.
        """
        self._segments[-1].file.size()

    def read_on(self, upto: int | None = None) -> Iterator[Frame]:
        """Read commits behind `revision`, up to a revision or as far as they are whole.

        Stops before a next segment that is not there.
        """
        while True:
            segment = self._segments[-1]
            reader = FrameReader(segment.file.read, segment.end, self._salt)
            while not segment.is_closed and (upto is None or self.revision < upto):
                found = reader.next()
                if found is None or found.revision != self.revision + 1:
                    return
                if not self._take_in(segment, found):
                    return
                if found.kind == frames.CHANGE:
                    yield found
            if not segment.is_closed or not self._open_next():
                return

    def _take_in(self, segment: Segment, found: Frame) -> bool:
        if found.kind == frames.CLOSING:
            segment.is_closed, segment.end = True, found.end
            return True
        if found.kind != frames.CHANGE:
            return False
        segment.starts.append(found.start)
        segment.end = found.end
        self.revision = found.revision
        if found.revision > self.state_revision:
            self.bytes_since_state += found.end - found.start
        return True

    def _open_next(self) -> bool:
        try:
            self.open(self.revision + 1)
        except FileNotFoundError:
            return False
        return True

    def read_batches(self, after: int, limit: int) -> list[Batch] | None:
        """Read commits again; None where they are no longer kept."""
        if not self._segments or after + 1 < self._segments[0].first:
            return None
        batches: list[Batch] = []
        size = 0
        while after < self.revision and len(batches) < limit and size < _READ_BYTES:
            segment = self._segment_of(after + 1)
            reader = FrameReader(
                segment.file.read, segment.starts[after + 1 - segment.first], self._salt
            )
            while after < segment.last and len(batches) < limit and size < _READ_BYTES:
                found = reader.next()
                if found is None or found.revision != after + 1:
                    raise self._damaged(
                        f"change {after + 1}", expected="a whole frame", found="a damaged one"
                    )
                batches.append(self.decode(found)[0])
                size += found.end - found.start
                after += 1
        return batches

    def _segment_of(self, revision: int) -> Segment:
        place = bisect_right(self._segments, revision, key=lambda segment: segment.first)
        return self._segments[place - 1]

    def decode(self, found: Frame) -> tuple[Batch, Receipt | None]:
        """Return what a commit did.

        Raises:
            CorruptRecord: The frame is whole, and yet none that we wrote.
        """
        try:
            return frames.decode_change(found.revision, found.payload)
        except (ValueError, TypeError) as error:
            raise self._damaged(
                f"change {found.revision}", expected="a list of events", found=str(error)
            ) from error

    # Writing.

    def is_clean(self) -> bool:
        """Say whether nothing lies behind the last frame that was read."""
        segment = self._segments[-1]
        return not segment.is_closed and not any(segment.file.read(segment.end, _PROBE_BYTES))

    def settle(self) -> None:
        """Make what was read last durable, and cut off what is torn behind it.

        Whoever wrote it may have died before, in or after its sync, or the sync may have
        failed; a sync alone would then have nothing to do. So the last frame is written anew.
        Raises:
            CorruptRecord: What is not whole is not the end of the journal.
            OSError: The disk refuses; try again later.
        """
        segment = self._segments[-1]
        self._cut_torn_end(segment)
        start = segment.end
        if segment.is_closed:
            start -= HEAD_BYTES
        elif segment.starts:
            start = segment.starts[-1]
        last = self._read_again(segment, start)
        if self.is_young:
            # Nor may its name last: whoever made it may have died before it was sure, and
            # only a new name is sure to be stored. Behind a later commit it is.
            self._make(segment.first, self._beginning + last, segment.starts)
            return
        segment.file.write(start, last)
        segment.file.sync()

    def _read_again(self, segment: Segment, start: int) -> bytes:
        """Return the last frame, checked: a bit read wrongly must not be written back."""
        data = segment.file.read(start, segment.end - start)
        reader = FrameReader(lambda at, size: data[at : at + size], 0, self._salt)
        if data and (reader.next() is None or reader.at != len(data)):
            raise self._damaged(
                f"{file_name(segment.first, LOG)}, byte {start}",
                expected="the frame that was read before",
                found="a damaged one",
            )
        return data

    def _cut_torn_end(self, segment: Segment) -> None:
        room = segment.file.size()
        rest = segment.file.read(segment.end, max(0, room - segment.end))
        if not any(rest):
            segment.room = room
            return
        again = FrameReader(lambda at, size: rest[at : at + size], 0, self._salt).next()
        if again is not None and again.revision == self.revision + 1:
            # It was read wrongly before; to cut it off would lose a commit.
            raise OSError(errno.EIO, "the disk does not read the same twice")
        later = frames.find_later_change(rest, self.revision, self._salt)
        name = file_name(segment.first, LOG)
        following = [first for first in list_numbered(self._disk, LOG) if first > segment.first]
        if later is None and following and not segment.is_closed:
            later = following[0]
        if later is not None or segment.is_closed:
            raise self._damaged(
                f"{name}, byte {segment.end}",
                expected=f"the commit of revision {self.revision + 1}",
                found=f"a damaged frame before revision {later}"
                if later is not None
                else "bytes behind the closing frame",
            )
        segment.file.truncate(segment.end)
        segment.file.sync()
        segment.room = segment.end
        self.cut_bytes += len(rest.rstrip(b"\0"))

    def make_room(self, size: int) -> None:
        """Make sure that a frame of this size has its space; may begin a new segment.

        Raises:
            OSError: There is none. Settle before the next try.
        """
        segment = self._segments[-1]
        if not segment.is_closed and segment.end >= self._segment_bytes and segment.starts:
            self._close(segment)
        if segment.is_closed:
            self._make(self.revision + 1, self._beginning, array("Q"))
            segment = self._segments[-1]
        # Room for a closing frame is always kept: a full disk must not stop us there.
        wanted = segment.end + size + HEAD_BYTES
        if wanted > segment.room:
            chunk = self._reserve_bytes
            self._reserve(segment, -(-wanted // chunk) * chunk, wanted)

    def _reserve(self, segment: Segment, size: int, least: int) -> None:
        try:
            segment.file.reserve(size)
        except OSError:
            # The disk may be nearly full: be content with what is needed now.
            segment.file.reserve(least)
            size = least
        segment.room = size

    def _close(self, segment: Segment) -> None:
        closing = frames.frame(frames.CLOSING, self.revision + 1, b"", self._salt)
        if segment.end + len(closing) > segment.room:
            self._reserve(segment, segment.end + len(closing), segment.end + len(closing))
        segment.file.write(segment.end, closing)
        segment.file.truncate(segment.end + len(closing))
        segment.file.sync()
        segment.end += len(closing)
        segment.is_closed, segment.room = True, segment.end

    def make_first(self, payload: bytes) -> None:
        """Make the first segment of a new store, with its first commit."""
        change = frames.frame(frames.CHANGE, 1, payload, self._salt)
        self._make(1, self._beginning + change, array("Q", [len(self._beginning)]))

    def _make(self, first: int, content: bytes, starts: array[int]) -> None:
        """Make the last segment, or make it anew; from here on its name lasts."""
        temporary = temporary_name(LOG)
        file = self._disk.open(temporary, create=True)
        try:
            file.truncate(0)
            file.append(content)
            file.sync()
            self._disk.rename(temporary, file_name(first, LOG))
            self._disk.sync_directory(DIRECTORY)
        except BaseException:
            file.close()
            raise
        if self._segments and self._segments[-1].first == first:
            self._segments.pop().file.close()
        end = len(content)
        self._segments.append(Segment(first, file, end, starts, room=end))

    def write(self, change: bytes) -> None:
        """Write the frame of the next commit; there is room."""
        segment = self._segments[-1]
        segment.file.write(segment.end, change)

    def sync(self) -> None:
        """Make the frame that was written durable."""
        self._segments[-1].file.sync()

    def take_back(self) -> None:
        """Remove, for good, what a failed write left."""
        segment = self._segments[-1]
        segment.file.truncate(segment.end)
        segment.file.sync()
        segment.room = segment.end

    def advance(self, size: int) -> None:
        """Count the frame that was written as read."""
        segment = self._segments[-1]
        segment.starts.append(segment.end)
        segment.end += size
        self.revision += 1
        self.bytes_since_state += size

    def encode(self, payload: bytes) -> bytes:
        """Build the frame of the next commit."""
        return frames.frame(frames.CHANGE, self.revision + 1, payload, self._salt)

    # Forgetting.

    def note_state(self, revision: int, size_bytes: int) -> None:
        """Learn that there is a state of a revision: only what comes behind it counts."""
        if revision > self.state_revision:
            self.state_revision, self.state_bytes = revision, size_bytes
            self.bytes_since_state = sum(
                segment.end - segment.starts[max(0, revision + 1 - segment.first)]
                for segment in self._segments
                if segment.starts and segment.last > revision
            )

    def forget(self, first: int) -> None:
        """Close the segments whose commits all lie before a revision."""
        while len(self._segments) > 1 and self._segments[1].first <= first:
            self._segments.pop(0).file.close()

    def close(self) -> None:
        """Close all segments."""
        for segment in self._segments:
            segment.file.close()
        self._segments.clear()
