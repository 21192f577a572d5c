"""The page of complaints and the tests say the same."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs/explanation/what-others-suffered.md"


def test_every_regression_is_on_the_page_and_everything_on_the_page_is_tested() -> None:
    names: set[str] = set()
    for file in HERE.glob("test_*_complaints.py"):
        names |= set(re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE))
    told = re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8"))
    assert sorted(told) == sorted(names)
