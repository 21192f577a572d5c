"""Starts `store_worker.py` in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import federlib

WORKER = Path(__file__).with_name("store_worker.py")
TIMEOUT_S = 60.0
URLS = {"sqlite": "sqlite:///{}/store.db", "file": "file:///{}/store"}
"""The stores that processes share, by their drivers; in a directory to be filled in."""


def start(verb: str, url: str, argument: str = "") -> subprocess.Popen[str]:
    """Start a worker; its output comes line by line."""
    assert federlib.__file__ is not None
    source = str(Path(federlib.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, str(WORKER), verb, url, argument],
        env={**os.environ, "PYTHONPATH": source},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> list[str]:
    """Wait for the end of a worker that must succeed; returns its lines."""
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    return out.splitlines()
