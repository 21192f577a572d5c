"""`federlib dmn …`: decision models checked, asked, explained, compared and put to the test."""

from __future__ import annotations

import random  # noqa: TID251  # seeded: a comparison is the same each time
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import click
import msgspec

from federlib._json import repeated_keys
from federlib.cli._dmn_output import marks_of, say, tell_analysis, tell_diff, tell_problems
from federlib.cli._options import json_option
from federlib.cli.exits import FAILED, OK, telling_errors
from federlib.cli.inspection import print_json
from federlib.cli.report import check_target
from federlib.dmn import (
    Decision,
    Definitions,
    Model,
    compile_model,
    find_problems,
    load_model,
    run_tck,
    write_decision,
)
from federlib.dmn.analysis.classes import literal_text
from federlib.dmn.analysis.diff import diff_models
from federlib.dmn.analysis.gaps import analyse
from federlib.dmn.documents.plain_json import jsonable, read_jsonable
from federlib.dmn.engine.asking import guarded
from federlib.dmn.feel import DateTime, Evaluation, compile_expression, evaluate
from federlib.dmn.feel.convert import from_python
from federlib.dmn.render import render_html, render_markdown, render_text
from federlib.errors import InvalidInput
from federlib.skewclock import SystemClock

__all__ = ["dmn_group"]

_MAX_FACTS_BYTES = 16 * 2**20

_F = TypeVar("_F", bound=Callable[..., object])

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_model = click.argument("model_path", metavar="MODEL", type=_file)
_imported = click.option(
    "--import", "imported", multiple=True, type=_file,
    help="A model that MODEL imports; may be given several times.",
)  # fmt: skip
_decision = click.option(
    "--decision", default=None, help="Which one. [default: the only one that no other requires]"
)


def _facts_options(command: _F) -> _F:
    """Add what a decision is asked with."""
    for option in (
        click.option("--now", "now_text", default=None, metavar="INSTANT",
                     help="What now() says, such as 2026-01-01T00:00:00Z. [default: the clock]"),
        click.option("--fact", "-f", "pairs", multiple=True, metavar="NAME=FEEL",
                     help="A fact: its name and an expression; may be given several times."),
        click.option("--facts", "facts_path", metavar="FILE", default=None,
                     type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
                     help="Facts as a JSON object; - is standard input."),
        _decision,
        _imported,
        _model,
    ):  # fmt: skip
        command = option(command)
    return command


@click.group("dmn")
def dmn_group() -> None:
    """Decide by tables (DMN): check, ask, explain, compare and test models.

    A model is a file: .dmn or .xml, .json, .yaml or .yml.
    """


@dmn_group.command("check")
@_model
@_imported
@click.option("--strict", is_flag=True, help="Gaps, and rules that never decide, fail too.")
@click.option("--no-null", is_flag=True, help="Take for granted that no input is null.")
@json_option
def check_command(
    *, model_path: Path, imported: tuple[Path, ...], strict: bool, no_null: bool, as_json: bool
) -> None:
    """Say everything that is wrong with MODEL: problems, gaps, overlaps, dead rules.

    Exit code: 0 fine, 1 it has problems or rules that its hit policy forbids to overlap
    (with --strict: gaps or dead rules as well), 2 it cannot be read.
    """
    with telling_errors():
        definitions, others = _definitions(model_path, imported)
        problems = find_problems(definitions, others)
        found = (
            () if problems else analyse(compile_model(definitions, others), has_null=not no_null)
        )
        if as_json:
            print_json({"model": definitions.name, "problems": problems, "tables": found})
        else:
            tell_problems(problems)
            for analysis in found:
                tell_analysis(analysis)
            if not problems:
                say(f"{definitions.name}: no problems")
        errors = any(each.is_error for analysis in found for each in analysis.overlaps)
        unclean = strict and not all(analysis.is_clean for analysis in found)
    sys.exit(FAILED if problems or errors or unclean else OK)


@dmn_group.command("show")
@_model
@click.option("--as", "form", type=click.Choice(["text", "markdown", "html"]), default="text",
              show_default=True, help="How it is drawn.")  # fmt: skip
@click.option("--width", type=click.IntRange(20), default=None,
              help="Of text. [default: the terminal's, or 100]")  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), default=None,
              help="Write it there. [default: standard output]")  # fmt: skip
def show_command(*, model_path: Path, form: str, width: int | None, output: Path | None) -> None:
    """Draw MODEL as people draw tables: in the terminal, as Markdown or as HTML."""
    with telling_errors():
        check_target("--output", output)
        definitions = load_model(model_path)
        draw = {
            "text": partial(render_text, width=_width(width)),
            "markdown": render_markdown,
            "html": render_html,
        }[form]
        drawn = cast("Callable[[Definitions], str]", draw)(definitions)
        if output is None:
            click.echo(drawn)
        else:
            output.write_text(drawn + "\n", encoding="utf-8")


@dmn_group.command("eval")
@_facts_options
@json_option
def eval_command(
    *,
    model_path: Path,
    imported: tuple[Path, ...],
    decision: str | None,
    facts_path: Path | None,
    pairs: tuple[str, ...],
    now_text: str | None,
    as_json: bool,
) -> None:
    """Ask MODEL for a decision, and print what comes out.

    Exit code: 0 decided, 1 with problems (an input is missing, an expression fails), 2 usage.
    """
    with telling_errors():
        model = _compiled(model_path, imported)
        now_ns = _now_ns(now_text)
        made = model.decide(_facts(facts_path, pairs, now_ns), decision, now_ns=now_ns)
        if as_json:
            print_json({"outputs": jsonable(made.outputs), "rules": made.matched,
                        "problems": made.problems})  # fmt: skip
        else:
            click.echo(literal_text(from_python(made.outputs)))
            _tell_decision_problems(made)
    sys.exit(FAILED if made.problems else OK)


@dmn_group.command("explain")
@_facts_options
@click.option("--width", type=click.IntRange(20), default=None,
              help="Of the drawing. [default: the terminal's, or 100]")  # fmt: skip
@json_option
def explain_command(
    *,
    model_path: Path,
    imported: tuple[Path, ...],
    decision: str | None,
    facts_path: Path | None,
    pairs: tuple[str, ...],
    now_text: str | None,
    width: int | None,
    as_json: bool,
) -> None:
    """Ask MODEL for a decision, and show why: each table, rule by rule and cell by cell.

    Exit code: as of eval.
    """
    with telling_errors():
        model = _compiled(model_path, imported)
        now_ns = _now_ns(now_text)
        facts = _facts(facts_path, pairs, now_ns)
        made = model.decide(facts, decision, trace=True, now_ns=now_ns)
        if as_json:
            click.echo(msgspec.json.format(write_decision(made)).decode())
        else:
            _explain(model.definitions, made, _width(width))
    sys.exit(FAILED if made.problems else OK)


@dmn_group.command("diff")
@click.argument("old", type=_file)
@click.argument("new", type=_file)
@_imported
@_decision
@click.option("--most", type=click.IntRange(1), default=20_000, show_default=True,
              help="At most so many combinations of facts are tried.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), default=10, show_default=True,
              help="At most so many examples.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True,
              help="Of the combinations, where not all are tried.")  # fmt: skip
@json_option
def diff_command(
    *,
    old: Path,
    new: Path,
    imported: tuple[Path, ...],
    decision: str | None,
    most: int,
    limit: int,
    seed: int,
    as_json: bool,
) -> None:
    """Compare two versions: what is written differently, and which facts come out otherwise.

    Exit code: 0 no facts found that come out otherwise, 1 some, 2 a model cannot be used.
    """
    with telling_errors():
        found = diff_models(
            _compiled(old, imported),
            _compiled(new, imported),
            decision,
            draw=random.Random(seed).randrange,  # noqa: S311 (chance need not be secret)
            limit=limit,
            most=most,
            now_ns=_now_ns(None),
        )
        if as_json:
            plain = msgspec.structs.asdict(found)
            plain["differences"] = [
                {**msgspec.structs.asdict(each), "facts": jsonable(each.facts),
                 "before": jsonable(each.before), "after": jsonable(each.after)}
                for each in found.differences
            ]  # fmt: skip
            print_json(plain)
        else:
            tell_diff(found)
    sys.exit(FAILED if found.differences else OK)


@dmn_group.command("test")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
def test_command(*, directory: Path, as_json: bool) -> None:
    """Run every test file (of the DMN TCK's format) below DIRECTORY against the models beside it.

    Exit code: 0 all cases pass, 1 some fail, or a file cannot be used.
    """
    with telling_errors():
        report = run_tck(directory)
        if as_json:
            print_json({"passed": report.passed, "failed": report.failed, "errors": report.errors})
        else:
            for each in report.directories:
                say(f"{each.passed:>6} of {each.total:<6} {each.name}")
            for failure in report.failed:
                say(f"{failure.file} {failure.test}")
                say(f"  expected {failure.expected}")
                say(f"  got      {failure.got}")
            for error in report.errors:
                say(f"{error.file}: {error.reason}")
            total = report.passed + len(report.failed)
            click.echo(f"{report.passed} of {total} cases pass")
    sys.exit(FAILED if report.failed or report.errors else OK)


def _definitions(
    path: Path, imported: Sequence[Path]
) -> tuple[Definitions, tuple[Definitions, ...]]:
    return load_model(path), tuple(load_model(each) for each in imported)


def _compiled(path: Path, imported: Sequence[Path]) -> Model:
    definitions, others = _definitions(path, imported)
    return compile_model(definitions, others)


def _facts(path: Path | None, pairs: Sequence[str], now_ns: int) -> dict[str, object]:
    facts: dict[str, object] = {}
    if path is not None:
        facts = _read_facts(path)
    for pair in pairs:
        name, is_pair, text = pair.partition("=")
        if not is_pair or not name.strip():
            raise InvalidInput("--fact", expected="NAME=FEEL, such as 'cpu=85'", found=pair)
        facts[name.strip()] = _value(name.strip(), text, now_ns)
    return facts


def _value(name: str, text: str, now_ns: int) -> object:
    ev = Evaluation(now_ns)
    value = guarded(ev, partial(compile_expression(text).evaluate, ev, {}), None)
    if ev.problems:
        # Null would be taken for what somebody meant to say.
        raise InvalidInput(f"--fact {name}", expected="a value", found="; ".join(ev.problems))
    return value


def _read_facts(path: Path) -> dict[str, object]:
    # A read with an end, so that no file, however large, fills the memory.
    if str(path) == "-":
        data = sys.stdin.buffer.read(_MAX_FACTS_BYTES + 1)
    else:
        with path.open("rb") as file:
            data = file.read(_MAX_FACTS_BYTES + 1)
    if len(data) > _MAX_FACTS_BYTES:
        raise InvalidInput("facts", expected=f"at most {_MAX_FACTS_BYTES} bytes", found="more")
    try:
        plain: object = msgspec.json.Decoder(float_hook=Decimal).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("facts", expected=f"a JSON object ({error})", found=data[:80]) from error
    if not isinstance(plain, Mapping):
        raise InvalidInput("facts", expected="a JSON object", found=plain)
    if repeated := repeated_keys(data, "facts"):
        raise InvalidInput("facts", expected="each key once", found=repeated)
    return {str(name): read_jsonable(each, where=str(name)) for name, each in plain.items()}


def _now_ns(text: str | None) -> int:
    if text is None:
        return SystemClock().wall_ns()
    instant = evaluate("date and time(text)", {"text": text})
    found = instant.instant_ns if isinstance(instant, DateTime) else None
    if found is None:
        raise InvalidInput("--now", expected="an instant like 2026-01-01T00:00:00Z", found=text)
    return found


def _width(width: int | None) -> int:
    if width is not None:
        return width
    import shutil

    return shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100


def _explain(definitions: Definitions, made: Decision, width: int) -> None:
    by_title = {f"decision {each.name!r}": each for each in definitions.decisions}
    for trace in made.trace or ():
        node = by_title.get(trace.element)
        if node is not None:
            marks = {node.name: marks_of(trace)}
            click.echo(render_text(node, width=width, marks=marks) + "\n")
    source = made.source
    version = f" {source.version}" if source.version else ""
    say(f"decided  {literal_text(from_python(made.outputs))}")
    say(f"by       {source.model}{version}, {source.decision}: "
               f"{', '.join(made.applied or made.matched) or 'no rule'}")  # fmt: skip
    say(f"content  {source.content_hash}")
    say(f"inputs   {made.inputs_hash}")
    for name, value in made.inputs.items():
        say(f"  {name} = {literal_text(from_python(value))}")
    _tell_decision_problems(made)


def _tell_decision_problems(made: Decision) -> None:
    for problem in made.problems:
        say(f"problem: {problem}", err=True)
