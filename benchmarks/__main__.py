"""Run the benchmarks: `python -m benchmarks [SECTION ...]`, or `make bench`.

Ratios against peers and limits of the same run. A section or a row that fails is told, the
others go on, and the exit code is 1. A missed bar is told too, and is no failure of the run.
A section that is measured replaces its rows in the results; what it was measured on, and when,
is written beside them, for each section.
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
from typing import TypeVar

import attrs

from benchmarks.machine import facts, warning
from benchmarks.table import Fields, Row, as_json, markdown, show, show_bars

HERE = Path(__file__).resolve().parent
_HEADING = "## The numbers"

_T = TypeVar("_T")

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
    began = time.perf_counter()
    for section in dict.fromkeys([*options.sections, *options.only] or SECTIONS):
        told, section_began = facts(), time.perf_counter()
        measured: list[Row] = []
        reason = measure(section, measured, quick=options.quick)
        if reason is not None:
            failed[section] = reason
        told["load_after"] = [round(one, 2) for one in os.getloadavg()]
        told["took_s"] = round(time.perf_counter() - section_began, 1)
        told |= {"quick": options.quick, "failed": reason or "no"}
        show(measured)
        sys.stdout.flush()
        rows += measured
        # At once: who interrupts the rest keeps what there is.
        if measured:
            keep(options.results, section, as_json(measured), told)
    show_bars(rows)
    if options.quick:
        print("--quick is a rehearsal: its bars say little.")
    print(f"\n{time.perf_counter() - began:.0f} s; rows in {options.results}")
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
    parser.add_argument("--results", type=Path, help="results.json here; of --quick, another")
    parser.add_argument("--page", type=Path, help="measure nothing: put the last results there")
    options = parser.parse_args()
    if options.results is None:
        options.results = HERE / ("results.quick.json" if options.quick else "results.json")
    return options


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


def keep(results: Path, section: str, rows: list[Fields], told: Fields) -> None:
    """Replace a section's rows and what it was measured on; those of the others stay."""
    written: list[Fields] = _read(results, [])
    others = [row for row in written if row["section"] != section]
    rows = sorted([*others, *rows], key=lambda row: str(row["section"]))
    _write(results, rows)
    beside = _facts_beside(results)
    _write(beside, dict(sorted({**_read(beside, {}), section: told}.items())))


def _read(path: Path, otherwise: _T) -> _T:
    found: _T = json.loads(path.read_text(encoding="utf-8")) if path.exists() else otherwise
    return found


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _facts_beside(results: Path) -> Path:
    return results.with_name(f"{results.stem}.machine.json")


def _fill(page: Path, results: Path) -> None:
    """Replace everything below the page's heading with the last results."""
    text = page.read_text(encoding="utf-8")
    kept, heading, _ = text.partition(f"{_HEADING}\n")
    if not heading:
        sys.exit(f"{page} has no line {_HEADING!r}")
    rows: list[Fields] = _read(results, [])
    told: dict[str, Fields] = _read(_facts_beside(results), {})
    page.write_text(f"{kept}{heading}\n{markdown(rows, told)}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
