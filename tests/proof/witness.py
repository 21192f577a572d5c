"""Stands beside a store and knows, after each answer, what the store may hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from federlib.errors import OutcomeUnknown, Unavailable
from federlib.storage import Transaction
from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.testing import ProcessEnded, SimulatedDisk
from proof.store_model import Expected, Found, Store, observe

__all__ = ["OpenStore", "Witness", "attempt", "matching"]

OpenStore = Callable[[SimulatedDisk], Store]
NOW_NS = 1_700_000_000_000_000_000


def attempt(transaction: Transaction) -> Attempt:
    """Ask for a commit, at a time that is always the same."""
    return Attempt(transaction, now_ns=NOW_NS)


def matching(found: Found, allowed: Iterable[Expected]) -> list[Expected]:
    """Return which of them it is that a store shows; it must be one."""
    same = [held for held in allowed if held.is_found(found)]
    assert same, f"opened again: found {_told(found)}, allowed {[_told(held) for held in allowed]}"
    return same


def _told(held: Expected | Found) -> str:
    return f"revision {held.revision}, receipts {held.receipts}, {len(held.records)} records"


class Witness:
    """Drives one store through commits, errors and openings.

    Attributes:
        possible: What the store may hold, by all that it has answered.
        ids: Every transaction id that was used.
    """

    def __init__(self, open_store: OpenStore) -> None:
        self._open_store = open_store
        fresh = open_store(SimulatedDisk())
        self.possible = [Expected.fresh(observe(fresh, ()))]
        fresh.close(1.0)
        self.ids: set[str] = set()
        self._in_flight: Transaction | None = None

    def allowed(self) -> list[Expected]:
        """Return what a store may hold that is opened just now."""
        held = list(self.possible)
        if self._in_flight is not None:
            after = (one.after(self._in_flight) for one in self.possible)
            held += [one for one in after if one not in held]
        return held

    def open_surely(self, disk: SimulatedDisk) -> Store:
        """Open it, and see which of the possibilities it is."""
        store = self._open_store(disk)
        self.possible = matching(observe(store, self.ids), self.possible)
        return store

    def open(self, disk: SimulatedDisk) -> Store | None:
        """Open it, or return None where the disk has a fault and the store says so."""
        try:
            return self.open_surely(disk)
        except Unavailable:
            assert disk.faults, "a store that cannot be opened, on a disk without a fault"
            return None

    def commit(self, store: Store, transaction: Transaction) -> bool:
        """Commit, and say whether there was an answer."""
        if transaction.id is not None:
            self.ids.add(transaction.id)
        self._in_flight = transaction
        try:
            answer = store.commit(attempt(transaction))
        except OutcomeUnknown:
            self.possible = self.allowed()
            return False
        except ProcessEnded:
            self.possible = self.allowed()
            raise
        except Unavailable:
            return False
        else:
            told = [held for held in self.possible if held.answer(transaction) == answer]
            assert told, f"{answer} is no answer of {[_told(held) for held in self.possible]}"
            self.possible = [held.after(transaction) for held in told]
            return True
        finally:
            self._in_flight = None
