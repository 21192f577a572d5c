"""`federlib vivaldi simulate`: what coordinates would make of a matrix of round trips."""

from __future__ import annotations

import gzip
import io
import random  # noqa: TID251  # seeded: a trial is the same each time
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

import attrs
import click

from federlib.cli._chart import Colour, Line, draw_chart
from federlib.cli._options import FiniteRange, json_option
from federlib.cli.exits import OK, telling_errors
from federlib.cli.inspection import print_json
from federlib.cli.paths import NamedPath
from federlib.cli.report import check_target
from federlib.errors import InvalidInput
from federlib.vivaldi import (
    DEFAULTS,
    MAX_LINE,
    Noise,
    Reading,
    RttMatrix,
    TrialResult,
    VivaldiConfig,
    read_matrix,
    run_trial,
)

__all__ = ["error_line", "load_matrix", "vivaldi_group"]

_MOST_BYTES = 1 << 30
"""Of text, unpacked."""
_TRACED = 40
"""Points of a line in the picture."""
_LEAST = 1e-4
"""Of errors in the picture."""
_POLICIES = {"default": DEFAULTS, "plain": VivaldiConfig.plain()}


def _counts(_context: click.Context, _option: click.Parameter, text: str) -> tuple[int, ...]:
    """Read numbers from 1 with commas between, in order."""
    parts = [part.strip() for part in text.split(",")]
    # Not longer than any number that a trial could end with.
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise click.BadParameter(f"{text!r} is not a list of numbers like 10,20,50.")
    found = tuple(sorted({int(part) for part in parts}))
    if found[0] < 1:
        raise click.BadParameter("each number must be 1 or more.")
    return found


@click.group("vivaldi")
def vivaldi_group() -> None:
    """Try network coordinates on measured round trips."""


@vivaldi_group.command("simulate")
@click.argument("matrix", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--samples", callback=_counts, default="10,20,50,100,500", show_default=True,
              help="After how many measurements of each node to read the errors.")  # fmt: skip
@click.option("--neighbours", type=click.IntRange(0, 4096), default=32, show_default=True,
              help="Fixed peers of each node; half of its measurements go there.")  # fmt: skip
@click.option("--noise", "spread", type=FiniteRange(0, 1), default=0.0, show_default=True,
              help="Sigma of a lognormal factor on each measurement.")  # fmt: skip
@click.option("--outliers", type=FiniteRange(0, 1), default=0.0, show_default=True,
              help="Share of measurements that take ten times as long.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1, 1000), default=3, show_default=True,
              help="How many trials to take the mean of.")  # fmt: skip
@click.option("--policy", type=click.Choice(sorted(_POLICIES)), default="default",
              show_default=True, help="plain is Vivaldi as it was first published.")  # fmt: skip
@click.option("--dimensions", type=click.IntRange(1, 8), default=DEFAULTS.dimensions,
              show_default=True)  # fmt: skip
@click.option("--plot", type=NamedPath(dir_okay=False, path_type=Path), default=None,
              help="Draw the error over time there; a PNG.")  # fmt: skip
@json_option
def simulate_command(
    *,
    matrix: Path,
    samples: tuple[int, ...],
    neighbours: int,
    spread: float,
    outliers: float,
    seeds: int,
    policy: str,
    dimensions: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Let a node for each row of MATRIX learn its coordinate, and print how well they predict.

    MATRIX is text, or text in gzip: a square of milliseconds with commas between, or lines
    `i,j,t1,…` below a header, one column for each instant. Missing round trips are empty.

    Exit code: 0 done, 2 usage or a matrix that cannot be read, 3 a file cannot be read.
    """
    with telling_errors():
        check_target("--plot", plot)
        found = load_matrix(matrix)
        trace = _spread(max(samples)) if plot is not None else ()
        results = [
            run_trial(
                found,
                samples=samples,
                rng=random.Random(seed),  # noqa: S311  # chance need not be secret
                neighbours=neighbours,
                noise=Noise(spread=spread, outliers=outliers),
                config=attrs.evolve(_POLICIES[policy], dimensions=dimensions),
                # One seed is enough for a line.
                trace=trace if seed == 0 else (),
            )
            for seed in range(seeds)
        ]
        facts = _facts(found, results)
        if plot is not None:
            plot.write_bytes(_picture(matrix.name, results[0]))
        if as_json:
            print_json(facts)
        else:
            _print(facts)
    sys.exit(OK)


def load_matrix(path: Path) -> RttMatrix:
    """Read a matrix from a file of text, or of text in gzip."""
    with _unpacked(path) as lines:
        return read_matrix(_bounded(lines, path.name), name=path.name)


@contextmanager
def _unpacked(path: Path) -> Iterator[io.TextIOBase]:
    try:
        with path.open("rb") as raw:
            # Not read and sought back: a pipe, as `<(zcat …)` makes one, goes only forwards.
            is_packed = raw.peek(2)[:2] == b"\x1f\x8b"
            plain = gzip.GzipFile(fileobj=raw) if is_packed else raw
            # Spreadsheets put a mark before the text: "-sig".
            with io.TextIOWrapper(plain, encoding="utf-8-sig") as lines:
                yield lines
    except (gzip.BadGzipFile, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise InvalidInput(path.name, expected="text, or text in gzip", found=str(error)) from error


def _bounded(lines: io.TextIOBase, name: str) -> Iterator[str]:
    left = _MOST_BYTES
    # One character more than a line may have, so that what is too long shows.
    while line := lines.readline(min(left, MAX_LINE + 1)):
        left -= len(line)
        yield line
    if not left:
        raise InvalidInput(name, expected=f"at most {_MOST_BYTES} characters", found="more")


def _spread(most: int) -> tuple[int, ...]:
    """Name some numbers from 1 to `most`, in equal steps of the logarithm."""
    return tuple(sorted({round(most ** (k / _TRACED)) for k in range(_TRACED + 1)}))


def _facts(matrix: RttMatrix, results: Sequence[TrialResult]) -> dict[str, object]:
    readings = list(zip(*(result.readings for result in results), strict=True))
    return {
        "nodes": matrix.nodes,
        "slices": len(matrix.slices),
        "seeds": len(results),
        "samples": {str(each[0].samples): _mean(each) for each in readings},
        "step_ms": _rounded(result.step_ms for result in results),
        "ucb_coverage": _rounded(result.ucb_coverage for result in results),
        "rank_loss": _rounded(result.rank_loss for result in results),
        "refused": _rounded(result.refused for result in results),
    }


def _mean(readings: Sequence[Reading]) -> dict[str, float]:
    return {
        "median": _rounded(each.median for each in readings),
        "p90": _rounded(each.p90 for each in readings),
    }


def _rounded(values: Iterator[float]) -> float:
    return round(fmean(values), 4)


def _print(facts: dict[str, object]) -> None:
    click.echo(f"nodes         {facts['nodes']}")
    click.echo(f"slices        {facts['slices']}")
    click.echo(f"seeds         {facts['seeds']}")
    click.echo("samples    median       p90   relative error of the predicted round trip")
    samples = facts["samples"]
    assert isinstance(samples, dict)
    for number, errors in samples.items():
        click.echo(f"{number:>7} {errors['median']:9.3f} {errors['p90']:9.3f}")
    click.echo(f"step          {facts['step_ms']} ms an update, in the last fifth")
    click.echo(f"ucb coverage  {facts['ucb_coverage']}")
    click.echo(f"rank loss     {facts['rank_loss']} of the peers are nearer than the one chosen")
    if facts["refused"]:
        most = f"{DEFAULTS.rtt_max_ms:g} ms"
        click.echo(f"refused       {facts['refused']} of the measurements: longer than {most}")


def _picture(name: str, result: TrialResult) -> bytes:
    lines = [
        error_line("p90", (204, 102, 0), result, lambda each: each.p90),
        error_line("median", (0, 92, 168), result, lambda each: each.median),
    ]
    title = name.lower().replace("_", "-")[:60]
    return draw_chart(lines, title=title, x_name="samples a node", y_name="relative error")


def error_line(
    name: str, colour: Colour, result: TrialResult, error: Callable[[Reading], float]
) -> Line:
    """Make the line of one error; it goes through every reading that gets a dot."""

    def points(readings: Sequence[Reading]) -> dict[int, float]:
        # On a logarithmic axis there is no place for 0.
        return {each.samples: max(error(each), _LEAST) for each in readings}

    marks = points(result.readings)
    # A reading is of all pairs, the trace of a part of them.
    line = points(result.trace) | marks
    return Line(name, colour, sorted(line.items()), sorted(marks.items()))
