"""`Simulation`: virtual time, one queue of events, and all chance from one seed.

    with Simulation(seed=7) as sim:
        sim.after(1_000_000, hello, "world")
        sim.run(until_ns=60 * SECOND_NS)
        print(sim.trace.digest)

Nothing waits: the time of the next event becomes the present. Events of the same instant run
in an order that the seed draws, so that every order is met by some seed. Each purpose has a
stream of chance of its own, named: a draw more in one place moves no other.

Time, trace and draws are integers. Floats of a mathematical library differ between machines
in their last bit, and a trace must not.

Source: design §7; research on FoundationDB's and TigerBeetle's simulators, `Simulation`.
"""

from __future__ import annotations

import gc
import hashlib
import random  # noqa: TID251 (the one source of chance, seeded)
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import Self, TypeVar

from federlib.errors import InvalidInput

__all__ = ["SECOND_NS", "Simulation", "Trace"]

SECOND_NS = 1_000_000_000

_BLOCK = 1_024
_YOUNG_OBJECTS = 50_000
_NEVER_NS = 2**200
_A = TypeVar("_A")
_Word = int | str
_Call = tuple[Callable[..., object], object]


class Trace:
    """What happened, in order, as a hash; with `keep`, also as a list to look at.

    Attributes:
        events: `(instant, kind, …)`, all of them with `keep`, else only the last few.
        count: How many there were.
    """

    def __init__(self, *, keep: bool) -> None:
        self.events: list[tuple[_Word, ...]] = []
        self.count: int = 0
        self._keep = keep
        self._hashed = 0
        self._hash = hashlib.sha256()

    def add(self, *event: _Word) -> None:
        """Note one event; integers and plain text only."""
        self.events.append(event)
        self.count += 1
        if len(self.events) - self._hashed >= _BLOCK:
            self._flush()

    def _flush(self) -> None:
        # The repr of integers and of text is the same in every Python.
        self._hash.update("".join(map(repr, self.events[self._hashed :])).encode())
        if self._keep:
            self._hashed = len(self.events)
        else:
            self.events.clear()

    @property
    def digest(self) -> str:
        """SHA-256 of everything so far, in hexadecimal digits."""
        self._flush()
        return self._hash.hexdigest()


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for garbage less often than Python does by itself: it cost a fifth of a large world.

    A world makes very many objects and hardly one that only a collection frees.
    """
    before = gc.get_threshold()
    if not 0 < before[0] < _YOUNG_OBJECTS:  # Somebody wants it otherwise.
        yield
        return
    gc.set_threshold(_YOUNG_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Simulation:
    """The kernel: time, the queue of events, chance and the trace.

    Not thread-safe. Two simulations never meet: there is no state of the module.

    Attributes:
        seed: What everything follows from.
        now_ns: The present; nanoseconds from the beginning.
        ran: How many events have run.
        soon: Has a function called with an argument, given as a pair, at the present instant.
        trace: What was noted.
    """

    def __init__(self, seed: int, *, keep_trace: bool = False) -> None:
        """Begin at instant 0, with an empty queue.

        Args:
            seed: Any integer.
            keep_trace: Keep the events of the trace, not only their hash.
        Raises:
            InvalidInput: The seed is not an integer.
        """
        if type(seed) is not int:
            raise InvalidInput("seed", expected="an integer", found=seed)
        self.seed: int = seed
        self.now_ns: int = 0
        self.ran: int = 0
        self.trace: Trace = Trace(keep=keep_trace)
        # The instants at which something happens, and what does, in the order of its asking.
        self._instants: list[int] = []
        self._events: dict[int, _Call | list[_Call]] = {}
        self._ready: list[_Call] = []
        self.soon: Callable[[_Call], object] = self._ready.append
        self._streams: dict[str, random.Random] = {}
        self._choose = self.below("order")
        self._last = -1
        self._closing: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End what still runs, so that nothing of it wakes up when it is thrown away."""
        self._drop_all()
        for end in self._closing:
            end()
        self._drop_all()

    def _drop_all(self) -> None:
        self._instants.clear()
        self._events.clear()
        self._ready.clear()

    def on_close(self, end: Callable[[], object]) -> None:
        """Have something ended with the simulation."""
        self._closing.append(end)

    def __repr__(self) -> str:
        return f"<Simulation seed={self.seed} at {self.now_ns} ns>"

    def rng(self, name: str) -> random.Random:
        """Return the stream of chance of one purpose; always the same object.

        Draw integers from it: `randrange`, `getrandbits`, `choice`, `shuffle`.
        """
        stream = self._streams.get(name)
        if stream is None:
            word = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
            stream = self._streams[name] = random.Random(int.from_bytes(word, "big"))  # noqa: S311
        return stream

    def below(self, name: str) -> Callable[[int], int]:
        """Return what draws an integer from 0 up to a bound, from the stream of one purpose.

        A third of the time of `randrange`, which matters where each message draws. The product
        of a 53-bit fraction and an integer is rounded alike on every machine.
        """
        draw = self.rng(name).random
        return lambda bound: int(draw() * bound)

    def after(self, delay_ns: int, call: Callable[[_A], object], argument: _A) -> None:
        """Call a function with one argument when a time has passed; nanoseconds, 0 or more."""
        if not delay_ns:
            self.soon((call, argument))
            return
        at_ns = self.now_ns + delay_ns
        if at_ns in self._events:
            self._join(at_ns, (call, argument))
        else:
            self._events[at_ns] = (call, argument)
            heappush(self._instants, at_ns)

    def _join(self, at_ns: int, event: _Call) -> None:
        """Have something happen at an instant at which something else does."""
        known = self._events[at_ns]
        if isinstance(known, list):
            known.append(event)
        else:
            self._events[at_ns] = [known, event]

    def run(self, until_ns: int | None = None, *, max_events: int | None = None) -> None:
        """Run events until the queue is empty, `stop` is called, or time or patience is over.

        Args:
            until_ns: Events of this instant still run, and it becomes the present.
            max_events: A bound for programs that do not end.
        """
        instants, events, ready = self._instants, self._events, self._ready
        end_ns = _NEVER_NS if until_ns is None else until_ns
        self._last = -1 if max_events is None else self.ran + max_events
        with _rare_collections():
            while self.ran != self._last:
                if ready:
                    call, argument = ready.pop()
                    if ready:
                        call, argument = self._swap((call, argument))
                elif instants and instants[0] <= end_ns:
                    self.now_ns = now_ns = heappop(instants)
                    event = events.pop(now_ns)
                    if isinstance(event, list):
                        ready += event
                        continue
                    call, argument = event
                else:
                    break
                self.ran += 1
                call(argument)
        if until_ns is not None and self.ran != self._last:
            self.now_ns = max(self.now_ns, until_ns)

    def _swap(self, last: _Call) -> _Call:
        """Draw one of several events that are ready; the last of them is given, and taken off."""
        ready = self._ready
        chosen = self._choose(len(ready) + 1)
        if chosen == len(ready):
            return last
        drawn, ready[chosen] = ready[chosen], last
        return drawn

    def stop(self) -> None:
        """End `run` behind the present event."""
        self._last = self.ran

    def note(self, kind: str, *words: _Word) -> None:
        """Add the present instant and these words to the trace."""
        self.trace.add(self.now_ns, kind, *words)
