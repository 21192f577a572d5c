"""Twenty real processes on loopback: one is killed with SIGKILL, again and again.

Measured from the kill until the first of the others holds it to be dead, and until all do;
beside the same group in the simulator, and beside a peer library with its defaults for a
local network. Both groups run at the same time, each with its own sockets.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median

import attrs

from benchmarks.children import ChildError, program
from benchmarks.table import Row
from benchmarks.talks import Talker
from federlib.testing.swarm import Links, Swarm
from federlib.transport import new_secret

_MEMBERS = 20
_KILLS = 30
_PATIENCE_S = 60.0
_BAR = 1.2
PEER = "kinship"


@attrs.frozen
class _Found:
    """What came of the kills of one group; seconds from the kill."""

    first_s: list[float] = attrs.field(factory=list)
    all_s: list[float] = attrs.field(factory=list)
    false_deaths: list[str] = attrs.field(factory=list)


def rows(*, quick: bool = False) -> Iterator[Row]:
    """Kill members of both groups, and of the simulated one."""
    members, kills = (5, 1) if quick else (_MEMBERS, _KILLS)
    with ThreadPoolExecutor(2) as pool:
        running = {who: pool.submit(_play, who, members, kills) for who in ("federlib", PEER)}
        simulated = [_simulate(members, seed) for seed in range(kills)]
        ours = running["federlib"].result()
        try:
            theirs, missing = running[PEER].result(), ""
        except ChildError as error:
            theirs, missing = None, f"; {PEER} is not there: {error}"
    expected_s = median(first for first, _ in simulated)
    group = f"{members} processes, {len(ours.first_s)} kills"
    yield Row(
        "first to hold a killed member dead, median",
        round(median(ours.first_s), 2),
        "s",
        "the same in the simulator",
        round(max(median(ours.first_s) / expected_s, expected_s / median(ours.first_s)), 2),
        _BAR,
        note=f"{group}; simulator {expected_s:.2f} s; most {max(ours.first_s):.2f} s",
        processes=members,
    )
    yield Row(
        "all hold it dead, median",
        round(median(ours.all_s), 2),
        "s",
        PEER if theirs else "",
        round(median(ours.all_s) / median(theirs.all_s), 2) if theirs else None,
        note=f"{group}; most {max(ours.all_s):.2f} s; simulator "
        f"{median(last for _, last in simulated):.2f} s"
        + (
            f"; {PEER}: median {median(theirs.all_s):.2f} s, most {max(theirs.all_s):.2f} s, "
            f"first {median(theirs.first_s):.2f} s, false deaths {len(theirs.false_deaths)}"
            if theirs
            else missing
        ),
        processes=members,
    )
    yield Row(
        "false deaths",
        len(ours.false_deaths),
        "deaths",
        "",
        None,
        0,
        bar_on="value",
        note=group,
        processes=members,
    )


def _simulate(members: int, seed: int) -> tuple[float, float]:
    """Crash one member of a simulated group; until the first and until all hold it dead."""
    swarm = Swarm(members, seed=seed, links=Links())
    swarm.start()
    began_s = 20.0 + random.Random(seed).random()
    swarm.run(began_s)
    swarm.crash(members - 1)
    swarm.run(began_s + _PATIENCE_S)
    told: dict[int, float] = {}
    for each in swarm.deaths(members - 1):
        told.setdefault(each.observer, each.at_s - began_s)
    return min(told.values()), max(told.values())


def _play(client: str, members: int, kills: int) -> _Found:
    """Start a group and kill one member after the other; for each comes another, of a new name.

    The peer takes no new run of a dead name at another port for half a minute.
    """
    found, key = _Found(), new_secret()
    with ExitStack() as stack:
        group: dict[str, Talker] = {}
        seed: list[str] = []

        def start(name: str) -> None:
            group[name] = stack.enter_context(
                Talker(program("swarm_members", client, name, key, *seed))
            )
            word, address = group[name].hear().split()
            if word != "ready":
                raise ChildError(f"{name} says {word}")
            seed[:] = seed or [address]

        for number in range(members):
            start(f"n{number}")
        for kill in range(kills):
            _wait_for_all(group, found)
            # The seed stays, so that whoever starts finds it.
            victim = list(group)[1]
            # Not always at the same instant of a probe's interval.
            time.sleep(random.Random(kill).random())
            died_at = time.monotonic()
            group.pop(victim).kill()
            told = [_death_of(victim, talker, found) - died_at for talker in group.values()]
            found.first_s.append(min(told))
            found.all_s.append(max(told))
            start(f"n{members + kill}")
    return found


def _death_of(victim: str, talker: Talker, found: _Found) -> float:
    """Wait until a member says that another is dead; return when it did."""
    while True:
        word, name, at_s = talker.hear(_PATIENCE_S).split()
        if word == "dead" and name == victim:
            return float(at_s)
        found.false_deaths.append(name)


def _wait_for_all(group: dict[str, Talker], found: _Found) -> None:
    """Wait until each holds all others to be alive."""
    end_s = time.monotonic() + _PATIENCE_S
    while True:
        counts: list[int] = []
        for talker in group.values():
            talker.say("who")
            while (said := talker.hear().split())[0] != "who":
                found.false_deaths.append(said[1])
            counts.append(int(said[1]))
        if min(counts) == len(group) - 1:
            return
        if time.monotonic() > end_s:
            raise ChildError(f"after {_PATIENCE_S:g} s they know {counts} of {len(group) - 1}")
        time.sleep(0.2)
