"""The common shape of a measurement, its table, and `results.json`."""

from __future__ import annotations

import json
from pathlib import Path

import attrs

__all__ = ["Row", "show", "write"]


@attrs.frozen
class Row:
    """One measurement beside its peer, taken in the same run.

    Attributes:
        name: What was measured: processes, client, batch and fsync level included.
        value: Ours, in `unit`.
        unit: Of `value`.
        peer: What it is compared with.
        ratio: Ours / the peer's.
        bar: What the ratio must reach, or None where there is no bar yet.
        higher_is_better: Whether a larger ratio is better.
    """

    name: str
    value: float
    unit: str
    peer: str
    ratio: float
    bar: float | None = None
    higher_is_better: bool = False

    @property
    def passes(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.bar is None:
            return None
        return self.ratio >= self.bar if self.higher_is_better else self.ratio <= self.bar


def show(rows: list[Row]) -> None:
    """Print the table."""
    width = max(len(row.name) for row in rows)
    print(f"{'measurement':{width}}  {'ours':>12}  {'x peer':>8}  peer")
    for row in rows:
        print(f"{row.name:{width}}  {row.value:>9.2f} {row.unit:<4}{row.ratio:>7.2f}x  {row.peer}")


def write(rows: list[Row], path: Path) -> None:
    """Write the rows as JSON: name, value, unit, peer, ratio, bar, pass."""
    found = [
        {
            "name": row.name,
            "value": row.value,
            "unit": row.unit,
            "peer": row.peer,
            "ratio": row.ratio,
            "bar": row.bar,
            "pass": row.passes,
        }
        for row in rows
    ]
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
