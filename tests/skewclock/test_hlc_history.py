"""Message histories among clocks that skew, drift and jump: no violation of cause and effect.

Happened-before is the transitive closure of two relations: the order of events at one node,
and a message's sending before its receipt. Both are checked at every event, so every pair
of events that are ordered by cause is ordered by timestamp.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.errors import ClockBehind, TimestampTooFarAhead
from federlib.skewclock import HlcTimestamp, HybridLogicalClock

MS = 1_000_000
NS = 1_000_000_000
START = 1_700_000_000 * NS
FULL = 65_535
EVENTS = 1_000_000
SEEDS = range(10) if os.environ.get("FEDERLIB_SOAK") else range(1)


class Sky:
    """The true time, which no node knows."""

    def __init__(self) -> None:
        self.now = 0


class DriftingClock:
    """A wall clock that is wrong: by an offset that may change, and by its rate."""

    clock_id = "drifting/boot-1/"

    def __init__(self, sky: Sky, offset_ns: int, drift_ppm: int) -> None:
        self.sky = sky
        self.offset_ns = offset_ns
        self.drift_ppm = drift_ppm

    def wall_ns(self) -> int:
        now = self.sky.now
        return START + now + now * self.drift_ppm // 1_000_000 + self.offset_ns

    monotonic_ns = boot_ns = wall_ns


class Node:
    """A process: its clock, and the timestamp of its latest event."""

    def __init__(self, sky: Sky, random: Random, offset_ms: int) -> None:
        self.clock = DriftingClock(sky, random.randint(0, 300) * MS, random.randint(-200, 200))
        self.hlc = HybridLogicalClock(self.clock, max_offset_s=offset_ms / 1_000)
        self.latest = HlcTimestamp(0)
        self.set_backs = 0
        self.read_ms = 0

    def note_reading(self, physical_ms: int) -> None:
        """Count what the clock under test must count: each reading before the last one."""
        self.set_backs += physical_ms < self.read_ms
        self.read_ms = physical_ms


class History:
    """A run of `size` nodes, the same for the same seed."""

    OFFSET_MS = 500

    def __init__(self, seed: int, *, size: int = 7) -> None:
        self.random = Random(seed)
        self.sky = Sky()
        self.nodes = [Node(self.sky, self.random, self.OFFSET_MS) for _ in range(size)]
        self.on_the_way: list[HlcTimestamp] = []
        self.received = self.refused = self.behind = 0

    def run(self, events: int) -> None:
        random, draw = self.random, self.random.random
        nodes, size = self.nodes, len(self.nodes)
        for _ in range(events):
            self.sky.now += int(draw() * 400_000)  # Several events a millisecond.
            node = nodes[int(draw() * size)]
            chance = draw()
            if chance < 0.15:
                self.event(node, None)
            elif chance < 0.57 or not self.on_the_way:
                sent = self.event(node, None)
                if sent is not None:
                    self.on_the_way.append(sent)
            else:
                self.event(node, self.delivered())
            if chance > 0.999:
                self.disturb(random.choice(nodes))

    def delivered(self) -> HlcTimestamp:
        """Take a message on the way, often a young one; one in ten will come once more."""
        place = int((1 - self.random.random() ** 4) * len(self.on_the_way))
        place = min(place, len(self.on_the_way) - 1)
        message = self.on_the_way[place]
        if self.random.random() > 0.1:
            last = self.on_the_way.pop()
            if place < len(self.on_the_way):
                self.on_the_way[place] = last
        return message

    def disturb(self, node: Node) -> None:
        """Set a clock: a little or wildly wrong, back or ahead, or right; or forge a message."""
        chance = self.random.random()
        if chance < 0.3:
            node.clock.offset_ns += int(self.random.gauss(0, 200 * MS))
        elif chance < 0.32:
            node.clock.offset_ns += int(self.random.gauss(0, 10 * NS))
        elif chance < 0.6:
            # All is well again; so far ahead as this clock ever was, the others are now.
            self.sky.now += int(self.random.random() * NS)
            node.clock.offset_ns = -node.clock.drift_ppm * self.sky.now // 1_000_000
        else:
            ms = node.clock.wall_ns() // MS + self.random.choice((-1, 0, 1, 499, 500, 501, 10**9))
            self.on_the_way.append(HlcTimestamp((ms << 16) + self.random.choice((0, FULL))))

    def event(self, node: Node, message: HlcTimestamp | None) -> HlcTimestamp | None:
        before, physical_ms = node.latest, node.clock.wall_ns() // MS
        node.note_reading(physical_ms)
        try:
            stamp = node.hlc.now() if message is None else node.hlc.observe(message)
        except (ClockBehind, TimestampTooFarAhead) as error:
            self.check_refusal(node, message, physical_ms, error)
            return None
        node.latest = stamp
        assert stamp > before, "two events of one node are out of order"
        assert message is None or stamp > message, "a receipt is not after its sending"
        assert 0 <= (stamp >> 16) - physical_ms <= self.OFFSET_MS, "too far from the wall clock"
        self.received += message is not None
        return stamp

    def check_refusal(
        self,
        node: Node,
        message: HlcTimestamp | None,
        physical_ms: int,
        error: ClockBehind | TimestampTooFarAhead,
    ) -> None:
        assert node.hlc.latest == node.latest, "a refusal has changed the clock"
        highest = max(node.latest, message or 0) + 1
        assert (highest >> 16) - physical_ms > self.OFFSET_MS, "refused without need"
        if isinstance(error, TimestampTooFarAhead):
            self.refused += 1
        else:
            self.behind += 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_million_events_of_a_hostile_history_keep_every_law(seed: int) -> None:
    history = History(seed)
    history.run(EVENTS)
    counts = [node.hlc.counts for node in history.nodes]
    assert sum(found.refused for found in counts) == history.refused > 100
    assert sum(found.behind for found in counts) == history.behind > 100
    assert [found.set_backs for found in counts] == [node.set_backs for node in history.nodes]
    # The history was worth checking: it had all of what it is meant to have.
    assert sum(found.overflows for found in counts) > 10
    assert sum(found.set_backs for found in counts) > 100
    assert history.received > EVENTS // 5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 50), st.integers(2, 5))
def test_clocks_that_agree_within_a_bound_never_refuse_and_stay_within_it(
    seed: int, bound_ms: int, size: int
) -> None:
    """The paper's bound: l - pt <= epsilon, if no two clocks differ by more."""
    random, sky = Random(seed), Sky()
    clocks = [DriftingClock(sky, random.randint(0, bound_ms * MS), 0) for _ in range(size)]
    hlcs = [HybridLogicalClock(clock, max_offset_s=3) for clock in clocks]
    messages: list[HlcTimestamp] = []
    for _ in range(300):
        sky.now += random.randrange(3 * MS)
        place = random.randrange(size)
        if messages and random.random() < 0.5:
            stamp = hlcs[place].observe(random.choice(messages))
        else:
            stamp = hlcs[place].now()
            messages.append(stamp)
        # Whole milliseconds on both sides: the cut may add one.
        assert 0 <= (stamp >> 16) - clocks[place].wall_ns() // MS <= bound_ms + 1
        assert stamp & FULL < 300
