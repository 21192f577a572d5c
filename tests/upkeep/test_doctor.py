"""The doctor on stores of one machine and on drivers of others; what it makes of numbers."""

from __future__ import annotations

import os
import sqlite3
import sys
import types
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path

import anyio
import msgspec
import pytest

from federlib.errors import StoreDenied, Unavailable
from federlib.skewclock import Clock, SkewTolerance, SystemClock
from federlib.storage import (
    Capabilities,
    ClockOffset,
    Committed,
    Conflicted,
    Delete,
    Examined,
    Finding,
    RecordStore,
    Subscription,
    Transaction,
    open_store,
)
from federlib.storage.backends._embedded import examining, exclusion
from federlib.storage.backends.memory import CAPABILITIES, MemoryStore
from federlib.storage.examining import Verdict
from federlib.storage.urls import ENTRY_POINTS
from federlib.upkeep import DoctorReport, diagnosis, doctor, examine
from upkeep.stores import place, records_of

EMBEDDED = ("sqlite", "file")
NFS = "1 2 0:1 / / rw - ext4 /dev/a rw\n3 4 0:2 / /net rw - nfs4 host:/x rw\n"


def found(report: DoctorReport | list[Finding], name: str) -> Finding:
    findings = report.findings if isinstance(report, DoctorReport) else report
    (one,) = (finding for finding in findings if finding.name == name)
    return one


def verdicts(report: DoctorReport) -> dict[str, str]:
    return {finding.name: finding.verdict for finding in report.findings}


def below(path: Path) -> set[str]:
    """Name all that lies below a directory, but for what drivers keep in the background."""
    names = {str(one.relative_to(path)) for one in path.rglob("*")}
    return {
        name for name in names if not name.endswith(("-wal", "-shm")) and "/records/" not in name
    }


async def make(url: str) -> RecordStore:
    return await open_store(url)


@pytest.fixture(params=EMBEDDED)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Make an empty store in a directory of its own, and return its URL."""
    url = place(request.param, tmp_path, "fleet")
    await (await make(url)).aclose()
    return url


@pytest.mark.anyio
async def test_a_sound_store_is_healthy_and_nothing_stays_behind(url: str, tmp_path: Path) -> None:
    before = below(tmp_path)
    report = await examine(url)
    assert (report.health, report.urgent()) == ("healthy", [])
    assert list(verdicts(report)) == [
        "URL", "engine", "file system", "disk space", "files", "file locks", "store",
        "durability", "reads", "commits", "watch", "clock",
    ]  # fmt: skip
    assert set(verdicts(report).values()) == {"ok"}
    assert below(tmp_path) == before
    store = await make(url)
    try:
        assert store.store_id == report.store_id
        assert set(await records_of(store)) == set()
    finally:
        await store.aclose()
    assert set(found(report, "commits").numbers) == {"count", "median_ms", "max_ms"}


@pytest.mark.anyio
async def test_nothing_is_written_where_nothing_may_be(url: str, tmp_path: Path) -> None:
    store = await make(url)
    try:
        before = (below(tmp_path), (await store.scan("")).revision)
        report = await examine(url, may_write=False)
        assert (below(tmp_path), (await store.scan("")).revision) == before
    finally:
        await store.aclose()
    assert report.health == "healthy"
    left_out = {name for name, verdict in verdicts(report).items() if verdict == "skip"}
    assert left_out == {"file locks", "commits", "watch"}
    assert all("not tried" in found(report, name).measured for name in left_out)


@pytest.mark.anyio
async def test_others_go_on_working_beside_it(url: str) -> None:
    store = await make(url)
    try:
        report = await examine(url)
        assert report.health == "healthy"
        assert (await store.scan("doctor/")).records == ()
    finally:
        await store.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("kind", EMBEDDED)
async def test_a_store_that_is_not_there_is_made_only_when_told(kind: str, tmp_path: Path) -> None:
    url = place(kind, tmp_path, "fleet")
    report = await examine(url)
    assert (report.health, report.store_id) == ("cannot tell", "")
    assert "none was made" in found(report, "store").measured
    assert found(report, "file locks").verdict == "ok"
    assert below(tmp_path) == set()
    assert (await examine(url, may_create=True, may_write=False)).health == "cannot tell"
    assert below(tmp_path) == set()
    made = await examine(url, may_create=True)
    assert (made.health, bool(made.store_id)) == ("healthy", True)
    assert (await examine(url)).store_id == made.store_id


@pytest.mark.anyio
async def test_an_empty_file_or_directory_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "fleet.db").touch()
    (tmp_path / "fleet").mkdir()
    for kind in EMBEDDED:
        report = await examine(place(kind, tmp_path, "fleet"))
        assert report.health == "cannot tell"
        assert "there is none" in found(report, "store").measured


@pytest.mark.anyio
async def test_a_place_that_does_not_exist_is_named(tmp_path: Path) -> None:
    report = await examine(place("sqlite", tmp_path / "none", "fleet"))
    assert found(report, "file locks").verdict == "skip"
    assert f"there is no directory {tmp_path}/none" in found(report, "file locks").measured
    assert found(report, "disk space").verdict == "ok"


@pytest.mark.anyio
async def test_what_others_may_read_is_told_with_the_command_that_mends_it(
    tmp_path: Path,
) -> None:
    url = place("sqlite", tmp_path, "fleet")
    await (await make(url)).aclose()
    (tmp_path / "fleet.db").chmod(0o644)
    report = await examine(url)
    assert report.health == "degraded"
    files = found(report, "files")
    assert (files.verdict, files.fix) == ("warn", f"chmod 600 {tmp_path}/fleet.db")
    assert "has mode 0644" in files.measured
    (tmp_path / "fleet.db").chmod(0o600)
    assert (await examine(url)).health == "healthy"


@pytest.mark.parametrize(
    ("mode", "owner", "expected"),
    [(0o100600, 7, ""), (0o40700, 7, ""), (0o100640, 7, "chmod 600 x"), (0o40755, 7, "chmod 700 x"),
     (0o100600, 8, "run as user 8, or chown -R the store to the user that runs it")],
)  # fmt: skip
def test_files_belong_to_their_user_alone(mode: int, owner: int, expected: str) -> None:
    finding = examining.examine_files([examining.Seen(Path("x"), mode, owner)], user=7)
    assert (finding.verdict == "ok", finding.fix) == (not expected, expected)
    assert examining.examine_files([], user=None).verdict == "skip"


@pytest.mark.anyio
@pytest.mark.parametrize("kind", EMBEDDED)
async def test_what_is_no_store_is_left_as_it_is(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("fleet.db" if kind == "sqlite" else "fleet/diary.txt")
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(b"somebody's diary" * 100)
    report = await examine(place(kind, tmp_path, "fleet"), may_create=True)
    assert report.health == "cannot tell"
    assert found(report, "store").verdict == "fail"
    assert found(report, "store").fix
    assert path.read_bytes() == b"somebody's diary" * 100


@pytest.mark.anyio
@pytest.mark.parametrize("kind", EMBEDDED)
async def test_a_name_that_is_no_text_is_told_as_well_as_can_be(kind: str, tmp_path: Path) -> None:
    url = place(kind, tmp_path, "%ff fleet")
    report = await examine(url, may_create=True)
    assert report.health == "healthy"
    for path in tmp_path.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    files = found(await examine(url), "files")
    assert ("chmod 600 '" in files.fix, "? fleet" in files.fix) == (True, True)
    assert msgspec.json.encode(files)


@pytest.mark.anyio
async def test_a_store_in_memory_ends_with_its_process() -> None:
    report = await examine("memory://")
    assert report.health == "degraded"
    assert [finding.name for finding in report.urgent()] == ["durability"]
    assert verdicts(report)["watch"] == "ok"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url", ["nope://u:s3cret@host/x", "sqlite://", "sqlite:///a?b=c", "memory://name", "",
            "fleet.db", "postgresql://u:s3cret@host:x y/#", "etcd://u:s3cret@a/b"],
)  # fmt: skip
async def test_a_url_that_cannot_be_right_is_the_finding(url: str) -> None:
    report = await examine(url)
    assert report.health == "cannot tell"
    (worst,) = report.urgent()
    assert worst.name in {"URL", "store"}
    assert worst.fix
    assert "s3cret" not in str(report)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [("postgresql://u:s3cret@host/x", "psycopg", "postgres"), ("etcd://a", "httpx", "etcd")],
)
async def test_a_missing_extra_says_what_to_install(
    url: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = url.partition(":")[0]
    for name in [n for n in sys.modules if n.startswith(f"federlib.storage.backends.{driver}")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    report = await examine(url)
    assert report.health == "cannot tell"
    assert found(report, "URL").fix == f'pip install "federlib[{extra}]"'
    assert "s3cret" not in str(report)


# Locks


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["file", "directory", "sqlite"])
async def test_locks_keep_a_second_process_out_until_the_first_is_killed(
    kind: exclusion.LockKind, tmp_path: Path
) -> None:
    assert await exclusion.prove_exclusion(tmp_path, (kind,)) is None
    assert below(tmp_path) == set()


class Open:
    """A lock that lets everybody in, as some file systems do."""

    def try_take(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing is held."""


class Stuck(Open):
    """A lock that outlives its holder."""

    def try_take(self) -> bool:
        return False


def always(lock: exclusion.Lock) -> Callable[[exclusion.LockKind, Path], exclusion.Lock]:
    return lambda _kind, _path: lock


@pytest.mark.anyio
async def test_a_lock_that_lets_two_in_is_found(tmp_path: Path) -> None:
    gap = await exclusion.prove_exclusion(tmp_path, ("file",), open_lock=always(Open()))
    assert gap == "two processes hold one lock of kind file at once"
    finding = examining.judge_locks(gap, ("file",))
    assert (finding.verdict, "local disk" in finding.fix) == ("fail", True)
    assert below(tmp_path) == set()


@pytest.mark.anyio
async def test_a_lock_that_is_not_freed_by_death_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exclusion, "_LOOKS", 5)
    gap = await exclusion.prove_exclusion(tmp_path, ("file",), open_lock=always(Stuck()))
    assert gap is not None
    assert "still held 0.1 s after its holder was killed" in gap


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("program", "why"),
    [("import sys; sys.exit('no way')", "no way"), ("pass", "it ended"),
     ("print('what?')", "it ended")],
)  # fmt: skip
async def test_a_second_process_that_cannot_take_it_proves_nothing(
    program: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(exclusion.NoProof, match=why):
        await exclusion.prove_exclusion(tmp_path, ("file",), holder=(sys.executable, "-c", program))
    with pytest.raises(exclusion.NoProof, match="fails"):
        await exclusion.prove_exclusion(tmp_path, ("file",), holder=("/no/such/program",))
    assert below(tmp_path) == set()


@pytest.mark.anyio
async def test_where_no_file_can_be_made_nothing_is_proven() -> None:
    # Even root makes no directory there.
    finding = await examining.examine_locks(Path("/proc"), ("file",), may_write=True)
    assert finding.verdict == "fail"
    assert finding.measured.startswith("not proven: no directory can be made in /proc")


@pytest.mark.anyio
async def test_a_lock_that_cannot_be_made_proves_nothing(tmp_path: Path) -> None:
    def refuse(_kind: exclusion.LockKind, _path: Path) -> exclusion.Lock:
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(exclusion.NoProof, match="kind sqlite can be made: disk I/O error"):
        await exclusion.prove_exclusion(tmp_path, ("sqlite",), open_lock=refuse)


@pytest.mark.anyio
async def test_sqlite_must_be_able_to_keep_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_given: object, **_named: object) -> sqlite3.Connection:
        return real(":memory:", isolation_level=None, check_same_thread=False)

    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", connect)
    finding = await examining.examine_locks(tmp_path, ("sqlite",), may_write=True)
    assert finding.verdict == "fail"
    assert "SQLite cannot keep a write-ahead log here (mode memory)" in finding.measured


@pytest.mark.anyio
async def test_where_no_second_process_starts_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exclusion, "_PATIENCE_S", 0.2)
    holder = (sys.executable, "-c", "input()")
    with pytest.raises(exclusion.NoProof, match="did not start within") as raised:
        await exclusion.prove_exclusion(tmp_path, ("file",), holder=holder)
    assert not raised.value.is_of_place

    async def unproven(*_given: object) -> str | None:
        raise raised.value

    monkeypatch.setattr(examining, "prove_exclusion", unproven)
    finding = await examining.examine_locks(tmp_path, ("file",), may_write=True)
    assert (finding.verdict, sys.executable in finding.fix) == ("warn", True)


# The place


@pytest.mark.parametrize(
    ("path", "allowed", "verdict", "is_refused"),
    [("/home/x", False, "ok", False), ("/net/x", False, "fail", True),
     ("/net/x", True, "warn", False)],
)  # fmt: skip
def test_a_network_file_system_is_named(
    path: str, allowed: bool, verdict: str, is_refused: bool
) -> None:
    finding, refused = examining.examine_mount(Path(path), allow_network_fs=allowed, mountinfo=NFS)
    assert (finding.verdict, refused) == (verdict, is_refused)
    assert ("nfs4 mounted at /net" in finding.measured) == path.startswith("/net")


def test_a_file_system_in_memory_is_no_disk() -> None:
    table = "1 2 0:1 / / rw - tmpfs none rw\n"
    finding, refused = examining.examine_mount(Path("/x"), allow_network_fs=False, mountinfo=table)
    assert (finding.verdict, refused) == ("warn", False)
    unknown, refused = examining.examine_mount(Path("/x"), allow_network_fs=False, mountinfo="")
    assert (unknown.verdict, refused) == ("skip", False)


@pytest.mark.anyio
async def test_a_store_on_a_network_file_system_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = place("sqlite", tmp_path, "fleet")
    await (await make(url)).aclose()
    table = "1 2 0:1 / / rw - nfs host:/x rw\n"
    monkeypatch.setattr(examining, "read_mountinfo", lambda: table)
    report = await examine(url)
    assert report.health == "cannot tell"
    assert found(report, "file system").verdict == "fail"
    assert found(report, "store").verdict == "skip"
    allowed = await examine(f"{url}?allow_network_fs=1")
    assert (allowed.health, found(allowed, "file system").verdict) == ("degraded", "warn")


@pytest.mark.parametrize(
    ("free", "files", "verdict"),
    [(2**40, 10**6, "ok"), (2**40, None, "ok"), (2**28, None, "ok"), (2**28 - 1, None, "warn"),
     (2**24 - 1, None, "fail"), (2**40, 999, "warn"), (2**40, 0, "fail")],
)  # fmt: skip
def test_a_full_disk_is_told_before_it_is_full(free: int, files: int | None, verdict: str) -> None:
    finding = examining.judge_space(free, files)
    assert (finding.verdict, bool(finding.fix)) == (verdict, verdict != "ok")


def test_space_that_cannot_be_asked_for_is_left_out() -> None:
    assert examining.examine_space(Path("/no/such/place")).verdict == "skip"


# Stores that misbehave


class Odd(MemoryStore):
    """A store in memory that others may share, with faults."""

    def __init__(self, *, refuses: bool = False, is_deaf: bool = False, hangs: bool = False,
                 multi_host: bool = True) -> None:  # fmt: skip
        super().__init__(SystemClock())
        self.refuses, self.is_deaf, self.hangs = refuses, is_deaf, hangs
        self.multi_host = multi_host
        self.removals = 0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            durable=True, shared=False, multi_host=self.multi_host, server_clock=False,
            push_watch=True, wake_latency_s=CAPABILITIES.wake_latency_s,
        )  # fmt: skip

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        if any(isinstance(write, Delete) for write in transaction.writes):
            self.removals += 1
        elif self.hangs:
            await anyio.sleep_forever()
        elif self.refuses:
            raise StoreDenied("odd store", "no right to write", hint="ask the owner")
        return await super().commit(transaction)

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[Subscription]:
        async with super().watch("elsewhere/" if self.is_deaf else prefix, after=after) as items:
            yield items


async def look_into(store: RecordStore, **given: ClockOffset) -> list[Finding]:
    return await doctor.examine_store(
        store,
        open_another=lambda: open_store("memory://"),
        may_write=True,
        clock=SystemClock(),
        tolerance=SkewTolerance(),
        ttl_s=15,
        **given,
    )


@pytest.mark.anyio
async def test_a_store_that_refuses_writes_is_told_with_the_way_out() -> None:
    findings = await look_into(Odd(refuses=True))
    for name in ("commits", "watch"):
        finding = found(findings, name)
        assert (finding.verdict, finding.measured) == ("fail", "no right to write")
        assert finding.fix == "ask the owner"
    assert found(findings, "reads").verdict == "ok"


@pytest.mark.anyio
async def test_a_watch_that_hears_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "HEARD_S", 0.2)
    store = Odd(is_deaf=True)
    finding = found(await look_into(store), "watch")
    assert finding.verdict == "fail"
    assert "did not hear of a commit" in finding.measured
    assert (await store.scan("doctor/")).records == ()


@pytest.mark.anyio
async def test_a_store_that_hangs_is_given_up_and_tidied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_CHECK_S", 0.2)
    store = Odd(hangs=True)
    findings = await look_into(store)
    assert found(findings, "commits").measured == "given up after 0.2 s"
    assert found(findings, "reads").verdict == "ok"
    assert store.removals == 2


@pytest.mark.anyio
async def test_an_engine_that_does_not_tell_its_time_leaves_nothing_to_compare() -> None:
    assert found(await look_into(Odd()), "clock").verdict == "skip"
    assert found(await look_into(Odd(multi_host=False)), "clock").verdict == "ok"
    away = ClockOffset(10, 0.5, "etcd")
    assert found(await look_into(Odd(), engine_clock=away), "clock").verdict == "warn"


# Drivers of others


def install(monkeypatch: pytest.MonkeyPatch, **names: object) -> None:
    """Install a driver for `theirs://`."""
    module = types.ModuleType("theirs")
    for name, value in names.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "theirs", module)
    point = metadata.EntryPoint("theirs", "theirs:open_store", ENTRY_POINTS)
    points = metadata.EntryPoints((point,))
    for where in ("federlib.storage.examining", "federlib.storage.urls"):
        monkeypatch.setattr(f"{where}.entry_points", lambda **_given: points)


async def open_theirs(*_given: object) -> RecordStore:
    return Odd()


@pytest.mark.anyio
async def test_a_driver_without_an_examiner_is_opened_only_when_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, open_store=open_theirs)
    assert (await examine("theirs://")).health == "cannot tell"
    report = await examine("theirs://", may_create=True)
    assert report.health == "healthy"
    assert found(report, "engine").verdict == "skip"


@pytest.mark.anyio
async def test_an_examiner_of_others_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def theirs(url: str, clock: Clock, *, may_write: bool) -> Examined:
        finding = Finding(name="engine", verdict="warn", measured="theirs", fix="feed it")
        return Examined(findings=(finding,), store="there", clock=ClockOffset(0.1, 0.2, "it"))

    install(monkeypatch, open_store=open_theirs, examine=theirs)
    report = await examine("theirs://")
    assert [finding.fix for finding in report.urgent()] == ["feed it"]
    assert found(report, "clock").measured.startswith("it is 100.0 ms ahead of this machine")


@pytest.mark.anyio
async def test_an_examiner_that_hangs_or_fails_is_a_finding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hangs(url: str, clock: Clock, *, may_write: bool) -> Examined:
        await anyio.sleep_forever()
        raise AssertionError

    async def fails(url: str, clock: Clock, *, may_write: bool) -> Examined:
        raise OSError(5, "the disk burns")

    async def away(url: str, clock: Clock, *, may_write: bool) -> Examined:
        raise Unavailable("theirs", "gone")

    async def blunders(url: str, clock: Clock, *, may_write: bool) -> Examined:
        raise KeyError("s3cret")

    monkeypatch.setattr(doctor, "_ENGINE_S", 0.1)
    for examiner, said in (
        (hangs, "given up"), (fails, "the disk burns"), (away, "gone"),
        (blunders, "the driver fails with KeyError"),
    ):  # fmt: skip
        install(monkeypatch, open_store=open_theirs, examine=examiner)
        report = await examine("theirs://")
        assert report.health == "cannot tell"
        assert said in found(report, "engine").measured


@pytest.mark.anyio
async def test_a_store_that_cannot_be_opened_in_time_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(*_given: object) -> RecordStore:
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(doctor, "_OPEN_S", 0.1)
    install(monkeypatch, open_store=hang)
    report = await examine("theirs://", may_create=True)
    assert found(report, "store").measured == "given up after 0.1 s"


# What numbers mean


@pytest.mark.parametrize(
    ("times", "verdict"),
    [([0.001] * 10, "ok"), ([0.001] * 9 + [5.0], "ok"), ([0.001] * 9 + [5.1], "warn"),
     ([5.1] * 10, "fail")],
)  # fmt: skip
def test_commits_are_held_against_a_third_of_the_ttl(times: list[float], verdict: str) -> None:
    finding = diagnosis.judge_commits(times, ttl_s=15)
    assert (finding.verdict, bool(finding.fix)) == (verdict, verdict != "ok")
    assert finding.numbers["max_ms"] == pytest.approx(max(times) * 1e3)


@pytest.mark.parametrize(
    ("offset_s", "doubt_s", "verdict"),
    [(0.0, 0.1, "ok"), (3.0, 0.0, "ok"), (3.1, 0.0, "warn"), (-3.1, 0.0, "warn"), (3.4, 0.5, "ok"),
     (-3600.0, 0.5, "warn")],
)  # fmt: skip
def test_a_clock_is_off_only_beyond_doubt(offset_s: float, doubt_s: float, verdict: str) -> None:
    finding = diagnosis.judge_clock(ClockOffset(offset_s, doubt_s, "it"), SkewTolerance())
    assert finding.verdict == verdict
    assert ("behind" in finding.measured) == (offset_s <= 0)


@pytest.mark.parametrize(("heard_s", "verdict"), [(0.01, "ok"), (0.5, "ok"), (0.51, "warn")])
def test_a_late_watch_is_a_warning(heard_s: float, verdict: str) -> None:
    assert diagnosis.judge_watch(heard_s, CAPABILITIES).verdict == verdict


def test_reads_that_take_long_are_a_warning() -> None:
    assert diagnosis.judge_reads([0.1] * 3).verdict == "ok"
    assert diagnosis.judge_reads([0.2] * 3).verdict == "warn"


@pytest.mark.parametrize(
    ("given", "is_open", "health"),
    [(["ok", "skip"], True, "healthy"), (["ok", "warn"], True, "degraded"),
     (["warn", "fail"], True, "unhealthy"), (["ok"], False, "cannot tell")],
)  # fmt: skip
def test_the_worst_finding_is_the_health(given: list[Verdict], is_open: bool, health: str) -> None:
    findings = [Finding(name="x", verdict=verdict, measured="") for verdict in given]
    assert diagnosis.health_of(findings, is_open=is_open) == health


def test_the_trial_runs_as_this_user(tmp_path: Path) -> None:
    (seen,) = examining.see([tmp_path, tmp_path / "none"])
    assert seen.owner == os.geteuid()
