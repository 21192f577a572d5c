"""The picture, the page and the files of a report."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from federlib.errors import InvalidInput
from federlib.testing.chaos.drawing import draw
from federlib.testing.chaos.page import Story, page
from federlib.testing.chaos.picture import picture_of, planned_strikes
from federlib.testing.chaos.plan import Plan
from federlib.testing.chaos.records import FaultCount, Result, Slo
from federlib.testing.chaos.report import NAMES, Bundle, check_directory, write_report
from federlib.testing.chaos.telling import tell_real
from federlib.testing.sim import Fault, Schedule
from testing.chaos.recorded import RIGHT, at, note, strike, wrong

PEOPLE = ("n1", "n2", "n3")
EVIL = "<script>alert('&')</script>"


def bundle(**changes: object) -> Bundle:
    plan = Plan(target="sqlite", seed=7, seconds=10, schedule=Schedule(), processes=3)
    return tell_real(plan, wrong(**changes))


def test_the_picture_says_who_led_when_and_who_was_dead() -> None:
    notes = (
        *RIGHT.notes,
        note(9.5, "n1", "ready"),
        note(9.6, "n2", "lost", epoch=2),
        note(9.8, "", "healed"),
        note(10, "", "quiet"),
    )
    picture = picture_of(notes, RIGHT.strikes, PEOPLE, began_ns=0)
    assert [(r.who, r.epoch, r.begin_s, r.end_s) for r in picture.reigns] == [
        ("n1", 1, 0.0, 2.1),
        ("n2", 2, 4.0, 9.6),
    ]
    assert [(s.begin_s, s.end_s) for s in picture.leaderless] == [(2.1, 4.0), (9.6, 10.0)]
    assert [(s.begin_s, s.end_s) for s in picture.dead["n1"]] == [(2.1, 9.5)]
    assert [(s.text, s.begin_s, s.end_s) for s in picture.strikes["n1"]] == [("kill", 2.1, 3.0)]
    assert (picture.healed_s, picture.length_s) == (9.8, 10.0)
    assert [act.what for act in picture.acts].count("refused") == 1


def test_who_is_dead_to_the_end_and_what_is_never_mended_reach_the_end() -> None:
    picture = picture_of(RIGHT.notes, (strike("stop", 5, None),), PEOPLE, began_ns=0)
    assert picture.dead["n1"][0].end_s == picture.length_s == 9.1
    assert picture.strikes["n1"][0].end_s == 9.1


def test_two_who_lead_at_once_are_both_drawn() -> None:
    notes = (note(0, "n1", "leads", epoch=1), note(2, "n2", "leads", epoch=2), note(5, "", "quiet"))
    picture = picture_of(notes, (), PEOPLE, began_ns=0)
    assert [(r.who, r.begin_s, r.end_s) for r in picture.reigns] == [("n1", 0, 5), ("n2", 2, 5)]
    assert picture.leaderless == ()


def test_a_planned_fault_of_the_leader_is_of_whoever_led_then() -> None:
    picture = picture_of(RIGHT.notes, (), PEOPLE, began_ns=0)
    schedule = Schedule(
        faults=(
            Fault(at_ms=1_000, kind="stop", who="leader", for_ms=500),
            Fault(at_ms=3_000, kind="stop", who="leader", for_ms=500),
            Fault(at_ms=5_000, kind="kill", who="any"),
        )
    )
    found = planned_strikes(schedule, picture.reigns)
    assert [(s.who, s.begin_ns, s.end_ns) for s in found] == [
        ("n1", at(1), at(1.5)),
        ("", at(3), at(3.5)),
        ("", at(5), None),
    ]


def test_the_drawing_names_processes_epochs_and_faults() -> None:
    svg = draw(picture_of(RIGHT.notes, RIGHT.strikes, PEOPLE, began_ns=0))
    for text in ("leader", "n1", "n2", "n3", "n2 · epoch 2", ">kill<", "2 s"):
        assert text in svg
    assert "n1 led under epoch 1, 0.00 s to 2.10 s" in svg


def test_a_picture_of_nothing_can_be_drawn_too() -> None:
    assert "<svg" in draw(picture_of((), (), (), began_ns=0))


@pytest.mark.parametrize("seconds", [0.01, 0.5, 59, 900, 100_000])
def test_a_picture_of_any_length_is_drawn_within_bounds(seconds: float) -> None:
    notes = (note(0, "n1", "leads", epoch=1), note(seconds, "", "quiet"))
    svg = draw(picture_of(notes, (), PEOPLE, began_ns=0))
    widths = [int(width) for width in re.findall(r'<svg width="(\d+)"', svg)]
    assert widths
    assert 980 <= max(widths) <= 24_000
    assert 1 <= svg.count('class="grid"') <= max(widths) / 40


class Page(HTMLParser):
    """What a browser would load, run or show."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def evil_page() -> str:
    result = Result(
        target=EVIL,
        seed=1,
        slo=(Slo(name=EVIL, limit=0, measured=1, passed=False),),
        faults={EVIL: FaultCount(planned=1, not_applicable=EVIL)},
        histories_checked=0,
        violations=1,
    )
    story = Story(
        title=EVIL, replay=EVIL, facts={EVIL: EVIL}, violations=(EVIL,), remarks=(EVIL,),
        schedule=EVIL, shrunk=EVIL,
    )  # fmt: skip
    notes = (note(0, EVIL, "leads", epoch=1), note(9, EVIL, "issued", id=EVIL, epoch=1))
    strikes = (strike(EVIL, 1, 2, who=EVIL),)
    return page(result, story, picture_of(notes, strikes, (EVIL,), began_ns=0))


def test_the_page_escapes_everything_and_loads_nothing() -> None:
    found = Page()
    found.feed(evil_page())
    assert "script" not in found.tags
    assert found.loads == []
    assert found.text.count(EVIL) >= 8
    assert "url(http" not in evil_page()
    assert "failed" in found.text


def test_a_report_is_whole_and_private(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "report"
    write_report(directory, bundle())
    assert {path.name for path in directory.iterdir()} == set(NAMES)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    document = msgspec.json.decode((directory / "report.json").read_bytes(), type=dict[str, object])
    assert document["made_by"] == "federlib chaos"
    assert document["violations"] == []
    assert len((directory / "ledger.jsonl").read_text().splitlines()) == len(RIGHT.notes)


def test_an_earlier_report_is_replaced_and_other_files_stay(tmp_path: Path) -> None:
    write_report(tmp_path, bundle())
    (tmp_path / "mine.txt").write_text("mine")
    write_report(tmp_path, bundle(notes=(note(9.2, "n1", "acted", id="2-n2-1", epoch=2),)))
    assert "failed" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", ["{}", "mine", ""])
def test_a_file_that_is_not_of_ours_is_never_overwritten(
    name: str, content: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidInput, match="an earlier report"):
        check_directory(tmp_path)
    with pytest.raises(InvalidInput):
        write_report(tmp_path, bundle())
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: content}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    directory = tmp_path / "report"
    directory.mkdir()
    (directory / "report.html").symlink_to(target)
    with pytest.raises(InvalidInput):
        write_report(directory, bundle())
    assert target.read_text() == "precious"
