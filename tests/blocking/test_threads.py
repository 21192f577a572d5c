"""Threads that want one lease: one has it at a time, tokens rise, each has its turn."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path

from blocking.conftest import Place

THREADS = 6
LENGTH_S = 2.0


def test_threads_of_two_federations_share_one_lease_fairly_and_never_two_hold_it(
    tmp_path: Path, shared: Place
) -> None:
    turns: list[tuple[int, int]] = []
    problems: list[BaseException] = []
    witness = tmp_path / "inside"
    begin, stop = threading.Barrier(THREADS), threading.Event()

    with shared.connect(ttl_s=30) as one, shared.connect(ttl_s=30) as two:

        def contend(number: int) -> None:
            fed = (one, two)[number % 2]
            begin.wait(20)
            try:
                while not stop.is_set():
                    with fed.hold("prize") as lease:
                        # Only one at a time can make it.
                        os.close(os.open(witness, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                        lease.check()
                        turns.append((lease.token, number))
                        time.sleep(0)
                        witness.unlink()
            except BaseException as error:
                problems.append(error)
                stop.set()

        threads = [threading.Thread(target=contend, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        stop.wait(LENGTH_S)
        stop.set()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
    assert problems == []
    tokens = [token for token, _ in turns]
    assert tokens == sorted(set(tokens))
    # From when all are in line until the first stops coming back.
    last_first = max(next(i for i, (_, n) in enumerate(turns) if n == m) for m in range(THREADS))
    counts = Counter(number for _, number in turns[last_first : -2 * THREADS])
    assert sum(counts.values()) > 2 * THREADS
    assert max(counts.values()) <= 1.5 * min(counts[n] for n in range(THREADS)) + 1


def test_many_threads_hold_leases_of_their_own_at_the_same_time(shared: Place) -> None:
    problems: list[BaseException] = []

    with shared.connect(ttl_s=30) as fed:

        def work(number: int) -> None:
            try:
                for turn in range(15):
                    with fed.hold(f"n{number}") as lease:
                        assert lease.token == turn + 1
                        fed.guard(f"n{number}").admit(lease.token)
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert problems == []
    assert shared.sink.value("chronowatch_lease_acquire_total", result="acquired") == 120
