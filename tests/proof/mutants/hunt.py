"""Applies a diff to a copy of the package, and plays seeds on the copy until something breaks.

    python -m proof.mutants.hunt DIFF [SEEDS]     prints {"seed": …, "violation": …} as JSON

Run as a program it is the search itself, in a process that imports the broken copy.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import federlib

__all__ = ["MUTANTS", "SEEDS", "apply", "hunt"]

MUTANTS = Path(__file__).parent
SEEDS = 1_000

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@")
_PLACE = Path(federlib.__file__).parent


def apply(diff: str, root: Path) -> None:
    """Apply a unified diff to the files below `root`; a line that differs is an error."""
    target: Path | None = None
    lines: list[str] = []
    shift = at = 0

    def finish() -> None:
        if target is not None:
            target.write_text("".join(lines))

    for line in diff.splitlines(keepends=True):
        hunk = _HUNK.match(line)
        if line.startswith("--- a/"):
            finish()
            target = root / line.removeprefix("--- a/").strip()
            lines, shift = target.read_text().splitlines(keepends=True), 0
        elif hunk is not None:
            at = int(hunk[1]) - 1 + shift
        elif target is None or line.startswith("+++ "):
            continue
        elif line.startswith("+"):
            lines.insert(at, line[1:])
            at, shift = at + 1, shift + 1
        else:
            assert lines[at] == line[1:], f"{target}, line {at + 1}: not as in the diff"
            if line.startswith("-"):
                del lines[at]
                shift -= 1
            else:
                at += 1
    finish()


def hunt(diff: Path, copy: Path, seeds: int = SEEDS) -> dict[str, str | int] | None:
    """Search for a seed under which a broken copy shows it; None if there is none."""
    shutil.copytree(_PLACE, copy / "federlib", ignore=shutil.ignore_patterns("__pycache__"))
    apply(diff.read_text(), copy)
    child = subprocess.run(
        [sys.executable, "-m", "proof.mutants.hunt", diff.stem, str(seeds)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(copy), str(MUTANTS.parents[1])]),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        raise AssertionError(child.stderr[-2_000:])
    found: dict[str, str | int] | None = json.loads(child.stdout)
    assert found is None or str(found.pop("package")) == str(copy / "federlib")
    return found


def _search(seeds: int) -> dict[str, str | int] | None:
    from federlib.testing.sim import PRESETS, play

    presets = [None, *PRESETS.values()]
    for seed in range(seeds):
        # Drawn faults and presets in turn: some mistakes want just the one.
        try:
            violations = play(seed, presets[seed % len(presets)]).violations
        except Exception as error:
            violations = (f"{type(error).__name__}: {error}",)
        if violations:
            return {"seed": seed, "violation": violations[0], "package": str(_PLACE)}
    return None


if __name__ == "__main__":
    print(json.dumps(_search(int(sys.argv[2]))))
