"""`hold` and `try_acquire` for threads, to the letter, on both kinds of store."""

from __future__ import annotations

import threading
import time

import pytest

from blocking.conftest import Place
from federlib.blocking import Federation, HeldLease
from federlib.errors import InvalidInput, LeaseBusy, LeaseLost, Unavailable
from federlib.lease import Busy, Holder, Lease, OnLoss
from fleet import until

NAME = "n"
THIEF = Holder("thief", "1")


def steal(fed: Federation) -> None:
    """Take the lease away as a rival would that judged it expired."""
    lease = fed.inspect(NAME).lease
    assert lease is not None
    fed.leases.release(lease)
    assert isinstance(fed.leases.acquire(NAME, THIEF, ttl_s=60), Lease)


def test_the_body_has_the_lease_and_afterwards_it_is_free(place: Place, fed: Federation) -> None:
    with fed.hold(NAME, ttl_s=0.6) as lease:
        assert (lease.name, lease.token, lease.ttl_s) == (NAME, 1, 0.6)
        assert lease.holder_id == fed.identity().worker_id
        assert not lease.lost
        assert 0 < lease.remaining_s() <= 0.54
        lease.check()
        assert fed.inspect(NAME).lease == lease.lease
        assert place.sink.value("chronowatch_lease_held_gauge", name=NAME) == 1
    state = fed.inspect(NAME)
    assert (state.lease, state.fencing_token) == (None, 1)
    assert place.sink.value("chronowatch_lease_held_gauge", name=NAME) == 0
    assert place.sink.value("chronowatch_lease_acquire_total", result="acquired") == 1
    told = [e for e in place.log.events if e[0] not in {"lease_renewed", "store_opened"}]
    same = {"lease_name": NAME, "holder_id": lease.holder_id, "token": 1}
    assert told == [("lease_acquired", same), ("lease_released", same)]
    with pytest.raises(LeaseLost, match="released"):
        lease.check()


def test_it_is_renewed_while_the_body_blocks(place: Place, fed: Federation) -> None:
    with fed.hold(NAME, ttl_s=0.3) as lease:
        time.sleep(0.9)  # the body's own work, which the keeper's thread must not mind
        lease.check()
        assert isinstance(fed.leases.acquire(NAME, THIEF, ttl_s=1), Busy)
    assert place.log.names().count("lease_renewed") >= 4


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, ExceptionGroup])
def test_the_bodys_own_exception_leaves_as_the_same_object(
    fed: Federation, kind: type[BaseException]
) -> None:
    error = ExceptionGroup("g", [OSError()]) if kind is ExceptionGroup else kind("mine")
    with pytest.raises(kind) as caught, fed.hold(NAME):
        raise error
    assert caught.value is error
    assert fed.inspect(NAME).lease is None


def test_a_loss_is_noticed_by_whoever_asks_and_told_at_the_end(
    place: Place, fed: Federation
) -> None:
    with pytest.raises(LeaseLost, match="thief") as caught, fed.hold(NAME, ttl_s=0.3) as lease:
        steal(fed)
        until(lambda: lease.lost, what="the loss")
        with pytest.raises(LeaseLost, match="thief holds it"):
            lease.check()
        assert lease.remaining_s() == 0
    assert (caught.value.name, caught.value.token) == (NAME, 1)
    state = fed.inspect(NAME)
    assert state.lease is not None
    assert state.lease.holder_id == "thief"
    assert "lease_lost" in place.log.names()
    assert "lease_released" not in place.log.names()
    assert place.sink.value("chronowatch_lease_held_gauge", name=NAME) == 0


def test_an_exception_of_the_body_wins_over_the_loss(fed: Federation) -> None:
    with pytest.raises(KeyError), fed.hold(NAME, ttl_s=0.3) as lease:
        steal(fed)
        until(lambda: lease.lost, what="the loss")
        raise KeyError("mine")


def test_marked_only_the_with_does_not_raise(fed: Federation) -> None:
    with fed.hold(NAME, ttl_s=0.3, on_loss="mark") as lease:
        steal(fed)
        until(lambda: lease.lost, what="the loss")
    assert lease.lost


@pytest.mark.parametrize("wait_s", [0, 0.2])
def test_not_acquired_in_time_raises_and_leaves_no_trace(
    place: Place, fed: Federation, wait_s: float
) -> None:
    with fed.hold(NAME, ttl_s=30):
        with pytest.raises(LeaseBusy) as caught, fed.hold(NAME, wait_s=wait_s):
            pytest.fail("entered")
        assert (caught.value.name, caught.value.wait_s) == (NAME, wait_s)
        assert caught.value.holder == fed.identity().worker_id
        assert fed.inspect(NAME).waiters == ()
    assert place.sink.value("chronowatch_lease_acquire_total", result="busy") == 1


def test_whoever_waits_is_woken_by_the_release_long_before_the_ttl(fed: Federation) -> None:
    waited: list[float] = []
    with fed.hold(NAME, ttl_s=60):

        def wait() -> None:
            with fed.hold(NAME, ttl_s=60) as lease:
                waited.append(time.monotonic())
                assert lease.token == 2

        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: fed.inspect(NAME).waiters, what="the waiter")
        released = time.monotonic()
    thread.join(10)
    assert waited
    assert waited[0] - released < 2


def test_a_dead_holder_is_followed_when_its_ttl_is_over(fed: Federation) -> None:
    dead = fed.leases.acquire(NAME, THIEF, ttl_s=0.6)
    assert isinstance(dead, Lease)
    with fed.hold(NAME) as lease:
        followed = fed.clock.boot_ns()
        assert lease.token == 2
    # A machine that has time for it follows at once, as the benchmarks measure; this one may not.
    assert 0 <= followed - dead.renewed_boot_ns - 600_000_000 < 5_000_000_000


def test_try_acquire_gives_a_lease_to_enter_or_says_who_has_it(fed: Federation) -> None:
    held = fed.try_acquire(NAME, ttl_s=0.3)
    assert isinstance(held, HeldLease)
    with held as lease:
        assert lease is held
        busy = fed.try_acquire(NAME)
        assert isinstance(busy, Busy)
        assert busy.holder == lease.holder_id
        time.sleep(0.5)  # beyond the ttl
        lease.check()
    assert fed.inspect(NAME).lease is None
    with pytest.raises(InvalidInput):
        held.__enter__()


def test_a_lease_that_is_entered_too_late_is_lost(fed: Federation) -> None:
    held = fed.try_acquire(NAME, ttl_s=0.05)
    assert isinstance(held, HeldLease)
    until(lambda: held.lost, what="its deadline")
    with pytest.raises(LeaseLost):
        held.__enter__()


def test_a_hold_is_entered_once(fed: Federation) -> None:
    hold = fed.hold(NAME)
    with hold, pytest.raises(InvalidInput, match="second"):
        hold.__enter__()


@pytest.mark.parametrize("wait_s", [-1, float("nan"), float("inf"), "5", True])
def test_a_wait_that_cannot_be_is_refused(fed: Federation, wait_s: float) -> None:
    with pytest.raises(InvalidInput, match="wait_s"):
        fed.hold(NAME, wait_s=wait_s)


def test_an_unknown_on_loss_is_refused(fed: Federation) -> None:
    wrong: OnLoss = "ignore"  # type: ignore[assignment]
    with pytest.raises(InvalidInput, match="on_loss"):
        fed.hold(NAME, on_loss=wrong)


def test_one_keeper_renews_many_leases_of_many_threads(place: Place, fed: Federation) -> None:
    def keep(number: int) -> None:
        with fed.hold(f"n{number}", ttl_s=0.5) as lease:
            time.sleep(1.2)  # well beyond the ttl
            lease.check()
            kept.append(number)

    kept: list[int] = []
    threads = [threading.Thread(target=keep, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    until(lambda: place.log.names().count("lease_acquired") == 12, what="all leases")
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("federlib-keeper") == 1
    for thread in threads:
        thread.join(10)
    assert sorted(kept) == list(range(12))


def test_a_federation_that_closes_releases_what_other_threads_hold(place: Place) -> None:
    losses: list[BaseException] = []
    entered, go_on = threading.Event(), threading.Event()

    with place.connect() as fed:

        def work() -> None:
            try:
                with fed.hold(NAME, ttl_s=30) as lease:
                    entered.set()
                    assert go_on.wait(10)
                    lease.check()
            except LeaseLost as lost:
                losses.append(lost)

        thread = threading.Thread(target=work)
        thread.start()
        assert entered.wait(10)
    go_on.set()
    thread.join(10)
    assert [str(lost) for lost in losses] == [
        str(LeaseLost(NAME, token=1, reason="it was released"))
    ]
    assert place.log.names().count("lease_released") == 1


def test_a_federation_that_closes_ends_the_waits_of_other_threads(place: Place) -> None:
    ended: list[BaseException] = []
    with place.connect() as fed:

        def wait() -> None:
            try:
                with fed.hold(NAME, ttl_s=30):
                    pytest.fail("entered")
            except Unavailable as error:
                ended.append(error)

        with fed.hold(NAME, ttl_s=30, on_loss="mark"):
            thread = threading.Thread(target=wait)
            thread.start()
            until(lambda: fed.inspect(NAME).waiters, what="the waiter")
            began = time.monotonic()
            # Closed by hand, while the lease is still held.
            for step in fed.steps_of_closing(5.0):
                step()
            thread.join(10)
            assert time.monotonic() - began < 4
    assert "closed" in str(ended[0])
    with pytest.raises(Unavailable, match="closed"):
        fed.inspect(NAME)
