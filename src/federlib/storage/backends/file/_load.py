"""Opening a file store: the newest state, the journal behind it, and whether they fit.

Nothing is written here but a new store, and nothing is repaired.
"""

from __future__ import annotations

import attrs
import msgspec

from federlib.errors import CorruptRecord
from federlib.storage.backends._embedded.table import Table
from federlib.storage.backends.file._journal import encode_change
from federlib.storage.backends.file._journal_files import (
    DIRECTORY,
    LOG,
    PLEA,
    STATE,
    file_name,
    list_numbered,
    read_store_id,
)
from federlib.storage.backends.file._record_files import DIRECTORY as RECORDS
from federlib.storage.backends.file._record_files import RecordFiles
from federlib.storage.backends.file._segments import Journal
from federlib.storage.backends.file._states import State, read_state
from federlib.storage.disk import Disk
from federlib.storage.protocol import META_KEY, Put, StoreMeta, Transaction

__all__ = ["FORMAT", "Loaded", "Tuning", "create", "find_foreign", "load"]

FORMAT = 1
"""What `meta/store` says; the files of the journal name their own format, too."""

_OWN_NAMES = frozenset({DIRECTORY, RECORDS, "run"})


@attrs.frozen(kw_only=True)
class Tuning:
    """Sizes that matter for speed and space, not for what is promised.

    Attributes:
        segment_bytes: Beyond it a segment is closed.
        reserve_bytes: Space is reserved in such pieces.
        state_bytes: So much journal behind a state makes a new one due; or as much as the
            state itself takes, if that is more.
        history_revisions: So many commits are kept for late watchers, if they do not take
            more than `history_bytes`; at least `history_least` in any case.
        history_bytes: See there.
        history_least: See there.
        record_files: So many record files are written in one go.
    """

    segment_bytes: int = 4 * 1024 * 1024
    reserve_bytes: int = 256 * 1024
    state_bytes: int = 16 * 1024 * 1024
    history_revisions: int = 8_192
    history_bytes: int = 64 * 1024 * 1024
    history_least: int = 1_100
    record_files: int = 4_096


@attrs.frozen
class Loaded:
    """What was read from a disk.

    Attributes:
        store_id: Of the store.
        table: What it holds.
        journal: Open, and read as far as `table`.
    """

    store_id: str
    table: Table
    journal: Journal


def find_foreign(disk: Disk) -> str | None:
    """Return what says that a directory is neither a store nor free to become one.

    Raises:
        OSError: It cannot be seen.
    """
    try:
        names = disk.list("")
        foreign = [name for name in names if name not in _OWN_NAMES]
        if foreign and DIRECTORY not in names:
            return f"a directory with {', '.join(foreign[:3])}"
        return None
    except FileNotFoundError:
        return None


def create(disk: Disk, where: str, store_id: str, tuning: Tuning) -> None:
    """Make a new store where there is none. In the store's turn.

    Raises:
        CorruptRecord: Something is left of another store.
        OSError: The disk refuses; nothing that could be taken for a store is left.
    """
    for directory in (DIRECTORY, RECORDS):
        disk.make_directory(directory)
    disk.sync_directory("")
    left = [name for name in disk.list(RECORDS) if not name.startswith("=new")]
    if left:
        raise CorruptRecord(
            where,
            expected="a journal, or an empty directory",
            found=f"{len(left)} record files without a journal",
            hint=PLEA,
        )
    meta = Put(META_KEY, msgspec.json.encode(StoreMeta(store_id, FORMAT)))
    payload = encode_change(Table().plan(Transaction((meta,))), None)
    journal = new_journal(disk, where, store_id, tuning)
    try:
        journal.make_first(payload)
    finally:
        journal.close()


def new_journal(disk: Disk, where: str, store_id: str, tuning: Tuning) -> Journal:
    """Prepare the reading or writing of a journal; opens nothing yet."""
    return Journal(
        disk,
        where,
        store_id,
        segment_bytes=tuning.segment_bytes,
        reserve_bytes=tuning.reserve_bytes,
    )


def load(disk: Disk, where: str, tuning: Tuning, *, upto: int | None = None) -> Loaded | None:
    """Read a store, up to a revision or as far as its commits are whole; None if there is none.

    Raises:
        CorruptRecord: It is damaged, of a newer format, or none of ours.
        FileNotFoundError: A file went away meanwhile.
        OSError: It cannot be read.
    """
    try:
        logs, states = list_numbered(disk, LOG), list_numbered(disk, STATE)
    except FileNotFoundError:
        return None
    if not logs:
        if states:
            raise CorruptRecord(
                f"{where}, {DIRECTORY}", expected="a journal", found="states only", hint=PLEA
            )
        return None
    last = disk.open(file_name(logs[-1], LOG))
    try:
        store_id = read_store_id(last, f"{where}, {file_name(logs[-1], LOG)}")
    finally:
        last.close()
    state = State(0, [], [])
    if states:
        state = read_state(disk, where, store_id, states[-1])
    table = Table(state.records, state.receipts, revision=state.revision)
    journal = new_journal(disk, where, store_id, tuning)
    try:
        journal.note_state(state.revision, state.size_bytes)
        _replay(journal, table, logs, where, upto)
        _check_meta(table, store_id, where)
        if upto is None:
            _check_followers(disk, journal.revision, where)
    except BaseException:
        journal.close()
        raise
    return Loaded(store_id, table, journal)


def _replay(journal: Journal, table: Table, logs: list[int], where: str, upto: int | None) -> None:
    base = table.revision
    if logs[0] > base + 1:
        raise CorruptRecord(
            f"{where}, {DIRECTORY}",
            expected=f"the commits from revision {base + 1} on",
            found=f"those from {logs[0]} on",
            hint=PLEA,
        )
    journal.open(logs[0])
    while True:
        for found in journal.read_on(upto):
            if found.revision > base:
                table.apply(*journal.decode(found))
        later = [first for first in logs if first > journal.segments[-1].first]
        if not later or (upto is not None and journal.revision >= upto):
            break
        if not journal.segments[-1].is_closed or later[0] > base + 1:
            raise CorruptRecord(
                f"{where}, {file_name(journal.segments[-1].first, LOG)}",
                expected=f"the commit of revision {journal.revision + 1}",
                found=f"a damaged frame before revision {later[0]}",
                hint=PLEA,
            )
        # What lies between was removed, and a crash has undone the removal of this.
        journal.open(later[0])
        journal.forget(later[0])
    if journal.revision < max(base, upto or 0):
        raise CorruptRecord(
            f"{where}, {file_name(journal.segments[-1].first, LOG)}",
            expected=f"the commits up to revision {max(base, upto or 0)}",
            found=f"none behind {journal.revision}",
            hint=PLEA,
        )


def _check_followers(disk: Disk, revision: int, where: str) -> None:
    """Raise if the record files know of later commits: then they were lost, and not torn."""
    followed = RecordFiles(disk).revision()
    if followed > revision:
        raise CorruptRecord(
            f"{where}, {DIRECTORY}",
            expected=f"the commits up to revision {followed}, which the record files follow",
            found=f"none behind {revision}",
            hint=PLEA,
        )


def _check_meta(table: Table, store_id: str, where: str) -> None:
    record = table.get(META_KEY)
    what = f"{where}, {META_KEY}"
    if record is None:
        raise CorruptRecord(what, expected="a record", found="nothing", hint=PLEA)
    try:
        meta = msgspec.json.decode(record.value, type=StoreMeta)
    except ValueError as error:
        raise CorruptRecord(what, expected="store_id and format", found=str(error)) from error
    if meta.format > FORMAT:
        raise CorruptRecord(
            what,
            expected=f"format {FORMAT} or older",
            found=f"format {meta.format}, written by a newer version of federlib",
            hint="upgrade federlib",
        )
    if meta.store_id != store_id:
        raise CorruptRecord(what, expected=f"store {store_id}", found=f"store {meta.store_id}")
