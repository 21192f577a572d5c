"""From a URL to a store, and URLs that may stand in a log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.storage import RecordStore, open_store, redact_url
from federlib.storage.urls import store_place
from federlib.telemetry import SILENT
from federlib.testing import ManualClock


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("sqlite:///fleet.db", "sqlite:///fleet.db"),
        ("sqlite:////var/lib/a@b/c:d.db", "sqlite:////var/lib/a@b/c:d.db"),
        ("sqlite:////tmp/u:p@x.db", "sqlite:////tmp/u:p@x.db"),
        ("sqlite:///fleet.db?allow_network_fs=1", "sqlite:///fleet.db"),
        ("file:///srv/store#x", "file:///srv/store"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql://host:5432/db?sslmode=x", "postgresql://host:5432/db"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("postgresql://user:s3cret@host:5432/db", "postgresql://user:***@host:5432/db"),
        ("postgresql://:s3cret@host/db", "postgresql://:***@host/db"),
        ("postgresql://user:@host/db", "postgresql://user:***@host/db"),
        ("postgresql://u:s3cret@host/db?password=s3cret", "postgresql://u:***@host/db"),
        ("postgresql://u:a@s3cret@host/db", "postgresql://u:***@host/db"),
        ("etcd://u:s3cret@[::1]:2379,b:2379", "etcd://u:***@[::1]:2379,b:2379"),
        ("etcd://u:s3cret@[::1", "etcd://u:***@[::1"),
        # Unescaped marks in the password: no parser can tell, so everything goes.
        ("postgresql://u:s3/cret@host/db", "postgresql://***"),
        ("postgresql://u:s3#cret@host/db", "postgresql://***"),
        ("postgresql://u:s3?cret@host/db", "postgresql://***"),
        ("postgresql://u:5/cret@host/db", "postgresql://***"),
        ("postgresql://u:s3@a/cret@host/db", "postgresql://***"),
        ("postgresql://u/x:s3cret@host/db", "postgresql://***"),
        ("postgresql:///u:s3cret@host/db", "postgresql://***"),
        ("postgresql:///u:s3?cret@host/db", "postgresql://***"),
        # No scheme that one could believe.
        ("u:s3cret@host/db", "***"),
        ("//u:s3cret@host/db", "***"),
        ("postgresql:/u:s3cret@host", "***"),
        ("u:s3cret@pg://host", "***"),
        ("host?password=s3cret", "***"),
        ("fleet.db", "fleet.db"),
        ("", ""),
    ],
)
def test_a_redacted_url_keeps_the_place_and_no_secret(url: str, shown: str) -> None:
    assert redact_url(url) == shown
    assert "cret" not in shown


@given(
    scheme=st.sampled_from(["postgresql", "redis", "etcd", "POSTGRES"]),
    user=st.text("ab", max_size=3),
    password=st.text("S/?#@:%[] \n", min_size=1).map(lambda text: f"S{text}S"),
    tail=st.sampled_from(["", "/db", "/db?x=1", "?password=SS", "/a@b", ":5432/db"]),
)
def test_no_password_is_ever_shown(scheme: str, user: str, password: str, tail: str) -> None:
    shown = redact_url(f"{scheme}://{user}:{password}@host{tail}")
    assert "S" not in shown.removeprefix(scheme)


@given(st.text())
def test_any_text_can_be_redacted(text: str) -> None:
    assert len(redact_url(text)) <= len(text) + len("***")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url",
    [
        "", "fleet.db", "nosuch://u:s3cret@host/db", "//u:s3cret@host", "u:s3cret@host",
        "nosuch://[u:s3cret@h", "memory:", "nosuch://u:s3cret@h\u2100st/x", "://u:s3cret@host",
    ],
)  # fmt: skip
async def test_a_url_without_a_driver_is_refused_and_not_shown_whole(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"memory://.* sqlite://") as caught:
        await open_store(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.anyio
@pytest.mark.parametrize("url", [None, b"pg://u:s3cret@host", 7])
async def test_what_is_no_text_is_no_url(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await open_store(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.anyio
async def test_a_driver_is_found_by_its_entry_point() -> None:
    store = await open_store("memory://", clock=ManualClock(), telemetry=SILENT)
    assert isinstance(store, RecordStore)
    await store.aclose()


def test_importing_storage_imports_no_driver() -> None:
    code = (
        "import sys; from federlib.storage import open_store; "
        "print([m for m in sys.modules if 'backends' in m or 'sqlite' in m])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


def test_a_file_is_named_by_its_whole_path_wherever_we_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert store_place("sqlite:///a/fleet.db") == f"sqlite:///{tmp_path}/a/fleet.db"
    assert store_place(f"sqlite:///{tmp_path}/x.db?allow_network_fs=1") == (
        f"sqlite:///{tmp_path}/x.db"
    )
    assert store_place("etcd://u:secret@host:2379/p") == "etcd://u:***@host:2379/p"
    assert store_place("memory://") == "memory://"
