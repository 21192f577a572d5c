"""The pytest plugin: its fixtures here, and its options and reports in a pytest of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from federlib.lease import Busy, Holder, Lease, LeaseBackend
from federlib.storage import Committed, Put, RecordStore, Transaction
from federlib.testing import ManualClock
from federlib.testing.sim import SECOND_NS, Simulation

HEAVY = {"anyio", "attrs", "hypothesis", "msgspec", "sqlite3", "trio"}
LOAD_BAR_US = 10_000

LATE = """
import anyio

def test_of_loops(virtual_time):
    async def main():
        await anyio.sleep(3_000)
        raise LookupError(f"seed was {virtual_time.seed}")

    virtual_time.run(main)
"""

LOSING = """
import pytest

def test_of_a_world(sim):
    assert sim.rng("x").randrange(10**9) == -1, f"drew {sim.rng('x').randrange(10**9)}"
"""


def run_python(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def run_pytest(place: Path, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    (place / "test_it.py").write_text(body)
    return run_python(place, "-m", "pytest", "-p", "no:cacheprovider", *options)


# The fixtures.


@pytest.mark.anyio
async def test_a_store_keeps_what_is_committed(memory_store: RecordStore) -> None:
    done = await memory_store.commit(Transaction((Put("a", b"1"),)))
    assert isinstance(done, Committed)
    record = await memory_store.get("a")
    assert record is not None
    assert record.value == b"1"


@pytest.mark.anyio
async def test_the_store_of_each_test_is_empty(memory_store: RecordStore) -> None:
    assert await memory_store.get("a") is None


@pytest.mark.anyio
async def test_a_lease_runs_out_as_the_clock_is_moved(
    lease_backend: LeaseBackend, manual_clock: ManualClock
) -> None:
    ada, ben = Holder("ada", "1"), Holder("ben", "1")
    assert isinstance(await lease_backend.acquire("job", ada, ttl_s=10), Lease)
    assert isinstance(await lease_backend.acquire("job", ben, ttl_s=10), Busy)
    manual_clock.advance(11)
    taken = await lease_backend.acquire("job", ben, ttl_s=10)
    assert isinstance(taken, Lease)
    assert taken.fencing_token == 2


@pytest.mark.anyio
async def test_leases_lie_in_the_store_of_the_same_test(
    lease_backend: LeaseBackend, memory_store: RecordStore
) -> None:
    await lease_backend.acquire("job", Holder("ada", "1"), ttl_s=10)
    assert await memory_store.get("lease/job/lease") is not None


def test_a_simulation_goes_through_virtual_time(sim: Simulation) -> None:
    heard: list[int] = []
    sim.after(60 * SECOND_NS, heard.append, 1)
    sim.run()
    assert (heard, sim.now_ns) == ([1], 60 * SECOND_NS)


# The seed.


def test_a_failure_tells_its_seed_and_the_command_that_replays_it(tmp_path: Path) -> None:
    first = run_pytest(tmp_path, LOSING)
    found = re.search(r"seed (\d+); replay it: (python -m pytest \S+ \S+)\n", first.stdout)
    assert found is not None, first.stdout
    seed, command = found.groups()
    assert command == f"python -m pytest --federlib-seed={seed} test_it.py::test_of_a_world"
    again = run_python(tmp_path, *command.split()[1:])
    drawn = re.compile(r"drew \d+")
    assert drawn.findall(again.stdout)
    assert set(drawn.findall(again.stdout)) == set(drawn.findall(first.stdout))


def test_the_seed_comes_from_the_option_before_the_setting(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfederlib_seed = 5\n")
    body = "def test(sim):\n    print('seed', sim.seed)\n"
    assert "seed 5\n" in run_pytest(tmp_path, body, "-s").stdout
    assert "seed -7\n" in run_pytest(tmp_path, body, "-s", "--federlib-seed=-7").stdout


def test_a_setting_that_is_no_seed_is_told(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfederlib_seed = soon\n")
    done = run_pytest(tmp_path, "def test(sim): pass\n")
    assert "federlib_seed: expected an integer, found 'soon'" in done.stdout + done.stderr
    assert done.returncode != 0


def test_the_command_is_for_where_pytest_was_started(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    inner = tmp_path / "inner"
    inner.mkdir()
    done = run_pytest(inner, LOSING)
    assert "rootdir: " + str(tmp_path) + "\n" in done.stdout
    assert " test_it.py::test_of_a_world\n" in done.stdout


# A project that does not use it.


def test_it_loads_next_to_nothing_and_is_silent_in_a_project_that_does_not_use_it(
    tmp_path: Path,
) -> None:
    body = f"""
import sys

def test():
    assert "federlib.testing.plugin" in sys.modules
    assert not {HEAVY!r} & set(sys.modules)
    ours = {{name for name in sys.modules if name.startswith("federlib")}}
    assert ours == {{"federlib", "federlib.testing", "federlib.testing.plugin"}}
"""
    # What other plugins load is not ours to judge.
    others = ("anyio", "hypothesispytest", "pytest_cov", "xdist", "xdist.looponfail")
    done = run_pytest(tmp_path, body, "-q", *(f"-pno:{name}" for name in others))
    assert done.returncode == 0, done.stdout
    assert "federlib" not in done.stdout + done.stderr


def test_loading_it_takes_a_few_milliseconds() -> None:
    def microseconds() -> int:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "import pytest, federlib.testing.plugin"],
            capture_output=True,
            text=True,
            check=True,
        )
        ours = re.findall(r"(\d+) \| +(\d+) \| +federlib", done.stderr)
        return sum(int(own) for own, _ in ours)

    assert min(microseconds() for _ in range(3)) < LOAD_BAR_US


def test_the_fixtures_need_no_plugin_for_async_tests(tmp_path: Path) -> None:
    body = """
import anyio
from federlib.lease import Holder, Lease

def test(lease_backend):
    async def take():
        return await lease_backend.acquire("job", Holder("a", "1"), ttl_s=10)
    assert isinstance(anyio.run(take), Lease)
"""
    done = run_pytest(tmp_path, body, "-p", "no:anyio")
    assert done.returncode == 0, done.stdout


def test_a_failure_in_virtual_time_tells_its_seed_on_both_loops(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, LATE, "--federlib-seed", "41")
    assert "2 failed" in done.stdout
    assert done.stdout.count("LookupError: seed was 41") >= 2
    assert done.stdout.count("seed 41; replay it: ") == 2
    assert "test_it.py::test_of_loops[trio]" in done.stdout
