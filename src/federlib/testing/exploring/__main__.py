"""The command line of exploring; `--help` says the rest.

Exit codes: 0 nothing was found, 1 something was, or a kind of fault never began, 2 usage.
"""

from __future__ import annotations

import argparse
import os
import secrets  # noqa: TID251 (the first of fresh seeds)
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from federlib.errors import InvalidInput
from federlib.testing.exploring.coverage import Finding
from federlib.testing.exploring.running import Exploration, load, save
from federlib.testing.sim import Played, play, shrunk

_MOST_SHOWN = 5
_MOST_SHRUNK = 2
_ENOUGH_FOR_ALL_KINDS = 1_000
_ROOM = 2**62


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m federlib.testing.exploring",
        description="Play many seeds of simulated worlds, and say what they have covered.",
    )
    options.add_argument("--seeds", type=int, default=2_000, help="how many [2000]")
    options.add_argument("--first", type=int, help="the first seed [drawn: fresh ones]")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes [cores]")
    options.add_argument("--seconds", type=float, help="how long at most")
    options.add_argument("--state", type=Path, help="keep how far it came here, and go on from it")
    options.add_argument("--json", action="store_true", help="print JSON")
    return options


def _begin(given: argparse.Namespace) -> Exploration:
    kept = load(given.state) if given.state is not None else None
    if kept is not None:
        if given.first not in {None, kept.first}:
            expected = f"{kept.first}, where {given.state} began"
            raise InvalidInput("--first", expected=expected, found=given.first)
        return msgspec.structs.replace(kept, seeds=given.seeds)
    first = secrets.randbelow(_ROOM) if given.first is None else given.first
    return Exploration(first=first, seeds=given.seeds)


def _tell(finding: Finding) -> list[str]:
    return [
        f"seed {finding.seed}, world {finding.world}:",
        *(f"  {line}" for text in finding.violations[:3] for line in text.splitlines()[:8]),
        f"  replay it: {finding.replay}",
    ]


def _smallest(finding: Finding) -> list[str]:
    """Play a finding of a plain fleet with as few faults as show it."""
    if finding.world != "fleet":
        return []
    try:
        played = play(finding.seed)
        smallest: Played = shrunk(played) if played.violations else played
    except Exception as error:
        return [f"  not shrunk: {type(error).__name__}: {error}"]
    lines = smallest.schedule.to_yaml().splitlines()
    return ["  the faults that are enough:", *(f"    {line}" for line in lines)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Explore, and return the exit code."""
    options = _options()
    given = options.parse_args(arguments)
    if given.jobs < 1:
        options.error("--jobs: at least 1")
    if given.seconds is not None and not given.seconds > 0:
        options.error("--seconds: more than 0")
    try:
        state = kept = _begin(given)
        for state in kept.run(jobs=given.jobs, seconds=given.seconds):
            if given.state is not None:
                save(given.state, state)
    except (InvalidInput, OSError) as error:
        options.error(str(error))
    covered = state.covered
    is_blind = covered.seeds >= _ENOUGH_FOR_ALL_KINDS and bool(covered.missing)
    if given.json:
        lines = [msgspec.json.encode(state).decode()]
    else:
        lines = [f"seeds from {state.first} on, {covered.seeds:,} of {state.seeds:,} played"]
        lines += covered.lines()
        for number, finding in enumerate(covered.findings[:_MOST_SHOWN]):
            lines += _tell(finding)
            lines += _smallest(finding) if number < _MOST_SHRUNK else []
        if is_blind:
            lines.append(f"never begun: {', '.join(covered.missing)}")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(bool(covered.violations) or is_blind)


if __name__ == "__main__":
    sys.exit(main())
