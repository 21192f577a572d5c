"""`--chaos kill-leader@2s,kill-worker@3s`: what to break, and when."""

from __future__ import annotations

import re
from typing import Literal, cast

import attrs

from federlib.errors import InvalidInput

__all__ = ["Fault", "parse_chaos"]

_FAULT = re.compile(r"(kill-leader|kill-worker)@([0-9]{1,6}(?:\.[0-9]{1,3})?)s?")


@attrs.frozen
class Fault:
    """One fault.

    Attributes:
        kind: Which process is killed with SIGKILL: the leader, or a worker that does not lead.
        at_s: When, counted from the first leader's first append; seconds.
    """

    kind: Literal["kill-leader", "kill-worker"]
    at_s: float


def parse_chaos(text: str) -> tuple[Fault, ...]:
    """Read a comma-separated list of faults, in order of time.

    Raises:
        InvalidInput: A part is not `kill-leader@SECONDSs` or `kill-worker@SECONDSs`.
    """
    faults: list[Fault] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = _FAULT.fullmatch(part)
        if match is None:
            raise InvalidInput(
                "--chaos", expected="kill-leader@2s or kill-worker@3s, comma-separated", found=part
            )
        kind = cast("Literal['kill-leader', 'kill-worker']", match[1])
        faults.append(Fault(kind, float(match[2])))
    return tuple(sorted(faults, key=lambda fault: fault.at_s))
