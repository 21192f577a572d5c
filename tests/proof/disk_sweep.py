"""Run a store on a simulated disk, and look at every disk that a crash may leave on the way.

One run of the workload serves all its crash points: before each operation on the disk the
sweep opens a second store on what a crash would leave there.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial

import attrs

from federlib.storage import Put, Transaction
from federlib.testing import DiskOperation, SimulatedDisk, every_choice, swarm_choice
from federlib.testing.disk import Choose
from proof.store_model import Expected, observe
from proof.witness import OpenStore, Witness, attempt, matching

__all__ = ["PROBE", "REOPEN", "Step", "Sweep", "Tally", "lose_all"]

REOPEN = "reopen"
Step = Transaction | str
PROBE = Transaction((Put("probe", b"p" * 700),), id="probe")


def lose_all(options: int) -> int:
    """Decide every doubt for the worst."""
    return options - 1


@attrs.define
class Tally:
    """What a sweep has looked at.

    Attributes:
        instants: Operations before which it looked.
        drawn: Disks that a crash there may leave.
        checked: Those of them that differ, or differ in what they may hold.
        deep: Those of them on which the store went on.
        second: Crashes while such a disk was opened again.
    """

    instants: int = 0
    drawn: int = 0
    checked: int = 0
    deep: int = 0
    second: int = 0

    @property
    def crashes(self) -> int:
        """How many crashes the store was opened after."""
        return self.checked + self.second


@attrs.define
class Sweep:
    """One workload and all that a crash may make of it.

    Attributes:
        open_store: Opens the store under test.
        seed: Of everything that is drawn.
        limit: Up to so many possibilities at one instant are all looked at; beyond, so many
            are drawn.
        deep_every: On one disk in so many the store also goes on, and crashes again while
            it is opened and after the next commit.
    """

    open_store: OpenStore
    seed: int = 0
    limit: int = 100
    deep_every: int = 10
    tally: Tally = attrs.field(factory=Tally)
    _witness: Witness = attrs.field(init=False)
    _at: Container[int] | None = None
    _failure: AssertionError | None = None
    _seen: set[bytes] = attrs.field(factory=set)
    _rng: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._witness = Witness(self.open_store)
        self._rng = random.Random(self.seed)

    def run(
        self, disk: SimulatedDisk, steps: Sequence[Step], *, at: Container[int] | None = None
    ) -> None:
        """Do the steps; after an error go on, and open the store again after the next.

        Args:
            disk: Empty; may have faults, until the steps are done.
            steps: What is done.
            at: Look before these operations; None for all. The end is always looked at.
        """
        self._witness = witness = Witness(self.open_store)
        self._at = at
        disk.on_operation = partial(self._remember, disk)
        store = witness.open(disk)
        has_failed = False
        for step in steps:
            self._raise_failure()
            if isinstance(step, Transaction) and store is not None:
                is_answered = witness.commit(store, step)
                if is_answered or not has_failed:
                    has_failed = not is_answered
                    continue
            if store is not None:
                store.close(1.0)
            store, has_failed = witness.open(disk), False
        disk.faults = ()
        if store is not None:
            store.close(1.0)
        self.look(disk, DiskOperation(disk.operations + 1, "sync", "the end"))
        self._raise_failure()
        disk.on_operation = None
        witness.open_surely(disk).close(1.0)

    def _remember(self, disk: SimulatedDisk, operation: DiskOperation) -> None:
        # Not raised here: the store under test would take it for an error of its disk.
        is_due = self._at is None or operation.number in self._at
        if is_due and self._failure is None:
            try:
                self.look(disk, operation)
            except AssertionError as failure:
                self._failure = failure

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def look(self, disk: SimulatedDisk, operation: DiskOperation) -> None:
        """Check the disks that a crash before this operation may leave."""
        self.tally.instants += 1
        allowed = self._witness.allowed()
        for doubts in self._choices(disk):
            left = disk.cut_power(doubts)
            self.tally.drawn += 1
            if self._is_new(left, allowed):
                self._explained(left, allowed, f"power cut before {operation}, {doubts.taken}")
        for part in _parts(operation):
            killed = disk.kill()
            part(killed)
            self.tally.drawn += 1
            self._explained(killed, allowed, f"kill at {operation}")

    def _choices(self, disk: SimulatedDisk) -> Iterator[_Doubts]:
        all_of_them = 0
        for choose in every_choice(limit=self.limit):
            yield _Doubts(choose)
            all_of_them += 1
        if all_of_them == self.limit:
            for _ in range(self.limit):
                yield _Doubts(swarm_choice(self._rng))

    def _is_new(self, left: SimulatedDisk, allowed: list[Expected]) -> bool:
        hashed = hashlib.blake2b(repr(sorted(left.contents().items())).encode())
        for held in allowed:
            hashed.update(held.digest)
        digest = hashed.digest()
        is_new = digest not in self._seen
        self._seen.add(digest)
        return is_new

    def _explained(self, left: SimulatedDisk, allowed: list[Expected], when: str) -> None:
        self.tally.checked += 1
        contents = left.contents()
        try:
            self._check(left, allowed)
        except Exception as error:
            sizes = {path: len(data) for path, data in contents.items()}
            raise AssertionError(f"{when}: {error!r}; files {sizes}") from error

    def _check(self, left: SimulatedDisk, allowed: list[Expected]) -> None:
        if self.tally.checked % self.deep_every:
            self._check_plainly(left, allowed)
        else:
            self._check_deeply(left, allowed)

    def _check_deeply(self, left: SimulatedDisk, allowed: list[Expected]) -> None:
        self.tally.deep += 1
        left.on_operation = partial(self._look_again, left, allowed)
        store = self.open_store(left)
        left.on_operation = None
        held = matching(observe(store, self._witness.ids), allowed)[0]
        assert not (problems := list(store.check())), problems
        # What was shown to a program is there for good.
        self._check_plainly(left.cut_power(lose_all), [held])
        assert store.commit(attempt(PROBE)) == held.answer(PROBE)
        self._check_plainly(left.cut_power(lose_all), [held.after(PROBE)])
        store.close(1.0)
        self._check_plainly(left.cut_power(swarm_choice(self._rng)), [held.after(PROBE)])

    def _look_again(
        self, left: SimulatedDisk, allowed: list[Expected], _operation: DiskOperation
    ) -> None:
        self.tally.second += 1
        self._check_plainly(left.cut_power(swarm_choice(self._rng)), allowed)

    def _check_plainly(self, left: SimulatedDisk, allowed: list[Expected]) -> None:
        store = self.open_store(left)
        matching(observe(store, {*self._witness.ids, "probe"}), allowed)
        store.close(1.0)


@attrs.define
class _Doubts:
    """Remembers what was decided, so that a failure can be repeated."""

    choose: Choose
    taken: list[int] = attrs.field(factory=list)

    def __call__(self, options: int) -> int:
        self.taken.append(self.choose(options))
        return self.taken[-1]


def _parts(operation: DiskOperation) -> list[Callable[[SimulatedDisk], None]]:
    """Say how far an operation may have come when the process was killed."""

    def append(size: int, disk: SimulatedDisk) -> None:
        disk.open(operation.path).append(operation.data[:size])

    def write(size: int, disk: SimulatedDisk) -> None:
        disk.open(operation.path).write(operation.offset, operation.data[:size])

    size = len(operation.data)
    sizes = {0, 8, size // 2, size} if size > 8 else {0, size}
    if operation.kind not in {"append", "write"}:
        return [lambda _disk: None]
    return [partial(append if operation.kind == "append" else write, n) for n in sorted(sizes)]
