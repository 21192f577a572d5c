"""Exploring many seeds: what is covered adds up, goes on after a break, and tells what it finds."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import msgspec
import pytest

from federlib.errors import InvalidInput
from federlib.lease import queue
from federlib.testing.exploring import WORLDS, Coverage, Exploration, Finding, look, world_of
from federlib.testing.exploring.__main__ import main
from federlib.testing.exploring.running import explore_chunk, load, save
from federlib.testing.sim import KINDS, PRESETS


def finding(seed: int) -> Finding:
    return Finding(seed=seed, world="fleet", violations=("a: b",), replay="again")


def test_what_was_covered_apart_adds_up() -> None:
    one = Coverage(
        worlds={"fleet": 2},
        begun={"kill": 3},
        events=5,
        failover_ms=900,
        violations=1,
        findings=(finding(1),),
    )
    other = Coverage(worlds={"fleet": 1, "runs": 1}, begun={"stop": 1}, events=6, failover_ms=70)
    both = Coverage.sum([one, other])
    assert (both.seeds, both.events, both.failover_ms) == (4, 11, 900)
    assert both.begun == {"kill": 3, "stop": 1}
    assert both.findings == (finding(1),)
    assert set(both.missing) == set(KINDS) - {"kill", "stop"}
    assert Coverage.sum([]) == Coverage()
    many = Coverage.sum(Coverage(violations=1, findings=(finding(n),)) for n in range(300))
    assert (many.violations, len(many.findings)) == (300, 100)


def test_every_world_is_among_twenty_seeds_in_a_row_and_a_seed_is_always_the_same() -> None:
    assert {world_of(seed) for seed in range(7, 27)} == set(WORLDS)
    for seed in (0, 9, 12, 16, 18):
        covered = look(seed)
        assert covered == look(seed)
        assert covered.worlds == {world_of(seed): 1}
        assert covered.violations == 0, covered.findings
        assert covered.events > 1_000
    assert {world_of(seed) for seed in (0, 9, 12, 16, 18)} == set(WORLDS)


def test_each_preset_has_its_turn() -> None:
    seeds = [seed for seed in range(20 * len(PRESETS)) if world_of(seed) == "presets"]
    assert {seed // 20 % len(PRESETS) for seed in seeds} == set(range(len(PRESETS)))


def test_an_exploration_goes_on_where_it_was_and_covers_what_one_in_one_go_does() -> None:
    whole = explore_chunk(100, 21)
    state = Exploration(first=100, seeds=21)
    first = next(state.run(jobs=1))
    assert 0 < first.covered.seeds < 21
    states = list(msgspec.json.decode(msgspec.json.encode(first), type=Exploration).run(jobs=2))
    assert states[-1].covered == whole
    assert list(states[-1].run(jobs=1)) == []


def test_nothing_is_begun_when_time_is_over() -> None:
    assert list(Exploration(first=0, seeds=50).run(jobs=1, seconds=0)) == []


def test_a_state_is_kept_in_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert load(path) is None
    for seeds in (5, 6):
        state = Exploration(first=3, seeds=seeds, covered=Coverage(worlds={"fleet": 2}))
        save(path, state)
        assert load(path) == state
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]
    path.write_text("{}")
    with pytest.raises(InvalidInput, match="state"):
        load(path)
    with pytest.raises(InvalidInput, match="seeds"):
        Exploration(first=0, seeds=-1)


def test_the_command_tells_what_it_covered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state.json"
    given = ["--first", "40", "--jobs", "1", "--state", str(state)]
    assert main([*given, "--seeds", "3"]) == 0
    told = capsys.readouterr().out
    assert "seeds from 40 on, 3 of 3 played" in told
    assert all(f"{kind} " in told for kind in KINDS)
    assert "violations    0" in told
    assert main([*given, "--seeds", "5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["first"], document["covered"]["worlds"]) == (40, {"fleet": 5})
    for wrong in (["--jobs", "0"], ["--state", str(state), "--first", "41"]):
        with pytest.raises(SystemExit) as ended:
            main(wrong)
        assert ended.value.code == 2
        assert wrong[-2] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--seeds", "-1"], "seeds"),
        (["--jobs", "0"], "--jobs"),
        (["--seconds", "nan"], "--seconds"),
        (["--seeds", "1", "--jobs", "1", "--state", "nowhere/state"], "nowhere/state"),
    ],
)
def test_a_mistake_of_usage_is_told_in_a_line(
    options: list[str],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert why in capsys.readouterr().err.splitlines()[-1]


def test_fresh_seeds_are_drawn_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    firsts = set()
    for _ in range(2):
        assert main(["--seeds", "0", "--json"]) == 0
        firsts.add(json.loads(capsys.readouterr().out)["first"])
    assert len(firsts) == 2


def test_what_is_found_is_told_with_its_replay_and_its_fewest_faults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kept = queue.next_token
    monkeypatch.setattr(queue, "next_token", lambda view: max(1, kept(view) - 1))
    found = explore_chunk(0, 1)
    assert found.violations == 1
    # Other processes have no part in what was planted here.
    state = tmp_path / "state.json"
    save(state, Exploration(first=0, seeds=1, covered=found))
    assert main(["--seeds", "1", "--state", str(state)]) == 1
    told = capsys.readouterr().out
    assert "seed 0, world fleet:" in told
    assert "tokens_rise: " in told
    assert "replay it: python -m federlib.testing.exploring --first 0 --seeds 1" in told
    assert "the faults that are enough:" in told


def test_an_error_of_a_program_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(view: queue.View) -> int:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(queue, "next_token", fail)
    covered = look(3)
    assert covered.findings[0].violations == ("ZeroDivisionError: planted",)
    assert covered.worlds == {"fleet": 1}


def test_a_kind_that_never_began_in_a_thousand_seeds_is_a_hole(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    for count, code in ((999, 0), (1_000, 1)):
        covered = Coverage(worlds={"fleet": count}, begun=dict.fromkeys(KINDS[1:], 1))
        save(state, Exploration(first=0, seeds=count, covered=covered))
        assert main(["--seeds", str(count), "--state", str(state)]) == code
    assert capsys.readouterr().out.endswith("never begun: kill\n")
