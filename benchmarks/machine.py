"""What the numbers were taken on: without it they mean little."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

__all__ = ["facts", "version_of", "warning"]

PEERS = (
    "tooz",
    "mithril-locks",
    "sherlock",
    "filelock",
    "rustworkx",
    "etcd3gw",
    "aetcd",
    "psycopg",
    "dbos",
    "kinship",
    "zen-engine",
    "business-rules",
    "durable-rules",
    "SpiffWorkflow",
    "pyDMNrules",
)


def facts() -> dict[str, object]:
    """Tell the processors, the system, the versions, the disk and how busy it is."""
    return {
        "at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "cpu": _cpu_model(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "scratch": _file_system(Path(tempfile.gettempdir()).resolve()),
        "load_before": [round(one, 2) for one in os.getloadavg()],
        "peers": {name: version_of(name) or "not installed" for name in PEERS},
    }


def warning(told: dict[str, object]) -> str | None:
    """Say that others used the machine when a run began, or None."""
    load, cpus = told["load_before"], told["cpus"]
    assert isinstance(load, list)
    assert isinstance(cpus, int)
    if load[0] <= cpus / 2:
        return None
    return (
        f"The machine was busy with other work when this run began: load {load[0]:g} on {cpus} "
        "processors. Whatever is counted by the second is lower than on a quiet one, and "
        "ratios to a raw commit are higher, for the syncs of others slow both sides down."
    )


def version_of(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _file_system(place: Path) -> str:
    """Name the file system of a folder: on tmpfs, say, a sync costs nothing."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    best, kind = "", "unknown"
    for line in lines:
        left, _, right = line.partition(" - ")
        mount = left.split()[4]
        if place.is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, right.split()[0]
    return kind
