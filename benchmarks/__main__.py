"""Run every benchmark: `python -m benchmarks`. Ratios against peers of the same run."""

from __future__ import annotations

import importlib
from pathlib import Path

from benchmarks.table import Row, show, write

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Measure, print and write."""
    rows: list[Row] = []
    for path in sorted(HERE.glob("bench_*.py")):
        rows += importlib.import_module(f"benchmarks.{path.stem}").rows()
    show(rows)
    write(rows, HERE / "results.json")


main()
