"""Schedules as text and as strategies: what is read, what is refused, what is found and shrunk."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from federlib.errors import InvalidInput, MissingExtra
from federlib.lease import queue
from federlib.testing import strategies as fed
from federlib.testing.shells import play_shell_workflow, play_shells
from federlib.testing.sim import (
    KINDS,
    PRESETS,
    Fault,
    Schedule,
    Simulation,
    Terms,
    draw_schedule,
    play,
    play_workflow,
    read_schedule,
)
from federlib.testing.sim.schedule import MAX_FAULTS
from federlib.testing.sim.schedule_text import MAX_BYTES

EXAMPLES = Path(__file__).parents[2] / "examples" / "schedules"

SLOW = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


# Reading.


@pytest.mark.parametrize("name", PRESETS)
def test_a_schedule_is_read_as_it_was_written(name: str) -> None:
    schedule = PRESETS[name]
    assert read_schedule(schedule.to_json()) == schedule
    assert read_schedule(schedule.to_yaml()) == schedule
    assert read_schedule(schedule.to_yaml().encode()) == schedule


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=200).filter(str.isprintable)


@settings(max_examples=200, deadline=None)
@given(fed.schedules(who=["n1", "no", "1:30", "~", "&a"]), NAMES)
def test_any_schedule_is_read_as_it_was_written(schedule: Schedule, name: str) -> None:
    schedule = Schedule(name=name, faults=schedule.faults)
    assert read_schedule(schedule.to_json()) == schedule
    assert read_schedule("\ufeff" + schedule.to_yaml()) == schedule


def test_each_fault_has_a_line_of_its_own_in_yaml() -> None:
    text = PRESETS["leader_kill"].to_yaml()
    assert text.splitlines()[-1] == "- {at_ms: 28000, kind: kill, who: leader, for_ms: 5000}"
    assert len(text.splitlines()) == 6


@settings(max_examples=50)
@given(st.integers(0, 2**32))
def test_a_drawn_schedule_keeps_to_its_time(seed: int) -> None:
    with Simulation(seed) as sim:
        schedule = draw_schedule(sim.rng("schedule"), until_ms=5_000)
    assert 1 <= len(schedule.faults) <= 8
    for fault in schedule.faults:
        assert 0 <= fault.at_ms < 5_000
        assert fault.at_ms + fault.for_ms <= 5_001
    assert read_schedule(schedule.to_json()) == schedule


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
)
ONE = "faults:\n  - {at_ms: 1, kind: replay}\n  - "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "found 'nothing'", id="nothing"),
        pytest.param("# nothing\n", "found 'nothing'", id="a comment"),
        pytest.param("[]", "Expected `object`", id="a list"),
        pytest.param("- 1", "line 1: .*Expected `object`", id="a list in YAML"),
        pytest.param("{", "truncated", id="a torn object"),
        pytest.param(b"\xff", "UTF-8", id="no UTF-8"),
        pytest.param("\ud800", "UTF-8", id="half a character"),
        pytest.param('{"v":2}', "`\\$.v`", id="a later version"),
        pytest.param(
            "name: x\nv: 2", "line 2: .*`\\$.v`.*found 'v: 2'", id="a later version, YAML"
        ),
        pytest.param('{"faults":[{"at_ms":-1,"kind":"kill","who":"n"}]}', "at_ms", id="before"),
        pytest.param('{"faults":[{"at_ms":1,"kind":"eat"}]}', "kind", id="no such kind"),
        pytest.param(ONE + "{at_ms: 1, kind: eat}", "line 3: .*faults.1..kind", id="kind, YAML"),
        pytest.param('{"faults":[{"at_ms":1,"kind":"kill","who":3}]}', "who", id="who"),
        pytest.param(ONE + "{at_ms: 1, kind: kill}", "line 3: .*who: expected", id="nobody"),
        pytest.param(ONE + "{at_ms: 1}", "line 3: .*missing .*`kind`", id="no kind"),
        pytest.param('{"faults":[{"at_ms":1.5,"kind":"replay"}]}', "at_ms", id="a fraction"),
        pytest.param('{"faults":[{"at_ms":NaN,"kind":"replay"}]}', "malformed", id="NaN"),
        pytest.param('{"faults":[{"at_ms":1e999,"kind":"replay"}]}', "schedule", id="endless"),
        pytest.param(ONE + "{at_ms: 1.5, kind: replay}", "line 3: .*found '1.5'", id="1.5, YAML"),
        pytest.param(ONE + "{at_ms: .nan, kind: replay}", "line 3: .*whole", id="NaN, YAML"),
        pytest.param(ONE + "{at_ms: .inf, kind: replay}", "line 3: .*whole", id="endless, YAML"),
        pytest.param(ONE + "{at_ms: 010, kind: replay}", "line 3: .*'010'", id="an octal"),
        pytest.param(ONE + "{at_ms: 1:30, kind: replay}", "line 3: .*'1:30'", id="a time of day"),
        pytest.param(ONE + "{at_ms: '1', kind: replay}", "line 3: .*`str`", id="text for a number"),
        pytest.param(ONE + f"{{at_ms: {'9' * 9_000}, kind: replay}}", "line 3: ", id="digits"),
        pytest.param("name: no", "line 1: .*found 'no'", id="the Norway problem"),
        pytest.param("name: 2020-12-24", "line 1: ", id="a date"),
        pytest.param("name: ~", "line 1: ", id="null"),
        pytest.param('name: "\\0"', "line 1: .*printable", id="an unprintable name"),
        pytest.param(ONE + "{at_ms: 1, kind: replay, colour: red}", "line 3: .*colour", id="field"),
        pytest.param("faults: 3", "line 1: .*array", id="no list"),
        pytest.param("1: 2", "line 1: expected a name", id="a number as key"),
        pytest.param("? [a]\n: 2", "line 1: expected a name", id="a list as key"),
        pytest.param("name: a\nname: b", "line 2: expected each key once", id="equal keys"),
        pytest.param("<<: {name: a}", "line 1: expected a name", id="a merge"),
        pytest.param(
            '{"name":"a","name":"b"}', "each key once, found .'name' twice", id="JSON keys"
        ),
        pytest.param(LAUGHS, "no anchors, found 'one in line 1'", id="a billion laughs"),
        pytest.param("a: *b", "no aliases, found 'one in line 1'", id="an alias"),
        pytest.param("name: !!str a", "no tags, found 'one in line 1'", id="a tag"),
        pytest.param("x: !!python/object/apply:os.system [ls]", "no tags", id="a Python tag"),
        pytest.param("v: 1\n---\nv: 1", "single document", id="two documents"),
        pytest.param("faults: [}", "YAML", id="broken"),
        pytest.param("x: \x00", "YAML", id="a NUL byte"),
        pytest.param("[" * 100_000, "schedule", id="deep JSON"),
        pytest.param("x: " + "[" * 100_000, "64 levels", id="deep YAML"),
        pytest.param("x: " + "a" * MAX_BYTES, "at most 4194304 bytes", id="long"),
        pytest.param('{"faults":[' + "{}," * 2**21, "at most 4194304 bytes", id="long JSON"),
    ],
)
def test_what_is_no_schedule_is_refused_and_it_is_said_where(text: str | bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        read_schedule(text)
    assert len(str(refused.value)) < 1_000


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80) | st.text(max_size=80))
def test_any_text_is_a_schedule_or_refused(text: str | bytes) -> None:
    try:
        schedule = read_schedule(text)
    except InvalidInput:
        return
    assert read_schedule(schedule.to_json()) == schedule


PIECES = st.sampled_from(
    [
        *(
            '"',
            "'",
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "-",
            "&a",
            "*a",
            "!",
            "!!int",
            "|",
            ">",
            "?",
            "#",
        ),
        *("\n", "  ", "\t", "\u2028", "é", "0", "-1", "1e9", "at_ms", "kind", "who", "name", "v"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(fed.schedules(most=3), st.booleans(), st.data())
def test_a_schedule_that_was_damaged_is_one_or_refused(
    schedule: Schedule, is_yaml: bool, data: st.DataObject
) -> None:
    text = schedule.to_yaml() if is_yaml else schedule.to_json()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 5)))
        text = text[:start] + data.draw(PIECES) + text[end:]
    try:
        found = read_schedule(text)
    except InvalidInput:
        return
    assert read_schedule(found.to_yaml()) == found


def test_without_pyyaml_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtra, match=r"federlib\[testing\]"):
        read_schedule("v: 1")
    with pytest.raises(MissingExtra, match=r"federlib\[testing\]"):
        Schedule().to_yaml()
    assert read_schedule("{}") == Schedule()


@pytest.mark.parametrize(
    "fields",
    [{"name": None}, {"name": 7}, {"faults": None}, {"faults": "x"}, {"faults": (1,)}],
    ids=str,
)
def test_fields_of_a_wrong_type_are_refused(fields: Any) -> None:
    with pytest.raises(InvalidInput, match=next(iter(fields))):
        Schedule(**fields)


@pytest.mark.parametrize(
    "fields",
    [{"until_ms": 0}, {"until_ms": 1.5}, {"most": 0}, {"kinds": ()}, {"kinds": ("rain",)}],
    ids=str,
)
def test_nothing_is_drawn_from_nothing(fields: Any) -> None:
    with pytest.raises(InvalidInput, match=next(iter(fields))):
        draw_schedule(random.Random(1), **{"until_ms": 1_000, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"nodes": 0},
        {"nodes": -1},
        {"nodes": 2.0},
        {"nodes": 2**200},
        {"ttl_s": math.nan},
        {"ttl_s": "2"},
        {"tolerance_s": math.inf},
        {"act_s": -1},
        {"resign_percent": 101},
        {"drift_ppm": 1_000_000},
        {"offset_ms": None},
    ],
    ids=str,
)
def test_terms_that_no_fleet_can_have_are_refused(fields: Any) -> None:
    with pytest.raises(InvalidInput, match=next(iter(fields))):
        Terms(**fields)


def test_a_fleet_of_one_is_a_fleet() -> None:
    assert play(1, terms=Terms(nodes=1)).violations == ()


@pytest.mark.parametrize("text", [None, 7, 1.5, []])
def test_what_is_no_text_is_no_schedule(text: Any) -> None:
    with pytest.raises(InvalidInput, match="text or bytes"):
        read_schedule(text)


def test_too_many_faults_and_names_that_cannot_be_printed_are_refused() -> None:
    one = Fault(at_ms=1, kind="replay")
    most = Schedule(faults=(one,) * MAX_FAULTS)
    assert read_schedule(most.to_json()) == most
    with pytest.raises(InvalidInput, match="faults: expected at most 10000"):
        Schedule(faults=(one,) * (MAX_FAULTS + 1))
    text = most.to_json().replace("[", '[{"at_ms":1,"kind":"replay"},')
    with pytest.raises(InvalidInput, match="faults: expected at most 10000"):
        read_schedule(text)
    for name in ("x" * 201, "a\nb", "\ud800"):
        with pytest.raises(InvalidInput, match="name"):
            Schedule(name=name)


# The examples.


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_the_example_schedules_are_survived(path: Path) -> None:
    schedule = read_schedule(path.read_bytes())
    for number in range(5):
        assert play(number, schedule).violations == ()


# Strategies.


def test_generated_faults_are_of_every_kind_and_keep_to_their_bounds() -> None:
    met: set[str] = set()

    @settings(max_examples=300, database=None)
    @given(fed.schedules(until_ms=5_000, who=["n7"]))
    def look(schedule: Schedule) -> None:
        assert len(schedule.faults) <= 8
        times = [fault.at_ms for fault in schedule.faults]
        assert times == sorted(times)
        for fault in schedule.faults:
            met.update((fault.kind, fault.who))
            assert fault.for_ms >= 1
            assert fault.at_ms + fault.for_ms <= 5_000

    look()
    assert met == {*KINDS, "", "n7", "leader", "follower", "any"}


@settings(max_examples=50, database=None)
@given(fed.faults(kinds=["kill", "lose"]))
def test_only_what_was_asked_for_is_generated(fault: Fault) -> None:
    assert fault.kind in {"kill", "lose"}


@pytest.mark.parametrize(
    "fields", [{"until_ms": 0}, {"until_ms": 1.0}, {"kinds": []}, {"kinds": ["eat"]}]
)
def test_what_cannot_be_generated_is_refused(fields: Any) -> None:
    with pytest.raises(InvalidInput, match=next(iter(fields))):
        fed.faults(**fields)


@settings(SLOW, max_examples=20)
@given(fed.schedules(), fed.terms(), st.integers(0, 2**32))
def test_whatever_is_generated_is_survived(schedule: Schedule, terms: Terms, seed: int) -> None:
    assert play(seed, schedule, terms=terms).violations == ()


def test_hypothesis_finds_a_planted_mistake_and_shrinks_it_to_the_fault_that_shows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = queue.next_token
    monkeypatch.setattr(queue, "next_token", lambda view: max(1, kept(view) - 1))
    # Nobody steps down: without a fault there is one grant only, and no token that must rise.
    calm = Terms(resign_percent=0)
    assert play(1, Schedule(), terms=calm).violations == ()

    def found_from(number: int) -> list[Schedule]:
        """Return the schedules that show the mistake, from the first to the smallest."""
        found: list[Schedule] = []

        @seed(number)
        @settings(SLOW, max_examples=100, phases=[Phase.generate, Phase.shrink])
        @given(fed.schedules())
        def is_survived(schedule: Schedule) -> None:
            violations = play(1, schedule, terms=calm).violations
            if violations:
                found.append(schedule)
            assert violations == ()

        with pytest.raises(AssertionError):
            is_survived()
        return found

    # The first that is found may have one fault already, and then there is nothing to shrink.
    rows = (found_from(number) for number in range(10))
    found = next(row for row in rows if len(row[0].faults) > 1)
    (fault,) = found[-1].faults
    assert fault.for_ms <= 8_000


PLAYS: list[Callable[..., object]] = [play, play_workflow, play_shells, play_shell_workflow]


@pytest.mark.parametrize("play_one", PLAYS)
@pytest.mark.parametrize(
    "fields",
    [
        {"schedule": "x"},
        {"schedule": []},
        {"terms": "x"},
        {"terms": {}},
        {"safety_s": "x"},
        {"safety_s": 0},
        {"safety_s": 1.5},
        {"safety_s": True},
        {"safety_s": 10**7, "schedule": Schedule()},
    ],
    ids=str,
)
def test_what_nothing_can_be_played_with_is_named(
    play_one: Callable[..., object], fields: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput, match=f"^{next(iter(fields))}: expected"):
        play_one(1, **fields)
