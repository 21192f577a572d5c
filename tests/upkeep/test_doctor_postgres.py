"""The doctor on a real PostgreSQL: sound, careless, refusing, and gone."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import attrs
import psycopg
import pytest

from federlib.errors import Unavailable
from federlib.skewclock import SystemClock
from federlib.storage import Finding, Put, Transaction, open_store
from federlib.storage.backends.postgresql import _examine as postgres
from federlib.testing import SkewedClock
from federlib.testing.servers import PostgresServer
from federlib.testing.servers import postgres_server as run_postgres
from federlib.upkeep import DoctorReport, examine

SECRET = "s3cr3t-w0rd"
HBA = """
host all federlib 127.0.0.1/32 trust
host all reader   127.0.0.1/32 trust
host all guarded  127.0.0.1/32 scram-sha-256
"""
_schemas = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL that waits for its disk and asks one user for a password."""
    with tempfile.TemporaryDirectory() as name:
        # The server runs as another user.
        Path(name).chmod(0o755)
        hba = Path(name) / "pg_hba.conf"
        hba.write_text(HBA)
        with run_postgres(durable=True, settings={"hba_file": str(hba)}) as server:
            ask(server, "CREATE ROLE reader LOGIN")
            ask(server, f"CREATE ROLE guarded LOGIN PASSWORD '{SECRET}'")
            yield server


def ask(server: PostgresServer, statement: str) -> list[tuple[object, ...]]:
    """Ask past the driver."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        rows: list[tuple[object, ...]] = cursor.fetchall() if cursor.description else []
        return rows


def new_url(server: PostgresServer, user: str = "federlib") -> str:
    url = server.url.replace("federlib@", f"{user}@")
    return f"{url}?schema=doctor_{next(_schemas)}"


async def make(url: str) -> None:
    await (await open_store(url)).aclose()


def found(report: DoctorReport, name: str) -> Finding:
    (one,) = (finding for finding in report.findings if finding.name == name)
    return one


def names_of(report: DoctorReport) -> list[str]:
    return [finding.name for finding in report.urgent()]


@pytest.mark.anyio
async def test_a_sound_server_is_healthy_and_nothing_stays_behind(server: PostgresServer) -> None:
    url = new_url(server)
    schema = url.rpartition("=")[2]
    missing = await examine(url)
    assert (missing.health, names_of(missing)) == ("cannot tell", ["store"])
    assert ask(server, f"SELECT 1 FROM pg_namespace WHERE nspname = '{schema}'") == []
    made = await examine(url, may_create=True)
    assert (made.health, names_of(made)) == ("healthy", [])
    assert found(made, "engine").measured.startswith("PostgreSQL 1")
    assert "fsync = on" in found(made, "engine durability").measured
    assert found(made, "clock").numbers["uncertainty_s"] < 1
    assert "tolerance 3 s" in found(made, "clock").measured
    assert ask(server, f"SELECT key FROM {schema}.record") == [("meta/store",)]
    assert ask(server, f"SELECT count(*) FROM {schema}.receipt") == [(0,)]


@pytest.mark.anyio
async def test_looking_alone_commits_nothing(server: PostgresServer) -> None:
    url = new_url(server)
    await make(url)
    schema = url.rpartition("=")[2]
    before = ask(server, f"SELECT revision FROM {schema}.store")
    report = await examine(url, may_write=False)
    assert report.health == "healthy"
    assert ask(server, f"SELECT revision FROM {schema}.store") == before


@pytest.mark.anyio
async def test_a_server_that_does_not_wait_for_its_disk_is_a_warning(
    postgres_server: PostgresServer,
) -> None:
    report = await examine(new_url(postgres_server), may_create=True)
    assert (report.health, names_of(report)) == ("degraded", ["engine durability"])
    durability = found(report, "engine durability")
    assert "fsync = off, full_page_writes = off" in durability.measured
    assert durability.fix == "set fsync = on and full_page_writes = on at the server"


@pytest.mark.anyio
async def test_a_wrong_password_is_told_and_not_shown(server: PostgresServer) -> None:
    url = new_url(server, "guarded:nearly-it")
    report = await examine(url)
    assert report.health == "cannot tell"
    reach = found(report, "reach")
    assert reach.verdict == "fail"
    assert 'password authentication failed for user "guarded"' in reach.measured
    assert reach.fix == "check user, password and the rights of the user"
    assert "nearly-it" not in str(report)
    right = await examine(new_url(server, f"guarded:{SECRET}"))
    assert found(right, "reach").verdict == "ok"
    assert SECRET not in str(right)


@pytest.mark.anyio
async def test_a_user_without_rights_is_told_which(server: PostgresServer) -> None:
    url = new_url(server)
    schema = url.rpartition("=")[2]
    report = await examine(url.replace("federlib@", "reader@"))
    assert "may not create schema" in found(report, "create").measured
    assert found(report, "create").fix.startswith('GRANT CREATE ON DATABASE "postgres" TO "reader"')
    await make(url)
    closed = await examine(url.replace("federlib@", "reader@"))
    assert closed.health == "cannot tell"
    assert "permission denied" in found(closed, "store").measured
    ask(server, f"GRANT USAGE ON SCHEMA {schema} TO reader")
    ask(server, f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader")
    report = await examine(url.replace("federlib@", "reader@"))
    assert (report.health, names_of(report)) == ("unhealthy", ["commits", "watch"])
    assert "permission denied" in found(report, "commits").measured
    assert found(report, "reads").verdict == "ok"


@pytest.mark.anyio
async def test_a_server_that_is_read_only_is_no_primary_to_work_on(server: PostgresServer) -> None:
    url = new_url(server)
    await make(url)
    report = await examine(f"{url}&options=-cdefault_transaction_read_only%3Don")
    assert report.health == "cannot tell"
    assert found(report, "role").measured == "a primary that was made read-only"


@pytest.mark.anyio
async def test_a_process_that_may_take_too_many_connections_is_warned(
    server: PostgresServer,
) -> None:
    report = await examine(f"{new_url(server)}&connections=96", may_create=True)
    assert names_of(report) == ["connections"]
    assert "one process takes up to 98" in found(report, "connections").measured


@pytest.mark.anyio
async def test_one_dead_server_of_two_is_a_warning(server: PostgresServer) -> None:
    url = new_url(server).replace("127.0.0.1:", "127.0.0.1:1,127.0.0.1:")
    report = await examine(url, may_create=True)
    assert report.health == "degraded"
    (dead,) = report.urgent()
    assert (dead.name, dead.fix.startswith("start 127.0.0.1:1,")) == ("reach", True)


@pytest.mark.anyio
async def test_a_clock_that_is_off_by_an_hour_is_a_warning(server: PostgresServer) -> None:
    url = new_url(server)
    await make(url)
    report = await examine(url, clock=SkewedClock(SystemClock(), offset_s=3_600))
    assert names_of(report) == ["clock"]
    assert found(report, "clock").numbers["offset_s"] == pytest.approx(-3_600, abs=5)


@pytest.mark.anyio
async def test_a_stopped_server_is_told_and_nothing_else_is_asked(server: PostgresServer) -> None:
    url = new_url(server)
    server.stop()
    try:
        report = await examine(url)
    finally:
        server.start()
    assert (report.health, names_of(report)) == ("cannot tell", ["reach"])
    assert "onnection refused" in found(report, "reach").measured
    assert found(report, "store").verdict == "skip"


@pytest.mark.anyio
async def test_a_server_that_does_not_answer_is_given_up(server: PostgresServer) -> None:
    url = new_url(server)
    server.pause()
    try:
        with anyio.fail_after(30):
            report = await examine(url)
    finally:
        server.resume()
    assert (report.health, names_of(report)) == ("cannot tell", ["reach"])


@pytest.mark.anyio
async def test_what_lies_in_the_schema_and_is_no_store_is_told(server: PostgresServer) -> None:
    url = new_url(server)
    schema = url.rpartition("=")[2]
    ask(server, f"CREATE SCHEMA {schema}")
    ask(server, f"CREATE TABLE {schema}.diary (x int)")
    report = await examine(url, may_create=True)
    assert (report.health, names_of(report)) == ("cannot tell", ["store"])
    assert "name another schema with ?schema=" in found(report, "store").fix


@pytest.mark.anyio
async def test_records_of_others_are_left_alone(server: PostgresServer) -> None:
    url = new_url(server)
    store = await open_store(url)
    try:
        await store.commit(Transaction((Put("doctor/theirs", b"x"),)))
        assert (await examine(url)).health == "healthy"
        assert [record.key for record in (await store.scan("doctor/")).records] == ["doctor/theirs"]
    finally:
        await store.aclose()


# What a server says of itself

SOUND = postgres._Server(
    version=160_002, encoding="UTF8", took_ms=1, is_standby=False, is_read_only=False,
    has_fsync=True, has_full_pages=True, synchronous_commit="on", max_connections=100, reserved=3,
    in_use=1, user="me", database="d", may_create=True, store=None,
)  # fmt: skip


def test_versions_before_13_are_too_old() -> None:
    assert postgres._judge_version(attrs.evolve(SOUND, version=130_000)).verdict == "ok"
    assert postgres._judge_version(attrs.evolve(SOUND, version=120_022)).verdict == "fail"


def test_a_standby_takes_no_writes() -> None:
    finding = postgres._judge_role(attrs.evolve(SOUND, is_standby=True, is_read_only=True))
    assert (finding.verdict, finding.measured) == ("fail", "a standby")


def test_only_utf8_will_do() -> None:
    assert postgres._judge_encoding(SOUND).verdict == "ok"
    assert postgres._judge_encoding(attrs.evolve(SOUND, encoding="SQL_ASCII")).verdict == "fail"


def test_commits_that_do_not_wait_are_made_to_wait() -> None:
    finding = postgres._judge_durability(attrs.evolve(SOUND, synchronous_commit="off"))
    assert finding.verdict == "ok"
    assert "which federlib sets to on" in finding.measured


def test_a_format_that_opening_would_change_is_not_opened() -> None:
    assert postgres._old_format(0).verdict == "skip"


@pytest.mark.parametrize(
    ("conninfo", "names"),
    [("host=a,b port=1,2", ["a:1", "b:2"]), ("host=a,b port=7", ["a:7", "b:7"]),
     ("host=a", ["a:5432"]), ("dbname=x", ["the local socket:5432"]),
     ("hostaddr=127.0.0.1", ["127.0.0.1:5432"]), ("host=/run/pg", ["/run/pg:5432"])],
)  # fmt: skip
def test_each_host_is_asked_by_itself(conninfo: str, names: list[str]) -> None:
    assert [name for name, _ in postgres._split(conninfo, {})] == names


def test_hosts_that_the_environment_names_are_asked_each() -> None:
    environ = {"PGHOST": "a,b", "PGPORT": "1,2"}
    split = postgres._split("dbname=x", environ)
    assert [name for name, _ in split] == ["a:1", "b:2"]
    assert "host=b" in split[1][1]
    assert [name for name, _ in postgres._split("host=c", environ)] == ["c:5432"]


def test_a_server_that_says_no_hint_gets_ours() -> None:
    finding = postgres._reach("a:1", Unavailable("x", "gone"), is_served=False)
    assert finding.fix.startswith("start a:1")
