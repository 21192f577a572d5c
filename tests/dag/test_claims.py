"""What a worker does about its claims."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from federlib.dag.claims import Acknowledged, ClaimBook, Effect, Present, Start, Stop
from federlib.dag.records import AssignRecord, Claim, Finish


def assigned(epoch: int, *claims: tuple[int, int]) -> AssignRecord:
    return AssignRecord(
        epoch=epoch, incarnation=1, token=1, claims=tuple(Claim(n, a, epoch) for n, a in claims)
    )


def finish(node: int, attempt: int = 1) -> Finish:
    return Finish(node=node, attempt=attempt, ok=True)


def kinds(effects: tuple[Effect, ...]) -> list[type[Effect]]:
    return [type(effect) for effect in effects]


def test_a_new_claim_is_started_once() -> None:
    book = ClaimBook()
    assert kinds(book.assign(assigned(1, (7, 1)))) == [Start]
    assert book.assign(assigned(1, (7, 1))) == ()
    assert book.running == 1


def test_a_claim_that_is_gone_is_stopped() -> None:
    book = ClaimBook()
    book.assign(assigned(1, (7, 1), (8, 1)))
    assert book.assign(assigned(1, (8, 1))) == (Stop(7, 1),)


def test_a_finish_is_presented_under_the_epoch_of_its_claim() -> None:
    book = ClaimBook()
    book.assign(assigned(3, (7, 1)))
    assert book.finish(finish(7)) == (Present(finish(7), 3),)
    assert book.finish(finish(7)) == ()


def test_an_adopted_claim_goes_on_running_and_is_presented_under_the_new_epoch() -> None:
    book = ClaimBook()
    book.assign(assigned(3, (7, 1)))
    assert book.assign(assigned(5, (7, 1))) == ()
    assert book.finish(finish(7)) == (Present(finish(7), 5),)


def test_a_stored_result_is_presented_again_after_a_takeover_without_running() -> None:
    book = ClaimBook()
    book.assign(assigned(3, (7, 1)))
    book.finish(finish(7))
    assert book.assign(assigned(5, (7, 1))) == (Present(finish(7), 5),)
    assert book.assign(assigned(5, (7, 1))) == ()


def test_a_finish_that_the_store_refused_waits_for_the_claims_of_the_new_epoch() -> None:
    book = ClaimBook()
    book.assign(assigned(3, (7, 1)))
    book.finish(finish(7))
    assert book.refused(3) == ()
    assert book.assign(assigned(4, (7, 1))) == (Present(finish(7), 4),)


def test_a_refusal_that_comes_after_the_new_claims_does_not_present_twice() -> None:
    book = ClaimBook()
    book.assign(assigned(3, (7, 1)))
    book.finish(finish(7))
    assert kinds(book.assign(assigned(4, (7, 1)))) == [Present]
    assert book.refused(3) == ()


def test_an_accepted_finish_is_forgotten() -> None:
    book = ClaimBook()
    book.assign(assigned(3, (7, 1)))
    book.finish(finish(7))
    assert book.assign(assigned(3)) == (Acknowledged(7, 1),)
    assert kinds(book.assign(assigned(3, (7, 2)))) == [Start]


def test_claims_of_an_older_epoch_change_nothing() -> None:
    book = ClaimBook()
    book.assign(assigned(5, (7, 1)))
    assert book.assign(assigned(4)) == ()
    assert book.running == 1


def test_the_end_of_a_revoked_task_is_not_presented() -> None:
    book = ClaimBook()
    book.assign(assigned(1, (7, 1)))
    book.assign(assigned(1))
    assert book.finish(finish(7)) == ()


class ClaimBookMachine(RuleBasedStateMachine):
    """Any order of assignments, takeovers and finishes: each attempt starts at most once."""

    def __init__(self) -> None:
        super().__init__()
        self.book = ClaimBook()
        self.epoch = 1
        self.claims: dict[int, int] = {}
        self.attempts: dict[int, int] = {}
        self.started: list[tuple[int, int]] = []
        self.running: set[tuple[int, int]] = set()
        self.presented: set[tuple[int, int, int]] = set()

    def perform(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, Start):
                key = (effect.claim.node, effect.claim.attempt)
                self.started.append(key)
                self.running.add(key)
            elif isinstance(effect, Stop):
                self.running.discard((effect.node, effect.attempt))
            elif isinstance(effect, Present):
                key3 = (effect.finish.node, effect.finish.attempt, effect.epoch)
                assert key3 not in self.presented
                assert self.claims.get(key3[0]) == key3[1]
                assert effect.epoch == self.epoch
                self.presented.add(key3)

    def tell(self) -> None:
        self.perform(self.book.assign(assigned(self.epoch, *self.claims.items())))

    @rule(node=st.integers(0, 4))
    def claim(self, node: int) -> None:
        if node not in self.claims:
            self.attempts[node] = self.attempts.get(node, 0) + 1
            self.claims[node] = self.attempts[node]
        self.tell()

    @rule(node=st.integers(0, 4))
    def settle_or_lose(self, node: int) -> None:
        self.claims.pop(node, None)
        self.tell()

    @rule()
    def take_over(self) -> None:
        self.epoch += 1
        self.tell()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end_task(self, data: st.DataObject) -> None:
        node, attempt = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard((node, attempt))
        self.perform(self.book.finish(finish(node, attempt)))

    @rule()
    def refuse(self) -> None:
        self.perform(self.book.refused(self.epoch - 1))

    @invariant()
    def no_attempt_starts_twice(self) -> None:
        assert len(self.started) == len(set(self.started))

    @invariant()
    def what_runs_is_claimed(self) -> None:
        assert self.running <= set(self.claims.items())
        assert self.book.running == len(self.running)


TestClaimBook = ClaimBookMachine.TestCase
