"""What a reader of events is given."""

from __future__ import annotations

import anyio
import pytest

from federlib.membership.confirmation import AskPeer
from federlib.membership.effects import Event, HealthChanged, MemberLeft, PeerMeasured
from federlib.membership.feed import EventFeed, EventsMissed, Feeds, ServerEvent
from federlib.membership.node import NodeId
from federlib.membership.roles import PeerRole

pytestmark = pytest.mark.anyio
LEFT = MemberLeft(NodeId("p", 1))
ASKED = AskPeer("p", PeerRole.GATE, 1, is_last_word=False, timeout_s=1.0)
MEASURED = PeerMeasured("p", 10.0, None, None)


async def read(feed: EventFeed) -> list[ServerEvent]:
    feed.end()
    with anyio.fail_after(5):
        return [event async for event in feed]


@pytest.mark.parametrize("idle", [MEASURED, ASKED])
async def test_what_changes_nothing_takes_no_place_from_what_does(idle: Event) -> None:
    feed = EventFeed()
    for _ in range(2_000):
        feed.put(idle)
    feed.put(LEFT)
    assert await read(feed) == [LEFT]


async def test_who_asks_for_all_gets_all() -> None:
    feed = EventFeed(detailed=True)
    events: list[Event] = [MEASURED, LEFT, ASKED, HealthChanged(1, "late")]
    for event in events:
        feed.put(event)
    assert await read(feed) == events


async def test_what_was_missed_is_only_what_would_have_come() -> None:
    feed = EventFeed()
    for _ in range(1_030):
        feed.put(LEFT)
        feed.put(MEASURED)
    assert (await read(feed))[1_024:] == [EventsMissed(6)]


async def test_each_reader_gets_what_it_asked_for_while_it_reads() -> None:
    feeds = Feeds()
    feeds.put(LEFT)
    with feeds.open(detailed=False) as brief, feeds.open(detailed=True) as full:
        feeds.put(MEASURED)
        with feeds.open(detailed=True) as gone:
            pass
        feeds.put(LEFT)
        feeds.end()
        assert await read(brief) == [LEFT]
        assert await read(full) == [MEASURED, LEFT]
        assert await read(gone) == []
