"""`federlib vivaldi simulate`: numbers, the picture, and what it refuses."""

from __future__ import annotations

import gzip
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from federlib.cli._chart import Line, draw_chart
from federlib.cli.app import app
from federlib.cli.vivaldi import error_line
from federlib.vivaldi import MAX_LINE, Reading, TrialResult

SIZE = 12


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    """Write a line of nodes, ten milliseconds from each to the next."""
    rows = [",".join(str(10 * abs(i - j)) for j in range(SIZE)) for i in range(SIZE)]
    path = tmp_path / "line.csv"
    path.write_text("\n".join(rows))
    return path


def simulate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["vivaldi", "simulate", *map(str, arguments)])


def facts(*arguments: str | Path) -> dict[str, Any]:
    done = simulate(*arguments, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.output)
    return found


def test_the_facts_are_those_that_programs_expect(matrix: Path) -> None:
    found = facts(matrix, "--samples", "60,5,20", "--seeds", "2")
    assert list(found["samples"]) == ["5", "20", "60"]
    assert found["samples"]["60"]["median"] < found["samples"]["5"]["median"]
    assert found["samples"]["60"]["median"] <= found["samples"]["60"]["p90"]
    assert (found["nodes"], found["slices"], found["seeds"]) == (SIZE, 1, 2)
    assert found["step_ms"] > 0
    assert 0 <= found["ucb_coverage"] <= 1
    assert 0 <= found["rank_loss"] <= 1
    assert found["refused"] == 0


def test_a_trial_is_the_same_each_time_and_other_with_noise(matrix: Path) -> None:
    plain = facts(matrix, "--samples", "20", "--seeds", "1")
    assert plain == facts(matrix, "--samples", "20", "--seeds", "1")
    noisy = ("--noise", "0.1", "--outliers", "0.02")
    assert facts(matrix, "--samples", "20", "--seeds", "1", *noisy) != plain


@pytest.mark.parametrize(
    "option", [("--policy", "plain"), ("--dimensions", "2"), ("--neighbours", "0")]
)
def test_the_options_change_the_trial(matrix: Path, option: tuple[str, str]) -> None:
    few = ("--samples", "20", "--seeds", "1")
    assert facts(matrix, *few, *option) != facts(matrix, *few)


def test_people_are_told_the_same_numbers(matrix: Path) -> None:
    done = simulate(matrix, "--samples", "5,20", "--seeds", "1")
    assert done.exit_code == 0
    found = facts(matrix, "--samples", "5,20", "--seeds", "1")
    assert f"     20 {found['samples']['20']['median']:9.3f}" in done.output
    assert f"ucb coverage  {found['ucb_coverage']}" in done.output


def test_measurements_that_are_too_long_for_any_network_are_told(tmp_path: Path) -> None:
    matrix = tmp_path / "microseconds.csv"
    matrix.write_text("0,900,90000\n900,0,91000\n90000,91000,0\n")
    few = ("--samples", "30", "--seeds", "1")
    refused = facts(matrix, *few)["refused"]
    assert 0.3 < refused < 0.9
    told = f"refused       {refused} of the measurements: longer than 10000 ms"
    assert told in simulate(matrix, *few).output


def test_text_in_gzip_is_read_whatever_its_name(matrix: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(matrix.read_bytes()))
    few = ("--samples", "10", "--seeds", "1")
    assert facts(packed, *few) == facts(matrix, *few)


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_pipe_is_read_too(matrix: Path, is_packed: bool) -> None:
    content = matrix.read_bytes()
    out, into = os.pipe()
    try:
        os.write(into, gzip.compress(content) if is_packed else content)
        os.close(into)
        few = ("--samples", "10", "--seeds", "1")
        # As a shell passes `<(zcat matrix.csv.gz)`.
        assert facts(f"/dev/fd/{out}", *few) == facts(matrix, *few)
    finally:
        os.close(out)


def test_a_mark_that_spreadsheets_put_before_the_text_is_read_over(
    matrix: Path, tmp_path: Path
) -> None:
    marked = tmp_path / "marked.csv"
    marked.write_bytes(b"\xef\xbb\xbf" + matrix.read_bytes().replace(b"\n", b"\r\n"))
    few = ("--samples", "10", "--seeds", "1")
    assert facts(marked, *few) == facts(matrix, *few)


@pytest.mark.parametrize("fill", [b",", b"1"])
def test_a_line_without_an_end_is_read_no_further_than_a_line_may_go(
    tmp_path: Path, fill: bytes
) -> None:
    bomb = tmp_path / "bomb"
    bomb.write_bytes(gzip.compress(fill * (16 * MAX_LINE)))
    done = simulate(bomb, "--samples", "1")
    assert done.exit_code == 2
    assert f"bomb, line 1: expected at most {MAX_LINE} characters" in done.output


def pixels(png: bytes) -> tuple[int, int, list[bytes]]:
    """Read a picture of three bytes a pixel, checking each chunk."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, {}
    while at < len(png):
        (length,), kind = struct.unpack_from("!I", png, at), png[at + 4 : at + 8]
        body = png[at + 8 : at + 8 + length]
        assert struct.unpack_from("!I", png, at + 8 + length) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        at += length + 12
    width, height = struct.unpack_from("!II", chunks[b"IHDR"])
    raw = zlib.decompress(chunks[b"IDAT"])
    rows = [raw[y * (1 + 3 * width) :][: 1 + 3 * width] for y in range(height)]
    assert all(row[0] == 0 and len(row) == 1 + 3 * width for row in rows)
    return width, height, [row[1:] for row in rows]


def test_a_line_goes_through_all_its_dots() -> None:
    trace = tuple(Reading(each, 1 / each, 2 / each) for each in (1, 3, 7))
    readings = (Reading(3, 0.5, 0.9), Reading(5, 0.0, 0.3))
    result = TrialResult(readings, trace, step_ms=0, ucb_coverage=1, rank_loss=0)
    line = error_line("p90", (0, 0, 0), result, lambda each: each.p90)
    assert (line.points, line.marks) == (
        [(1, 2.0), (3, 0.9), (5, 0.3), (7, 2 / 7)],
        [(3, 0.9), (5, 0.3)],
    )
    least = error_line("median", (0, 0, 0), result, lambda each: each.median)
    assert min(y for _, y in least.points) > 0


def test_the_picture_has_both_lines(matrix: Path, tmp_path: Path) -> None:
    picture = tmp_path / "out.png"
    done = simulate(matrix, "--samples", "5,40", "--seeds", "1", "--plot", picture)
    assert done.exit_code == 0, done.output
    width, height, rows = pixels(picture.read_bytes())
    assert (width, height) == (960, 600)
    inside = b"".join(row[3 * 92 : 3 * 600] for row in rows[60:530])
    seen = {inside[k : k + 3] for k in range(0, len(inside), 3)}
    assert {bytes((204, 102, 0)), bytes((0, 92, 168))} <= seen


@pytest.mark.parametrize(
    "points",
    [
        pytest.param([(1.0, 0.1)], id="one point"),
        pytest.param([(10.0, 1.0), (500.0, 1.0)], id="a level line"),
        pytest.param([(1.0, 1e-4), (1e6, 1e5)], id="many powers of ten"),
        pytest.param([(3.0, 0.07), (3.5, 0.08)], id="between two ticks"),
    ],
)
def test_any_points_make_a_picture(points: list[tuple[float, float]]) -> None:
    red = (200, 0, 0)
    line = Line("a line", red, points, points[:1])
    drawn = draw_chart([line], title="ünknown letters", x_name="x", y_name="y")
    _, _, rows = pixels(drawn)
    inside = b"".join(row[3 * 84 : 3 * 942] for row in rows[50:560])
    assert bytes(red) in {inside[k : k + 3] for k in range(0, len(inside), 3)}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--samples", "ten"),
        ("--samples", ""),
        ("--samples", "0,5"),
        ("--samples", "10,,20"),
        ("--samples", "-5"),
        ("--samples", "1" * 10),
        ("--noise", "2"),
        ("--noise", "nan"),
        ("--outliers", "-0.1"),
        ("--seeds", "0"),
        ("--policy", "best"),
        ("--dimensions", "9"),
        ("--plot", "no/such/folder/out.png"),
    ],
)
def test_usage_that_cannot_be_is_refused(matrix: Path, arguments: tuple[str, str]) -> None:
    assert simulate(matrix, *arguments).exit_code == 2


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"0,1\n2", id="not a square"),
        pytest.param(b"\xff\xfe\x00", id="not text"),
        pytest.param(b"\x1f\x8b\x08", id="a gzip that breaks off"),
        pytest.param(gzip.compress(b"0,1\n1,0")[:-9] + b"123456789", id="a gzip that was damaged"),
    ],
)
def test_a_file_that_is_no_matrix_is_told_in_a_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    done = simulate(path)
    assert done.exit_code == 2
    assert done.output.startswith("federlib: broken.csv")


def test_a_file_that_is_not_there_is_usage(tmp_path: Path) -> None:
    assert simulate(tmp_path / "nothing.csv").exit_code == 2


def test_more_text_than_there_may_be_is_refused(
    matrix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("federlib.cli.vivaldi._MOST_BYTES", 20)
    done = simulate(matrix)
    assert done.exit_code == 2
    assert "expected at most 20 characters, found 'more'" in done.output
