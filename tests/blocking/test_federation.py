"""`federlib.blocking.connect`: the verbs of the async federation, in threads."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import anyio
import pytest

import federlib.blocking
from blocking.conftest import Place
from federlib.blocking import Federation
from federlib.dag import TaskRun
from federlib.errors import (
    CorruptRecord,
    InvalidInput,
    LeaseBusy,
    NotLeader,
    PlanMismatch,
    StaleToken,
    StoreReplaced,
    Unavailable,
)
from federlib.fencing import Command, Outcome
from federlib.identity import IdentityStore
from federlib.lease import Busy
from federlib.storage import Absent, Batch, Committed, Conflicted, NotSeen, Put, Transaction
from federlib.storage import open_store as open_async_store
from federlib.testing import ManualClock
from fleet import until


def test_it_is_a_member_of_the_package_without_being_imported() -> None:
    assert federlib.blocking.connect is federlib.blocking.federation.connect


def test_a_store_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDERLIB_STORE", raising=False)
    with pytest.raises(InvalidInput, match="FEDERLIB_STORE"):
        federlib.blocking.connect()


def test_the_environment_names_the_store(monkeypatch: pytest.MonkeyPatch, shared: Place) -> None:
    monkeypatch.setenv("FEDERLIB_STORE", shared.url)
    with federlib.blocking.connect(identity=shared.identities) as fed:
        assert fed.store.capabilities.durable


@pytest.mark.parametrize("skew", [-1.0, float("nan"), 1e9])
def test_a_wrong_tolerance_is_refused_before_anything_is_opened(skew: float) -> None:
    with pytest.raises(InvalidInput, match="tolerance_s"):
        federlib.blocking.connect("memory://", skew_tolerance_s=skew)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), "5"])
def test_a_wrong_ttl_or_close_timeout_is_refused_before_anything_is_opened(
    seconds: float,
) -> None:
    with pytest.raises(InvalidInput, match="ttl_s: expected"):
        federlib.blocking.connect("memory://", ttl_s=seconds)
    with pytest.raises(InvalidInput, match="close_timeout_s: expected"):
        federlib.blocking.connect("memory://", close_timeout_s=seconds)


def test_a_path_in_the_place_of_a_url_is_refused(tmp_path: Path) -> None:
    path: str = tmp_path / "fleet.db"  # type: ignore[assignment]
    with pytest.raises(InvalidInput, match="url: expected a store URL as text"):
        federlib.blocking.connect(path)


def test_an_unknown_scheme_names_those_that_are_known() -> None:
    with pytest.raises(InvalidInput, match="sqlite://"), federlib.blocking.connect("redis://host"):
        pytest.fail("entered")


def test_a_file_that_is_no_store_is_refused_and_no_thread_is_left(tmp_path: Path) -> None:
    (tmp_path / "f.db").write_bytes(b"not a database" * 100)
    before = threading.active_count()
    with (
        pytest.raises(CorruptRecord),
        federlib.blocking.connect(f"sqlite:///{tmp_path}/f.db"),
    ):
        pytest.fail("entered")
    until(lambda: threading.active_count() == before, what="the end of its threads")


def test_an_embedded_store_needs_no_thread_until_something_is_held(shared: Place) -> None:
    first = set(threading.enumerate())
    with shared.connect() as fed:
        assert "federlib-loop" not in {thread.name for thread in threading.enumerate()}
        before = set(threading.enumerate())
        fed.identity()
        fed.store.commit(Transaction((Put("a", b"1"),)))
        assert fed.store.get("a") is not None
        fed.guard("r").admit(1)
        fed.dag.submit({"a": []}, run_id="r")
        assert set(threading.enumerate()) <= before
        with fed.hold("x"):
            (keeper,) = set(threading.enumerate()) - before
            assert keeper.name == "federlib-keeper"
            assert keeper.daemon
    until(lambda: set(threading.enumerate()) <= first, what="the end of its threads")


def test_identity_is_claimed_on_first_use_and_freed_at_the_end(shared: Place) -> None:
    with shared.connect() as fed:
        assert not shared.identities.root.exists()
        first = fed.identity()
        assert fed.identity() is first
    with shared.connect() as fed:
        again = fed.identity()
    assert again.worker_id == first.worker_id
    assert again.incarnation == first.incarnation + 1


def test_many_threads_that_come_first_together_claim_one_identity(shared: Place) -> None:
    with shared.connect() as fed:
        ids: list[str] = []
        threads = [
            threading.Thread(target=lambda: ids.append(fed.identity().worker_id)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(ids) == 8
    assert len(set(ids)) == 1


def test_two_federations_of_one_process_are_two_workers(shared: Place) -> None:
    with shared.connect() as one, shared.connect() as two:
        assert one.identity().worker_id != two.identity().worker_id
        with one.hold("x"), pytest.raises(LeaseBusy), two.hold("x", wait_s=0):
            pytest.fail("entered")


def test_two_federations_that_share_an_identity_exclude_each_other(shared: Place) -> None:
    claimed = shared.identities.claim()
    with (
        federlib.blocking.connect(shared.url, identity=claimed) as one,
        federlib.blocking.connect(shared.url, identity=claimed) as two,
        one.hold("x"),
    ):
        assert isinstance(two.try_acquire("x"), Busy)
    claimed.check()
    claimed.release()


def test_a_lease_that_was_tried_and_never_entered_is_released_at_the_end(shared: Place) -> None:
    with shared.connect() as fed:
        fed.try_acquire("x", ttl_s=60)
    with shared.connect() as fed:
        assert fed.inspect("x").lease is None


def test_an_emptied_store_is_refused_with_the_way_out(tmp_path: Path, shared: Place) -> None:
    with shared.connect() as fed, fed.hold("x") as lease:
        assert lease.token == 1
    for path in tmp_path.glob("fleet.db*"):
        path.unlink()
    with shared.connect() as fed:
        with pytest.raises(StoreReplaced, match="raise-floor"):
            fed.identity()
        with pytest.raises(StoreReplaced), fed.hold("x"):
            pytest.fail("entered")
        fed.leases.raise_floor(1)
        with fed.hold("x") as lease:
            assert lease.token > 1


def test_the_store_verb_by_verb(fed: Federation) -> None:
    put = Transaction((Put("a/1", b"x"),), (Absent("a/1"),), id="one")
    assert isinstance(fed.store.commit(put), Committed)
    assert isinstance(fed.store.commit(Transaction(put.writes, put.checks)), Conflicted)
    assert isinstance(fed.store.outcome("one"), Committed)
    assert fed.store.outcome("two") == NotSeen()
    assert [record.key for record in fed.store.scan("a/").records] == ["a/1"]
    record = fed.store.get("a/1")
    assert record is not None
    assert record.value == b"x"
    with pytest.raises(InvalidInput):
        fed.store.get("a//b")


def test_a_watch_gives_what_was_and_what_comes(fed: Federation) -> None:
    page = fed.store.scan("w/")
    fed.store.commit(Transaction((Put("w/1", b"1"),)))
    seen: list[str] = []
    with fed.store.watch("w/", after=page.revision) as changes:
        writer = threading.Timer(
            0.2, lambda: fed.store.commit(Transaction((Put("other", b""), Put("w/2", b"2"))))
        )
        writer.start()
        for item in changes:
            if isinstance(item, Batch):
                seen += [event.key for event in item.events]
            if len(seen) == 2:
                break
        writer.join()
    assert seen == ["w/1", "w/2"]


def test_closing_ends_a_watch_that_waits_in_another_thread(place: Place) -> None:
    ended: list[Unavailable] = []
    with place.connect() as fed:

        def follow() -> None:
            try:
                with fed.store.watch("w/", after=0) as changes:
                    started.set()
                    for _ in changes:
                        pass
            except Unavailable as error:
                ended.append(error)

        started = threading.Event()
        thread = threading.Thread(target=follow)
        thread.start()
        assert started.wait(10)
        time.sleep(0.1)  # it may now be asleep; if not, it is refused the next time round
    thread.join(10)
    assert "closed" in str(ended[0])


def test_states_of_a_lease_are_watched(fed: Federation) -> None:
    with fed.leases.watch("x") as states:
        assert next(states).lease is None
        with fed.hold("x"):
            assert next(states).lease is not None
        assert next(states).lease is None


def test_the_leader_commands_and_a_follower_is_refused_on_the_record(shared: Place) -> None:
    with shared.connect() as one, shared.connect() as two, one.elect("boss") as seat:
        assert next(state for state in seat.changes() if state.role == "leader").epoch == 1
        issued = one.commands.issue("scale", {"n": 3}, gate=seat)
        assert isinstance(issued, Command)
        assert issued.leader_epoch == seat.check() == seat.state.epoch
        assert (seat.name, seat.holder_id) == ("boss", one.identity().worker_id)
        with two.elect("boss") as other:
            with pytest.raises(NotLeader):
                other.check()
            refused = two.commands.issue("scale", {"n": 4}, gate=other)
        assert isinstance(refused, Outcome)
        assert refused.status == "rejected_not_leader"
        assert one.commands.counts()["rejected_not_leader"] == 1


def test_leaving_an_election_hands_the_seat_on_at_once(shared: Place) -> None:
    epochs: list[int] = []
    with shared.connect(ttl_s=30) as one, shared.connect(ttl_s=30) as two:
        for fed in (one, two):
            with fed.elect("boss") as seat:
                seat.lead(epochs.append)
    assert epochs == [1, 2]


def test_a_reign_that_is_lost_begins_anew_with_a_higher_epoch(fed: Federation) -> None:
    epochs: list[int] = []
    with fed.elect("boss") as seat:

        def work(epoch: int) -> None:
            epochs.append(epoch)
            if len(epochs) == 1:
                seat.resign()
                until(lambda: seat.state.epoch > epoch or seat.state.role != "leader", what="it")
                seat.check(epoch)

        seat.lead(work)
    assert len(epochs) == 2
    assert epochs[0] < epochs[1]


def test_an_error_of_the_leaders_work_comes_out_unchanged(fed: Federation) -> None:
    error = ValueError("mine")

    def work(epoch: int) -> None:
        raise error

    with fed.elect("boss") as seat, pytest.raises(ValueError, match="mine") as caught:
        seat.lead(work)
    assert caught.value is error


def test_changes_end_when_the_seat_is_left_in_another_thread(fed: Federation) -> None:
    roles: list[str] = []
    with fed.elect("boss") as seat:

        def listen() -> None:
            for state in seat.changes():
                roles.append(state.role)  # noqa: PERF401 (seen while it grows)

        thread = threading.Thread(target=listen)
        thread.start()
        until(lambda: "leader" in roles, what="the grant")
    thread.join(10)
    assert not thread.is_alive()


def test_commands_are_consumed_by_a_plain_function(shared: Place) -> None:
    acted: list[str] = []

    def act(command: Command) -> str:
        acted.append(f"{command.action} in {threading.current_thread().name}")
        return "applied"

    with shared.connect() as fed:
        ended: list[Unavailable] = []

        def consume() -> None:
            try:
                fed.commands.consume("boss", act)  # type: ignore[arg-type]
            except Unavailable as error:
                ended.append(error)

        thread = threading.Thread(target=consume)
        thread.start()
        with fed.elect("boss") as seat:
            next(state for state in seat.changes() if state.role == "leader")
            issued = fed.commands.issue("scale", gate=seat)
            assert isinstance(issued, Command)
            outcome = fed.commands.outcome(issued, wait_s=10)
        assert outcome is not None
        assert outcome.status == "applied"
        assert fed.commands.log.outcome(issued.command_id) == outcome
        found = fed.commands.log.find(issued.command_id, scope="boss")
        assert found is not None
        assert [e.command.action for e in fed.commands.log.commands(scope="boss")] == ["scale"]
        assert fed.commands.log.counts() == {"applied": 1}
        assert len(fed.commands.log.audit()) == 3
        assert fed.commands.log.replay(lambda n, _: n + 1, 0) == 3
    thread.join(10)
    assert acted
    assert "AnyIO" in acted[0]
    assert len(ended) == 1


def test_waiting_for_an_outcome_that_does_not_come_ends_in_time(fed: Federation) -> None:
    with fed.elect("boss") as seat:
        next(state for state in seat.changes() if state.role == "leader")
        issued = fed.commands.issue("scale", gate=seat)
    assert isinstance(issued, Command)
    began = time.monotonic()
    assert fed.commands.outcome(issued, wait_s=0.3) is None
    assert 0.3 <= time.monotonic() - began < 3


def test_a_guarded_resource_refuses_the_older_token(fed: Federation) -> None:
    guard = fed.guard("account")
    assert guard.resource == "account"
    guard.transaction(2, (Put("account/balance", b"20"),))
    with pytest.raises(StaleToken):
        guard.transaction(1, (Put("account/balance", b"10"),))
    record = fed.store.get("account/balance")
    assert record is not None
    assert record.value == b"20"
    guard.admit(5)
    assert guard.high_water() == 5


def test_a_run_is_worked_on_by_plain_functions_in_threads(fed: Federation) -> None:
    done: list[str] = []
    roles: list[str] = []

    def do(task: TaskRun) -> object:
        done.append(task.task_id)
        assert threading.current_thread() is not threading.main_thread()
        return {"from": task.inputs}

    run = fed.dag.submit({"a": [], "b": ["a"], "c": ["a"]}, run_id="r")
    assert run.created
    ended = fed.dag.work(run, do, slots=2, on_role=lambda state: roles.append(state.role))
    assert ended.state == "success"
    assert done[0] == "a"
    assert sorted(done) == ["a", "b", "c"]
    assert "leader" in roles
    assert fed.dag.inspect("r").counts()["success"] == 3
    assert fed.dag.record("r") == ended
    assert fed.dag.record("other") is None
    assert [record.run_id for record in fed.dag.list()] == ["r"]
    assert fed.dag.workers("r") == []
    assert fed.dag.leader("r").lease is None
    progress = fed.dag.progress("r")
    assert progress is not None
    fed.dag.resume("r", retry_failed=True)
    assert fed.dag.is_asked("r")
    with pytest.raises(PlanMismatch):
        fed.dag.submit({"other": []}, run_id="r")


def test_a_task_that_raises_fails_its_run(fed: Federation) -> None:
    def do(task: TaskRun) -> object:
        raise ValueError("no such file")

    fed.dag.submit({"a": []}, run_id="r")
    assert fed.dag.work("r", do).state == "failed"


def test_who_joins_the_registry_is_found_in_it(fed: Federation) -> None:
    with fed.registry.join(kind="gate", labels={"zone": "b"}, slots=8) as member:
        member.report(load=3)
        (found,) = fed.registry.members(kind="gate", labels={"zone": "b"})
        assert found.worker_id == member.worker_id == fed.identity().worker_id
        assert fed.registry.by_host()[fed.identity().host_id].slots == 8
        assert fed.registry.find(member.worker_id) is not None
        with fed.registry.watch() as changes:
            assert next(changes).member.worker_id == member.worker_id
    assert fed.registry.members() == []
    assert len(fed.registry.inspect().members) == 1
    assert fed.registry.collect() == 0


def test_an_open_store_may_be_passed_and_is_not_closed(identities: IdentityStore) -> None:
    store = anyio.run(open_async_store, "memory://")
    for _ in range(2):
        with federlib.blocking.connect(store, identity=identities) as fed, fed.hold("x"):
            assert fed.store.store_id == store.store_id
    assert anyio.run(store.get, "lease/x/lease") is not None


def test_after_closing_every_verb_says_so(place: Place) -> None:
    with place.connect() as fed:
        pass
    for verb in (
        fed.identity,
        lambda: fed.inspect("x"),
        lambda: fed.store.get("a"),
        lambda: fed.try_acquire("x"),
        lambda: fed.hold("x").__enter__(),
        fed.dag.list,
        lambda: fed.elect("x").__enter__(),
        lambda: fed.guard("x").high_water(),
    ):
        with pytest.raises(Unavailable, match="closed"):
            verb()


def test_an_error_of_the_body_comes_out_unchanged(place: Place) -> None:
    error = RuntimeError("of the body")
    with pytest.raises(RuntimeError) as caught, place.connect() as fed, fed.hold("x"):
        raise error
    assert caught.value is error


def test_it_works_in_threads_of_a_program_that_has_an_event_loop(shared: Place) -> None:
    def blockingly() -> int:
        with shared.connect() as fed, fed.hold("x") as lease:
            return lease.token

    async def main() -> list[int]:
        tokens: list[int] = []

        async def one() -> None:
            tokens.append(await anyio.to_thread.run_sync(blockingly))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(one)
        return tokens

    for backend in ("asyncio", "trio"):
        tokens = anyio.run(main, backend=backend)
        assert len(set(tokens)) == 3


def test_it_works_even_on_the_thread_of_an_event_loop(shared: Place) -> None:
    async def main() -> int:
        with shared.connect() as fed, fed.hold("x") as lease:
            return lease.token

    assert [anyio.run(main, backend=backend) for backend in ("asyncio", "trio")] == [1, 2]


def test_the_lease_runs_by_the_clock_that_is_given(shared: Place) -> None:
    clock = ManualClock()
    with shared.connect(clock=clock, ttl_s=10) as fed, fed.hold("x", on_loss="mark") as lease:
        assert lease.remaining_s() == 9
        clock.advance(9)
        assert lease.lost
