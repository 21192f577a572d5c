"""Run the benchmarks: `python -m benchmarks [SECTION ...]`, or `make bench`.

Ratios against peers and limits of the same run. A section or a row that fails is told, the
others go on, and the exit code is 1. A missed bar is told too, and is no failure of the run.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import sys
import time
import traceback
from pathlib import Path

import attrs

from benchmarks.machine import facts, warning
from benchmarks.table import Row, markdown, show, show_bars, write

HERE = Path(__file__).resolve().parent
_HEADING = "## The numbers"

SECTIONS = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def main() -> int:
    """Measure, print and write."""
    options = _options()
    if options.page is not None:
        _fill(options.page, options.results)
        return 0
    told = facts()
    for name, fact in told.items():
        print(f"{name:12} {fact}")
    if (said := warning(told)) is not None:
        print(f"\n{said}\n")
    rows: list[Row] = []
    failed: dict[str, str] = {}
    took: dict[str, float] = {}
    for section in dict.fromkeys([*options.sections, *options.only] or SECTIONS):
        began = time.perf_counter()
        measured: list[Row] = []
        reason = measure(section, measured, quick=options.quick)
        if reason is not None:
            failed[section] = reason
        took[section] = round(time.perf_counter() - began, 1)
        # At once: who interrupts the rest keeps what there is.
        show(measured)
        sys.stdout.flush()
        rows += measured
        write(rows, options.results)
        told |= {"load_after": [round(one, 2) for one in os.getloadavg()], "took_s": took}
        _write_facts(options.results, {**told, "quick": options.quick, "failed": failed})
    show_bars(rows)
    if options.quick:
        print("--quick is a rehearsal: its bars say little.")
    print(f"\n{sum(took.values()):.0f} s; rows in {options.results}")
    for section, reason in failed.items():
        print(f"FAILED  {section}: {reason}")
    unmeasured = [row for row in rows if row.bar is not None and row.value is None]
    for row in unmeasured:
        print(f"FAILED  {row.section}: {row.name}: {row.note}")
    return 1 if failed or unmeasured else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="all by default")
    parser.add_argument("--only", action="append", default=[], choices=SECTIONS)
    parser.add_argument("--quick", action="store_true", help="a rehearsal: its numbers say little")
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    parser.add_argument("--page", type=Path, help="measure nothing: put the last results there")
    return parser.parse_args()


def measure(section: str, rows: list[Row], *, quick: bool) -> str | None:
    """Add a section's rows; return why it broke off, or None."""
    print(f"... {section}", file=sys.stderr, flush=True)
    try:
        measure = importlib.import_module(f"benchmarks.bench_{section}").rows
        if "quick" in inspect.signature(measure).parameters:
            found = measure(quick=quick)
        elif quick:
            print(f"    {section} has no quick form: left out", file=sys.stderr)
            return None
        else:
            found = measure()
        # One by one: what was measured before it broke off is kept.
        rows.extend(attrs.evolve(row, section=section) for row in found)
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


def _write_facts(results: Path, told: dict[str, object]) -> None:
    _facts_beside(results).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _facts_beside(results: Path) -> Path:
    return results.with_name(f"{results.stem}.machine.json")


def _fill(page: Path, results: Path) -> None:
    """Replace everything below the page's heading with the last results."""
    text = page.read_text(encoding="utf-8")
    kept, heading, _ = text.partition(f"{_HEADING}\n")
    if not heading:
        sys.exit(f"{page} has no line {_HEADING!r}")
    told = json.loads(_facts_beside(results).read_text(encoding="utf-8"))
    rows = json.loads(results.read_text(encoding="utf-8"))
    said = warning(told)
    page.write_text(
        f"{kept}{heading}\n" + (f"**{said}**\n\n" if said else "") + markdown(rows, told),
        encoding="utf-8",
    )


if __name__ == "__main__":
    sys.exit(main())
