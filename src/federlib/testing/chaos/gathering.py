"""Gathering what a run has left: in its store, and in the files of its processes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

from federlib.fencing.journal import command_groups, seen_in
from federlib.fencing.records import scope_prefix
from federlib.storage import Checkable, RecordStore
from federlib.testing.chaos.evidence import Fate
from federlib.testing.chaos.judging import settled
from federlib.testing.chaos.life import history_name
from federlib.testing.history import History

__all__ = ["find_damage", "read_fates", "read_histories", "settle"]


async def read_fates(store: RecordStore, election: str) -> tuple[Fate, ...]:
    """Read what the store says of each command of an election."""
    found: list[Fate] = []
    async with aclosing(command_groups(store, scope_prefix(election))) as groups:
        async for command_id, records in groups:
            at = {record.key.rpartition("/")[2]: record.created for record in records}
            seen = seen_in(records)
            if seen.issued is not None:
                found.append(
                    Fate(
                        id=command_id,
                        epoch=seen.issued.leader_epoch,
                        issued=at["issued"],
                        started=at.get("started"),
                        ended=at.get("outcome"),
                        status=None if seen.outcome is None else seen.outcome.status,
                    )
                )
    return tuple(found)


def read_histories(directory: Path, lives: Mapping[str, int]) -> list[History]:
    """Read what each life of each process has recorded; one that ended early has nothing.

    Args:
        directory: Where the histories are.
        lives: How many each process has had.
    """
    found: list[History] = []
    for who, number in lives.items():
        for life in range(1, number + 1):
            path = directory / history_name(who, life)
            if path.exists():
                with path.open("rb") as lines:
                    found.append(History.from_lines(lines, drop_torn_end=True))
    return found


async def settle(store: RecordStore, history: History, *, end: int) -> History:
    """Settle commits of unknown outcome by the store's receipts; nothing is under way any more."""
    unknown = {
        str(one.arguments[1])
        for one in history
        if one.verb == "commit" and one.outcome == "info" and one.arguments[1] is not None
    }
    outcomes = {name: await store.outcome(name) for name in sorted(unknown)}
    return settled(history, outcomes, end=end)


async def find_damage(store: RecordStore) -> list[str]:
    """Have a store verify all that it keeps, where it can; say what is wrong."""
    if not isinstance(store, Checkable):
        return []
    return [
        f"the_store_is_sound: {problem.what}: expected {problem.expected}, found {problem.found}"
        for problem in await store.check()
    ]
