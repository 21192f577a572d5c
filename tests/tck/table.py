"""The table of `docs/reference/dmn-conformance.md`.

python -m tests.tck.table
"""

from __future__ import annotations

import sys

from data_sets import tck_root
from federlib.dmn.tck.runner import TckReport, run_tck

__all__ = ["directory_table"]


def directory_table(report: TckReport) -> str:
    """Draw the cases of each directory, as Markdown."""
    lines = ["| directory | cases | passed |", "|---|---|---|"]
    lines += [f"| `{each.name}` | {each.total} | {each.passed} |" for each in report.directories]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(directory_table(run_tck(tck_root())) + "\n")
