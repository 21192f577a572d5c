"""Install the group `bench`: all of it, or else one by one, whatever can be had.

A peer that cannot be installed is told here and stands in the table as missing; it does not
keep the others from being measured.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

_PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
_PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def main() -> None:
    """Install; never fail."""
    peers = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["dependency-groups"]["bench"]
    if subprocess.run([*_PIP, *peers], check=False).returncode == 0:
        return
    for peer in peers:
        if subprocess.run([*_PIP, peer], check=False).returncode != 0:
            print(f"cannot be installed here: {peer}")


main()
