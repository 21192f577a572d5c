"""Identities of real processes: exclusion, kills, forks, and a machine that mixes them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from federlib.errors import IdentityTaken
from federlib.identity import IdentityStore, WorkerIdentity
from federlib.identity.records import SlotRecord, decode_record

KILLED = -9


class Driver:
    """Talks to `process_driver.py`."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("process_driver.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=20)

    def __call__(self, op: str, **fields: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"op": op, **fields}), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        assert isinstance(answer, dict)
        return answer

    def start(self, root: Path, **fields: object) -> dict[str, Any]:
        (worker,) = self("start", root=str(root), **fields)["workers"]
        assert isinstance(worker, dict)
        return worker


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    with Driver() as driver:
        yield driver


def seq_of(worker: dict[str, Any]) -> int:
    return WorkerIdentity.parse(worker["worker_id"]).seq


def test_processes_that_start_together_share_a_host_and_no_number(
    driver: Driver, tmp_path: Path
) -> None:
    for attempt in range(5):
        root = tmp_path / str(attempt)
        workers = driver("start", root=str(root), n=8)["workers"]
        assert sorted(map(seq_of, workers)) == list(range(8))
        assert len({worker["worker_id"].partition(":")[0] for worker in workers}) == 1
        assert {worker["incarnation"] for worker in workers} == {1}
        assert not list(root.glob(".*"))
        for worker in workers:
            driver("kill", pid=worker["pid"])


def test_one_wanted_number_goes_to_one_of_eight_processes(driver: Driver, tmp_path: Path) -> None:
    workers = driver("start", root=str(tmp_path), seq=3, n=8)["workers"]
    winners = [worker for worker in workers if "error" not in worker]
    assert len(winners) == 1
    assert {worker["error"] for worker in workers if "error" in worker} == {"IdentityTaken"}
    driver("release", pid=winners[0]["pid"])


def test_the_refusal_names_the_other_process(driver: Driver, tmp_path: Path) -> None:
    worker = driver.start(tmp_path)
    with pytest.raises(IdentityTaken, match=f"process {worker['pid']}"):
        IdentityStore(tmp_path).claim(0)
    driver("kill", pid=worker["pid"])


def test_a_killed_process_gets_its_identity_back_in_a_new_incarnation(
    driver: Driver, tmp_path: Path
) -> None:
    first, second = driver.start(tmp_path), driver.start(tmp_path)
    assert driver("kill", pid=first["pid"])["status"] == KILLED
    again = driver.start(tmp_path)
    assert again["worker_id"] == first["worker_id"]
    assert again["incarnation"] == first["incarnation"] + 1
    for worker in (second, again):
        driver("release", pid=worker["pid"])


def test_a_fork_has_lost_the_identity_and_does_not_keep_it_from_others(
    driver: Driver, tmp_path: Path
) -> None:
    worker = driver.start(tmp_path, child="fork")
    try:
        assert f"process {worker['pid']} claimed it" in worker["verdict"]
        # The child called release(); its parent's identity is untouched.
        with pytest.raises(IdentityTaken):
            IdentityStore(tmp_path).claim(0)
        driver("kill", pid=worker["pid"])
        with IdentityStore(tmp_path).claim(0) as heir:
            assert heir.incarnation == 2
    finally:
        driver("end_child", pid=worker["child"])


def test_a_subprocess_does_not_keep_the_identity(driver: Driver, tmp_path: Path) -> None:
    worker = driver.start(tmp_path, child="exec")
    try:
        driver("kill", pid=worker["pid"])
        with IdentityStore(tmp_path).claim(0) as heir:
            assert heir.incarnation == 2
    finally:
        driver("end_child", pid=worker["child"])


def test_a_kill_at_any_system_call_of_a_first_claim_leaves_a_directory_that_works(
    driver: Driver, tmp_path: Path
) -> None:
    for step in range(1, 500):
        root = tmp_path / str(step) / "ids"
        crash = driver("crash_at", root=str(root), step=step, call="claim")
        with IdentityStore(root).claim() as worker:
            assert worker.identity.seq == 0
            assert worker.incarnation in (1, 2)
        if crash["status"] == 0:
            assert crash["value"] == 1
            break
        assert crash["status"] == KILLED
    assert step > 40


def test_a_kill_at_any_system_call_of_a_later_claim_never_lowers_the_incarnation(
    driver: Driver, tmp_path: Path
) -> None:
    with IdentityStore(tmp_path).claim() as worker:
        host, last = worker.host_id, worker.incarnation
    for step in range(1, 500):
        crash = driver("crash_at", root=str(tmp_path), step=step, call="claim")
        with IdentityStore(tmp_path).claim() as worker:
            assert worker.host_id == host
            assert worker.incarnation > last
            last = worker.incarnation
        if crash["status"] == 0:
            assert last == crash["value"] + 1
            break
    assert step > 20


def test_a_kill_at_any_system_call_of_remembering_leaves_all_or_nothing(
    driver: Driver, tmp_path: Path
) -> None:
    for step in range(1, 500):
        root = tmp_path / str(step)
        crash = driver("crash_at", root=str(root), step=step, call="remember")
        assert IdentityStore(root).remember_store("key", "two") in (None, "one")
        if crash["status"] == 0:
            assert IdentityStore(root).remember_store("key", "two") == "one"
            break
    assert step > 20


@pytest.mark.parametrize("prepared", [False, True], ids=["empty", "in use"])
def test_a_directory_without_permission_is_denied_by_name(
    driver: Driver, *, prepared: bool
) -> None:
    with tempfile.TemporaryDirectory() as aside:
        root = Path(aside) / "ids"
        if prepared:
            IdentityStore(root).claim().release()
            root.chmod(0o555)
        Path(aside).chmod(0o555)
        answer = driver("claim_as_nobody", root=str(root))
        Path(aside).chmod(0o700)
        if prepared:
            root.chmod(0o700)
    assert answer["error"] == "StoreDenied"
    assert str(root) in answer["text"]


class Fleet(RuleBasedStateMachine):
    """Starts, releases and kills at will, against a dictionary."""

    workers = Bundle("workers")
    driver: Driver

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.root = Path(self.directory.name) / "ids"
        self.host = IdentityStore(self.root).host().host_id
        self.held: dict[int, int] = {}
        self.lives: dict[int, int] = {}

    def teardown(self) -> None:
        for pid in self.held.values():
            self.driver("kill", pid=pid)
        self.directory.cleanup()

    def lowest_free(self) -> int:
        return next(seq for seq in range(100) if seq not in self.held)

    @rule(target=workers)
    @precondition(lambda self: len(self.held) < 5)
    def start_anywhere(self) -> int:
        return self.expect(self.driver.start(self.root), self.lowest_free())

    @rule(target=workers, seq=st.integers(0, 4))
    @precondition(lambda self: len(self.held) < 5)
    def start_as(self, seq: int) -> int:
        worker = self.driver.start(self.root, seq=seq)
        if seq not in self.held:
            return self.expect(worker, seq)
        assert worker["error"] == "IdentityTaken"
        assert f"process {self.held[seq]}" in worker["text"]
        return -1

    def expect(self, worker: dict[str, Any], seq: int) -> int:
        assert worker["worker_id"] == f"{self.host}:{seq}"
        self.lives[seq] = self.lives.get(seq, 0) + 1
        assert worker["incarnation"] == self.lives[seq]
        self.held[seq] = worker["pid"]
        return seq

    @rule(seq=consumes(workers), how=st.sampled_from(["release", "kill"]))
    def end(self, seq: int, how: str) -> None:
        pid = self.held.pop(seq, None)
        if pid is not None:
            assert self.driver(how, pid=pid)["status"] == (0 if how == "release" else KILLED)

    @rule(seq=consumes(workers), data=st.data())
    def crash_while_claiming(self, seq: int, data: st.DataObject) -> None:
        pid = self.held.pop(seq, None)
        if pid is None:
            return
        self.driver("kill", pid=pid)
        step = data.draw(st.integers(1, 60), label="killed at step")
        free = self.lowest_free()
        self.driver("crash_at", root=str(self.root), step=step, call="claim")
        # Whether the number went up by one depends on the step; it must not go down.
        now = self.stored(free)
        assert now - self.lives.get(free, 0) in (0, 1)
        self.lives[free] = now

    def stored(self, seq: int) -> int:
        path = self.root / f"worker-{seq}.json"
        if not path.exists():
            return 0
        return decode_record(SlotRecord, path.read_bytes(), where=str(path)).incarnation

    @invariant()
    def the_disk_agrees(self) -> None:
        assert {seq: self.stored(seq) for seq in self.lives} == self.lives


def test_a_fleet_of_processes_behaves_like_a_dictionary(driver: Driver) -> None:
    machine = type("FleetHere", (Fleet,), {"driver": driver})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=25, stateful_step_count=20, deadline=None)
    )
