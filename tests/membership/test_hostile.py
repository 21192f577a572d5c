"""Whatever comes from the network: counted, bounded, and nothing is raised."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.membership.config import SwimConfig
from federlib.membership.effects import (
    Send,
)
from federlib.membership.lifecycle import NodeLifecycleState, TrackerLimits
from federlib.membership.messages import (
    Ack,
    Alive,
    Dead,
    Digest,
    Gossip,
    Heartbeat,
    Leave,
    Message,
    Ping,
    PingReq,
    Suspect,
)
from federlib.membership.node import NodeId
from federlib.membership.roles import PeerRole

from .packets import (
    MANAGER,
    STATE,
    alive,
    group,
    new_core,
    packet,
    run,
    speak,
    state,
    told,
)


def test_ten_thousand_bogus_names_take_bounded_room() -> None:
    limits = TrackerLimits(max_members=1_000, max_unconfirmed=200)
    core = new_core(config=SwimConfig(limits=limits))
    speak(core, "a")
    for batch in range(1_000):
        names = [alive(f"bogus-{batch}-{each}") for each in range(10)]
        speak(core, "a", *names, now_s=batch / 100)
    assert len(core.members()) <= 201
    assert core.refused["full"] > 9_000
    speak(core, "real", now_s=11.0)
    assert state(core, "real") is STATE.ALIVE
    assert all(each.state in {STATE.UNCONFIRMED, STATE.ALIVE} for each in core.members())
    run(core, 400.0)
    assert not [each for each in core.members() if each.node.name.startswith("bogus")]


def test_without_a_key_nobody_makes_us_say_that_we_live() -> None:
    core = new_core()
    speak(core, "me", incarnation=1_000, role=None)
    assert (core.incarnation, core.refused["own"]) == (0, 1)
    speak(core, "stranger", Suspect(core.node, 1_000, "x"), role=None)
    assert (core.incarnation, core.refused["stranger"]) == (0, 1)


def test_one_packet_brings_only_so_many_new_names() -> None:
    core = new_core()
    speak(core, "a", *[alive(f"b{each}") for each in range(60)])
    assert len(core.members()) == 1 + 32
    assert core.refused["budget"] == 28


def test_a_datagram_is_never_longer_than_a_packet_may_be() -> None:
    core = new_core()
    for number in range(150):
        speak(core, f"n{number}", alive(f"n{number}", incarnation=2))
    effects = [*run(core, 30.0), *speak(core, "n0", alive("x"), now_s=30.0)]
    datagrams = [each for each in told(effects, Send) if not each.reliable]
    assert 1_000 < max(len(each.payload) for each in datagrams) <= 1_400 - 48


names = st.sampled_from(["me", "a", "b", "c", "d"])
nodes = st.builds(NodeId, names, st.integers(0, 3))
numbers = st.integers(0, 3)
said = st.one_of(
    st.builds(Alive, nodes, numbers, st.just("x:1"), st.sampled_from(PeerRole)),
    st.builds(Suspect, nodes, numbers, names),
    st.builds(Dead, nodes, numbers, names),
    st.builds(Leave, nodes, numbers),
)
steps = st.lists(
    st.tuples(
        nodes,
        numbers,
        st.lists(said, max_size=3),
        st.sampled_from([None, *PeerRole]),
        st.floats(0, 20),
        st.sampled_from(["gossip", "ping", "ack", "digest", "beat", "request"]),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_whatever_is_said_nothing_is_raised_and_the_lifecycle_is_kept(
    talk: list[
        tuple[NodeId, int, list[Alive | Suspect | Dead | Leave], PeerRole | None, float, str]
    ],
) -> None:
    core = new_core()
    now_s = 0.0
    before: dict[str, tuple[NodeLifecycleState, int]] = {}
    for node, incarnation, updates, role, gap_s, kind in talk:
        now_s += gap_s
        run(core, now_s)
        me = Alive(node, incarnation, "x:1", MANAGER if role is None else role)
        spoken: dict[str, Message] = {
            "gossip": Gossip(node, incarnation),
            "ping": Ping(1, "me", node, incarnation),
            "ack": Ack(1, node, incarnation),
            "digest": Digest(me, bytes(32)),
            "beat": Heartbeat(1, me),
            "request": PingReq(1, node, incarnation, NodeId("b", 1), 50),
        }
        core.handle(packet(spoken[kind], *updates), "x:1", role, now_s)
        after = {e.node.name: (e.state, e.node.epoch) for e in core.members()}
        for name, (found, epoch) in after.items():
            was = before.get(name)
            if was is not None and was[0] is STATE.UNCONFIRMED and was[1] == epoch:
                assert found in {STATE.UNCONFIRMED, STATE.ALIVE, STATE.LEFT, STATE.SUSPECT}
            standing = core.tracker.get(name)
            assert standing is not None
            assert (standing.state, standing.epoch) == (found, epoch)
        assert "me" not in after
        before = after


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([None, *PeerRole]), st.booleans())
def test_noise_is_counted_and_nothing_is_raised(
    payload: bytes, role: PeerRole | None, reliable: bool
) -> None:
    core = new_core()
    before = core.handle(payload, "x:1", role, 0.0, reliable=reliable)
    assert not before or not core.refused
    assert sum(core.refused.values()) <= 1


def test_ten_thousand_broken_packets_raise_nothing_and_a_sound_core_goes_on() -> None:
    rng = random.Random(20)
    core = new_core()
    group(core, 5)
    effects = run(core, 20.0)
    samples = [each.payload for each in told(effects, Send)]
    samples.append(packet(Digest(alive("n1"), bytes(32)), alive("n2"), Leave(NodeId("n3", 1), 0)))
    now_s = 20.0
    for _ in range(10_000):
        broken = bytearray(rng.choice(samples))
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(broken))
            match rng.randrange(3):
                case 0:
                    broken[place] = rng.randrange(256)
                case 1:
                    del broken[place:]
                case _:
                    broken[place:place] = rng.randbytes(rng.randrange(4))
            broken = broken or bytearray(1)
        now_s += 0.001
        role = rng.choice([None, *PeerRole])
        core.handle(bytes(broken), "n1:1", role, now_s, reliable=rng.random() < 0.5)
    assert core.refused["malformed"] > 3_000
    run(core, now_s + 5.0)
    assert len(core.members()) < 200
    speak(core, "sound", now_s=now_s + 5.0)
    assert state(core, "sound") is STATE.ALIVE
