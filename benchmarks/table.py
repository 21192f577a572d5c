"""The common shape of a measurement, and its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import attrs

from benchmarks.machine import warning

__all__ = ["Row", "Traits", "as_json", "markdown", "show", "show_bars"]

Fields = dict[str, object]

_COLUMNS = ("measurement", "procs", "client", "batch", "fsync", "value", "ratio", "to", "bar")


@attrs.frozen
class Traits:
    """What a lock or lease promises, as its source and a trace of its system calls say.

    Attributes:
        durable: Who holds it survives the death of the machine: each change was synced.
        fenced: Each grant brings a number that is higher than every one before.
        ttl: A dead holder's claim runs out by itself.
    """

    durable: bool
    fenced: bool
    ttl: bool


@attrs.frozen
class Row:
    """One measurement beside its peer, taken in the same run.

    Attributes:
        name: What was measured.
        value: Ours, in `unit`; None where it could not be measured, then `note` says why.
        unit: Of `value`.
        peer: What it is compared with, measured in alternating rounds of the same run.
        ratio: Ours / the peer's; None where there is nothing to divide.
        bar: What `bar_on` must reach, or None where there is no bar.
        higher_is_better: Whether a larger one is better.
        bar_on: Whether the bar is about the ratio or about the value.
        processes: How many work at the same time.
        client: Who calls: the interface, or the peer and its version.
        batch: Units of work in one commit; None where nothing is batched.
        fsync: What happens to each commit before it counts.
        fsyncs_per_cycle: Syncs that a counter saw for each unit of `name`, on the average.
        evidence: Where that number comes from, the fewest of any unit included.
        traits: For locks and leases only.
        note: Whatever else a reader must know.
        section: Set by the run: the module that measured it.
    """

    name: str
    value: float | None
    unit: str
    peer: str
    ratio: float | None
    bar: float | None = None
    higher_is_better: bool = False
    bar_on: Literal["ratio", "value"] = attrs.field(default="ratio", kw_only=True)
    processes: int = attrs.field(default=1, kw_only=True)
    client: str = attrs.field(default="in-process", kw_only=True)
    batch: int | None = attrs.field(default=None, kw_only=True)
    fsync: str = attrs.field(default="none", kw_only=True)
    fsyncs_per_cycle: float | None = attrs.field(default=None, kw_only=True)
    evidence: str = attrs.field(default="", kw_only=True)
    traits: Traits | None = attrs.field(default=None, kw_only=True)
    note: str = attrs.field(default="", kw_only=True)
    section: str = attrs.field(default="", kw_only=True)

    @property
    def passes(self) -> bool | None:
        """Whether the bar is met; None where there is none. Not measured is not met."""
        if self.bar is None:
            return None
        found = self.ratio if self.bar_on == "ratio" else self.value
        if found is None:
            return False
        return found >= self.bar if self.higher_is_better else found <= self.bar

    @property
    def verdict(self) -> str:
        """The bar in words a table has room for."""
        if self.bar is None:
            return ""
        sign = ">=" if self.higher_is_better else "<="
        what = "x" if self.bar_on == "ratio" else f" {self.unit}"
        return f"{sign} {self.bar:,g}{what}: {'met' if self.passes else 'MISSED'}"


def as_json(rows: Sequence[Row]) -> list[Fields]:
    """Return the rows as plain data: name, value, unit, peer, ratio, bar, pass, and the rest."""
    return [_fields(row) for row in rows]


def _fields(row: Row) -> Fields:
    rest = attrs.asdict(row, recurse=False)
    traits = rest.pop("traits")
    first = ("name", "value", "unit", "peer", "ratio", "bar")
    return {
        **{name: rest.pop(name) for name in first},
        "pass": row.passes,
        **rest,
        "durable": traits and traits.durable,
        "fenced": traits and traits.fenced,
        "ttl": traits and traits.ttl,
    }


def show(rows: Sequence[Row]) -> None:
    """Print the table, section by section."""
    for section in dict.fromkeys(row.section for row in rows):
        _show_section(section, [row for row in rows if row.section == section])


def show_bars(rows: Sequence[Row]) -> None:
    """Print how many bars are met, and those that are missed."""
    missed = [row for row in rows if row.passes is False]
    bars = sum(row.bar is not None for row in rows)
    print(f"\n{bars - len(missed)} of {bars} bars are met.")
    for row in missed:
        found = row.ratio if row.bar_on == "ratio" else row.value
        shown = "not measured" if found is None else _number(found)
        print(f"MISSED  {row.section}: {row.name}: {shown}, {row.verdict}")


def _show_section(section: str, rows: Sequence[Row]) -> None:
    print(f"\n== {section}")
    lines = [list(_COLUMNS), *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line, row in zip(lines, [None, *rows], strict=True):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(text.rstrip())
        if row is not None and (said := "; ".join(_remarks(row))):
            print(f"    {said}")


def _cells(row: Row) -> list[str]:
    return [
        row.name,
        str(row.processes),
        row.client,
        "-" if row.batch is None else str(row.batch),
        row.fsync,
        "-" if row.value is None else f"{_number(row.value)} {row.unit}",
        "-" if row.ratio is None else f"{_number(row.ratio)}x",
        row.peer,
        row.verdict,
    ]


def _remarks(row: Row) -> list[str]:
    found = []
    if row.traits is not None:
        found.append(_promises(row.traits))
    if row.fsyncs_per_cycle is not None:
        found.append(f"{row.fsyncs_per_cycle:g} syncs each ({row.evidence})")
    elif row.evidence:
        found.append(row.evidence)
    return [*found, row.note] if row.note else found


def _promises(traits: Traits) -> str:
    pairs = (("durable", traits.durable), ("fenced", traits.fenced), ("TTL", traits.ttl))
    return ", ".join(f"{name}: {'yes' if has else 'no'}" for name, has in pairs)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def markdown(rows: Sequence[Fields], told: Mapping[str, Fields]) -> str:
    """Return rows as Markdown: each section's table, below what it was measured on."""
    text: list[str] = []
    for section in dict.fromkeys(str(row["section"]) for row in rows):
        machine = told[section]
        text.append(f"### {section.capitalize()}\n")
        if (said := warning(machine)) is not None:
            text.append(f"**{said}**\n")
        facts = [f"{name.replace('_', ' ')}: {_plain(fact)}" for name, fact in machine.items()]
        text += [
            "; ".join(facts) + "\n",
            "| " + " | ".join([*_COLUMNS, "syncs each", "remarks"]) + " |",
            "|---" * (len(_COLUMNS) + 2) + "|",
        ]
        text += [_markdown_line(_read(row)) for row in rows if row["section"] == section]
        text.append("")
    return "\n".join(text)


def _plain(fact: object) -> str:
    if isinstance(fact, dict):
        return ", ".join(f"{name} {_plain(one)}" for name, one in fact.items()) or "none"
    return ", ".join(map(str, fact)) if isinstance(fact, list) else str(fact)


def _read(fields: Fields) -> Row:
    """Make a row again of what `_fields` wrote."""
    promises = [fields[name] for name in ("durable", "fenced", "ttl")]
    known = {a.name: fields[a.name] for a in attrs.fields(Row) if a.name in fields}
    traits = None if promises[0] is None else Traits(*map(bool, promises))
    return Row(**known, traits=traits)  # type: ignore[arg-type]


def _markdown_line(row: Row) -> str:
    syncs = "" if row.fsyncs_per_cycle is None else f"{row.fsyncs_per_cycle:g}"
    said = [_promises(row.traits)] if row.traits is not None else []
    said += [words for words in (row.evidence, row.note) if words]
    return "| " + " | ".join([*_cells(row), syncs, "; ".join(said)]) + " |"
