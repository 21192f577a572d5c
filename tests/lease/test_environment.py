"""The lease backend that the environment names."""

from __future__ import annotations

from pathlib import Path

import pytest

from federlib.errors import InvalidInput
from federlib.lease import LEASE_BACKEND_ENV, Holder, Lease, from_env, lease_url

PREFIX = "ORXAQ_AUTONOMY_LEADER_LEASE_"


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "file:///runtime/leases"),
        ({"BACKEND": ""}, "file:///runtime/leases"),
        ({"BACKEND": "file", "FILE_DIR": "/var/lib/my fleet#1"}, "file:////var/lib/my%20fleet%231"),
        ({"BACKEND": "sqlite"}, "sqlite:///runtime/leases.db"),
        ({"BACKEND": "sqlite", "SQLITE_PATH": "/x.db"}, "sqlite:////x.db"),
        ({"BACKEND": "postgres", "POSTGRES_URL": "postgresql://h/d"}, "postgresql://h/d"),
        ({"BACKEND": "etcd", "ETCD_URL": "etcd://a:1,b:2"}, "etcd://a:1,b:2"),
        ({"BACKEND": "etcd", "ETCD_URL": "etcds://a:1?ca=/c"}, "etcds://a:1?ca=/c"),
        ({"BACKEND": " sqlite ", "SQLITE_PATH": ""}, "sqlite:///runtime/leases.db"),
        ({"BACKEND": "file", "FILE_DIR": "  "}, "file:///runtime/leases"),
        # Of another backend: not looked at.
        ({"BACKEND": "file", "ETCD_URL": "nonsense"}, "file:///runtime/leases"),
    ],
)
def test_the_variables_name_a_url(environ: dict[str, str], url: str) -> None:
    assert lease_url({PREFIX + name: value for name, value in environ.items()}) == url


BACKENDS = "file, sqlite, postgres or etcd"


@pytest.mark.parametrize(
    ("environ", "named", "expected"),
    [
        ({"BACKEND": "zookeeper"}, "BACKEND", BACKENDS),
        ({"BACKEND": "FILE"}, "BACKEND", BACKENDS),
        ({"BACKEND": "s3cret"}, "BACKEND", BACKENDS),
        ({"BACKEND": "postgresql://u:s3cret@h/d"}, "BACKEND", BACKENDS),
        ({"BACKEND": "postgres"}, "POSTGRES_URL", "postgresql://, found 'nothing'"),
        ({"BACKEND": "postgres", "POSTGRES_URL": ""}, "POSTGRES_URL", "found 'nothing'"),
        (
            {"BACKEND": "postgres", "POSTGRES_URL": "mysql://u:s3cret@h/d"},
            "POSTGRES_URL",
            "postgresql://",
        ),
        ({"BACKEND": "postgres", "POSTGRES_URL": "s3cret://h/d"}, "POSTGRES_URL", "postgresql://"),
        ({"BACKEND": "etcd", "ETCD_URL": "s3cret"}, "ETCD_URL", "etcd:// or etcds://"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named_with_what_is_accepted_and_not_shown(
    environ: dict[str, str], named: str, expected: str
) -> None:
    with pytest.raises(InvalidInput, match=f"^{PREFIX}{named}: ") as caught:
        lease_url({PREFIX + name: value for name, value in environ.items()})
    assert expected in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"BACKEND": "file", "FILE_DIR": "a\x00b"}, "BACKEND"),
        ({"BACKEND": "etcd", "ETCD_URL": "etcd://u:s3cret@h:1/path"}, "ETCD_URL"),
        ({"BACKEND": "etcd", "ETCD_URL": "etcd://u:s3cret@h:1?wrong=1"}, "ETCD_URL"),
        ({"BACKEND": "postgres", "POSTGRES_URL": "postgresql://u:s3cret@h/d#x"}, "POSTGRES_URL"),
    ],
)
async def test_what_a_driver_refuses_is_told_with_the_variable_that_said_it(
    environ: dict[str, str], named: str
) -> None:
    with pytest.raises(InvalidInput, match=f"^{PREFIX}{named}: ") as caught:
        await from_env({PREFIX + name: value for name, value in environ.items()})
    assert "s3cret" not in str(caught.value)


@pytest.mark.anyio
async def test_leases_in_files_outlive_the_backend_and_raise_their_token(tmp_path: Path) -> None:
    environ = {LEASE_BACKEND_ENV: "file", f"{PREFIX}FILE_DIR": str(tmp_path / "leases")}
    for token in (1, 2):
        backend = await from_env(environ)
        lease = await backend.acquire("x", Holder("ada", "1"), ttl_s=5)
        assert isinstance(lease, Lease)
        assert lease.fencing_token == token
        await backend.release(lease)
        await backend.aclose()
    assert (tmp_path / "leases" / "journal").is_dir()
