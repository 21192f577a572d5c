"""What a PostgreSQL store withstands: its server, its network and its administrator."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from federlib.errors import (
    CorruptRecord,
    Fenced,
    OutcomeUnknown,
    StoreDenied,
    Unavailable,
)
from federlib.skewclock import SystemClock
from federlib.storage import (
    Absent,
    AtRevision,
    Batch,
    Committed,
    Conflicted,
    Delete,
    NotSeen,
    Put,
    RecordStore,
    Resync,
    Transaction,
)
from federlib.storage.backends.postgresql import PostgresStore
from federlib.testing.chaos.hindrance import CLEAR, Hindrance
from federlib.testing.chaos.proxy import FaultProxy
from federlib.testing.history import Recorder, StoreModel, linearizability
from federlib.testing.servers import PostgresServer, postgres_server
from storage.postgres_lab import new_url, opened, run, schema_of, terminate_all

pytestmark = pytest.mark.anyio
_PATIENCE_S = 60.0


async def eventually(verb: Callable[[], Awaitable[object]]) -> object:
    """Ask until there is an answer, but not for ever."""
    with anyio.fail_after(_PATIENCE_S):
        while True:
            try:
                return await verb()
            except (Unavailable, OutcomeUnknown):
                await anyio.sleep(0.05)


@asynccontextmanager
async def through_a_proxy(
    server: PostgresServer,
) -> AsyncIterator[tuple[FaultProxy, PostgresStore]]:
    async with (
        FaultProxy("127.0.0.1", server.port, draw=lambda: 0.5) as proxy,
        opened(new_url(server, port=proxy.port)) as store,
    ):
        yield proxy, store


async def add_one(store: RecordStore, key: str, name: str, *, named: bool) -> str:
    """Count one up; return what is known of it: applied, not, or unknown."""
    while True:
        try:
            found = await store.get(key)
        except Unavailable:
            await anyio.sleep(0.02)
            continue
        check = Absent(key) if found is None else AtRevision(key, found.revision)
        value = 0 if found is None else int(found.value)
        writes = (Put(key, b"%d" % (value + 1)), Put(f"log/{name}", b""))
        change = Transaction(writes, (check,), name if named else None)
        try:
            done = await store.commit(change)
        except Unavailable:
            continue
        except OutcomeUnknown:
            return "unknown"
        if isinstance(done, Committed):
            return "applied"


@pytest.mark.parametrize("named", [True, False])
async def test_terminated_connections_lose_and_double_nothing(
    postgres_server: PostgresServer, *, named: bool
) -> None:
    url = new_url(postgres_server)
    known: dict[str, str] = {}
    async with opened(url) as one, opened(url) as other:

        async def count(store: RecordStore, who: str) -> None:
            for i in range(40):
                name = f"{who}.{i}"
                known[name] = await add_one(store, "counter", name, named=named)

        async with anyio.create_task_group() as tasks:
            for who, store in (("a", one), ("b", one), ("c", other)):
                tasks.start_soon(count, store, who)
            for _ in range(12):
                await anyio.sleep(0.05)
                await anyio.to_thread.run_sync(terminate_all, postgres_server)
        counter = await one.get("counter")
        page = await one.scan("log/")
        assert counter is not None
        landed = {record.key.removeprefix("log/") for record in page.records}
        assert int(counter.value) == len(landed)
        for name, what in known.items():
            if what == "applied":
                assert name in landed
        if named:
            # The driver asked again with the same id: nobody need stay in doubt.
            assert set(known.values()) == {"applied"}
            assert len(landed) == 120


async def test_a_connection_that_ended_while_it_lay_idle_is_nobodys_lost_answer(
    postgres_server: PostgresServer,
) -> None:
    async with opened(new_url(postgres_server)) as store:
        for i in range(5):
            assert isinstance(await store.commit(Transaction((Put(f"k/{i}", b""),))), Committed)
            assert await anyio.to_thread.run_sync(terminate_all, postgres_server) >= 1
            assert (await store.scan("k/")).records


async def test_a_server_that_is_killed_and_comes_back_goes_on(
    postgres_server: PostgresServer,
) -> None:
    async with opened(new_url(postgres_server)) as store:
        before = await store.commit(Transaction((Put("a", b"1"),)))
        await anyio.to_thread.run_sync(postgres_server.kill)
        try:
            with pytest.raises(Unavailable):
                await store.get("a")
            with pytest.raises((Unavailable, OutcomeUnknown)):
                await store.commit(Transaction((Put("a", b"2"),)))
        finally:
            await anyio.to_thread.run_sync(postgres_server.start)
        record = await eventually(lambda: store.get("a"))
        assert isinstance(before, Committed)
        assert record is not None
        assert isinstance(await store.commit(Transaction((Put("a", b"3"),))), Committed)


async def test_a_watcher_hears_on_when_its_connection_was_ended(
    postgres_server: PostgresServer,
) -> None:
    url = new_url(postgres_server)
    async with opened(url) as one, opened(url) as other:
        start = (await one.scan("")).revision
        async with one.watch("w/", after=start) as changes:
            for i in range(3):
                assert isinstance(await other.commit(Transaction((Put(f"w/{i}", b""),))), Committed)
                with anyio.fail_after(_PATIENCE_S):
                    item = await anext(changes)
                    while not isinstance(item, Batch):
                        item = await anext(changes)
                assert [event.key for event in item.events] == [f"w/{i}"]
                await anyio.to_thread.run_sync(terminate_all, postgres_server)


async def test_a_server_that_turned_read_only_is_unavailable_until_it_is_not(
    postgres_server: PostgresServer,
) -> None:
    async with opened(new_url(postgres_server)) as store:
        await store.commit(Transaction((Put("a", b"1"),)))
        off = ("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
        try:
            run(postgres_server, "ALTER SYSTEM SET default_transaction_read_only = on",
                "SELECT pg_reload_conf()")  # fmt: skip
            with anyio.fail_after(_PATIENCE_S):
                while True:
                    try:
                        await store.commit(Transaction((Put("a", b"2"),)))
                    except Unavailable as error:
                        assert "read-only" in str(error)  # noqa: PT017 (until it comes)
                        break
                    await anyio.sleep(0.05)
        finally:
            run(postgres_server, "SET default_transaction_read_only = off", *off)
        assert isinstance(
            await eventually(lambda: store.commit(Transaction((Put("a", b"3"),)))), Committed
        )


async def test_a_database_that_is_serializable_or_drops_idle_sessions_changes_nothing() -> None:
    settings = {"default_transaction_isolation": "serializable", "idle_session_timeout": "200"}
    with postgres_server(settings=settings) as server:
        url = new_url(server)
        async with opened(url) as one, opened(url) as other:
            async with anyio.create_task_group() as tasks:
                for index in range(8):
                    store = (one, other)[index % 2]
                    tasks.start_soon(_count_ten, store, f"t{index}")
            await anyio.sleep(0.5)
            counter = await one.get("counter")
            assert counter is not None
            assert counter.value == b"80"


async def test_what_a_role_presets_changes_nothing(postgres_server: PostgresServer) -> None:
    role = f"odd_{secrets.token_hex(4)}"
    url = new_url(postgres_server).replace("federlib@", f"{role}@")
    run(postgres_server, f"CREATE ROLE {role} LOGIN SUPERUSER",
        f"ALTER ROLE {role} SET client_encoding = 'LATIN1'",
        f"ALTER ROLE {role} SET array_nulls = off",
        f"ALTER ROLE {role} SET standard_conforming_strings = off")  # fmt: skip
    async with opened(url) as store:
        for value in (b"1", b"2"):
            await store.commit(Transaction((Put("ключ", value),)))
        found = await store.get("ключ")
        assert found is not None
        assert found.value == b"2"
        await store.commit(Transaction((Delete("ключ"),)))
        assert await store.get("ключ") is None
        assert await store.check() == []


async def _count_ten(store: RecordStore, who: str) -> None:
    for i in range(10):
        assert await add_one(store, "counter", f"{who}.{i}", named=False) == "applied"


async def test_all_connections_lent_is_told_and_passes(postgres_server: PostgresServer) -> None:
    url = new_url(postgres_server, more="&connections=1")
    import psycopg

    async with opened(url) as store:
        await store.commit(Transaction((Put("a", b""),)))
        errors: list[Unavailable] = []

        async def read() -> None:
            try:
                await store.get("a")
            except Unavailable as error:
                errors.append(error)

        with psycopg.connect(postgres_server.url) as blocker:
            blocker.execute(f"LOCK TABLE {schema_of(url)}.record IN ACCESS EXCLUSIVE MODE")
            with anyio.fail_after(_PATIENCE_S):
                async with anyio.create_task_group() as tasks:
                    for _ in range(3):
                        tasks.start_soon(read)
        assert len(errors) == 3
        assert any("connections were in use" in str(error) for error in errors)
        assert await store.get("a") is not None


async def test_a_server_without_a_place_left_is_told_with_what_to_do() -> None:
    import psycopg

    settings = {"max_connections": "4", "superuser_reserved_connections": "0"}
    with postgres_server(settings=settings) as server:
        others = [psycopg.connect(server.url) for _ in range(4)]
        try:
            with pytest.raises(Unavailable, match="max_connections"):
                async with opened(new_url(server)):
                    pass
        finally:
            for other in others:
                other.close()


async def test_a_wrong_password_is_denied_and_never_shown() -> None:
    # Not in `tmp_path`: the server may run as another user, who is not let in there.
    with tempfile.TemporaryDirectory() as place:
        await _deny_a_wrong_password(Path(place))


async def _deny_a_wrong_password(place: Path) -> None:
    place.chmod(0o755)
    path = place / "hba.conf"
    path.write_text(
        "host all federlib 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    )
    path.chmod(0o644)
    with postgres_server(settings={"hba_file": str(path)}) as server:
        run(server, "CREATE ROLE ada LOGIN PASSWORD 'right-one'")
        url = new_url(server).replace("federlib@", "ada:wrong-one@")
        with pytest.raises(StoreDenied) as denied:
            async with opened(url):
                pass
        assert "wrong-one" not in f"{denied.value!r} {denied.value} {denied.value.__cause__}"


@pytest.mark.parametrize(
    "cut", [Hindrance(is_mute=True), Hindrance(is_deaf=True), Hindrance(is_deaf=True, is_mute=True)]
)
async def test_a_cut_network_ends_in_an_error_in_time_and_heals(
    postgres_server: PostgresServer, cut: Hindrance
) -> None:
    async with through_a_proxy(postgres_server) as (proxy, store):
        await store.commit(Transaction((Put("a", b"1"),)))
        proxy.hindrance = cut
        with anyio.fail_after(_PATIENCE_S):
            with pytest.raises((OutcomeUnknown, Unavailable)) as lost:
                await store.commit(Transaction((Put("a", b"2"),)))
        proxy.hindrance = CLEAR
        record = await eventually(lambda: store.get("a"))
        if isinstance(lost.value, Unavailable):
            assert getattr(record, "value", None) == b"1"
        assert isinstance(
            await eventually(lambda: store.commit(Transaction((Put("b", b""),)))), Committed
        )


async def test_an_answer_that_was_lost_is_asked_for_again_by_its_id(
    postgres_server: PostgresServer,
) -> None:
    async with through_a_proxy(postgres_server) as (proxy, store):
        await store.commit(Transaction((Put("a", b"1"),)))
        for name in ("first", "second"):
            found = await store.get("a")
            assert found is not None
            change = Transaction(
                (Put("a", name.encode()),), (AtRevision("a", found.revision),), name
            )
            answers: list[object] = []

            async def commit(change: Transaction, answers: list[object]) -> None:
                answers.append(await store.commit(change))

            with anyio.fail_after(_PATIENCE_S):
                # The notice behind the commit before is answered by then.
                await anyio.sleep(0.2)
                async with anyio.create_task_group() as tasks:
                    proxy.hindrance = Hindrance(is_deaf=True)
                    tasks.start_soon(commit, change, answers)
                    await anyio.sleep(0.3)
                    proxy.hindrance = Hindrance(is_down=True)
                    await anyio.sleep(0.1)
                    proxy.hindrance = CLEAR
            record = await store.get("a")
            assert record is not None
            assert answers == [Committed(record.revision)]
            assert record.value == name.encode()


async def test_an_answer_that_was_lost_without_an_id_is_said_to_be_unknown(
    postgres_server: PostgresServer,
) -> None:
    async with through_a_proxy(postgres_server) as (proxy, store):
        await store.commit(Transaction((Put("a", b"1"),)))
        with anyio.fail_after(_PATIENCE_S):
            # The notice behind the commit before is answered by then.
            await anyio.sleep(0.2)
            async with anyio.create_task_group() as tasks:
                proxy.hindrance = Hindrance(is_deaf=True)

                async def drop() -> None:
                    await anyio.sleep(0.3)
                    proxy.hindrance = Hindrance(is_down=True)
                    await anyio.sleep(0.1)
                    proxy.hindrance = CLEAR

                tasks.start_soon(drop)
                with pytest.raises(OutcomeUnknown):
                    await store.commit(Transaction((Put("a", b"2"),)))
        record = await store.get("a")
        assert record is not None
        assert record.value == b"2"
        assert await store.outcome("never") == NotSeen()


async def test_what_clients_saw_through_a_bad_network_is_linearizable(
    postgres_server: PostgresServer,
) -> None:
    recorder = Recorder(SystemClock().boot_ns)
    draws = iter(range(10**9))
    async with FaultProxy(
        "127.0.0.1", postgres_server.port, draw=lambda: next(draws) % 97 / 97
    ) as proxy:
        url = new_url(postgres_server)
        near = url
        far = url.replace(f":{postgres_server.port}/", f":{proxy.port}/")
        async with opened(near) as one, opened(far) as other:

            async def work(store: RecordStore, who: str) -> None:
                for i in range(25):
                    key = f"r/{i % 3}"
                    try:
                        found = await store.get(key)
                        check = Absent(key) if found is None else AtRevision(key, found.revision)
                        name = f"{who}.{i}" if i % 2 else None
                        change = Transaction((Put(key, f"{who} {i}".encode()),), (check,), name)
                        assert isinstance(await store.commit(change), Committed | Conflicted)
                    except (Unavailable, OutcomeUnknown):
                        await anyio.sleep(0.01)

            with anyio.fail_after(_PATIENCE_S):
                async with anyio.create_task_group() as tasks:
                    for index, store in enumerate((one, one, other, other)):
                        seen = recorder.store(store, f"w{index}")
                        tasks.start_soon(work, seen, f"w{index}")
                    proxy.hindrance = Hindrance(lost_answer_ppm=60_000, delay_ms=3)
                    for _ in range(4):
                        await anyio.sleep(0.1)
                        await anyio.to_thread.run_sync(terminate_all, postgres_server)
                    proxy.hindrance = CLEAR
    verdict = linearizability.check(recorder.history(), StoreModel())
    assert verdict.is_linearizable, verdict


async def test_many_who_open_an_empty_schema_at_once_get_one_store(
    postgres_server: PostgresServer,
) -> None:
    url = new_url(postgres_server)
    ids: list[str] = []

    async def open_it() -> None:
        async with opened(url) as store:
            ids.append(store.store_id)

    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(open_it)
    assert len(ids) == 12
    assert len(set(ids)) == 1


async def test_a_store_that_is_dropped_or_replaced_under_a_client_is_told(
    postgres_server: PostgresServer,
) -> None:
    url = new_url(postgres_server)
    async with opened(url) as store:
        run(postgres_server, f"DROP SCHEMA {schema_of(url)} CASCADE")
        with pytest.raises(CorruptRecord):
            await store.commit(Transaction((Put("a", b""),)))
        with pytest.raises(CorruptRecord):
            await store.get("a")
        async with opened(url) as another:
            assert another.store_id != store.store_id
            with pytest.raises(CorruptRecord, match=store.store_id):
                await store.commit(Transaction((Put("a", b""),)))
            assert await another.get("a") is None


async def test_what_is_not_ours_or_newer_is_refused(postgres_server: PostgresServer) -> None:
    foreign, newer = new_url(postgres_server), new_url(postgres_server)
    run(postgres_server, f"CREATE SCHEMA {schema_of(foreign)}",
        f"CREATE TABLE {schema_of(foreign)}.record (mine int)")  # fmt: skip
    with pytest.raises(CorruptRecord, match="another schema"):
        async with opened(foreign):
            pass
    async with opened(newer):
        run(postgres_server, f"UPDATE {schema_of(newer)}.store SET format = 99")
    with pytest.raises(CorruptRecord, match="upgrade"):
        async with opened(newer):
            pass


async def test_a_role_without_rights_is_denied(postgres_server: PostgresServer) -> None:
    run(postgres_server, "DROP ROLE IF EXISTS poor", "CREATE ROLE poor LOGIN")
    with pytest.raises(StoreDenied):
        async with opened(new_url(postgres_server).replace("federlib@", "poor@")):
            pass


async def test_check_finds_what_was_changed_behind_its_back(
    postgres_server: PostgresServer,
) -> None:
    url = new_url(postgres_server)
    s = schema_of(url)
    async with opened(url) as store:
        for i in range(5):
            await store.commit(Transaction((Put(f"k/{i}", b"x"),), (), f"t{i}"))
        assert await store.check() == []
        run(
            postgres_server,
            f"UPDATE {s}.record SET revision = 99 WHERE key = 'k/0'",
            f"DELETE FROM {s}.record WHERE key = 'k/1'",
            f"DELETE FROM {s}.change WHERE revision = 4",
            f"UPDATE {s}.receipt SET revision = 77 WHERE id = 't3'",
        )
        what = {problem.what for problem in await store.check()}
        assert what == {"record k/0", "record k/1", "changes", "receipt t3"}


async def test_check_names_a_store_record_that_is_no_json(postgres_server: PostgresServer) -> None:
    url = new_url(postgres_server)
    async with opened(url) as store:
        run(
            postgres_server,
            f"UPDATE {schema_of(url)}.record SET value = '\\xff' WHERE key = 'meta/store'",
        )
        (problem,) = await store.check()
        assert (problem.what, problem.expected, problem.found) == (
            "meta/store", store.engine.store_id, "ff"
        )  # fmt: skip


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM {s}.change",
        "ALTER TABLE {s}.record ADD CHECK (revision < 2) NOT VALID",
        "ALTER TABLE {s}.change DROP COLUMN keys",
        "DROP FUNCTION {s}.commit_group",
        "DROP TABLE {s}.receipt",
        "UPDATE {s}.store SET revision = 1",
    ],
)
async def test_a_schema_that_was_tampered_with_is_corrupt_and_not_away(
    postgres_server: PostgresServer, tampering: str
) -> None:
    url = new_url(postgres_server)
    async with opened(url) as store:
        await store.commit(Transaction((Put("a", b""),), (), "first"))
        run(postgres_server, tampering.format(s=schema_of(url)))
        with pytest.raises(CorruptRecord):
            await store.commit(Transaction((Put("a", b""),), (), "second"))


async def test_a_forked_child_is_fenced(postgres_server: PostgresServer) -> None:
    async with opened(new_url(postgres_server)) as store:
        await store.commit(Transaction((Put("a", b""),)))
        engine = store.engine
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                engine.get("a")
            except Fenced:
                code = 0
            finally:
                os._exit(code)
        _, status = await anyio.to_thread.run_sync(os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert await store.get("a") is not None


async def test_the_servers_clock_can_be_read(postgres_server: PostgresServer) -> None:
    async with opened(new_url(postgres_server)) as store:
        clock = SystemClock()
        before = clock.wall_ns()
        server = await store.server_now_ns()
        assert before - 1_000_000 <= server <= clock.wall_ns() + 1_000_000


async def test_a_revision_that_went_back_is_another_history(
    postgres_server: PostgresServer,
) -> None:
    url = new_url(postgres_server)
    s = schema_of(url)
    async with opened(url) as store:
        for i in range(4):
            await store.commit(Transaction((Put("a", b"%d" % i),)))
        async with store.watch("", after=5) as items:
            # As a backup leaves it.
            run(
                postgres_server,
                f"BEGIN; DELETE FROM {s}.change WHERE revision > 2; "
                f"UPDATE {s}.store SET revision = 2; COMMIT",
            )
            assert store.engine.read_changes(5, 10) is None
            with anyio.fail_after(_PATIENCE_S):
                while not isinstance(await anext(items), Resync):
                    pass


@pytest.mark.parametrize("revision", [0, -1, 2**63, 2**64 + 1])
async def test_a_revision_that_no_record_has_is_a_conflict(
    postgres_server: PostgresServer, revision: int
) -> None:
    async with opened(new_url(postgres_server)) as store:
        for key in ("absent", "meta/store"):
            found = await store.commit(Transaction((Put("a", b""),), (AtRevision(key, revision),)))
            assert isinstance(found, Conflicted)
