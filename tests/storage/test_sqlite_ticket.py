"""The ticket: one holder, first come first served, and nobody waits for ever."""

from __future__ import annotations

import threading
from pathlib import Path

from federlib.storage.backends._blocking.commit_line import Attempt, CommitLine
from federlib.storage.backends._embedded.ticket import Ticket
from federlib.storage.protocol import Put, Transaction


def an_attempt() -> Attempt:
    return Attempt(Transaction((Put("a", b""),)), now_ns=0)


def test_a_free_ticket_is_taken_at_once_and_excludes_others(tmp_path: Path) -> None:
    first, second = Ticket(tmp_path / "s"), Ticket(tmp_path / "s")
    assert first.take(0.0)
    assert not second.take(0.05)
    first.release()
    assert second.take(5.0)
    second.release()
    first.close()
    second.close()


def test_who_loses_patience_keeps_a_place_but_never_the_ticket(tmp_path: Path) -> None:
    first, second, third = (Ticket(tmp_path / "s") for _ in range(3))
    assert first.take(0.0)
    assert not second.take(0.05)
    first.release()
    # The place of the second comes up, nobody wants it, and it is passed on.
    assert third.take(5.0)
    third.release()
    assert second.take(5.0)
    second.release()
    for ticket in (first, second, third):
        ticket.close()


def test_a_release_without_the_ticket_gives_up_the_place_and_nothing_else(tmp_path: Path) -> None:
    first, second, third = (Ticket(tmp_path / "s") for _ in range(3))
    first.release()
    assert first.take(0.0)
    assert not second.take(0.05)
    second.release()
    assert not third.take(0.05)
    # What arrived and was never noticed, as after Ctrl-C, is given back, too.
    place = third._place
    assert place is not None
    place.is_wanted = True
    first.release()
    assert place.arrived.wait(5.0)
    third.release()
    assert second.take(5.0)
    second.release()
    for ticket in (first, second, third):
        ticket.close()


def test_waiters_are_served_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    first = Ticket(tmp_path / "s")
    assert first.take(0.0)
    served: list[int] = []
    threads: list[threading.Thread] = []

    def wait(number: int, ticket: Ticket) -> None:
        assert ticket.take(10.0)
        served.append(number)
        ticket.release()
        ticket.close()

    for number in range(5):
        thread = threading.Thread(target=wait, args=(number, Ticket(tmp_path / "s")))
        thread.start()
        threads.append(thread)
        # Let it enter the line; there is no event for 'blocked in the kernel'.
        thread.join(0.05)
    first.release()
    for thread in threads:
        thread.join(10)
    assert served == [0, 1, 2, 3, 4]
    first.close()


def test_a_ticket_closed_while_in_line_leaves_the_line(tmp_path: Path) -> None:
    first, second, third = (Ticket(tmp_path / "s") for _ in range(3))
    assert first.take(0.0)
    assert not second.take(0.05)
    second.close()
    first.release()
    assert third.take(5.0)
    third.release()
    first.close()
    third.close()


def test_an_attempt_is_either_sent_or_abandoned() -> None:
    sent = an_attempt()
    assert sent.send()
    assert not sent.abandon()
    assert not sent.is_abandoned
    abandoned = an_attempt()
    assert abandoned.abandon()
    assert abandoned.abandon()
    assert not abandoned.send()
    assert abandoned.is_abandoned


def test_the_line_lets_one_in_and_drops_the_abandoned() -> None:
    line = CommitLine()
    assert line.enter(an_attempt())
    gone, next_one = an_attempt(), an_attempt()
    gone.abandon()
    assert not line.enter(gone)
    entered: list[bool] = []
    thread = threading.Thread(target=lambda: entered.append(line.enter(next_one)))
    thread.start()
    line.leave()
    thread.join(5)
    assert entered == [True]


def test_a_line_that_is_shut_is_handed_to_one_caller_only() -> None:
    line = CommitLine()
    assert line.enter(an_attempt())
    assert not line.shut(0.0)
    assert not line.enter(an_attempt())
    line.leave()
    assert line.shut(0.0)
    assert not line.shut(0.0)
