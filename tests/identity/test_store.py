"""The identity directory, as one process sees it."""

from __future__ import annotations

import errno
import json
import os
import stat
import uuid
from pathlib import Path

import anyio
import pytest

from federlib.errors import (
    ClonedIdentity,
    CorruptRecord,
    Fenced,
    IdentityTaken,
    InvalidInput,
    StoreFull,
    Unavailable,
)
from federlib.identity import (
    DEFAULT_ROOT,
    IDENTITY_ROOT_ENV,
    IdentityStore,
    WorkerIdentity,
    identity_root,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runtime" / "identities"


@pytest.fixture
def store(root: Path) -> IdentityStore:
    return IdentityStore(root, machine_id=lambda: "machine-a", wall_ns=lambda: 5)


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}


def test_a_first_claim_makes_a_host_and_worker_zero_of_it(store: IdentityStore) -> None:
    with store.claim() as worker:
        assert str(uuid.UUID(worker.host_id)) == worker.host_id
        assert worker.identity == WorkerIdentity(worker.host_id, 0)
        assert worker.worker_id == f"{worker.host_id}:0"
        assert worker.incarnation == 1
        assert store.host().host_id == worker.host_id
        assert store.host().machine_id == "machine-a"
        assert store.host().created_ns == 5
        worker.check()
        assert worker.worker_id in repr(worker)


def test_each_claim_takes_the_lowest_free_number(store: IdentityStore) -> None:
    zero, one, two = store.claim(), store.claim(), store.claim()
    assert [w.identity.seq for w in (zero, one, two)] == [0, 1, 2]
    one.release()
    again = store.claim()
    assert (again.identity.seq, again.incarnation) == (1, 2)
    for worker in (zero, two, again):
        worker.release()


def test_a_wanted_number_is_given_and_leaves_lower_ones_free(store: IdentityStore) -> None:
    with store.claim(999_999) as last, store.claim() as first:
        assert (last.identity.seq, first.identity.seq) == (999_999, 0)


def test_every_claim_of_a_number_raises_its_incarnation(store: IdentityStore) -> None:
    lives = []
    for _ in range(5):
        with store.claim() as worker:
            lives.append(worker.incarnation)
    assert lives == [1, 2, 3, 4, 5]


def test_a_taken_number_names_the_process_that_has_it(root: Path, store: IdentityStore) -> None:
    with store.claim(4), pytest.raises(IdentityTaken, match=f"process {os.getpid()}"):
        IdentityStore(root, machine_id=lambda: None).claim(4)


@pytest.mark.parametrize("text", [b"", b"soon", b"-1\n", b"9" * 31, b"12"])
def test_a_holder_that_cannot_be_read_is_only_called_a_live_process(
    root: Path, store: IdentityStore, text: bytes
) -> None:
    with store.claim(0):
        (root / "worker-0.lock").write_bytes(text)
        with pytest.raises(IdentityTaken, match="a live process"):
            store.claim(0)


def test_releasing_twice_does_not_release_the_next_holder(store: IdentityStore) -> None:
    first = store.claim()
    first.release()
    with store.claim() as second:
        first.release()
        second.check()
        with pytest.raises(IdentityTaken):
            store.claim(0)
        with pytest.raises(Fenced, match="released"):
            first.check()


def test_a_forgotten_claim_stays_taken(store: IdentityStore) -> None:
    store.claim(0)
    with pytest.raises(IdentityTaken):
        store.claim(0)


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_who_lost_the_lock_file_is_fenced(root: Path, store: IdentityStore, how: str) -> None:
    with store.claim() as worker:
        lock = root / "worker-0.lock"
        lock.rename(root / "elsewhere")
        if how == "replaced":
            lock.write_bytes(b"1\n")
        with pytest.raises(Fenced, match="lock file"):
            worker.check()


def test_two_directories_are_two_hosts(tmp_path: Path) -> None:
    one, two = IdentityStore(tmp_path / "1").host(), IdentityStore(tmp_path / "2").host()
    assert one.host_id != two.host_id


@pytest.mark.parametrize(("recorded", "present"), [("a", "a"), ("a", None), (None, "a")])
def test_a_machine_that_may_be_the_same_is_let_in(
    root: Path, recorded: str | None, present: str | None
) -> None:
    IdentityStore(root, machine_id=lambda: recorded).host()
    IdentityStore(root, machine_id=lambda: present).claim().release()
    assert IdentityStore(root, machine_id=lambda: recorded).host().machine_id == recorded


def test_a_cloned_disk_is_refused_with_the_way_out_and_left_alone(
    root: Path, store: IdentityStore
) -> None:
    store.claim().release()
    before = contents(root)
    with pytest.raises(ClonedIdentity) as caught:
        IdentityStore(root, machine_id=lambda: "machine-b").claim()
    for word in (f"remove {root}", IDENTITY_ROOT_ENV, "machine-a", "machine-b"):
        assert word in str(caught.value)
    assert contents(root) == before


def test_directories_are_0700_and_files_0600_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = IdentityStore(tmp_path / "a" / "b")
        store.claim().release()
        store.remember_store("sqlite:///x", "1")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    files = list((tmp_path / "a" / "b").iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert not [path for path in files if path.suffix == ".tmp"]


@pytest.mark.parametrize("name", ["host.json", "worker-0.json"])
@pytest.mark.parametrize(
    "found",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\0" * 100, id="zeroed"),
        pytest.param(b'{"host_id":"550e', id="torn"),
        pytest.param(b"PK\x03\x04 a zip file", id="foreign"),
        pytest.param(b"[]", id="other JSON"),
        pytest.param(b'{"v":2}', id="newer"),
        pytest.param(b"x" * 1_000_000, id="a megabyte"),
    ],
)
def test_what_cannot_be_trusted_is_named_and_not_overwritten(
    root: Path, store: IdentityStore, name: str, found: bytes
) -> None:
    store.claim().release()
    (root / name).write_bytes(found)
    before = contents(root)
    with pytest.raises(CorruptRecord) as caught:
        store.claim()
    assert str(root / name) in str(caught.value)
    assert contents(root) == before


@pytest.mark.parametrize("change", [{"seq": 1}, {"host_id": str(uuid.UUID(int=1))}])
def test_a_slot_of_another_worker_or_host_is_refused(
    root: Path, store: IdentityStore, change: dict[str, object]
) -> None:
    store.claim().release()
    path = root / "worker-0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CorruptRecord, match=r"worker-0\.json"):
        store.claim()


def test_a_lost_slot_record_is_refused_because_its_incarnation_would_fall(
    root: Path, store: IdentityStore
) -> None:
    store.claim().release()
    (root / "worker-0.json").unlink()
    with pytest.raises(CorruptRecord, match=r"worker-0\.json.*no file"):
        store.claim()
    with store.claim(1) as other:
        assert other.incarnation == 1


def test_a_lost_host_record_is_refused_beside_its_workers(root: Path, store: IdentityStore) -> None:
    store.claim().release()
    (root / "host.json").unlink()
    with pytest.raises(CorruptRecord, match=r"host\.json.*worker-0\.json"):
        store.claim()
    assert not (root / "host.json").exists()


def test_the_last_incarnation_is_refused_instead_of_wrapping(
    root: Path, store: IdentityStore
) -> None:
    store.claim().release()
    path = root / "worker-0.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"incarnation": 2**63 - 1}))
    with pytest.raises(CorruptRecord, match="incarnation below"):
        store.claim()


@pytest.mark.parametrize("name", ["host.json", "worker-0.json", "worker-0.lock"])
@pytest.mark.parametrize("kind", ["link", "dangling", "loop", "directory", "fifo"])
def test_tricks_in_place_of_a_file_are_typed_errors_and_never_followed(
    root: Path, tmp_path: Path, store: IdentityStore, name: str, kind: str
) -> None:
    store.claim().release()
    path, aside = root / name, tmp_path / "aside"
    path.rename(aside)
    before = aside.read_bytes()
    match kind:
        case "link":
            path.symlink_to(aside)
        case "dangling":
            path.symlink_to(tmp_path / "nowhere")
        case "loop":
            path.symlink_to(path)
        case "directory":
            path.mkdir()
        case _:
            os.mkfifo(path)
    with pytest.raises(CorruptRecord, match=name.replace(".", r"\.")):
        store.claim()
    assert aside.read_bytes() == before
    assert not (tmp_path / "nowhere").exists()


def test_a_link_planted_as_the_temporary_file_is_not_written_through(
    root: Path, tmp_path: Path, store: IdentityStore
) -> None:
    store.claim().release()
    (tmp_path / "victim").write_text("precious")
    (root / ".worker-0.json.tmp").symlink_to(tmp_path / "victim")
    store.claim().release()
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (root / "worker-0.json").is_symlink()


@pytest.mark.parametrize("tail", ["", "below", "far/below"])
def test_a_root_that_is_or_lies_under_a_file_is_invalid(tmp_path: Path, tail: str) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InvalidInput, match="a directory"):
        IdentityStore(tmp_path / "file" / tail).claim()
    assert (tmp_path / "file").read_text() == "kept"


def test_a_root_that_is_a_dangling_link_or_too_long_is_invalid(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for root in (tmp_path / "link", tmp_path / ("x" * 5_000)):
        with pytest.raises(InvalidInput, match="identity root"):
            IdentityStore(root).claim()


def test_a_root_reached_through_a_link_is_the_same_root(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with (
        IdentityStore(tmp_path / "real").claim() as one,
        IdentityStore(tmp_path / "link").claim() as two,
    ):
        assert (one.host_id, two.identity.seq) == (two.host_id, 1)


@pytest.mark.parametrize("root", ["", "  ", "a\0b", b"bytes", 7])
def test_a_root_that_cannot_be_a_path_is_invalid(root: object) -> None:
    with pytest.raises(InvalidInput, match="identity root"):
        IdentityStore(root)  # type: ignore[arg-type]  # hostile on purpose


@pytest.mark.parametrize("seq", [-1, 1_000_000, True, 1.0, "1"])
def test_a_wanted_number_that_cannot_be_is_invalid_and_makes_nothing(
    root: Path, store: IdentityStore, seq: object
) -> None:
    with pytest.raises(InvalidInput, match="seq"):
        store.claim(seq)  # type: ignore[arg-type]  # hostile on purpose
    assert not root.exists()


@pytest.mark.parametrize("call", ["fsync", "link", "pwrite"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_raises_a_typed_error_and_leaves_the_number_free(
    root: Path,
    store: IdentityStore,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: int,
) -> None:
    def failing(*_args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(StoreFull if code == errno.ENOSPC else Unavailable, match=str(root)):
        store.claim()
    monkeypatch.undo()
    with store.claim() as worker:
        assert worker.identity.seq == 0
    assert not list(root.glob(".*.tmp"))


def test_a_failed_fsync_never_lowers_or_repeats_an_incarnation(
    store: IdentityStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.claim() as worker:
        last = worker.incarnation
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "EIO")))
        with pytest.raises(Unavailable):
            store.claim()
    with store.claim() as worker:
        assert worker.incarnation > last


@pytest.mark.parametrize("now_ns", [-5, 2**70])
def test_a_mad_clock_writes_nothing_that_cannot_be_read_again(root: Path, now_ns: int) -> None:
    store = IdentityStore(root, wall_ns=lambda: now_ns)
    store.claim().release()
    with store.claim() as worker:
        assert worker.incarnation == 2


def test_an_absurd_machine_id_is_refused_before_anything_is_written(root: Path) -> None:
    with pytest.raises(InvalidInput, match="machine_id"):
        IdentityStore(root, machine_id=lambda: "m" * 257).claim()
    assert not list(root.iterdir())


def test_the_root_comes_from_the_environment_then_from_the_seed() -> None:
    assert identity_root({IDENTITY_ROOT_ENV: "/srv/ids"}) == Path("/srv/ids")
    assert identity_root({IDENTITY_ROOT_ENV: " "}) == Path(DEFAULT_ROOT)
    assert identity_root({}) == Path("runtime/identities")


def test_a_relative_root_is_fixed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(IDENTITY_ROOT_ENV, raising=False)
    monkeypatch.chdir(tmp_path)
    store = IdentityStore()
    monkeypatch.chdir("/")
    assert store.root == tmp_path / "runtime" / "identities"
    store.claim().release()
    assert (tmp_path / "runtime" / "identities" / "host.json").exists()


@pytest.mark.anyio
async def test_claims_run_beside_the_event_loop_and_exclude_each_other(
    store: IdentityStore,
) -> None:
    seqs: list[int] = []

    async def claim() -> None:
        seqs.append((await store.claim_async()).identity.seq)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(claim)
    assert sorted(seqs) == list(range(8))
    with pytest.raises(IdentityTaken):
        await store.claim_async(3)


@pytest.mark.anyio
async def test_a_cancelled_scope_claims_nothing(root: Path, store: IdentityStore) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.claim_async()
    assert scope.cancelled_caught
    assert not root.exists()
