"""`federlib doctor`, from outside."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest

from federlib.storage import Finding
from federlib.testing.servers import PostgresServer
from federlib.upkeep import DoctorReport
from fleet import Fleet, command


def report_of(text: str) -> DoctorReport:
    """Read what `--json` prints: it has these fields and no others."""
    report = msgspec.json.decode(text, type=DoctorReport)
    assert msgspec.json.decode(text) == msgspec.json.decode(msgspec.json.encode(report))
    return report


def findings(text: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in report_of(text).findings}


def populate(fleet: Fleet) -> None:
    taken = fleet.call("lease", "acquire", "nightly", "--holder", "me", "--ttl", "60")
    assert taken.code == 0


def test_a_sound_store_is_healthy_and_stays_as_it_was(fleet: Fleet) -> None:
    populate(fleet)
    before = fleet.call("store", "export").out.splitlines()[1:-1]
    done = fleet.call("doctor", fleet.url)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("health  healthy\n")
    assert "What to fix" not in done.out
    for name in ("file locks", "commits", "watch", "clock"):
        assert f"│ {name} " in done.out
    assert fleet.call("store", "export").out.splitlines()[1:-1] == before
    beside = {path.name for path in (fleet.root / ".federlib").iterdir()}
    assert beside == {"store.db", "store.db.turn", "store.db.main"}


def test_without_a_url_it_examines_the_usual_store(fleet: Fleet) -> None:
    populate(fleet)
    told = report_of(fleet.call("doctor", "--json").out)
    assert (told.store, told.health) == ("sqlite:///.federlib/store.db", "healthy")
    fleet.env["FEDERLIB_STORE"] = "memory://"
    assert report_of(fleet.call("doctor", "--json").out).store == "memory://"


def test_a_store_is_made_only_when_told(fleet: Fleet) -> None:
    done = fleet.call("doctor", "file:///new")
    assert (done.code, list(fleet.root.iterdir())) == (3, [])
    assert "1. store: check the URL; whoever connects first makes one" in done.out
    both = fleet.call("doctor", "file:///new", "--create", "--read-only")
    assert (both.code, list(fleet.root.iterdir())) == (2, [])
    assert fleet.call("doctor", "file:///new", "--create").code == 0
    assert fleet.call("doctor", "file:///new", "--read-only").code == 0


def test_what_to_fix_comes_with_the_command_that_does(fleet: Fleet) -> None:
    populate(fleet)
    path = fleet.root / ".federlib/store.db"
    path.chmod(0o666)
    done = fleet.call("doctor", fleet.url)
    assert done.code == 1
    assert done.out.startswith("health  degraded\n")
    assert f"1. files: chmod 600 {path}" in "".join(done.out.split("What to fix")[1:])
    told = fleet.call("doctor", fleet.url, "--json")
    assert told.code == 1
    assert findings(told.out)["files"] == Finding(
        name="files", verdict="warn", measured=f"{path} has mode 0666", fix=f"chmod 600 {path}"
    )


def test_commits_are_held_against_the_ttl_that_is_given(fleet: Fleet) -> None:
    populate(fleet)
    told = findings(fleet.call("doctor", fleet.url, "--ttl", "60", "--json").out)
    assert "a lease of 60 s is renewed every 20 s" in told["commits"].measured


def test_a_user_who_may_not_write_is_told_so(fleet: Fleet) -> None:
    # Nobody, not even root, makes a directory there.
    done = fleet.call("doctor", "sqlite:////proc/fleet.db", "--create", "--json")
    assert done.code == 3
    told = findings(done.out)
    assert told["file locks"].verdict == told["store"].verdict == "fail"
    assert told["file locks"].fix == "let this user write in /proc, on a local disk"


@pytest.mark.parametrize("url", ["nope://u:s3cret@host/x", "postgresql://u:s3cret@127.0.0.1:1/x"])
def test_an_engine_that_cannot_be_had_is_told_without_its_password(fleet: Fleet, url: str) -> None:
    for options in ((), ("--json",)):
        done = fleet.call("doctor", url, *options)
        assert done.code == 3
        assert "s3cret" not in done.out + done.err
        assert "Traceback" not in done.err
        assert "u:***@" in done.out


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [("postgresql://a/b", "psycopg", "postgres"), ("etcd://a", "httpx", "etcd")],
)
def test_a_missing_extra_says_what_to_install(
    fleet: Fleet, url: str, module: str, extra: str
) -> None:
    (fleet.root / f"{module}.py").write_text(f"raise ModuleNotFoundError(name={module!r})\n")
    fleet.env["PYTHONPATH"] = str(fleet.root)
    done = fleet.call("doctor", url)
    assert done.code == 3
    assert f'1. URL: pip install "federlib[{extra}]"' in done.out


def test_a_real_server_is_examined(fleet: Fleet, postgres_server: PostgresServer) -> None:
    url = f"{postgres_server.url}?schema=doctor_cli"
    done = fleet.call("doctor", url, "--create")
    assert done.code == 1
    assert "set fsync = on and full_page_writes = on at the server" in done.out
    told = findings(fleet.call("doctor", url, "--json").out)
    assert told["clock"].numbers.keys() == {"offset_s", "uncertainty_s"}
    assert told["reads"].numbers["count"] == 20


def test_the_wrong_words_are_a_matter_of_usage(fleet: Fleet) -> None:
    for arguments in (("--ttl", "nan"), ("--ttl", "0"), ("--nope",), ("memory://", "memory://")):
        assert fleet.call("doctor", *arguments).code == 2
    fleet.env["OPAL_LEASE_TTL_SECS"] = "soon"
    done = fleet.call("doctor", "memory://")
    assert (done.code, "OPAL_LEASE_TTL_SECS" in done.err) == (2, True)


def test_what_a_terminal_would_obey_is_not_printed(fleet: Fleet, tmp_path: Path) -> None:
    done = subprocess.run(
        command("doctor", "sqlite:///\x1b[2Jx.db"),
        cwd=tmp_path, env=fleet.environment(), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert b"\x1b" not in done.stdout + done.stderr


def test_help_says_what_its_exit_codes_mean(fleet: Fleet) -> None:
    text = fleet.call("doctor", "--help").out
    for word in ("healthy", "degraded", "unhealthy", "cannot tell", "--read-only", "--create"):
        assert word in text
