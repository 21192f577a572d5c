"""A leader and the worker beside it: what they hand over, and what is left when one goes."""

from __future__ import annotations

import msgspec
import pytest

from federlib.dag.claims import ClaimBook, Present, Start
from federlib.dag.handover import Handout, Handover
from federlib.dag.records import MAX_RESULT_BYTES, AskRecord, AssignRecord, Claim
from federlib.dag.transitions import Claimed, Ended, Refused, Succeeded

from .run_lab import CHAIN, Desk, done, finish, live, new_state

LIFE = ("w", 1, 1)


def ignore() -> None:
    """Hear nothing."""


def beside(tasks: dict[str, list[str]], *, slots: int = 4) -> Desk:
    desk = Desk(new_state(tasks))
    desk.inbox.workers = {"w": live(slots=slots)}
    desk.inbox.beside = LIFE
    return desk


def wide(size: int) -> dict[str, list[str]]:
    return {f"t{n}": [] for n in range(size)}


def claims_of(told: AssignRecord | Handout | None) -> list[tuple[int, int, int]]:
    assert told is not None
    return [(claim.node, claim.attempt, claim.epoch) for claim in told.claims]


def test_a_finish_goes_to_a_leader_of_its_epoch_and_to_no_other() -> None:
    meeting = Handover()
    heard: list[str] = []
    assert not meeting.present(finish(0), 1)
    meeting.open(2, lambda: heard.append("look"))
    assert not meeting.present(finish(0), 1)
    assert heard == []
    assert meeting.present(finish(0), 2)
    assert (list(meeting.finishes), heard) == ([finish(0)], ["look"])
    meeting.close()
    assert not meeting.present(finish(0), 2)


def test_a_leader_is_woken_once_for_what_it_has_not_taken() -> None:
    meeting, heard = Handover(), list[str]()
    meeting.enter(LIFE, lambda told: None)
    meeting.open(1, lambda: heard.append("look"))
    for looks in (1, 2):
        for node in range(3):
            assert meeting.present(finish(node), 1)
        assert len(heard) == looks
        assert len(meeting.finishes) == 3
        meeting.finishes.clear()
    # Whatever is left of one that went away must not keep the next one's from being heard of.
    meeting.present(finish(0), 1)
    meeting.leave()
    meeting.present(finish(1), 1)
    meeting.enter(LIFE, lambda told: None)
    before = len(heard)
    assert meeting.present(finish(2), 1)
    assert (list(meeting.finishes), len(heard)) == ([finish(2)], before + 1)


def test_what_the_leader_has_not_taken_is_gone_with_either_of_the_two() -> None:
    meeting = Handover()
    meeting.enter(LIFE, lambda told: None)
    for end in (meeting.close, meeting.leave):
        meeting.open(1, ignore)
        meeting.present(finish(0), 1)
        end()
        assert not meeting.finishes
    assert meeting.life is None
    meeting.give(Handout(1, (), ()), LIFE)


def test_what_was_drafted_for_an_earlier_life_is_not_told_to_the_next() -> None:
    meeting, told = Handover(), list[AssignRecord | Handout]()
    meeting.enter(LIFE, told.append)
    meeting.leave()
    later = (LIFE[0], LIFE[1], LIFE[2] + 1)
    meeting.enter(later, told.append)
    meeting.give(Handout(1, (), ()), LIFE)
    assert told == []
    meeting.give(Handout(1, (), ()), later)
    assert told == [Handout(1, (), ())]


def test_one_append_carries_the_end_of_a_task_and_the_next_claim_and_no_other_record() -> None:
    desk = beside({name: list(needs) for name, needs in CHAIN.items()})
    first = desk.take_over(1)
    assert claims_of(first.handout) == [(0, 1, 1)]
    desk.inbox.finishes.append(finish(0))
    draft = desk.decide()
    assert draft is not None
    assert [type(t) for t in draft.batch.t] == [Succeeded, Claimed]
    assert (draft.assigns, draft.settled) == ({}, ())
    assert isinstance(draft.handout, Handout)
    assert draft.handout.settled == ((0, 1),)
    assert claims_of(draft.handout) == [(1, 1, 1)]
    assert desk.decide() is None


def test_other_workers_have_their_records_while_one_is_beside() -> None:
    desk = beside(wide(5), slots=2)
    desk.inbox.workers["v"] = live(slots=2)
    draft = desk.take_over(1)
    assert set(draft.assigns) == {"v"}
    assert len(draft.assigns["v"].claims) == 2
    assert len(claims_of(draft.handout)) == 2
    desk.inbox.dones["k"] = done("v", 1, finish(draft.assigns["v"].claims[0].node))
    after = desk.decide()
    assert after is not None
    assert set(after.assigns) == {"v"}
    assert after.handout is None


def test_a_finish_that_is_no_claim_any_more_is_refused_and_told() -> None:
    desk = beside(wide(1))
    desk.take_over(1)
    desk.inbox.finishes.extend([finish(0), finish(0), finish(0, 2)])
    draft = desk.decide()
    assert draft is not None
    assert [type(t) for t in draft.batch.t] == [Succeeded, Refused, Refused, Ended]
    assert isinstance(draft.handout, Handout)
    assert draft.handout.settled == ((0, 1), (0, 1), (0, 2))


def test_a_new_leader_tells_the_worker_beside_it_every_claim_it_adopts() -> None:
    desk = beside(wide(3), slots=3)
    desk.take_over(1)
    again = desk.take_over(2)
    assert isinstance(again.handout, AssignRecord)
    assert sorted(claims_of(again.handout)) == [(0, 1, 2), (1, 1, 2), (2, 1, 2)]
    assert (again.handout.incarnation, again.handout.token) == LIFE[1:]
    assert again.assigns == {}


def test_a_worker_that_came_back_is_beside_with_empty_hands_and_its_old_claims_are_lost() -> None:
    desk = beside(wide(1), slots=1)
    desk.take_over(1)
    desk.inbox.workers = {"w": live(token=2, slots=1)}
    desk.inbox.beside = ("w", 1, 2)
    desk.inbox.finishes.append(finish(0))
    draft = desk.decide()
    assert draft is not None
    assert [type(t).__name__ for t in draft.batch.t] == ["Refused", "Lost", "Claimed"]
    assert isinstance(draft.handout, AssignRecord)
    assert draft.handout.token == 2
    assert claims_of(draft.handout) == [(0, 2, 1)]


def test_a_later_life_elsewhere_has_a_record_and_the_one_beside_is_told_to_stop() -> None:
    desk = beside(wide(2), slots=1)
    desk.take_over(1)
    desk.inbox.workers = {"w": live(token=7, slots=1)}
    drafts = desk.settle()
    assert [type(t).__name__ for d in drafts for t in d.batch.t] == ["Lost", "Claimed"]
    assert isinstance(drafts[0].handout, AssignRecord)
    assert (drafts[0].handout.token, drafts[0].handout.claims) == (1, ())
    assert drafts[-1].assigns["w"].token == 7
    assert len(drafts[-1].assigns["w"].claims) == 1


def test_a_cancelled_run_takes_the_claims_of_the_worker_beside_the_leader_too() -> None:
    desk = beside(wide(2), slots=2)
    desk.take_over(1)
    desk.inbox.asks["a"] = AskRecord(verb="cancel", by="me", at_ns=1)
    draft = desk.decide()
    assert draft is not None
    assert isinstance(draft.handout, AssignRecord)
    assert draft.handout.claims == ()
    assert draft.assigns == {}
    desk.inbox.finishes.append(finish(0))
    late = desk.decide()
    assert late is not None
    assert [type(t) for t in late.batch.t] == [Refused]


def test_finishes_with_large_results_are_taken_as_far_as_a_record_goes() -> None:
    desk = beside(wide(20), slots=20)
    desk.take_over(1)
    large = msgspec.Raw(b'"' + b"x" * (MAX_RESULT_BYTES - 2) + b'"')
    desk.inbox.finishes.extend(finish(node, result=large) for node in range(20))
    drafts = desk.settle()
    assert len(drafts) > 1
    assert desk.state.outcome == "success"
    assert not desk.inbox.finishes


@pytest.mark.parametrize("count", [1, 3_000])
def test_any_number_of_finishes_at_once_is_settled_in_order(count: int) -> None:
    desk = beside(wide(count), slots=1_000)
    desk.take_over(1)
    while desk.state.claims:
        desk.inbox.finishes.extend(finish(node) for node in desk.state.claims)
        desk.settle()
    assert [node for node, _, _ in desk.state.accepted()] == list(range(count))


def test_the_book_starts_and_forgets_what_it_is_handed() -> None:
    book = ClaimBook()
    first, second = Claim(0, 1, 3), Claim(1, 1, 3)
    assert book.hand(Handout(3, (first,), ())) == (Start(first),)
    assert book.finish(finish(0)) == (Present(finish(0), 3),)
    assert book.hand(Handout(3, (second,), ((0, 1),))) == (Start(second),)
    assert book.running == 1
    # What was settled is no finish of ours any more, so a takeover does not bring it back.
    adopted = AssignRecord(epoch=4, incarnation=1, token=1, claims=(Claim(1, 1, 4),))
    assert book.assign(adopted) == ()


def test_an_older_record_does_not_take_back_what_was_handed_over() -> None:
    book = ClaimBook()
    book.hand(Handout(3, (Claim(0, 1, 3),), ()))
    assert book.assign(AssignRecord(epoch=2, incarnation=1, token=1, claims=())) == ()
    assert book.running == 1


def test_a_settled_finish_that_was_revoked_meanwhile_is_no_surprise() -> None:
    book = ClaimBook()
    book.hand(Handout(3, (Claim(0, 1, 3),), ()))
    book.finish(finish(0))
    book.assign(AssignRecord(epoch=3, incarnation=1, token=1, claims=()))
    assert book.hand(Handout(3, (), ((0, 1),))) == ()
    assert book.finish(finish(0)) == ()
