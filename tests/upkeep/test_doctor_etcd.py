"""The doctor on a real etcd: sound, with dead members, without quorum, with users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from federlib.errors import Unavailable
from federlib.skewclock import SystemClock
from federlib.storage import Finding, open_store
from federlib.storage.backends.etcd import _examine as etcd
from federlib.storage.backends.etcd._wire import Header
from federlib.testing import SkewedClock
from federlib.testing.servers import EtcdCluster
from federlib.testing.servers import etcd_server as run_etcd
from federlib.upkeep import DoctorReport, examine
from storage.etcd_lab import add_users, new_prefix, new_url

PASSWORD = "s3cr3t-w0rd"


def all_found(report: DoctorReport, name: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.name == name]


def found(report: DoctorReport, name: str) -> Finding:
    (one,) = all_found(report, name)
    return one


def names_of(report: DoctorReport) -> list[str]:
    """Name what is to be done, but for the version: that of the tests is one to be warned of."""
    return [finding.name for finding in report.urgent() if finding.name != "engine"]


async def make(url: str) -> None:
    await (await open_store(url)).aclose()


@contextmanager
def without(cluster: EtcdCluster, count: int) -> Iterator[None]:
    """Let some members be dead for a while."""
    for member in cluster.members[:count]:
        member.kill()
    try:
        yield
    finally:
        cluster.start()


@pytest.mark.anyio
async def test_a_sound_member_is_told_and_nothing_stays_behind(etcd_server: EtcdCluster) -> None:
    url = new_url(etcd_server)
    missing = await examine(url)
    assert (missing.health, names_of(missing)) == ("cannot tell", ["store"])
    report = await examine(url, may_create=True)
    assert report.store_id
    assert names_of(report) == []
    version = found(report, "engine")
    is_bad = any(bad in version.measured for bad in etcd._FRAGILE)
    assert (version.verdict == "warn", "3.5.7 or newer" in version.fix) == (is_bad, is_bad)
    assert report.health == ("degraded" if is_bad else "healthy")
    assert found(report, "compaction").verdict == "skip"
    assert 0.5 <= found(report, "clock").numbers["uncertainty_s"] < 2
    store = await open_store(url)
    try:
        assert [record.key for record in (await store.scan("")).records] == ["meta/store"]
    finally:
        await store.aclose()


@pytest.mark.anyio
async def test_looking_alone_commits_nothing(etcd_server: EtcdCluster) -> None:
    url = new_url(etcd_server)
    await make(url)
    store = await open_store(url)
    try:
        before = (await store.scan("")).revision
        report = await examine(url, may_write=False)
        assert (await store.scan("")).revision == before
    finally:
        await store.aclose()
    assert (found(report, "commits").verdict, found(report, "reads").verdict) == ("skip", "ok")


@pytest.mark.anyio
async def test_a_dead_member_of_three_is_named_and_the_rest_works(
    etcd_cluster: EtcdCluster,
) -> None:
    url = new_url(etcd_cluster)
    await make(url)
    with without(etcd_cluster, 1):
        report = await examine(url)
    dead = etcd_cluster.members[0].endpoint
    assert (report.health, names_of(report)[0]) == ("degraded", "reach")
    reach = all_found(report, "reach")
    assert sorted(finding.verdict for finding in reach) == ["ok", "ok", "warn"]
    assert f"start {dead}" in next(one.fix for one in reach if one.verdict == "warn")
    assert found(report, "commits").verdict == "ok"
    assert "3, of which the URL names 3 and 2 can be reached" in found(report, "members").measured


@pytest.mark.anyio
async def test_without_a_quorum_that_is_what_is_to_be_mended(etcd_cluster: EtcdCluster) -> None:
    url = new_url(etcd_cluster)
    await make(url)
    with without(etcd_cluster, 2):
        report = await examine(url)
    assert report.health == "cannot tell"
    assert "members" in names_of(report)
    assert "bring back a majority" in found(report, "members").fix


@pytest.mark.anyio
async def test_a_url_that_names_one_of_three_should_name_all(etcd_cluster: EtcdCluster) -> None:
    url = f"etcd://{etcd_cluster.members[0].endpoint}?prefix={new_prefix()}"
    report = await examine(url, may_create=True)
    assert names_of(report) == ["members"]


@pytest.mark.anyio
async def test_a_stopped_cluster_is_told_member_by_member(etcd_cluster: EtcdCluster) -> None:
    with without(etcd_cluster, 3):
        report = await examine(new_url(etcd_cluster))
    assert (report.health, names_of(report)) == ("cannot tell", ["reach"] * 3)
    assert found(report, "store").verdict == "skip"


@pytest.mark.anyio
async def test_a_clock_that_is_off_by_an_hour_is_a_warning(etcd_server: EtcdCluster) -> None:
    url = new_url(etcd_server)
    await make(url)
    report = await examine(url, clock=SkewedClock(SystemClock(), offset_s=-3_600))
    assert names_of(report) == ["clock"]
    assert found(report, "clock").numbers["offset_s"] == pytest.approx(3_600, abs=5)


@pytest.fixture(scope="module")
def guarded() -> Iterator[EtcdCluster]:
    with run_etcd() as cluster:
        add_users(cluster, ["fed"], prefix="federlib/", password=PASSWORD)
        yield cluster


@pytest.mark.anyio
async def test_a_wrong_password_is_told_and_not_shown(guarded: EtcdCluster) -> None:
    place = guarded.url.removeprefix("etcd://")
    report = await examine(f"etcd://fed:nearly-it@{place}")
    assert report.health == "cannot tell"
    assert found(report, "reach").fix == "check user, password and role at etcd"
    assert "nearly-it" not in str(report)
    right = await examine(f"etcd://fed:{PASSWORD}@{place}", may_create=True)
    assert names_of(right) == []
    assert PASSWORD not in str(right)


@pytest.mark.anyio
async def test_a_prefix_that_the_user_may_not_read_is_told(guarded: EtcdCluster) -> None:
    place = guarded.url.removeprefix("etcd://")
    report = await examine(f"etcd://fed:{PASSWORD}@{place}?prefix=theirs/")
    assert report.health == "cannot tell"
    assert "permission denied" in found(report, "store").measured


@pytest.mark.anyio
async def test_a_file_that_cannot_be_used_is_named() -> None:
    report = await examine("etcds://127.0.0.1:1?ca=/no/such/file.pem")
    assert report.health == "cannot tell"
    assert "/no/such/file.pem" in found(report, "reach").measured


# What members say of themselves


def member(name: str = "a:1", **facts: object) -> etcd._Member:
    status = {"version": "3.5.9", "leader": 7, **facts}
    return etcd._Member(name=name, took_ms=1, status=etcd._Status(**status), clock=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "verdict"),
    [("3.3.27", "fail"), ("3.4.0", "ok"), ("3.5.0", "warn"), ("3.5.6", "warn"), ("3.5.7", "ok"),
     ("3.6.0-rc.1", "ok"), ("3.10.0", "ok"), ("", "fail")],
)  # fmt: skip
def test_versions_are_judged_by_what_is_known_of_them(version: str, verdict: str) -> None:
    assert etcd._judge_version([member(), member(version=version)]).verdict == verdict


def test_alarms_are_failures_and_a_missing_leader_is_no_alarm() -> None:
    full = member(errors=("memberID:1 alarm:NOSPACE ", "etcdserver: no leader"))
    finding = etcd._judge_alarms([full])
    assert (finding.verdict, finding.measured) == ("fail", "memberID:1 alarm:NOSPACE ")
    assert etcd._judge_alarms([member(errors=("etcdserver: no leader",))]).verdict == "ok"


def test_members_that_follow_different_leaders_are_a_warning() -> None:
    assert etcd._judge_leader([member(), member(leader=8)]).verdict == "warn"
    assert etcd._judge_leader([member(leader=0)]).verdict == "fail"
    led = member("b:2", header=Header(member_id=7))
    assert etcd._judge_leader([member(), led]).measured == "b:2 leads"


@pytest.mark.parametrize(
    ("size", "quota", "verdict"),
    [(10, 0, "ok"), (2**31 - 1, 0, "warn"), (2**31, 2**33, "ok"), (2**33, 2**33, "warn")],
)
def test_a_database_near_its_quota_is_a_warning(size: int, quota: int, verdict: str) -> None:
    assert etcd._judge_space([member(dbSize=size, dbSizeQuota=quota)]).verdict == verdict


def test_a_list_that_cannot_be_read_is_left_out() -> None:
    assert etcd._judge_members(3, 3, Unavailable("etcd", "no quorum")).verdict == "skip"
    assert etcd._judge_members(3, 1, 3).verdict == "fail"


@pytest.mark.parametrize("date", ["", "yesterday", "Sat, 99 Nov 2026 00:00:00 GMT"])
def test_an_answer_without_a_date_tells_no_time(date: str) -> None:
    assert etcd._offset("a", date, 0, 0) is None
