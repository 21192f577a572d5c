"""What the witness of a fleet keeps, and what it rejects that no audit of the store sees."""

from __future__ import annotations

from typing import Any

import pytest

from federlib.lease import queue
from federlib.storage import Put, Transaction
from federlib.testing.sim import PRESETS, Fleet, SimulatedStore, play, preset, shrunk


@pytest.mark.parametrize("name", [None, *PRESETS])
def test_every_answer_of_a_sound_fleet_has_its_place(name: str | None) -> None:
    schedule = None if name is None else preset(name)
    played = play(3, schedule, check_history=True)
    assert played.violations == ()
    assert played.undecided == 0
    assert played.operations > 1_000


def test_whoever_watches_changes_nothing() -> None:
    seen, unseen = play(4, check_history=True), play(4)
    assert seen.digest == unseen.digest
    assert unseen.operations == 0


def test_a_call_of_a_killed_process_is_of_unknown_outcome() -> None:
    with Fleet(1, has_witness=True) as fleet:
        witness = fleet.witness
        assert witness is not None
        fleet.run(5)
        node = fleet.nodes["n1"]
        put = fleet.store_of(node).commit(Transaction((Put("mine", b"1"),)))
        node.spawn("put", put)
        fleet.run(0.000_05)
        node.kill()
        fleet.run(1)
        (found,) = [one for one in witness.recorder.history() if one.key == "mine"]
        assert (found.process, found.outcome) == ("n1/1", "info")
        assert fleet.store.look("mine") is not None, "it took effect all the same"
        assert witness.judge().faults == ()


def test_what_is_accepted_under_a_token_is_kept() -> None:
    with Fleet(1, has_witness=True) as fleet:
        fleet.run(20)
        assert fleet.witness is not None
        accepted = [one for one in fleet.witness.recorder.history() if one.verb == "accept"]
        issued, calls = fleet.ledger.issued_count, len(fleet.ledger.calls)
        assert calls <= len(accepted) - issued <= calls + 1
        names = {reign.epoch: reign.leader for reign in fleet.ledger.reigns}
        assert {one.process for one in accepted} <= set(names.values())


# Broken stores: what they keep is right, and what they say is not.


def test_a_read_from_a_copy_that_lags_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = SimulatedStore._do
    copies: dict[str, Any] = {}

    def lag(self: SimulatedStore, request: Any) -> object:
        answer = kept(self, request)
        if request.verb != "get":
            return answer
        late, copies[request.argument] = copies.get(request.argument, answer), answer
        return late

    monkeypatch.setattr(SimulatedStore, "_do", lag)
    copies.clear()
    assert play(1).violations == (), "the audit sees nothing of it"
    copies.clear()
    found = play(1, check_history=True).violations
    assert found
    assert {text.partition(":")[0] for text in found} == {"answers_have_an_order"}
    assert "has no place: n" in found[0]


def test_a_commit_that_was_only_promised_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = SimulatedStore._apply
    count = 0

    def forget(self: SimulatedStore, transaction: Transaction, digest: bytes) -> int:
        nonlocal count
        count += any("/wait/" in write.key for write in transaction.writes)
        if count % 100 == 99:
            count += 1
            return self.revision + 1
        return kept(self, transaction, digest)

    monkeypatch.setattr(SimulatedStore, "_apply", forget)
    found = play(2, check_history=True).violations
    assert any(text.startswith("answers_have_an_order: ") for text in found)


def test_leases_are_judged_by_what_was_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = queue.next_token
    monkeypatch.setattr(queue, "next_token", lambda view: max(1, kept(view) - 1))
    found = play(1, preset("leader_kill"), check_history=True)
    assert any(text.startswith("leases_are_safe/token_rises: ") for text in found.violations)
    smaller = shrunk(found)
    assert smaller.operations > 0
    assert smaller.violations
