"""The DMN Technology Compatibility Kit, directory by directory.

Any directory of the kit will do: point `FEDERLIB_DATA` at a folder that has more of them below
`dmn-tck`, and they are run as well.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from data_sets import data_root, tck_root
from federlib.dmn.tck.runner import TckReport, run_tck
from tck.table import directory_table

_ROOT = data_root() / "dmn-tck"
_DIRECTORIES = sorted(
    path.relative_to(_ROOT).as_posix() for path in _ROOT.glob("*/*") if path.is_dir()
)
_SHARED = {"compliance-level-2": 116, "compliance-level-3": 2739}
_PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "dmn-conformance.md"


@cache
def _report() -> TckReport:
    return run_tck(tck_root())


@pytest.mark.parametrize("name", _DIRECTORIES or ["no kit"])
def test_every_case_of_a_directory_passes(name: str) -> None:
    report = run_tck(tck_root() / name)
    assert not report.errors
    assert not report.failed
    assert report.passed > 0


def test_all_shared_cases_are_run() -> None:
    found = dict.fromkeys(_SHARED, 0)
    for directory in _report().directories:
        level = directory.name.split("/")[0]
        found[level] = found.get(level, 0) + directory.total
    assert all(found[level] >= total for level, total in _SHARED.items()), found


def test_the_page_says_what_is_measured() -> None:
    page = _PAGE.read_text()
    for line in directory_table(_report()).splitlines()[2:]:
        name = line.split("|")[1]
        # A kit with more directories than are shared says more than the page does.
        assert line in page or name not in page, line
