"""Mistakes that could be made in the code of runs, to see whether the sweep of kills finds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import msgspec
import pytest

from federlib.dag import runlog, schedule
from federlib.dag.claims import ClaimBook, Effect
from federlib.dag.inbox import Draft
from federlib.dag.patience import create_surely
from federlib.dag.records import Finish, SnapshotHead, SnapshotPart, encode
from federlib.dag.runlog import RunLog, Seat
from federlib.dag.runstate import Life, Running, RunState
from federlib.storage import (
    AtRevision,
    Committed,
    Conflicted,
    Delete,
    Put,
    RecordStore,
    Transaction,
)

__all__ = ["BUGS", "Bug"]

Plant = Callable[[pytest.MonkeyPatch], None]


def old_epochs_are_accepted(patch: pytest.MonkeyPatch) -> None:
    def refusal(
        running: Running | None, life: Life, epoch: int, finish: Finish, present_epoch: int
    ) -> str:
        is_present = running is not None and running.attempt == finish.attempt
        return "" if is_present else "no such claim"

    patch.setattr(schedule, "_refusal", refusal)


def nothing_is_adopted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(schedule._Step, "adopt_or_lose", lambda self: None)


def appends_do_not_check_the_epoch(patch: pytest.MonkeyPatch) -> None:
    async def unfenced(
        store: RecordStore, transaction: Transaction, made: Put
    ) -> Committed | Conflicted:
        is_takeover = any(write.key.endswith("/epoch") for write in transaction.writes)
        kept = tuple(check for check in transaction.checks if not check.key.endswith("/epoch"))
        if not is_takeover:
            transaction = msgspec.structs.replace(transaction, checks=kept)
        return await create_surely(store, transaction, made)

    patch.setattr(runlog, "create_surely", unfenced)


def appends_are_not_looked_for(patch: pytest.MonkeyPatch) -> None:
    async def blind(
        store: RecordStore, transaction: Transaction, made: Put
    ) -> Committed | Conflicted:
        return await create_surely(store, transaction, Put(made.key, b""))

    patch.setattr(runlog, "create_surely", blind)


def finishes_are_not_cleared_away(patch: pytest.MonkeyPatch) -> None:
    append = RunLog.append

    async def keeping(
        self: RunLog, seat: Seat, draft: Draft, **fields: object
    ) -> Committed | Conflicted:
        return await append(self, seat, attrs.evolve(draft, settled=()), **fields)  # type: ignore[arg-type]

    patch.setattr(RunLog, "append", keeping)


def snapshots_forget_what_runs(patch: pytest.MonkeyPatch) -> None:
    whole = RunState.snapshot

    def without(self: RunState, seq: int) -> tuple[SnapshotHead, list[SnapshotPart]]:
        head, parts = whole(self, seq)
        return head, [msgspec.structs.replace(part, claims=()) for part in parts]

    patch.setattr(RunState, "snapshot", without)


def snapshots_are_named_before_they_are_written(patch: pytest.MonkeyPatch) -> None:
    async def hasty(self: RunLog, seat: Seat, state: RunState) -> None:
        seq = seat.next_seq - 1
        head, parts = state.snapshot(seq)
        fence = (AtRevision(self.keys.epoch, seat.epoch_revision),)
        named = Put(self.keys.snap_head, encode(head))
        made = await create_surely(self.store, Transaction((named,), fence), named)
        assert isinstance(made, Committed)
        seat.snap_revision = made.revision
        for number, part in enumerate(parts):
            await self._fenced((Put(self.keys.snap(seq, number), encode(part)),), fence)
        await self._cut(self.keys.logs, self.keys.log(seq), fence)

    patch.setattr(RunLog, "snapshot", hasty)


def workers_forget_what_they_finished(patch: pytest.MonkeyPatch) -> None:
    present = ClaimBook._present

    def forgetting(self: ClaimBook, key: tuple[int, int]) -> tuple[Effect, ...]:
        effects = present(self, key)
        del self._finished[key]
        return effects

    patch.setattr(ClaimBook, "_present", forgetting)


def the_dead_keep_their_claims(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(schedule._Step, "lose_dead", lambda self: None)
    patch.setattr(schedule._Step, "_lose", lambda self, running, reason: None)


def finishes_are_cleared_away_first(patch: pytest.MonkeyPatch) -> None:
    append = RunLog.append

    async def in_two_steps(
        self: RunLog, seat: Seat, draft: Draft, **fields: object
    ) -> Committed | Conflicted:
        if draft.settled:
            await self.store.commit(Transaction(tuple(map(Delete, draft.settled))))
        return await append(self, seat, draft, **fields)  # type: ignore[arg-type]

    patch.setattr(RunLog, "append", in_two_steps)


@attrs.frozen
class Bug:
    """A mistake.

    Attributes:
        plant: Makes it.
        cast: In which fleet it shows.
        needs_death: Whether a run in which nobody dies shows nothing of it.
    """

    plant: Plant
    cast: str = "leads"
    needs_death: bool = True


BUGS: Mapping[str, Bug] = {
    "old epochs are accepted": Bug(old_epochs_are_accepted),
    "nothing is adopted": Bug(nothing_is_adopted),
    "appends do not check the epoch": Bug(appends_do_not_check_the_epoch),
    "appends are not looked for": Bug(appends_are_not_looked_for),
    "snapshots are named first": Bug(
        snapshots_are_named_before_they_are_written, "leads and works alone"
    ),
    "the dead keep their claims": Bug(the_dead_keep_their_claims, "works"),
    "finishes are not cleared away": Bug(finishes_are_not_cleared_away, needs_death=False),
    "finishes are cleared away first": Bug(finishes_are_cleared_away_first, needs_death=False),
    "snapshots forget what runs": Bug(snapshots_forget_what_runs, needs_death=False),
    "workers forget what they finished": Bug(workers_forget_what_they_finished, needs_death=False),
}
