"""What `federlib dmn` prints for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from federlib.cli.report import printable
from federlib.dmn import ModelProblem, TableTrace
from federlib.dmn.analysis.classes import literal_text
from federlib.dmn.analysis.diff import ModelDiff
from federlib.dmn.analysis.gaps import TableAnalysis
from federlib.dmn.feel.convert import from_python
from federlib.dmn.render import Marks

__all__ = ["marks_of", "say", "tell_analysis", "tell_diff", "tell_problems"]


def say(text: str, *, err: bool = False) -> None:
    """Print a line in which names and texts of a model may stand, without what a terminal obeys."""
    click.echo(printable(text), err=err)


def tell_problems(problems: Sequence[ModelProblem]) -> None:
    """Print what is wrong with a model, a line each."""
    for problem in problems:
        say(f"problem: {problem}")


def tell_analysis(analysis: TableAnalysis) -> None:
    """Print what is to be said about one table."""
    where = analysis.element
    for gap in analysis.gaps:
        text = _places(gap.where) or "everywhere"
        filled = "; the default outputs decide" if analysis.has_default else ""
        say(f"gap: {where}: {text}; such as {_values(gap.example)}{filled}")
    for overlap in analysis.overlaps:
        if overlap.is_error:
            both = " and ".join(overlap.rules)
            text = _places(overlap.where) or "everywhere"
            say(f"overlap: {where}: rules {both}: {text}; such as {_values(overlap.example)}")
    for rule in analysis.unreachable:
        say(f"dead: {where}: rule {rule.rule} never decides: {rule.reason}")
    for note in analysis.notes:
        say(f"note: {where}: {note}")
    if analysis.is_exhaustive and analysis.is_clean and not analysis.gaps:
        say(f"{where}: complete, {analysis.rules} rules ({analysis.hit_policy})")


def tell_diff(found: ModelDiff) -> None:
    """Print what two versions have not in common."""
    for change in found.changes:
        rule = f", rule {change.rule}" if change.rule else ""
        say(f"{change.what}: {change.element}{rule}")
        if change.before:
            say(f"  - {change.before}")
        if change.after:
            say(f"  + {change.after}")
    for each in found.differences:
        facts = {name: literal_text(from_python(value)) for name, value in each.facts.items()}
        before, after = (literal_text(from_python(value)) for value in (each.before, each.after))
        rules = f"rules {', '.join(each.rules_before) or 'none'}"
        say(f"{before} -> {after}: {_values(facts)} ({rules} -> "
                   f"{', '.join(each.rules_after) or 'none'})")  # fmt: skip
    for note in found.notes:
        say(f"note: {note}")
    how = "all " if found.method == "exhaustive" else ""
    tried = f"{how}{found.tried:,} combinations tried"
    if found.differences:
        count = len(found.differences)
        say(f"{count} difference{'' if count == 1 else 's'}; {tried}")
    else:
        say(f"{'they decide alike' if found.is_proof else 'no difference found'}; {tried}")


def marks_of(trace: TableTrace) -> Marks:
    """Make of a trace what a drawing marks."""
    return Marks(
        matched={number for number, rule in enumerate(trace.rules) if rule.applied},
        cells={
            (number, place): cell.matched is True
            for number, rule in enumerate(trace.rules)
            for place, cell in enumerate(rule.cells)
        },
        values=tuple(literal_text(from_python(value)) for value in trace.values),
    )


def _places(where: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {text}" for name, text in where.items())


def _values(example: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {text}" for name, text in example.items())
