"""`federlib store check`, `copy`, `export` and `import`, from outside."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
from pathlib import Path
from typing import cast

import anyio
import msgspec
import pytest

from federlib import Federation
from federlib.errors import CorruptRecord
from federlib.lease.moving import HEADROOM
from federlib.storage import Put, RecordStore, Transaction, open_store
from fleet import Fleet, command, until
from upkeep.stores import records_of

NEW = "sqlite:///new.db"


def populate(fleet: Fleet) -> None:
    """Leave a free lease with token 2 and a record of somebody else."""
    fleet.ask(_populate)


async def _populate(fed: Federation) -> None:
    for token in (1, 2):
        async with fed.hold("nightly", ttl_s=60) as held:
            assert held.token == token
    await fed.store.commit(Transaction((Put("theirs/x", b"\xff"),)))


def facts(text: str) -> dict[str, object]:
    return msgspec.json.decode(text, type=dict[str, object])


@pytest.mark.parametrize("new", [NEW, "file:///new"])
def test_a_copy_says_what_it_did_and_grants_higher_tokens(fleet: Fleet, new: str) -> None:
    populate(fleet)
    done = fleet.call("store", "copy", fleet.url, new)
    assert (done.code, done.err) == (0, "")
    assert f"every later token is higher than {HEADROOM + 2}\n" in done.out
    assert fleet.call("store", "check", "--store", new).code == 0
    arguments = ("lease", "acquire", "nightly", "--holder", "me", "--store", new)
    assert fleet.call(*arguments).out == f"{HEADROOM + 3}\n"
    again = fleet.call("store", "copy", fleet.url, new)
    assert (again.code, again.out) == (3, "")
    assert "expected no record in it, found lease/nightly/lease, lease/~floor" in again.err


def test_a_store_at_work_is_copied_only_live(fleet: Fleet) -> None:
    fleet.call("lease", "acquire", "nightly", "--holder", "me", "--ttl", "60")
    done = fleet.call("store", "copy", fleet.url, NEW)
    assert done.code == 3
    assert "found held leases: 'nightly' by me; stop them" in done.err
    done = fleet.call("store", "copy", "--live", "--floor", "5000000", "--json", fleet.url, NEW)
    assert done.code == 0
    assert (facts(done.out)["freed"], facts(done.out)["floor"]) == (1, 5_000_000)


def test_places_that_cannot_be_copied_are_refused(fleet: Fleet) -> None:
    missing = fleet.call("store", "copy", "sqlite:///none.db", NEW)
    assert (missing.code, missing.out) == (3, "")
    assert "there is no such file" in missing.err
    populate(fleet)
    before = {path.name for path in fleet.root.iterdir()}
    for old, new in (
        (fleet.url, "memory://"), ("memory://", NEW), (fleet.url, fleet.url), (fleet.url, "nope"),
        ("env:NOPE", NEW),
    ):  # fmt: skip
        done = fleet.call("store", "copy", old, new)
        assert (done.code, done.out) == (2, ""), (old, new)
    assert {path.name for path in fleet.root.iterdir()} == before


def test_a_secret_in_a_url_leaves_the_command_line(fleet: Fleet) -> None:
    populate(fleet)
    fleet.env["PLACE"] = fleet.url
    done = fleet.call("store", "copy", "env:PLACE", f"{NEW}?allow_network_fs=1")
    assert done.code == 0
    assert (fleet.root / "new.db").exists()
    refused = fleet.call("store", "copy", "env:PLACE", "nope://u:s3cret@host/db")
    assert refused.code == 2
    assert "s3cret" not in refused.err
    assert "nope://u:***@host/db" in refused.err


def test_an_export_goes_to_a_file_or_through_a_pipe(fleet: Fleet) -> None:
    populate(fleet)
    done = fleet.call("store", "export", "x.jsonl")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("exported 2 records of store ")
    assert stat.S_IMODE((fleet.root / "x.jsonl").stat().st_mode) == 0o600
    piped = fleet.call("store", "export")
    assert piped.out.splitlines()[1:] == fleet.lines("x.jsonl")[1:-1] + piped.out.splitlines()[-1:]
    for source in ("x.jsonl", "-"):
        new = f"sqlite:///{'stdin' if source == '-' else 'new'}.db"
        with (fleet.root / "x.jsonl").open("rb") as file:
            imported = subprocess.run(
                command("store", "import", source, "--store", new),
                stdin=file, cwd=fleet.root, env=fleet.environment(), capture_output=True,
                check=False,
            )  # fmt: skip
        assert (imported.returncode, imported.stderr) == (0, b"")
        assert f"every later token is higher than {HEADROOM + 2}" in imported.stdout.decode()
        assert fleet.call("store", "check", "--store", new).code == 0


def test_nobody_reading_the_export_is_no_traceback(fleet: Fleet) -> None:
    populate(fleet)
    fleet.ask(put_much)
    done = subprocess.run(
        ["bash", "-c", '"$@" 2>err | head -c 9', "_", *command("store", "export")],
        cwd=fleet.root, env=fleet.environment(), capture_output=True, check=False,
    )  # fmt: skip
    assert done.stdout == b'{"federli'
    assert "Traceback" not in fleet.text("err")


async def put_much(fed: Federation) -> None:
    for n in range(20):
        await fed.store.commit(Transaction((Put(f"much/{n}", bytes(100_000)),)))


def test_a_torn_export_imports_nothing(fleet: Fleet) -> None:
    populate(fleet)
    assert fleet.call("store", "export", "x.jsonl").code == 0
    whole = (fleet.root / "x.jsonl").read_bytes()
    (fleet.root / "x.jsonl").write_bytes(whole[:-20])
    done = fleet.call("store", "import", "x.jsonl", "--store", NEW)
    assert (done.code, done.out) == (3, "")
    assert "x.jsonl, line 4: expected a whole line" in done.err
    unmade = fleet.call("store", "import", "none.jsonl", "--store", "sqlite:///unmade.db")
    assert (unmade.code, "'none.jsonl' does not exist" in unmade.err) == (2, True)
    assert not (fleet.root / "unmade.db").exists()
    (fleet.root / "x.jsonl").write_bytes(whole)
    assert fleet.call("store", "import", "x.jsonl", "--store", NEW).code == 0


def test_the_check_tells_what_is_there_and_what_is_wrong(fleet: Fleet) -> None:
    assert fleet.call("store", "check").code == 3
    populate(fleet)
    done = fleet.call("store", "check")
    assert (done.code, done.err) == (0, "")
    assert "1  of others, below theirs: not known here" in done.out
    assert done.out.endswith("problems none\n")

    async def tear(fed: Federation) -> None:
        await fed.store.commit(Transaction((Put("lease/nightly/lease", b"\x1b[2J"),)))

    fleet.ask(tear)
    done = fleet.call("store", "check")
    assert done.code == 1
    assert "problems 1\n  - lease/nightly/lease: expected LeaseRecord" in done.out
    assert "\x1b" not in done.out
    told = facts(fleet.call("store", "check", "--json").out)
    assert (told["sound"], told["driver_checked"]) == (False, True)
    (problem,) = cast("list[dict[str, str]]", told["problems"])
    assert problem["what"] == "lease/nightly/lease"


def test_a_store_that_cannot_be_opened_is_a_problem_found(fleet: Fleet) -> None:
    populate(fleet)
    path = fleet.root / ".federlib/store.db"
    path.write_bytes(b"SQLite format 3\0" + bytes(9_000))
    done = fleet.call("store", "check")
    assert done.code == 1
    assert "problems 1\n" in done.out
    assert facts(fleet.call("store", "check", "--json").out)["sound"] is False


# Kills

MANY = 400


async def put_many(fed: Federation) -> None:
    # Records of others: each is copied in a transaction of its own, which takes a while.
    for n in range(MANY):
        await fed.store.commit(Transaction((Put(f"theirs/{n:05}", b"x"),)))


def rows(path: Path) -> int:
    """Count the records of a SQLite store, whatever its state."""
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return int(connection.execute("SELECT count(*) FROM records").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error:
        return 0


async def look(url: str) -> dict[str, bytes]:
    store: RecordStore = await open_store(url)
    try:
        return {key: record.value for key, record in (await records_of(store)).items()}
    finally:
        await store.aclose()


@pytest.mark.parametrize("size", [1, 3, 40, 150])
def test_a_copy_that_is_killed_leaves_the_old_store_and_no_doubt_about_the_new(
    fleet: Fleet, size: int
) -> None:
    fleet.ask(put_many)
    before = anyio.run(look, fleet.url)
    path = fleet.root / "new.db"
    process = fleet.start("store", "copy", fleet.url, NEW)
    until(lambda: rows(path) >= size or process.poll() is not None, what="some records")
    process.kill()
    process.wait(10)
    assert anyio.run(look, fleet.url) == before
    if not rows(path):
        return
    if size == 1 and rows(path) == 1:
        # Killed before the mark: an empty store, as good as new.
        assert anyio.run(look, f"sqlite:///{path}") == {}
        return
    with pytest.raises(CorruptRecord, match="an unfinished copy of store"):
        anyio.run(look, f"sqlite:///{path}")
    status = fleet.call("status", NEW)
    assert (status.code, "an unfinished copy" in status.err) == (3, True)
    again = fleet.call("store", "copy", fleet.url, NEW)
    assert (again.code, "remove it" in again.err) == (3, True)
    assert fleet.call("store", "check", "--store", NEW).code == 1


def test_an_export_that_is_killed_leaves_the_last_one(fleet: Fleet) -> None:
    fleet.ask(put_many)
    target = fleet.root / "x.jsonl"
    target.write_text("older")
    process = fleet.start("store", "export", str(target))
    until(
        lambda: list(fleet.root.glob(".x.jsonl.*.tmp")) or process.poll() is not None,
        what="the temporary file",
    )
    process.kill()
    process.wait(10)
    text = target.read_text()
    assert text == "older" or len(text.splitlines()) == MANY + 2
