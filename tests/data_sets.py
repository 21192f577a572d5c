"""Where the shared data sets are: `FEDERLIB_DATA`, or `../shared/data` beside the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["data_root", "latency_file", "tck_root", "workflow_file"]

_PROJECT = Path(__file__).resolve().parents[1]


def data_root() -> Path:
    """Name the folder of the shared data; it may not exist."""
    chosen = os.environ.get("FEDERLIB_DATA")
    return Path(chosen) if chosen else _PROJECT.parent / "shared" / "data"


def workflow_file(name: str) -> Path:
    """Return the file of a shared workflow, for example `montage-dss-15d`."""
    return _data_file("workflows", f"{name}.json.gz")


def latency_file(name: str) -> Path:
    """Return the file of a shared matrix of round trips, for example `planetlab490_median`."""
    return _data_file("latency", f"{name}.csv.gz")


def tck_root() -> Path:
    """Return the folder of the shared part of the DMN conformance kit."""
    return _data_file("dmn-tck", "README.md").parent


def _data_file(folder: str, name: str) -> Path:
    """Return the path, or skip the test with the reason.

    With `FEDERLIB_REQUIRE_DATA=1` it fails instead, so that CI cannot pass without the data.
    """
    path = data_root() / folder / name
    if path.is_file():
        return path
    reason = f"no shared data: {path} (set FEDERLIB_DATA)"
    if os.environ.get("FEDERLIB_REQUIRE_DATA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
