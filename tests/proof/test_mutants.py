"""The prover, proved: each planted mistake is caught within a thousand seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from proof.mutants.hunt import MUTANTS, SEEDS, apply, hunt

DIFFS = sorted(MUTANTS.glob("*.diff"))


def test_there_are_mistakes_to_be_caught() -> None:
    assert len(DIFFS) >= 20


@pytest.mark.parametrize("diff", DIFFS, ids=lambda path: path.stem)
def test_the_simulator_catches_a_planted_mistake(diff: Path, tmp_path: Path) -> None:
    found = hunt(diff, tmp_path, SEEDS)
    assert found is not None, f"{SEEDS} seeds have not shown it: {diff.read_text()}"


def test_without_a_mistake_nothing_is_caught(tmp_path: Path) -> None:
    harmless = tmp_path / "harmless.diff"
    harmless.write_text("Nothing.\n")
    assert hunt(harmless, tmp_path / "copy", 40) is None


def test_a_diff_that_does_not_fit_is_no_mistake_that_was_caught(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\nthree\n")
    apply("--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,3 @@\n one\n-two\n+zwei\n three\n", tmp_path)
    assert (tmp_path / "a.py").read_text() == "one\nzwei\nthree\n"
    with pytest.raises(AssertionError, match="not as in the diff"):
        apply("--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,3 @@\n one\n-two\n+deux\n three\n", tmp_path)
