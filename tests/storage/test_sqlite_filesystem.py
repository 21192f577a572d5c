"""Which file system a path lies on, by the text of the mount table; and the URL."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.storage.backends._embedded.filesystem import (
    NETWORK_FILESYSTEMS,
    Mount,
    find_mount,
    refuse_network_filesystem,
)
from federlib.storage.backends._embedded.url import FileUrl
from federlib.storage.backends.sqlite import parse_url

TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 27 0:40 / /home rw,relatime shared:1 master:2 - nfs4 server:/home rw,vers=4.2
31 30 254:1 / /home/local rw,relatime shared:3 - xfs /dev/vdb rw
32 27 0:41 / /mnt/two\040words rw - cifs //server/share rw
33 27 0:42 / /mnt/stacked rw - ext4 /dev/vdc rw
34 27 0:43 / /mnt/stacked rw - fuse.sshfs me@there: rw
35 27 0:44 / /srv/back\134slash rw - 9p hostshare rw
a broken line
36 27 0:45 / /unfinished rw -
"""


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("/", Mount("/", "ext4")),
        ("/var/store.db", Mount("/", "ext4")),
        ("/home/me/store.db", Mount("/home", "nfs4")),
        ("/homely/store.db", Mount("/", "ext4")),  # a beginning, but not of a directory
        ("/home", Mount("/home", "nfs4")),
        ("/home/local/store.db", Mount("/home/local", "xfs")),
        ("/mnt/two words/store.db", Mount("/mnt/two words", "cifs")),
        ("/mnt/stacked/store.db", Mount("/mnt/stacked", "fuse.sshfs")),  # the later is on top
        ("/srv/back\\slash/store.db", Mount("/srv/back\\slash", "9p")),
        ("/unfinished/store.db", Mount("/", "ext4")),
    ],
)
def test_a_path_lies_on_the_longest_and_latest_mount_above_it(path: str, mount: Mount) -> None:
    assert find_mount(TABLE, path) == mount


def test_without_a_table_nothing_is_known_and_nothing_refused() -> None:
    assert find_mount("", "/a") is None
    refuse_network_filesystem(Path("/a"), "")


@given(st.text(), st.text())
def test_no_table_makes_the_search_fail(table: str, path: str) -> None:
    mount = find_mount(table, path)
    assert mount is None or path.startswith(mount.point.rstrip("/"))


@pytest.mark.parametrize("kind", sorted(NETWORK_FILESYSTEMS))
def test_a_network_file_system_is_refused_by_name_and_with_the_option(kind: str) -> None:
    with pytest.raises(InvalidInput, match=r"allow_network_fs=1") as caught:
        refuse_network_filesystem(Path("/net/store.db"), f"1 1 0:1 / /net rw - {kind} x rw")
    assert kind in str(caught.value)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "fuseblk"])
def test_a_local_file_system_is_accepted(kind: str) -> None:
    refuse_network_filesystem(Path("/disk/store.db"), f"1 1 0:1 / /disk rw - {kind} x rw")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///fleet.db", FileUrl("fleet.db")),
        ("sqlite:///a/b/fleet.db", FileUrl("a/b/fleet.db")),
        ("sqlite:////var/lib/fleet.db", FileUrl("/var/lib/fleet.db")),
        ("sqlite:///my%20fleet%23.db", FileUrl("my fleet#.db")),
        ("sqlite:///.federlib/store.db?allow_network_fs=1", FileUrl(".federlib/store.db", True)),
        ("sqlite:///fleet.db?allow_network_fs=0", FileUrl("fleet.db")),
    ],
)
def test_a_url_names_a_path_and_the_option(url: str, expected: FileUrl) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:////",
        "sqlite://fleet.db",
        "sqlite://host/fleet.db",
        "sqlite:///fleet.db/",
        "sqlite:///:memory:",
        "sqlite:///fleet.db#part",
        "sqlite:///fleet%00.db",
        "sqlite:///fleet\0.db",
        "sqlite:///fle\net.db",
        "sqlite:///fleet.db?mode=ro",
        "sqlite:///fleet.db?allow_network_fs",
        "sqlite:///fleet.db?allow_network_fs=yes",
        "memory://",
        "postgresql://host/db",
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        parse_url(url)
