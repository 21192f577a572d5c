"""What is to be played, made of options; and the targets."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.storage import open_store
from federlib.testing.chaos.plan import Plan, fitted, kills, schedule_for
from federlib.testing.chaos.playing import Options, plan_of
from federlib.testing.chaos.simulated import run_simulated
from federlib.testing.chaos.targets import (
    TARGETS,
    Target,
    TargetName,
    hindrance_of,
    is_of_all,
    why_not,
)
from federlib.testing.sim import PRESETS, Fault, Schedule, Terms, play
from federlib.testing.sim.faults import KINDS, OF_CLOCKS, OF_ONE, Kind
from federlib.testing.sim.schedule import SAFETY_S


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_that_has_its_time_is_played_as_it_is(name: str) -> None:
    assert fitted(PRESETS[name], 40) == PRESETS[name]


@given(st.sampled_from(sorted(PRESETS)), st.floats(1, 39))
def test_a_preset_in_less_time_ends_in_time_with_all_it_has(name: str, seconds: float) -> None:
    before, after = PRESETS[name].faults, fitted(PRESETS[name], seconds).faults
    assert [(f.kind, f.who) for f in after] == [(f.kind, f.who) for f in before]
    assert max(f.at_ms + f.for_ms for f in after) <= seconds * 1_000
    assert all(bool(new.for_ms) == bool(old.for_ms) for old, new in zip(before, after, strict=True))


def test_delays_shrink_with_the_time_and_clocks_do_not() -> None:
    faults = (
        Fault(at_ms=0, kind="delay", for_ms=10_000, amount=700),
        Fault(at_ms=0, kind="clock_step", who="leader", for_ms=10_000, amount=-30_000),
    )
    delay, step = fitted(Schedule(faults=faults), 5).faults
    assert (delay.for_ms, delay.amount) == (4_500, 315)
    assert (step.for_ms, step.amount) == (4_500, -30_000)


def test_kills_are_as_many_as_asked_for_and_all_in_time() -> None:
    faults = kills(300, 840).faults
    assert len(faults) == 300
    assert {(fault.kind, fault.who) for fault in faults} == {("kill", "leader")}
    assert faults[-1].at_ms + faults[-1].for_ms <= 840_000


def test_only_one_way_to_name_the_faults_is_taken() -> None:
    with pytest.raises(InvalidInput, match="one of --preset, --schedule, --kills"):
        schedule_for("sqlite", seed=1, seconds=9, name="gc_pause", file=None, number_of_kills=2)
    with pytest.raises(InvalidInput, match="--schedule and --kills"):
        schedule_for("sqlite", seed=1, seconds=9, name=None, file=Path("f"), number_of_kills=2)


def test_faults_from_a_file_are_read_and_told_apart_from_nonsense(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    file.write_text(PRESETS["gc_pause"].to_json())

    def read(path: Path) -> Schedule | None:
        schedule, given_as = schedule_for(
            "file", seed=1, seconds=40, name=None, file=path, number_of_kills=None
        )
        assert given_as == ("--schedule", str(path))
        return schedule

    assert read(file) == PRESETS["gc_pause"]
    file.write_text("nonsense")
    with pytest.raises(InvalidInput):
        read(file)
    with pytest.raises(InvalidInput, match="a file that can be read"):
        read(tmp_path / "missing")
    file.write_bytes(b" " * (4 << 20) + b" ")
    with pytest.raises(InvalidInput, match="at most"):
        read(file)


def test_drawn_faults_follow_from_the_seed_and_can_all_be_carried_out() -> None:
    def drawn(seed: int) -> Schedule | None:
        return schedule_for(
            "postgres", seed=seed, seconds=30, name=None, file=None, number_of_kills=None
        )[0]

    assert drawn(1) == drawn(1)
    assert len({drawn(seed).to_json() for seed in range(20) if drawn(seed)}) == 20  # type: ignore[union-attr]  # asked
    first = (drawn(1) or Schedule()).faults[0]
    assert (first.kind, first.who) == ("kill", "leader")
    found = {f.kind for seed in range(50) for f in (drawn(seed) or Schedule()).faults}
    assert found == {kind for kind in KINDS if why_not(kind, "postgres") is None}


def test_a_run_can_be_asked_for_again_without_its_password() -> None:
    plan = Plan(
        target="postgres",
        url="postgresql://u:geheim@h/f",
        seed=7,
        seconds=40,
        schedule=PRESETS["gc_pause"],
        given=("--preset", "gc_pause"),
    )
    assert plan.replay(7) == (
        "federlib chaos --target postgres --preset gc_pause --seconds 40 --seed 7 "
        "--processes 5 --ttl 2 --url URL"
    )
    assert "geheim" not in repr(plan) + repr(Options(target="postgres", url="x://:geheim@h"))


def test_what_is_not_given_is_filled_in() -> None:
    assert plan_of(Options(target="sim")).seeds == 20
    assert plan_of(Options(target="sim", seed=3)).seeds == 1
    assert plan_of(Options(target="sim")).seconds == 40
    assert plan_of(Options(target="sqlite", preset="gc_pause")).ttl_s == 2
    assert plan_of(Options(target="sqlite", preset="gc_pause", seconds=8)).ttl_s == 0.8
    assert plan_of(Options(target="sqlite", kills=300)).seconds == pytest.approx(833, abs=1)
    with pytest.raises(InvalidInput, match="none in the simulator"):
        plan_of(Options(target="sim", url="etcd://h"))
    with pytest.raises(InvalidInput, match="--seeds"):
        plan_of(Options(target="file", seeds=3))


@pytest.mark.parametrize("target", TARGETS)
def test_every_kind_of_fault_is_possible_or_it_is_said_why_not(target: str) -> None:
    reasons = {kind: why_not(kind, target) for kind in KINDS}  # type: ignore[arg-type]  # a row
    assert all(reason is None or len(reason) > 10 for reason in reasons.values())
    if target in {"sim", "sqlite", "file"}:
        assert set(reasons.values()) == {None}
    else:
        assert {kind for kind, reason in reasons.items() if reason} == {"repeat", "store_full"}


def test_what_stands_in_the_way_is_told_of_each_kind_that_has_such() -> None:
    def a_fault(kind: Kind) -> Fault:
        who, amount = "any" if kind in OF_ONE else "", int(kind == "narrow")
        return Fault(at_ms=0, kind=kind, who=who, amount=amount)

    own_ways = {"kill", "stop", "slow", "replay", *OF_CLOCKS}
    found = {kind for kind in KINDS if hindrance_of(a_fault(kind))}
    assert found == set(KINDS) - own_ways
    assert {kind for kind in found if not is_of_all(kind)} == {"isolate", "deafen", "mute"}


def test_embedded_targets_are_new_stores_in_a_directory_of_their_own(tmp_path: Path) -> None:
    assert Target.at("sqlite", None, tmp_path).url == f"sqlite:///{tmp_path}/store.db"
    assert Target.at("file", None, tmp_path).url == f"file:///{tmp_path}/store"
    with pytest.raises(InvalidInput, match="a new store of its own"):
        Target.at("sqlite", "sqlite:///mine.db", tmp_path)


@pytest.mark.anyio
@pytest.mark.parametrize("target", ["sqlite", "file"])
async def test_an_embedded_target_may_lie_in_a_directory_of_any_name(
    target: TargetName, tmp_path: Path
) -> None:
    place = tmp_path / "50%20 a#b?c=d é"
    place.mkdir()
    async with aclosing(await open_store(Target.at(target, None, place).url)):
        assert [path.name.partition(".")[0] for path in place.iterdir()][:1] == ["store"]


@pytest.mark.parametrize(
    ("name", "url", "why"),
    [
        ("etcd", None, "etcd://host:port"),
        ("postgres", "etcd://h:1", "postgresql://host:port"),
        ("etcd", "etcd://u:geheim@h:99999", "etcd://host:port"),
    ],
)
def test_a_server_is_named_by_a_url_of_its_scheme(
    name: str, url: str | None, why: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=why) as refused:
        Target.at(name, url, tmp_path)  # type: ignore[arg-type]  # a row
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("name", [None, "leader_kill"])
def test_the_command_of_a_played_seed_plays_it_again(name: str | None) -> None:
    played = play(7, None if name is None else PRESETS[name])
    preset = "" if name is None else f" --preset {name}"
    assert played.replay == f"federlib chaos --target sim --seed 7{preset}"
    plan = plan_of(Options(target="sim", seed=7, preset=name))
    assert (plan.terms, plan.seconds) == (Terms(), SAFETY_S)
    (again,) = run_simulated(plan, lambda _: None).seeds
    assert again.digest == played.digest
