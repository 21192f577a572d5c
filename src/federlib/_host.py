"""Which machine and which boot this is: facts that two ground packages need."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

__all__ = ["boot_id", "machine_id", "time_namespace"]

_MACHINE_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")


@cache
def machine_id() -> str | None:
    """Name this machine, or None where no name can be trusted.

    Inside a container the file `/etc/machine-id` belongs to the image, so two hosts may
    share it; then only `FEDERLIB_MACHINE_ID` is believed. The id is hashed: systemd asks
    that the raw one never leaves the host.
    """
    raw = os.environ.get("FEDERLIB_MACHINE_ID", "").strip()
    if not raw and not _in_container():
        raw = next(filter(None, map(_read, _MACHINE_FILES)), "")
    if not raw or raw == "uninitialized":
        return None
    return hashlib.sha256(b"federlib machine " + raw.encode()).hexdigest()[:16]


@cache
def boot_id() -> str | None:
    """Name this boot of the kernel, or None where the system does not say."""
    if sys.platform == "darwin":  # pragma: no cover (macOS only)
        return _sysctl("kern.bootsessionuuid")
    return _read("/proc/sys/kernel/random/boot_id") or None


@cache
def time_namespace() -> str:
    """Describe the offset of the boot clock in this time namespace; "" for none."""
    for line in _read("/proc/self/timens_offsets").splitlines():
        name, *offsets = line.split()
        if name == "boottime" and any(value != "0" for value in offsets):
            return "+".join(offsets)
    return ""


def _in_container() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ or any(map(os.path.exists, _CONTAINER_MARKS))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _sysctl(name: str) -> str | None:  # pragma: no cover (macOS only)
    try:
        done = subprocess.run(  # noqa: S603 (constant arguments)
            ["/usr/sbin/sysctl", "-n", name], capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.decode().strip() or None
