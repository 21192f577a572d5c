"""Check a store: all that its driver keeps, and every record as what its key says it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import attrs
import msgspec

from federlib.dag.runlog import RunLog
from federlib.errors import CorruptRecord, InvalidInput
from federlib.storage import (
    META_KEY,
    Checkable,
    Record,
    RecordStore,
    StoreMeta,
    StoreProblem,
    unsegment,
)
from federlib.storage.snapshot import OnProgress
from federlib.upkeep.kinds import read_kind

__all__ = ["MAX_PROBLEMS", "StoreReport", "check_store"]

MAX_PROBLEMS = 1_000
"""Where one thing is broken a thousand times, the next thousand lines help nobody."""


@attrs.frozen(kw_only=True)
class StoreReport:
    """What was found in a store.

    Attributes:
        store_id: Of the store.
        records: How many records were read.
        kinds: How many of each kind.
        foreign: How many records of others lie below each first segment; nobody here
            knows what they should be.
        problems: What is wrong; none is well. At most `MAX_PROBLEMS`, and one more that
            says so.
        is_driver_checked: Whether the driver could verify what it keeps.
    """

    store_id: str
    records: int
    kinds: Mapping[str, int]
    foreign: Mapping[str, int]
    problems: tuple[StoreProblem, ...]
    is_driver_checked: bool


async def check_store(
    store: RecordStore, *, on_progress: OnProgress = lambda _records: None
) -> StoreReport:
    """Verify everything in a store, and repair nothing; others may go on working.

    The driver verifies what it keeps, if it can. Then each record must decode as what its
    key says, a command's records must belong to a command, and the log of each run must fold.

    Args:
        store: Which one.
        on_progress: Told how many records were read.
    Raises:
        Unavailable: The store cannot be read.
        CorruptRecord: The store is no longer the one that was opened.
    Source: issue 3, `check`.
    """
    check = _Check(store)
    found = [*await store.check()] if isinstance(store, Checkable) else []
    async with aclosing(check.run(on_progress)) as problems:
        async for problem in problems:
            found.append(problem)
            if len(found) > MAX_PROBLEMS:
                found[-1] = StoreProblem("more problems", "none", f"over {MAX_PROBLEMS}")
                break
    return StoreReport(
        store_id=store.store_id,
        records=check.records,
        kinds=dict(sorted(check.kinds.items())),
        foreign=dict(sorted(check.foreign.items())),
        problems=tuple(found),
        is_driver_checked=isinstance(store, Checkable),
    )


class _Check:
    """One pass over the records of a store."""

    def __init__(self, store: RecordStore) -> None:
        self.records = 0
        self.kinds: Counter[str] = Counter()
        self.foreign: Counter[str] = Counter()
        self._store = store
        self._runs: list[str] = []
        # The command whose records are being read, one that is not issued so far.
        self._loose: str | None = None
        self._issued = ""

    async def run(self, on_progress: OnProgress) -> AsyncGenerator[StoreProblem, None]:
        """Read every record, then fold every run."""
        after: str | None = None
        while True:
            page = await self._store.scan("", after=after)
            for record in page.records:
                self.records += 1
                for problem in self._read(record):
                    yield problem
            on_progress(self.records)
            if page.next is None:
                break
            after = page.next
        for problem in self._end_command(""):
            yield problem
        for run_id in self._runs:
            try:
                await RunLog(self._store, run_id).fold_whole()
            except (CorruptRecord, InvalidInput) as error:
                yield _as_problem(f"run {run_id!r}", error)

    def _read(self, record: Record) -> list[StoreProblem]:
        if record.key == META_KEY:
            return self._read_meta(record)
        problems = self._end_command(record.key)
        try:
            kind = read_kind(record)
        except CorruptRecord as error:
            return [*problems, _as_problem(record.key, error)]
        if kind is None:
            self.foreign[record.key.partition("/")[0]] += 1
            return problems
        self.kinds[kind] += 1
        if kind.startswith("command "):
            self._see_command(record.key, kind)
        elif kind == "run":
            self._runs.append(unsegment(record.key.split("/")[1]))
        return problems

    def _see_command(self, key: str, kind: str) -> None:
        """Note whether the command itself is among its records.

        It was written before all others and is never removed, so that no page can be
        without it unless it is gone.
        """
        parent = key.rpartition("/")[0]
        if kind == "command issued":
            self._issued = parent
            self._loose = None
        elif parent != self._issued:
            self._loose = parent

    def _end_command(self, key: str) -> list[StoreProblem]:
        """Say that a command was not among its records, once they are through."""
        loose = self._loose
        if loose is None or key.rpartition("/")[0] == loose:
            return []
        self._loose = None
        return [StoreProblem(f"{loose}/issued", "the command itself", "nothing")]

    def _read_meta(self, record: Record) -> list[StoreProblem]:
        try:
            found = msgspec.json.decode(record.value, type=StoreMeta).store_id
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            return [StoreProblem(META_KEY, "store_id and format", str(error))]
        self.kinds["store"] += 1
        if found == self._store.store_id:
            return []
        return [StoreProblem(META_KEY, f"store_id {self._store.store_id}", found)]


def _as_problem(what: str, error: CorruptRecord | InvalidInput) -> StoreProblem:
    if isinstance(error, InvalidInput):
        return StoreProblem(what, error.expected, error.found)
    # A fold names the record in it that does not fit.
    where = what if error.where.startswith(what) else f"{what}: {error.where}"
    tail = f" ({error.hint})" if error.hint else ""
    return StoreProblem(where, error.expected, error.found + tail)
