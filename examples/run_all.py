"""Run every example, each in a directory of its own; fail if one fails."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run them in order of their names."""
    failed: list[str] = []
    for example in sorted(HERE.glob("*.py")):
        if example.name == Path(__file__).name:
            continue
        print(f"== {example.name}", flush=True)
        with tempfile.TemporaryDirectory(prefix="federlib-example-") as place:
            done = subprocess.run(
                [sys.executable, str(example)], cwd=place, check=False, timeout=120
            )
        if done.returncode != 0:
            failed.append(example.name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
