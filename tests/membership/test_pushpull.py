"""What two members know, compared by checksums."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.membership.config import SwimConfig
from federlib.membership.core import SwimCore
from federlib.membership.effects import MemberDied, Send
from federlib.membership.lifecycle import NodeLifecycleState
from federlib.membership.messages import (
    Dead,
    Digest,
    Message,
    Row,
    State,
    Suspect,
    decode_packet,
)
from federlib.membership.node import NodeId
from federlib.membership.pushpull import bucket_count, checksums, scaled_interval_s
from federlib.membership.roles import PeerRole

from .packets import MANAGER, alive, new_core, packet, packets, run, sent, speak, told

STATE = NodeLifecycleState
lives = st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 5), max_size=30)


def sums(found: dict[str, int], buckets: int = 8) -> bytes:
    return checksums(((NodeId(name, 1), each) for name, each in found.items()), buckets)


@pytest.mark.parametrize(
    ("members", "interval_s"), [(1, 30), (32, 30), (33, 60), (64, 60), (65, 90), (1_000, 180)]
)
def test_the_interval_doubles_past_thirty_two(members: int, interval_s: float) -> None:
    assert scaled_interval_s(30.0, members) == interval_s


@pytest.mark.parametrize(
    ("members", "buckets"), [(1, 8), (32, 8), (36, 16), (50, 16), (1_000, 256), (10**6, 256)]
)
def test_a_digest_has_about_four_members_a_bucket(members: int, buckets: int) -> None:
    assert bucket_count(members) == buckets


@given(lives, st.randoms(use_true_random=False))
def test_the_order_of_members_is_nothing_to_their_checksums(
    found: dict[str, int], rng: object
) -> None:
    assert sums(dict(reversed(found.items()))) == sums(found)


@given(lives, lives)
def test_different_knowledge_has_different_checksums(
    found: dict[str, int], other: dict[str, int]
) -> None:
    assert (sums(found) == sums(other)) == (found == other)


def test_two_that_refute_at_once_do_not_undo_each_other() -> None:
    names = [f"n{each}" for each in range(40)]
    assert sums(dict.fromkeys(names, 1)) != sums(dict.fromkeys(names, 2))


def hand(message: Message, core: SwimCore, sender: str, now_s: float = 0.0) -> list[State]:
    effects = core.handle(packet(message), f"{sender}:1", MANAGER, now_s)
    return sent(effects, State, to=f"{sender}:1")


def digest_of(core: SwimCore, now_s: float = 0.0) -> Digest:
    effects = core.join(["seed:1"], now_s)
    return sent(effects, Digest, to="seed:1")[0]


def test_a_joiner_learns_everybody_in_one_exchange_and_is_known_itself() -> None:
    core, joiner = new_core("seed"), new_core("joiner")
    for number in range(20):
        speak(core, f"n{number}")
    (answer,) = hand(digest_of(joiner), core, "joiner")
    assert {row.node.name for row in answer.rows} >= {"seed", "joiner", "n7", "n13"}
    (back,) = hand(answer, joiner, "seed")
    assert (back.wanted, back.me) == (b"", alive("joiner"))
    assert len(joiner.members()) == 21
    states = {each.node.name: each.state for each in joiner.members()}
    assert states.pop("seed") is STATE.ALIVE
    assert set(states.values()) == {STATE.UNCONFIRMED}
    found = core.member("joiner")
    assert found is not None
    assert found.state is STATE.ALIVE


def test_who_knows_the_same_does_not_answer() -> None:
    core, other = new_core("a"), new_core("b")
    for number in range(20):
        speak(core, f"n{number}")
        speak(other, f"n{number}")
    speak(core, "b")
    speak(other, "a")
    digest = Digest(alive("b"), checksums_of(other))
    assert hand(digest, core, "b") == []
    speak(other, "n3", incarnation=1)
    (answer,) = hand(Digest(alive("b"), checksums_of(other)), core, "b")
    assert "n3" in {row.node.name for row in answer.rows}
    assert len(answer.rows) < 12


def checksums_of(core: SwimCore) -> bytes:
    known = [(each.node, each.incarnation) for each in core.members()]
    return checksums(iter([(core.node, core.incarnation), *known]), 16)


def test_who_is_dead_over_there_is_only_suspect_here() -> None:
    core = new_core()
    speak(core, "a")
    speak(core, "b")
    row = Row(NodeId("b", 1), 0, "b:1", MANAGER, 2)
    effects = core.handle(packet(State(alive("a"), (row,), b"", 8)), "a:1", MANAGER, 0.0)
    assert not told(effects, MemberDied)
    found = core.member("b")
    assert found is not None
    assert found.state is STATE.SUSPECT


@pytest.mark.parametrize("row_state", [1, 2])
def test_if_it_is_us_we_refute(row_state: int) -> None:
    core = new_core()
    row = Row(core.node, 4, "me:1", MANAGER, 2 if row_state == 2 else 1)
    core.handle(packet(State(alive("a"), (row,), b"", 8)), "a:1", MANAGER, 0.0)
    assert core.incarnation == 5


def test_who_has_left_over_there_has_left_here() -> None:
    core = new_core()
    speak(core, "a")
    speak(core, "b")
    row = Row(NodeId("b", 1), 0, "b:1", MANAGER, 3)
    core.handle(packet(State(alive("a"), (row,), b"", 8)), "a:1", MANAGER, 0.0)
    found = core.member("b")
    assert found is not None
    assert found.state is STATE.LEFT


def test_a_suspect_over_there_is_learned_unconfirmed_and_no_more() -> None:
    core = new_core()
    row = Row(NodeId("b", 1), 0, "b:1", MANAGER, 1)
    core.handle(packet(State(alive("a"), (row,), b"", 8)), "a:1", MANAGER, 0.0)
    found = core.member("b")
    assert found is not None
    assert found.state is STATE.UNCONFIRMED


@pytest.mark.parametrize("size", [0, 3, 4, 28, 36, 1_200])
def test_a_digest_of_another_shape_is_refused(size: int) -> None:
    core = new_core()
    assert hand(Digest(alive("a"), bytes(size)), core, "a") == []
    assert core.refused["malformed"] == 1


def test_a_state_of_another_shape_is_refused() -> None:
    core = new_core()
    for wanted, buckets in ((b"\0", 8), (b"", 7), (b"", 512)):
        core.handle(packet(State(alive("a"), (), wanted, buckets)), "a:1", MANAGER, 0.0)
    assert core.refused["malformed"] == 3


def test_a_state_brings_only_so_many_new_names() -> None:
    core = new_core(config=SwimConfig(max_new_a_packet=2))
    rows = tuple(Row(NodeId(f"b{each}", 1), 0, "b:1", MANAGER, 0) for each in range(100))
    core.handle(packet(State(alive("a"), rows, b"", 8)), "a:1", MANAGER, 0.0, reliable=True)
    assert len(core.members()) == 1 + 65
    assert core.refused["budget"] == 1


def test_what_does_not_fit_a_datagram_goes_by_stream() -> None:
    core = new_core()
    for number in range(200):
        speak(core, f"member-number-{number}")
    digest = Digest(alive("a"), bytes(4 * 64))
    effects = core.handle(packet(digest), "a:1", MANAGER, 0.0)
    (state,) = [each for each in told(effects, Send) if len(each.payload) > 1_352]
    assert (state.reliable, state.address) == (True, "a:1")
    assert isinstance(decode_packet(state.payload).message, State)


def test_joining_is_tried_again_ever_more_slowly_until_somebody_is_there() -> None:
    core = new_core()
    core.join(["seed:1", "me:1"], 0.0)
    effects = run(core, 100.0)
    assert not sent(effects, Digest, to="me:1")
    assert 4 <= len(sent(effects, Digest, to="seed:1")) <= 12
    speak(core, "seed", now_s=100.0)
    assert not [
        each
        for each in told(run(core, 103.0), Send)
        if each.address == "seed:1" and each.reliable and is_digest(each)
    ]


def is_digest(each: Send) -> bool:
    return isinstance(decode_packet(each.payload).message, Digest)


def test_the_dead_are_asked_now_and_then_and_hear_what_is_said_of_them() -> None:
    core = new_core()
    speak(core, "a")
    speak(core, "b")
    speak(core, "a", Suspect(NodeId("b", 1), 0, "a"), Dead(NodeId("b", 1), 0, "a"))
    effects = run(core, 60.0)
    asked = [each for each in packets(effects, to="b:1") if isinstance(each.message, Digest)]
    assert 1 <= len(asked) <= 3
    assert asked[0].updates[0] == Dead(NodeId("b", 1), 0, "a")


def test_workers_are_not_told_of() -> None:
    core = new_core()
    speak(core, "a", alive("w", role=PeerRole.WORKER))
    (answer,) = hand(Digest(alive("a"), bytes(32)), core, "a")
    assert {row.node.name for row in answer.rows} == {"me", "a"}
