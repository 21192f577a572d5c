"""`Exploration`: seeds in chunks, over processes; kept in a file, so that it can go on later."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Literal

import msgspec

from federlib.errors import InvalidInput
from federlib.testing.exploring.coverage import Coverage
from federlib.testing.exploring.worlds import look

__all__ = ["CHUNK", "Exploration", "explore_chunk", "load", "save"]

CHUNK = 20
"""Seeds that one process plays before it tells."""

_AHEAD = 2


class Exploration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far an exploration has come.

    Attributes:
        v: Version of this format.
        first: The first seed.
        seeds: How many, from it on.
        covered: What those that were played have covered; they are the first of them.
    """

    first: int
    seeds: int
    v: Literal[1] = 1
    covered: Coverage = Coverage()

    def __post_init__(self) -> None:
        for field, value in (("first", self.first), ("seeds", self.seeds)):
            if type(value) is not int or not 0 <= value < 2**63:
                raise InvalidInput(field, expected="an integer, 0 or more", found=value)

    def run(self, *, jobs: int, seconds: float | None = None) -> Iterator[Exploration]:
        """Play what is left, and give each state on the way; stop when time is over.

        Args:
            jobs: On so many processes.
            seconds: How long at most; a chunk that was begun is still played.
        """
        # The clock of this machine, for this machine's patience; no seed sees it.
        end = None if seconds is None else time.monotonic() + seconds  # noqa: TID251 (a shell)
        state = self
        waiting: deque[Future[Coverage]] = deque()
        chunks = self._chunks()
        # Not forked: a child would have half of what threads of a host hold.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=spawn) as pool:
            while True:
                is_over = end is not None and time.monotonic() >= end  # noqa: TID251 (a shell)
                while not is_over and len(waiting) < jobs * _AHEAD:
                    chunk = next(chunks, None)
                    if chunk is None:
                        break
                    waiting.append(pool.submit(explore_chunk, *chunk))
                if not waiting:
                    return
                covered = Coverage.sum([state.covered, waiting.popleft().result()])
                state = msgspec.structs.replace(state, covered=covered)
                yield state

    def _chunks(self) -> Iterator[tuple[int, int]]:
        end = self.first + self.seeds
        for start in range(self.first + self.covered.seeds, end, CHUNK):
            yield start, min(CHUNK, end - start)


def explore_chunk(first: int, count: int) -> Coverage:
    """Play some seeds in this process."""
    return Coverage.sum(look(seed) for seed in range(first, first + count))


def load(path: Path) -> Exploration | None:
    """Read how far an exploration has come; None where there is no file.

    Raises:
        InvalidInput: The file is something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Exploration)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInput("state", expected=f"an exploration ({error})", found=path) from error


def save(path: Path, state: Exploration) -> None:
    """Keep how far an exploration has come; a kill leaves the old or the new."""
    part = path.with_name(path.name + ".part")
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(file, "wb") as writer:  # noqa: PTH123 (by its descriptor)
        writer.write(msgspec.json.encode(state))
    part.replace(path)
