"""Hunts every mistake, prints what caught each as JSON, and writes the table of the docs' page.

python -m proof.mutants.report [--write PAGE]
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from proof.mutants.hunt import MUTANTS, hunt
from proof.mutants.worlds import breaks, world_of

__all__ = ["BEGIN", "END", "Caught", "table"]

BEGIN = "<!-- Written by `python -m proof.mutants.report --write`. -->"
END = "<!-- The end of what was written. -->"


class Caught(msgspec.Struct, frozen=True):
    """What became of one mistake.

    Attributes:
        mutant: Its name.
        breaks: What it breaks.
        world: Where it was hunted.
        seed: The first that showed it; None where none did.
        by: The invariant or checker that caught it.
    """

    mutant: str
    breaks: str
    world: str
    seed: int | None = None
    by: str | None = None


def table(caught: Sequence[Caught]) -> str:
    """Return the table of the page."""
    lines = [
        "| mistake | what it breaks | hunted in | caught by | seeds |",
        "|---|---|---|---|---|",
    ]
    for one in caught:
        seeds = "missed" if one.seed is None else str(one.seed + 1)
        lines.append(f"| `{one.mutant}` | {one.breaks} | {one.world} | `{one.by}` | {seeds} |")
    return "\n".join(lines)


def _catch(diff: Path) -> Caught:
    text = diff.read_text()
    caught = Caught(mutant=diff.stem, breaks=breaks(text), world=world_of(text))
    with tempfile.TemporaryDirectory(prefix="federlib-mutant-") as copy:
        found = hunt(diff, Path(copy))
    if found is None:
        return caught
    by = str(found["violation"]).partition(":")[0]
    return msgspec.structs.replace(caught, seed=int(found["seed"]), by=by)


def main(arguments: Sequence[str]) -> int:
    """Hunt them all; 1 where one was missed."""
    with ThreadPoolExecutor(os.cpu_count()) as hunters:
        caught = list(hunters.map(_catch, sorted(MUTANTS.glob("*.diff"))))
    print(json.dumps(msgspec.to_builtins(caught), indent=1))
    if arguments:
        _, name = arguments
        page = Path(name)
        before, _, rest = page.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        page.write_text(f"{before}{BEGIN}\n\n{table(caught)}\n\n{END}{after}")
    return int(any(one.seed is None for one in caught))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
