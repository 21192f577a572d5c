"""The prover, proved: each planted mistake is caught within a thousand seeds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proof.mutants.hunt import MUTANTS, SEEDS, apply, hunt
from proof.mutants.worlds import WORLDS, breaks, world_of

DIFFS = sorted(MUTANTS.glob("*.diff"))
_INVARIANT = re.compile(r"[a-z_]+(/[a-z_]+)?")
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "mutants.md"


def test_there_are_mistakes_to_be_caught_in_every_world() -> None:
    assert len(DIFFS) >= 25
    assert {world_of(diff.read_text()) for diff in DIFFS} == set(WORLDS)


@pytest.mark.parametrize("diff", DIFFS, ids=lambda path: path.stem)
def test_the_simulator_catches_a_planted_mistake(diff: Path, tmp_path: Path) -> None:
    found = hunt(diff, tmp_path, SEEDS)
    assert found is not None, f"{SEEDS} seeds have not shown it: {diff.read_text()}"
    # A copy that cannot run at all would be caught by anything.
    named = str(found["violation"]).partition(":")[0]
    assert _INVARIANT.fullmatch(named), f"no invariant caught it: {found}"


@pytest.mark.parametrize("world", WORLDS)
def test_without_a_mistake_nothing_is_caught(world: str, tmp_path: Path) -> None:
    harmless = tmp_path / "harmless.diff"
    harmless.write_text(f"Nothing.\n\nHunted in: {world}\n")
    assert hunt(harmless, tmp_path / "copy", 40 if world == "fleet" else 10) is None


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(189, id="a seat without a leader kept the lease of a run that was resumed"),
        pytest.param(1_073, id="the next life of a worker was told the claims of the one before"),
    ],
)
def test_what_a_store_that_holds_requests_up_has_shown_is_mended(seed: int) -> None:
    assert WORLDS["held"](seed) == ()


def test_a_diff_that_does_not_fit_is_no_mistake_that_was_caught(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\nthree\n")
    apply("--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,3 @@\n one\n-two\n+zwei\n three\n", tmp_path)
    assert (tmp_path / "a.py").read_text() == "one\nzwei\nthree\n"
    with pytest.raises(AssertionError, match="not as in the diff"):
        apply("--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,3 @@\n one\n-two\n+deux\n three\n", tmp_path)


def test_a_world_that_there_is_not_is_told() -> None:
    with pytest.raises(AssertionError, match="no world 'moon'"):
        world_of("Nothing.\n\nHunted in: moon\n")


def test_the_docs_list_every_mistake_and_what_caught_it() -> None:
    rows = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    listed = {row[0].strip("|` "): row[1:] for row in rows}
    for diff in DIFFS:
        text = diff.read_text()
        assert diff.stem in listed, "python -m proof.mutants.report --write docs/explanation/…"
        what, world, by, seeds = listed[diff.stem]
        assert (what, world) == (breaks(text), world_of(text))
        assert len(by.strip("`")) > 3
        assert 1 <= int(seeds.strip(" |")) <= SEEDS
    assert listed.keys() == {diff.stem for diff in DIFFS}
    assert all(f"| {world} |" in PAGE.read_text() for world in WORLDS)
