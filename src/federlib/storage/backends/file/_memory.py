"""What one process knows of a file store: the journal as far as it read it, and the table.

Everything here is called under the engine's mutex; what writes, in the store's turn as well.
Only what is published gets into the table, but for the moments in which the journal's end is
settled: then nobody may look, and where that fails the table is read anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from federlib.errors import CorruptRecord
from federlib.storage.backends._embedded.table import Receipt
from federlib.storage.backends.file._journal_files import DIRECTORY, STATE, list_numbered
from federlib.storage.backends.file._load import Loaded, Tuning, create, load
from federlib.storage.backends.file._segments import Segment
from federlib.storage.backends.file._turn import Turn
from federlib.storage.disk import Disk
from federlib.storage.protocol import Batch

__all__ = ["Memory", "first_needed"]

_LOADS = 5


def first_needed(segments: Sequence[Segment], state_revision: int, tuning: Tuning) -> int:
    """Return the first revision that is still needed, be it only by late watchers."""
    head, behind_bytes = segments[-1].last, sum(segment.end for segment in segments)
    for segment in segments[:-1]:
        behind, behind_bytes = head - segment.last, behind_bytes - segment.end
        is_history = behind < tuning.history_revisions and behind_bytes < tuning.history_bytes
        if segment.last > state_revision or behind < tuning.history_least or is_history:
            return segment.first
    return segments[-1].first


class Memory:
    """Follows one store.

    Attributes:
        loaded: Table and journal.
        cut_bytes: How much of a torn commit was cut off.
    """

    def __init__(
        self, disk: Disk, turn: Turn, *, where: str, new_store_id: str, tuning: Tuning
    ) -> None:
        """Open the store, in its turn; make it if there is none.

        Raises:
            CorruptRecord: What lies there is not a store that this version reads.
            OSError: The disk refuses.
        """
        self._disk = disk
        self._turn = turn
        self._where = where
        self._tuning = tuning
        # Memory may hold more than is published, or half of a commit.
        self._must_load = False
        # Nobody knows how the journal ends: settle before the next commit.
        self._must_settle = False
        self._names_version = -1
        self.cut_bytes = 0
        loaded = self._load()
        if loaded is None:
            create(disk, where, new_store_id, tuning)
            loaded = self._load()
            assert loaded is not None
        self.loaded = loaded
        try:
            self._settle_end()
        except BaseException:
            loaded.journal.close()
            raise

    def _load(self, published: Callable[[], int | None] = lambda: None) -> Loaded | None:
        """Read the store from the disk: all of it in its turn, else what is published."""
        for tries_left in reversed(range(_LOADS)):
            names = self._list()
            try:
                return load(self._disk, self._where, self._tuning, upto=published())
            except (FileNotFoundError, CorruptRecord):
                # Another process may just have removed what a new state made superfluous.
                if not tries_left or names == self._list():
                    raise
        raise AssertionError("the last try returns or raises")

    def _list(self) -> list[str]:
        try:
            return self._disk.list(DIRECTORY)
        except FileNotFoundError:
            return []

    def _settle_end(self) -> None:
        journal = self.loaded.journal
        journal.settle()
        self.cut_bytes += journal.cut_bytes
        self._turn.publish(self.loaded.table.revision)

    def catch_up(self) -> Loaded:
        """Read what was published since the last call.

        Raises:
            CorruptRecord: The journal is damaged, or was replaced.
            OSError: It cannot be read.
        """
        if self._must_load:
            self._load_published()
        head = self._turn.published()
        revision = self.loaded.table.revision
        version = self._turn.names_version
        if head == revision:
            if version != self._names_version or self.loaded.journal.is_young:
                self._check_present()
                self._names_version = version
        elif head is None or head < revision:
            raise CorruptRecord(
                f"{self._where}, journal/head",
                expected=f"revision {revision} or later",
                found="nothing that can be read" if head is None else f"revision {head}",
                hint="close the store and open it again",
            )
        else:
            self._follow(head)
        return self.loaded

    def _check_present(self) -> None:
        try:
            self.loaded.journal.check_present()
        except FileNotFoundError:
            # Others may have gone on in a new segment; if not, this fails.
            self._load_published()

    def _follow(self, head: int) -> None:
        segments = len(self.loaded.journal.segments)
        self._read_on(head)
        if self.loaded.table.revision < head:
            self._load_published()
        elif len(self.loaded.journal.segments) > segments:
            self._forget_old_segments()

    def _read_on(self, upto: int | None) -> None:
        loaded, self._must_load = self.loaded, True
        for found in loaded.journal.read_on(upto):
            loaded.table.apply(*loaded.journal.decode(found))
        self._must_load = False

    def _forget_old_segments(self) -> None:
        states = list_numbered(self._disk, STATE)
        if states:
            self.note_state(states[-1], self.loaded.journal.state_bytes)

    def _load_published(self) -> None:
        self._take_over(self._load(self._turn.published))

    def _take_over(self, loaded: Loaded | None) -> None:
        before = self.loaded
        if loaded is None or loaded.store_id != before.store_id:
            if loaded is not None:
                loaded.journal.close()
            raise CorruptRecord(
                self._where,
                expected=f"store {before.store_id}",
                found="no journal" if loaded is None else f"store {loaded.store_id}",
                hint="close the store and open it again",
            )
        before.journal.close()
        self.loaded, self._must_load = loaded, False

    def settle(self) -> Loaded:
        """Make sure, in the store's turn, that the next commit may be written.

        What another process wrote and did not live to publish is made durable and published.

        Raises:
            CorruptRecord: The journal is damaged, or of another store.
            OSError: The disk refuses.
        """
        self.catch_up()
        self.loaded.journal.check_same_store()
        if not self._must_settle and self.loaded.journal.is_clean():
            return self.loaded
        is_in_doubt, self._must_settle = self._must_settle, True
        if is_in_doubt:
            self._take_over(self._load())
        else:
            self._read_on(None)
        # Until it is published nobody may see it.
        self._must_load = True
        self._settle_end()
        self._must_load = self._must_settle = False
        return self.loaded

    def doubt(self) -> None:
        """Trust neither memory nor the journal's end after a failure."""
        self._must_load = self._must_settle = True

    def make_room(self, size: int) -> None:
        """Make sure that the next commit has its space.

        Raises:
            OSError: There is none; nothing has changed but what the next turn settles.
        """
        self._must_settle = True
        self.loaded.journal.make_room(size)
        self._must_settle = False

    def take_in(self, loaded: Loaded, batch: Batch, receipt: Receipt | None, size: int) -> None:
        """Publish the commit that was just synced, and take it into the table.

        Raises:
            OSError: It could not be published: the next turn does it.
        """
        if loaded is not self.loaded:
            # Read anew meanwhile; it is read from there, like anybody's.
            self._turn.publish(batch.revision)
            return
        self._must_load = True
        try:
            self._turn.publish(batch.revision)
        except OSError:
            self._must_settle = True
            raise
        loaded.journal.advance(size)
        loaded.table.apply(batch, receipt)
        self._must_load = False

    @property
    def is_sound(self) -> bool:
        """The table is what is published, if not the newest."""
        return not self._must_load

    def is_state_due(self) -> bool:
        """Say whether a new state would save enough."""
        journal = self.loaded.journal
        due_bytes = max(self._tuning.state_bytes, journal.state_bytes)
        return (
            self.is_sound
            and journal.bytes_since_state >= due_bytes
            and self.loaded.table.revision > journal.state_revision
        )

    def note_state(self, revision: int, size_bytes: int) -> int:
        """Learn of a state, close what it makes superfluous; return what is still needed."""
        journal = self.loaded.journal
        journal.note_state(revision, size_bytes)
        first = first_needed(journal.segments, journal.state_revision, self._tuning)
        journal.forget(first)
        return first

    def close(self) -> None:
        """Let go of the files."""
        self.loaded.journal.close()
