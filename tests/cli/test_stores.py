"""Where a store lies, what lies beside it, and runs on a store that is a directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from federlib.cli.stores import logs_root, require_store, store_file
from federlib.errors import InvalidInput, Unavailable
from federlib.federation import connect
from fleet import Fleet


@pytest.mark.parametrize(
    ("url", "place", "logs"),
    [
        ("sqlite:///a/fleet.db", "a/fleet.db", "a/logs"),
        ("file:///a/fleet", "a/fleet", "a/logs"),
        ("FILE:////var/lib/fleet", "/var/lib/fleet", "/var/lib/logs"),
        ("memory://", None, ".federlib/logs"),
        ("postgresql://host/db", None, ".federlib/logs"),
    ],
)
def test_a_store_on_a_disk_has_a_place_and_its_logs_lie_beside_it(
    url: str, place: str | None, logs: str
) -> None:
    assert store_file(url) == (None if place is None else Path(place))
    assert logs_root(url) == Path(logs)


@pytest.mark.parametrize("url", ["file:///", "file://host/x", "file:///x/"])
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        store_file(url)


@pytest.mark.anyio
async def test_who_only_looks_does_not_make_a_store(tmp_path: Path) -> None:
    url = f"file:///{tmp_path}/fleet"
    with pytest.raises(Unavailable, match="no such directory"):
        require_store(url)
    (tmp_path / "fleet").mkdir()
    with pytest.raises(Unavailable, match="no journal"):
        require_store(url)
    async with connect(url):
        pass
    require_store(url)


def test_a_run_on_files_survives_the_kill_of_its_leader(fleet: Fleet) -> None:
    workflow = fleet.write(
        "w.json",
        [
            {"id": "a", "run": "sleep 0.3"},
            {"id": "b", "needs": ["a"], "run": "sleep 0.6"},
            {"id": "c", "needs": ["b"], "run": "echo done"},
        ],
    )
    store = ("--store", "file:///fleet")
    done = fleet.run(workflow, *store, "--run-id", "r1", "--workers", "3",
                     "--chaos", "kill-leader@0.5s")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert "3 of 3 succeeded" in done.out
    assert "failover" in done.out
    assert fleet.call("logs", "r1", "c", *store).out == "done\n"
    assert fleet.call("status", "file:///fleet").code == 0
