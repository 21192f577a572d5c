"""What the tests of the core share: a core, a peer that speaks to it, and what it answers."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TypeVar

from federlib.membership.config import SwimConfig
from federlib.membership.core import SwimCore
from federlib.membership.effects import Effect, Send
from federlib.membership.lifecycle import NodeLifecycleState
from federlib.membership.messages import (
    Ack,
    Alive,
    ConfirmationPing,
    Gossip,
    Message,
    Packet,
    Update,
    decode_packet,
    encode_message,
    encode_update,
    pack,
)
from federlib.membership.node import NodeId
from federlib.membership.roles import PeerRole

MANAGER = PeerRole.MANAGER
T = TypeVar("T")


def packet(message: Message, *updates: Update) -> bytes:
    return pack(encode_message(message), [encode_update(each) for each in updates])


def new_core(
    name: str = "me",
    *,
    epoch: int = 1,
    role: PeerRole = MANAGER,
    config: SwimConfig | None = None,
) -> SwimCore:
    core = SwimCore(
        NodeId(name, epoch),
        f"{name}:1",
        role,
        rng=random.Random(7),
        config=config or SwimConfig(),
        coordinate=lambda: b"here",
    )
    core.start(0.0)
    return core


def alive(name: str, *, epoch: int = 1, incarnation: int = 0, role: PeerRole = MANAGER) -> Alive:
    return Alive(NodeId(name, epoch), incarnation, f"{name}:1", role)


def speak(
    core: SwimCore,
    name: str,
    *updates: Update,
    now_s: float = 0.0,
    epoch: int = 1,
    incarnation: int = 0,
    role: PeerRole | None = MANAGER,
) -> tuple[Effect, ...]:
    """Let a peer say something by gossip, and with it that it lives."""
    said = Gossip(NodeId(name, epoch), incarnation)
    return core.handle(packet(said, *updates), f"{name}:1", role, now_s)


def told(effects: Iterable[Effect], kind: type[T]) -> list[T]:
    return [each for each in effects if isinstance(each, kind)]


def sent(effects: Iterable[Effect], kind: type[T], *, to: str | None = None) -> list[T]:
    """Return the messages of a kind that were sent, to one address or to any."""
    found = [p.message for p in packets(effects, to=to)]
    return [each for each in found if isinstance(each, kind)]


def packets(effects: Iterable[Effect], *, to: str | None = None) -> list[Packet]:
    return [
        decode_packet(each.payload)
        for each in effects
        if isinstance(each, Send) and to in {None, each.address}
    ]


def run(core: SwimCore, until_s: float) -> list[Effect]:
    """Tick until an instant, as a loop that is never late."""
    effects: list[Effect] = []
    while (wake_s := core.next_wake_s) is not None and wake_s <= until_s:
        effects += core.tick(wake_s)
    return effects


def answer(core: SwimCore, question: ConfirmationPing, name: str, now_s: float) -> None:
    ack = Ack(question.seq, NodeId(name, 1), 0)
    core.handle(packet(ack), f"{name}:1", None, now_s)


STATE = NodeLifecycleState


def state(core: SwimCore, name: str) -> NodeLifecycleState | None:
    found = core.member(name)
    return None if found is None else found.state


def group(core: SwimCore, many: int) -> None:
    for number in range(many):
        speak(core, f"n{number}")
