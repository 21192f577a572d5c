"""Applies a diff to a copy of the package, and plays seeds on the copy until something breaks.

    python -m proof.mutants.hunt WORLD SEEDS     prints {"seed": …, "violation": …} as JSON

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
from proof.mutants.worlds import WORLDS, world_of

__all__ = ["MUTANTS", "SEEDS", "apply", "hunt"]

MUTANTS = Path(__file__).parent
SEEDS = 1_000

_HUNK = re.compile(r"^@@ .*@@.*\n", re.MULTILINE)
_PLACE = Path(federlib.__file__).parent


def apply(diff: str, root: Path) -> None:
    """Apply a unified diff to the files below `root`, wherever in them its lines stand now.

    Raises:
        AssertionError: They do not stand there exactly once.
    """
    for part in diff.split("--- a/")[1:]:
        name, _, body = part.partition("\n")
        target = root / name.strip()
        text = target.read_text()
        for hunk in _HUNK.split(body)[1:]:
            lines = hunk.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] in " -")
            new = "".join(line[1:] for line in lines if line[0] in " +")
            assert text.count(old) == 1, f"{target}: not as in the diff: {old}"
            text = text.replace(old, new)
        target.write_text(text)


def hunt(diff: Path, copy: Path, seeds: int = SEEDS) -> dict[str, str | int] | None:
    """Search for a seed under which a broken copy shows it; None if there is none."""
    # With what is compiled, where there is any: it stays true of the files that do not change.
    shutil.copytree(_PLACE, copy / "federlib")
    text = diff.read_text()
    apply(text, copy)
    child = subprocess.run(
        [sys.executable, "-m", "proof.mutants.hunt", world_of(text), str(seeds)],
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


def _search(world: str, seeds: int) -> dict[str, str | int] | None:
    for seed in range(seeds):
        try:
            violations = WORLDS[world](seed)
        except Exception as error:
            violations = (f"{type(error).__name__}: {error}",)
        if violations:
            return {"seed": seed, "violation": violations[0], "package": str(_PLACE)}
    return None


if __name__ == "__main__":
    print(json.dumps(_search(sys.argv[1], int(sys.argv[2]))))
