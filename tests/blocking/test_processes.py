"""Synchronous workers as processes: killed, stopped, forked and interrupted.

Source: design §4, failover bars, holder's deadline and fork.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from blocking.conftest import Place
from federlib.errors import LeaseBusy
from federlib.lease import LeaseState
from federlib.skewclock import SystemClock
from fleet import until

TTL_NS = 1_000_000_000
LIMIT_S = 40


@attrs.define
class Crew:
    """Starts workers, and leaves none behind."""

    place: Place
    processes: list[subprocess.Popen[str]] = attrs.field(factory=list)

    def start(self, mode: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py")), mode,
             self.place.url, str(self.place.identities.root)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def state(self, name: str = "x") -> LeaseState:
        with self.place.connect() as fed:
            return fed.inspect(name)


@pytest.fixture
def crew(shared: Place) -> Iterator[Crew]:
    crew = Crew(shared)
    yield crew
    for process in crew.processes:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.communicate()


def heard(process: subprocess.Popen[str], beginning: str) -> str:
    """Read on until a line begins so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(beginning):
            return line.strip()
    raise AssertionError(f"it ended without saying {beginning!r}: {process.communicate()[1]}")


def test_a_killed_holder_is_followed_within_half_a_second_of_its_ttl(
    shared: Place, crew: Crew
) -> None:
    process = crew.start("hold")
    heard(process, "held")
    with shared.connect(ttl_s=30) as fed:
        with pytest.raises(LeaseBusy), fed.hold("x", wait_s=1.5):
            pytest.fail("the living holder was passed")  # it renews, well beyond its ttl
        process.kill()
        process.wait(10)
        renewed = fed.inspect("x").lease
        assert renewed is not None
        with fed.hold("x", wait_s=10) as lease:
            followed_ns = SystemClock().boot_ns()
            assert lease.token == 2
    assert TTL_NS <= followed_ns - renewed.renewed_boot_ns < TTL_NS + 500_000_000


def test_a_holder_that_was_stopped_beyond_its_ttl_finds_out_when_it_asks(
    shared: Place, crew: Crew
) -> None:
    process = crew.start("doze")
    assert heard(process, "held") == "held 1"
    time.sleep(1.5)  # longer than the ttl: its keeper renews while it blocks
    with shared.connect(ttl_s=30) as fed:
        with pytest.raises(LeaseBusy), fed.hold("x", wait_s=0):
            pytest.fail("the living holder was passed")
        process.send_signal(signal.SIGSTOP)
        with fed.hold("x", wait_s=20) as lease:
            assert lease.token == 2
            process.send_signal(signal.SIGCONT)
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
            assert heard(process, "check:") != "check:"
            assert heard(process, "with:") != "with:"
            assert heard(process, "closed")
            # What the zombie did on its way out has not touched the new holder's lease.
            lease.check()
            assert fed.inspect("x").fencing_token == 2


def test_ctrl_c_in_the_queue_leaves_no_trace(shared: Place, crew: Crew) -> None:
    with shared.connect(ttl_s=30) as fed, fed.hold("x"):
        process = crew.start("wait")
        until(lambda: fed.inspect("x").waiters, what="the waiter")
        process.send_signal(signal.SIGINT)
        heard(process, "interrupted")
        heard(process, "closed")
        assert fed.inspect("x").waiters == ()
        assert process.wait(10) == 0


def test_ctrl_c_in_the_body_releases(crew: Crew) -> None:
    process = crew.start("wait")
    heard(process, "held")
    process.send_signal(signal.SIGINT)
    heard(process, "interrupted")
    heard(process, "closed")
    assert process.wait(10) == 0
    state = crew.state()
    assert (state.lease, state.fencing_token) == (None, 1)


def test_ctrl_c_ends_the_work_on_a_run(crew: Crew) -> None:
    process = crew.start("work")
    heard(process, "working")
    process.send_signal(signal.SIGINT)
    heard(process, "interrupted")
    heard(process, "closed")
    assert process.wait(LIMIT_S) == 0


def test_ctrl_c_at_any_instruction_never_blocks_the_next_lease(crew: Crew) -> None:
    process = crew.start("cycle")
    heard(process, "ready")
    tokens: list[int] = []
    for _ in range(25):
        time.sleep(0.013)  # somewhere in a cycle
        process.send_signal(signal.SIGINT)
        tokens.append(int(heard(process, "again").split()[1]))
    assert tokens == sorted(set(tokens))
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    for name in ("x", "y"):
        with crew.place.connect() as fed, fed.hold(name, wait_s=40) as lease:
            lease.check()


def test_a_forked_child_has_nothing_releases_nothing_and_never_hangs(crew: Crew) -> None:
    process = crew.start("fork")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()
    assert lines.count("child 0") == 10
    # Each of the ten holds had its own token, and the children took or freed none of them.
    assert "parent 10 True" in lines
    assert lines[-1] == "closed"
