"""Commits that make a store use all of its ways: large and small, new, changed and deleted."""

from __future__ import annotations

import random
from collections.abc import Iterator

from federlib.storage import Absent, AtRevision, Delete, Put, Transaction, Write
from proof.disk_sweep import REOPEN, Step

__all__ = ["mixed", "short"]


def short() -> list[Step]:
    """Return a few commits of each kind, with a reopening."""
    return [
        Transaction((Put("a", b"1"),), id="t1"),
        Transaction((Put("a", b"2" * 700), Put("b/c", b""), Put("é", b"\0" * 40)), id="t2"),
        Transaction((Put("lost", b"x"),), (Absent("a"),), id="t3"),
        Transaction((), (AtRevision("nowhere", 7),)),
        Transaction((Delete("a"), Delete("never")), id="t4"),
        Transaction((Put("a", b"3"),), (Absent("a"),)),
        Transaction((Put("a", b"1"),), id="t1"),
        REOPEN,
        Transaction((Put("b/c", b"\xa5" * 1_300), Delete("a")), id="t5"),
        Transaction(),
        Transaction((Put("z", b"last"),), id="t6"),
    ]


def mixed(seed: int, *, length: int) -> list[Step]:
    """Return a row of commits drawn from a seed."""
    rng = random.Random(seed)
    return list(_mixed(rng, length))


def _mixed(rng: random.Random, length: int) -> Iterator[Step]:
    keys = [f"k/{n}" for n in range(6)]
    for n in range(length):
        if rng.random() < 0.05:
            yield REOPEN
        chosen = rng.sample(keys, rng.choice((1, 1, 1, 2, 5)))
        writes: tuple[Write, ...] = tuple(
            Delete(key) if rng.random() < 0.2 else Put(key, rng.randbytes(_size(rng)))
            for key in chosen
        )
        checks = (Absent(keys[0]),) if rng.random() < 0.2 else ()
        yield Transaction(writes, checks, id=f"m{n}" if rng.random() < 0.7 else None)


def _size(rng: random.Random) -> int:
    # Around a sector and a page, because that is where tears lie.
    return rng.choice((0, 3, 20, 100, 480, 512, 600, 1_500, 4_096))
