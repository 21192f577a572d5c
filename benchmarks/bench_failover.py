"""A holder dies, or lets go: when has the next in line the lease?

Holder and waiter are two processes. The holder is killed with SIGKILL at an instant drawn
from the time between two renewals; the waiter takes over and is the next to be killed, with a
new process in line. Several leases at the same time, for it is mostly waiting. A clean release
is measured alone, one pair to and fro.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from random import Random

import attrs

from benchmarks.children import ChildError, program, scratch
from benchmarks.engines import Engine, etcd, postgresql
from benchmarks.table import Row
from benchmarks.talks import Talker

_TTL_S = 2.0
_KILL_BAR_S = _TTL_S + 0.5
_RELEASE_BAR_MS = 200.0
_RENEWAL_S = _TTL_S / 3
_IN_LINE_S = 0.3
"""By then who said that it waits stands in the queue."""

_BETWEEN_S = 0.05
_PATIENCE_S = 30.0

_ENGINES: dict[str, Callable[[], AbstractContextManager[Engine]]] = {
    "PostgreSQL": postgresql,
    "etcd": etcd,
}


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Kill, then release, on each engine."""
    leases, kills, releases = (2, 1, 3) if quick else (5, 10, 50)
    for name, opened in _ENGINES.items():
        try:
            with opened() as engine, scratch() as place:
                yield _killed(engine, place, leases, kills)
                yield _released(engine, place, releases)
        except Exception as error:
            note = f"it failed: {type(error).__name__}: {error}"
            yield attrs.evolve(_kill_row(name), note=note)


def _kill_row(title: str) -> Row:
    return Row(
        f"a waiter has the lease after the holder's kill -9, p99, {title}",
        None,
        "s",
        f"the ttl, {_TTL_S:g} s",
        None,
        _KILL_BAR_S,
        bar_on="value",
        processes=2,
        client="federlib, blocking",
        batch=1,
    )


def _killed(engine: Engine, place: Path, leases: int, kills: int) -> Row:
    row = attrs.evolve(_kill_row(engine.title), fsync=engine.fsync, processes=2 * leases)
    try:
        with ThreadPoolExecutor(leases) as pool:
            found = pool.map(lambda one: _deaths(engine, place, one, kills), range(leases))
            took = sorted(one for some in found for one in some)
    except Exception as error:
        return attrs.evolve(row, note=f"it failed: {type(error).__name__}: {error}")
    worst = _p99(took)
    return attrs.evolve(
        row,
        value=round(worst, 3),
        ratio=round(worst / _TTL_S, 3),
        note=f"{len(took)} kills, {leases} leases at a time, each between two renewals; "
        f"fewest {took[0]:.2f} s, median {statistics.median(took):.2f} s, most {took[-1]:.2f} s; "
        "the token rose each time",
    )


def _deaths(engine: Engine, place: Path, number: int, kills: int) -> list[float]:
    """Kill the holders of one lease; how long each time until the next had it, in seconds."""
    draw = Random(number)
    name = f"killed-{number}"
    found: list[float] = []
    with ExitStack() as stack:
        holder = stack.enter_context(_talker(engine, place, name))
        _ready(holder)
        token = _stand(holder).acquired()[1]
        for _ in range(kills):
            waiter = stack.enter_context(_talker(engine, place, name))
            _ready(waiter)
            standing = _stand(waiter)
            time.sleep(_IN_LINE_S + draw.random() * _RENEWAL_S)
            died_at = time.monotonic()
            holder.kill()
            acquired_at, next_token = standing.acquired()
            if next_token <= token:
                raise ChildError(f"token {next_token} after {token}")
            found.append(acquired_at - died_at)
            holder, token = waiter, next_token
    return found


def _released(engine: Engine, place: Path, releases: int) -> Row:
    row = Row(
        f"a waiter has the lease after a clean release, p99, {engine.title}",
        None,
        "ms",
        "",
        None,
        _RELEASE_BAR_MS,
        bar_on="value",
        processes=2,
        client="federlib, blocking",
        batch=1,
        fsync=engine.fsync,
    )
    try:
        took = sorted(one * 1e3 for one in _handovers(engine, place, releases))
    except Exception as error:
        return attrs.evolve(row, note=f"it failed: {type(error).__name__}: {error}")
    return attrs.evolve(
        row,
        value=round(_p99(took), 1),
        note=f"{len(took)} releases, from the call of release; "
        f"median {statistics.median(took):.1f} ms, most {took[-1]:.1f} ms",
    )


def _handovers(engine: Engine, place: Path, releases: int) -> list[float]:
    found: list[float] = []
    with (
        _talker(engine, place, "released") as holder,
        _talker(engine, place, "released") as waiter,
    ):
        for one in (holder, waiter):
            _ready(one)
        token = _stand(holder).acquired()[1]
        for _ in range(releases):
            standing = _stand(waiter)
            time.sleep(_BETWEEN_S)
            holder.say("release")
            began = float(_words(holder, "released")[0])
            acquired_at, next_token = standing.acquired()
            if next_token <= token:
                raise ChildError(f"token {next_token} after {token}")
            found.append(acquired_at - began)
            holder, waiter, token = waiter, holder, next_token
    return found


@attrs.frozen
class _Standing:
    """One who waits for the lease."""

    talker: Talker

    def acquired(self) -> tuple[float, int]:
        """Wait until it has it; the instant and the token."""
        at, token = _words(self.talker, "acquired")
        return float(at), int(token)


def _talker(engine: Engine, place: Path, name: str) -> Talker:
    return Talker(program("successors", engine.url, place, name, _TTL_S))


def _ready(talker: Talker) -> None:
    _words(talker, "ready")


def _stand(talker: Talker) -> _Standing:
    talker.say("hold")
    _words(talker, "waiting")
    return _Standing(talker)


def _words(talker: Talker, expected: str) -> list[str]:
    said, *words = talker.hear(_PATIENCE_S).split()
    if said != expected:
        raise ChildError(f"it said {said!r} and not {expected!r}")
    return words


def _p99(found: list[float]) -> float:
    """Return the value that 99 of 100 do not exceed; of fewer than 100 that is the most."""
    return found[min(len(found) - 1, len(found) * 99 // 100)]
