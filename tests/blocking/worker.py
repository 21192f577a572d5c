"""A synchronous worker in a process of its own; run as `worker.py MODE URL IDENTITIES`.

It says on stdout, line by line, what it has come to, and does nothing else.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import federlib.blocking
from federlib.blocking import Federation
from federlib.errors import Fenced, LeaseLost, Unavailable
from federlib.identity import IdentityStore
from federlib.storage import Put, Transaction

TTL_S = 1.0


def say(*words: object) -> None:
    print(*words, flush=True)


def hold(fed: Federation) -> None:
    """Hold a lease until killed, and say when it was last renewed."""
    with fed.hold("x", ttl_s=TTL_S) as lease:
        while True:
            say("held", lease.token, lease.lease.renewed_boot_ns)
            time.sleep(0.05)


def doze(fed: Federation) -> None:
    """Block in one long call of the operating system, then ask."""
    try:
        with fed.hold("x", ttl_s=TTL_S) as lease:
            say("held", lease.token)
            sys.stdin.readline()
            try:
                lease.check()
                say("still held")
            except LeaseLost as lost:
                say("check:", lost.reason)
    except LeaseLost as lost:
        say("with:", lost.reason)


def wait(fed: Federation) -> None:
    """Wait in the queue for ever; Ctrl-C ends it."""
    say("waiting")
    try:
        with fed.hold("x", ttl_s=30):
            say("held")
            time.sleep(60)
    except KeyboardInterrupt:
        say("interrupted")


def work(fed: Federation) -> None:
    """Take part in a run whose task sleeps; Ctrl-C ends it."""
    fed.dag.submit({"a": []}, run_id="r")

    def do(_task: object) -> None:
        say("working")
        time.sleep(1)
        say("worked")

    try:
        fed.dag.work("r", do)
    except KeyboardInterrupt:
        say("interrupted")


def cycle(fed: Federation) -> None:
    """Take and give back as fast as it goes; a signal may come at any instruction."""
    say("ready")
    while True:
        try:
            with fed.hold("x", ttl_s=30):
                pass
        except KeyboardInterrupt:
            # Whatever was cut short, the next cycle must work.
            with fed.hold("y", ttl_s=30) as lease:
                token = lease.token
            # Only now may the next signal come: this part is not what it is for.
            say("again", token)


def fork(fed: Federation) -> None:
    """Fork inside the body, while other threads keep every lock busy."""
    stop = threading.Event()

    def hammer(number: int) -> None:
        while not stop.is_set():
            with fed.hold(f"hammer-{number}", ttl_s=30):
                fed.store.get("a")

    threads = [threading.Thread(target=hammer, args=(n,), daemon=True) for n in range(3)]
    for thread in threads:
        thread.start()
    with fed.elect("boss") as seat:
        next(state for state in seat.changes() if state.role == "leader")
        for _ in range(10):
            with fed.hold("x", ttl_s=30) as lease:
                child = os.fork()
                if child == 0:
                    # A child that hangs is killed by its alarm, and that is told below.
                    signal.alarm(20)
                    os._exit(in_child(fed, lease, seat))
                _, status = os.waitpid(child, 0)
                say("child", os.waitstatus_to_exitcode(status))
                lease.check()
    stop.set()
    for thread in threads:
        thread.join()
    state = fed.inspect("x")
    say("parent", state.fencing_token, state.lease is None)


def in_child(
    fed: Federation, lease: federlib.blocking.HeldLease, seat: federlib.blocking.Seat
) -> int:
    """Return 0 if every verb is refused and nothing hangs."""
    verbs: list[Callable[[], object]] = [
        fed.identity,
        lambda: fed.try_acquire("x"),
        lambda: fed.hold("x").__enter__(),
        lambda: fed.inspect("x"),
        lambda: fed.store.get("a"),
        lambda: fed.store.commit(Transaction((Put("a", b"child"),))),
        lambda: fed.store.watch("a", after=0).__enter__(),
        lambda: fed.guard("g").admit(1),
        lambda: fed.elect("boss").__enter__(),
        lambda: fed.commands.issue("scale", gate=seat),
        lambda: fed.dag.submit({"a": []}),
        lambda: fed.dag.work("r", print),
        lambda: fed.registry.join().__enter__(),
        lease.check,
        seat.check,
    ]
    for number, verb in enumerate(verbs):
        try:
            verb()
        except Fenced:
            continue
        return number + 1
    if not lease.lost or lease.remaining_s() != 0:
        return 101
    try:
        # The child leaves the block that it was forked in.
        lease.__exit__(None, None, None)
    except LeaseLost:
        return 0
    return 102


MODES = {"hold": hold, "doze": doze, "wait": wait, "work": work, "cycle": cycle, "fork": fork}


def main(mode: str, url: str, identities: str) -> None:
    # Whoever started the tests in the background has Ctrl-C ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with federlib.blocking.connect(url, identity=IdentityStore(identities)) as fed:
        MODES[mode](fed)
    say("closed")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (KeyboardInterrupt, Unavailable) as end:
        say("ended by", type(end).__name__)
