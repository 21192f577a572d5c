"""The state of a run: which transitions are legal, and what a snapshot keeps."""

from __future__ import annotations

import msgspec
import pytest

from federlib.dag.records import SnapshotHead, SnapshotPart, decode, encode
from federlib.dag.runstate import RunState
from federlib.dag.transitions import (
    Adopted,
    Cancelled,
    Claimed,
    Ended,
    Epoch,
    Failed,
    LogBatch,
    Lost,
    Refused,
    Resumed,
    Retried,
    Revoked,
    Succeeded,
    Transition,
)
from federlib.errors import CorruptRecord
from federlib.skewclock import HlcTimestamp
from federlib.storage.limits import MAX_VALUE_BYTES

from .run_lab import CHAIN, claim_all, new_state, stored, view

LIFE = ("w", 1, 1)


def apply(state: RunState, *transitions: Transition) -> RunState:
    for transition in transitions:
        state.apply(transition, seq=7, at_ns=1, workers=(LIFE,))
    return state


def running() -> RunState:
    """A chain whose first task runs as attempt 1 under epoch 1."""
    state = new_state(CHAIN)
    claim_all(state)
    return state


LEGAL: list[Transition] = [
    Epoch(2, "l", 0),
    Succeeded(0, 1),
    Succeeded(0, 1, 1, 2**31 - 1),
    Failed(0, 1, "no", None),
    Failed(0, 1, "no", 5),
    Lost(0, 1, "gone", None),
    Lost(0, 1, "gone", 5),
    Revoked(0, 1),
    Refused(99, 1, 1, "no such claim"),
    Cancelled("me"),
]

ILLEGAL: list[Transition] = [
    Epoch(1, "l", 0),
    Epoch(0, "l", 0),
    Claimed(0, 2, 0),
    Claimed(1, 1, 0),
    Claimed(-1, 1, 0),
    Claimed(3, 1, 0),
    Claimed(0, 1, 0),
    Succeeded(0, 2),
    Succeeded(1, 1),
    Succeeded(-3, 1),
    Succeeded(0, 1, 0, -1),
    Succeeded(0, 1, 0, 2**31),
    Failed(0, 0, "no", None),
    Lost(2, 1, "gone", 5),
    Revoked(0, 2),
    Adopted(0, 1, 1),
    Retried(0),
    Resumed("me"),
    Ended("success"),
    Ended("failed"),
]


@pytest.mark.parametrize("transition", LEGAL, ids=repr)
def test_a_legal_transition_is_taken_in_and_counted(transition: Transition) -> None:
    state = running()
    before = state.transitions
    assert apply(state, transition).transitions == before + 1


@pytest.mark.parametrize("transition", ILLEGAL, ids=repr)
def test_an_illegal_transition_is_corrupt_and_changes_nothing(transition: Transition) -> None:
    state, untouched = running(), running()
    with pytest.raises(CorruptRecord, match="legal here"):
        apply(state, transition)
    assert view(state) == view(untouched)


@pytest.mark.parametrize("worker", [-1, 1])
def test_a_claim_for_a_worker_that_is_not_in_the_table_is_corrupt(worker: int) -> None:
    state = apply(new_state(CHAIN), Epoch(1, "l", 0))
    with pytest.raises(CorruptRecord):
        apply(state, Claimed(0, 1, worker))


def test_nothing_is_claimed_in_a_run_that_has_ended() -> None:
    state = apply(running(), Cancelled("me"))
    for illegal in (Claimed(0, 2, 0), Cancelled("me"), Ended("success")):
        with pytest.raises(CorruptRecord):
            apply(state, illegal)
    apply(state, Resumed("me"), Claimed(0, 2, 0))
    assert state.claims[0].attempt == 2


def test_a_claim_is_adopted_once_and_from_the_epoch_it_had() -> None:
    state = apply(running(), Epoch(2, "l", 0))
    with pytest.raises(CorruptRecord):
        apply(state, Adopted(0, 1, 2))
    apply(state, Adopted(0, 1, 1))
    assert (state.claims[0].epoch, state.claims_of_older_epochs()) == (2, [])
    with pytest.raises(CorruptRecord):
        apply(state, Adopted(0, 1, 2))


def test_a_log_record_of_another_epoch_than_its_leaders_is_corrupt() -> None:
    state = running()
    for wrong in (0, 2):
        with pytest.raises(CorruptRecord, match="epoch"):
            state.apply_batch(LogBatch(epoch=wrong, at_ns=1, t=(Refused(0, 1, 1, ""),)), seq=2)
    state.apply_batch(LogBatch(epoch=2, at_ns=1, t=(Epoch(2, "l", 0),)), seq=2)


def test_only_failures_count_against_retries() -> None:
    state = apply(running(), Lost(0, 1, "gone", 0), Claimed(0, 2, 0))
    apply(state, Failed(0, 2, "no", 0), Claimed(0, 3, 0), Revoked(0, 3), Claimed(0, 4, 0))
    assert (state.attempts(0), state.losses(0), state.failures(0)) == (4, 1, 1)
    apply(state, Failed(0, 4, "no", None), Retried(0))
    assert (state.attempts(0), state.losses(0), state.failures(0)) == (4, 0, 0)


def through_bytes(state: RunState) -> RunState:
    head, parts = state.snapshot(9)
    sizes = [len(encode(part)) for part in (head, *parts)]
    assert max(sizes) <= MAX_VALUE_BYTES
    again = RunState(state.plan, state.record)
    again.restore(
        decode(SnapshotHead, stored("h", encode(head))),
        [decode(SnapshotPart, stored("p", encode(part))) for part in parts],
    )
    return again


def test_a_snapshot_keeps_everything_that_a_leader_needs() -> None:
    tasks = {f"t{n}": ([] if n < 6 else [f"t{n - 6}"]) for n in range(12)}
    state = new_state(tasks)
    claim_all(state)
    apply(
        state,
        Succeeded(0, 1, 1, 250),
        Failed(1, 1, "no", None),
        Failed(2, 1, "later", 10**18),
        Lost(3, 1, "gone", 5),
        Revoked(4, 1),
        Epoch(2, "m", 3),
        Refused(0, 1, 1, "old"),
    )
    again = through_bytes(state)
    assert view(again) == view(state)
    assert again.next_retry_ns() == state.next_retry_ns() == 5
    assert again.claims_of_older_epochs() == state.claims_of_older_epochs() != []
    apply(again, Adopted(5, 1, 1), Succeeded(5, 1))
    assert again.accepted()[-1] == (5, 1, 2)


def test_parts_of_a_large_snapshot_keep_the_stores_limits() -> None:
    state = new_state({f"t{n}": [] for n in range(30_000)})
    made = tuple((f"{'w' * 190}{n}", 1, 1) for n in range(1_000))
    state.apply(Epoch(1, "l" * 200, 0), seq=1, at_ns=1, workers=())
    for n in range(30_000):
        state.apply(Claimed(n, 1, n % 1_000), seq=1, at_ns=1, workers=made)
    for n in range(15_000):
        reason = "\x01" * 300 if n % 10 == 0 else "no"
        state.apply(Failed(n, 1, reason, 10**18 + n), seq=1, at_ns=1, workers=())
    for n in range(15_000, 22_000):
        state.apply(Succeeded(n, 1), seq=1, at_ns=1, workers=())
    again = through_bytes(state)
    assert again.claims == state.claims
    assert again.counts() == state.counts()
    assert again.next_retry_ns() == state.next_retry_ns()


@pytest.mark.parametrize(
    "spoil",
    [
        {"states": b""},
        {"attempts": b"xyz"},
        {"forgiven": b""},
        {"accepted": b"12345678"},
        {"claims": ((99, 1, 1, "w", 1, 1),)},
        {"claims": ((2, 1, 1, "w", 1, 1),)},
        {"delayed": ((0, 1),)},
        {"delayed": ((-1, 1),)},
    ],
    ids=repr,
)
def test_a_snapshot_that_does_not_fit_is_corrupt(spoil: dict[str, object]) -> None:
    head, parts = running().snapshot(9)
    (place,) = [n for n, part in enumerate(parts) if part.states]
    parts[place] = msgspec.structs.replace(parts[place], **spoil)
    with pytest.raises(CorruptRecord, match="snap"):
        new_state(CHAIN).restore(head, parts)


def test_the_latest_timestamp_of_the_log_outlives_a_snapshot() -> None:
    state = new_state(CHAIN)
    for seq, hlc in enumerate((HlcTimestamp(5), None, HlcTimestamp(9), HlcTimestamp(7))):
        epoch = Epoch(seq + 1, "leader", 0)
        state.apply_batch(LogBatch(epoch=seq + 1, at_ns=1, t=(epoch,), hlc=hlc), seq=seq + 1)
    assert state.last_hlc == 9
    head, parts = state.snapshot(4)
    again = new_state(CHAIN)
    again.restore(decode(SnapshotHead, stored("head", encode(head))), parts)
    assert again.last_hlc == 9
