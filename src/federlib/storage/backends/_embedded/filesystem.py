"""Where a store's files may lie, and how they are made: private, and on a local disk.

File locks and shared memory, on which SQLite's concurrency rests, are honoured by every
local file system and by few network ones; where they are not, two writers both succeed and
the database is torn weeks later. So a network file system is refused unless asked for.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import attrs

from federlib.errors import FederlibError, InvalidInput, StoreDenied, StoreFull, Unavailable

__all__ = [
    "NETWORK_FILESYSTEMS",
    "Mount",
    "create_private_file",
    "find_mount",
    "make_private_directory",
    "read_mountinfo",
    "refuse_network_filesystem",
    "translate_os_error",
]

NETWORK_FILESYSTEMS = frozenset({
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "fhgfs", "gfs2", "glusterfs", "gpfs",
    "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "smb2", "smb3", "smbfs",
    "vboxsf", "virtiofs", "wekafs",
    "fuse.afp", "fuse.azurefs", "fuse.ceph", "fuse.ceph-fuse", "fuse.davfs", "fuse.davfs2",
    "fuse.gcsfuse", "fuse.glusterfs", "fuse.gvfsd-fuse", "fuse.juicefs", "fuse.mfs",
    "fuse.moosefs", "fuse.rclone", "fuse.s3fs", "fuse.seaweedfs", "fuse.smbnetfs", "fuse.sshfs",
})  # fmt: skip
"""Types, as Linux names them in mountinfo, that other hosts can write to."""

_REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BAD_PATH = {
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EINVAL,
    errno.EEXIST,
}


@attrs.frozen
class Mount:
    """One mounted file system.

    Attributes:
        point: Where it is mounted.
        kind: Its type, for example ``ext4``.
    """

    point: str
    kind: str


def find_mount(mountinfo: str, path: str) -> Mount | None:
    """Find the mount that an absolute path lies on; None if the table does not say.

    Args:
        mountinfo: The text of `/proc/self/mountinfo`; broken lines are skipped.
        path: Absolute, without `..` and symbolic links.
    """
    best: Mount | None = None
    for line in mountinfo.splitlines():
        mount = _parse_mount(line)
        # A later line of the same mount point lies on top of the earlier one.
        if (
            mount
            and _lies_under(path, mount.point)
            and (best is None or len(mount.point) >= len(best.point))
        ):
            best = mount
    return best


def _parse_mount(line: str) -> Mount | None:
    left, dash, right = line.partition(" - ")
    fields, tail = left.split(" "), right.split(" ")
    if not dash or len(fields) < 5 or not tail[0]:
        return None
    return Mount(_unescape(fields[4]), tail[0])


def _unescape(text: str) -> str:
    # The kernel writes blank, tab, newline and backslash in octal; the backslash comes last.
    for code in ("\\040", "\\011", "\\012", "\\134"):
        text = text.replace(code, chr(int(code[1:], 8)))
    return text


def _lies_under(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def refuse_network_filesystem(path: Path, mountinfo: str | None = None) -> None:
    """Raise unless `path` lies on a local file system, as far as the system tells.

    The path is absolute and resolved, and need not exist. The mount table is read from
    `/proc` by default.

    Raises:
        InvalidInput: It lies on a network file system; names it, and the option.
    """
    mount = find_mount(read_mountinfo() if mountinfo is None else mountinfo, str(path))
    if mount is not None and mount.kind in NETWORK_FILESYSTEMS:
        raise InvalidInput(
            "store URL",
            expected="a local file system, or the option ?allow_network_fs=1 at your own risk",
            found=f"{path} on {mount.kind} mounted at {mount.point}",
        )


def read_mountinfo() -> str:
    """Return the mount table of this process; empty where the system has none."""
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def make_private_directory(path: Path) -> None:
    """Create a directory and its missing parents, each 0700 and durable; keep what exists.

    Raises:
        OSError: It cannot be made.
    """
    if path.is_dir():
        return
    make_private_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    _sync_directory(path.parent)


def create_private_file(path: Path) -> None:
    """Create an empty file, 0600 and durable; keep what exists.

    Raises:
        OSError: It cannot be made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    os.close(handle)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    if os.name != "posix":  # pragma: no cover (Windows has no handle of a directory)
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def translate_os_error(error: OSError, where: str) -> FederlibError:
    """Say in our words why the operating system refused."""
    reason = error.strerror or str(error)
    if error.errno in _REFUSALS:
        return StoreDenied(where, reason, hint="check the owner and mode of file and directory")
    if error.errno in _NO_SPACE:
        return StoreFull(where, reason, hint="free some space and retry")
    if error.errno in _BAD_PATH:
        return InvalidInput("store URL", expected="a path that can be a file", found=where)
    return Unavailable(where, reason)
