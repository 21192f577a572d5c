"""Messages between processes: sealed datagrams over UDP, TCP for what does not fit, and memory.

    keyring = Keyring(Key(secret, role="worker"))
    async with UdpTransport("10.0.0.7", 7000, cluster="prod", keyring=keyring) as transport:
        await transport.send("10.0.0.8:7000", b"hello")
        received = await transport.receive()

What is received was sealed by a holder of a key, by a run that has proved that it is alive,
and comes at most once; everything else is refused and counted by reason.

Does not promise: that a datagram arrives, or in what order. That a peer is who it says beyond
its role: whoever holds a key of a role may use any name. That a traitor who can read a role's
messages cannot make them, unless the role has a signing key. Forward secrecy: who learns a
secret reads what he recorded under it.
Hazards: a message may be sent on to another process of the cluster than it was for, so what
must not be misdirected names its addressee. A secret that is copied out of the fleet admits
strangers until it is removed everywhere. A clone of a running machine repeats numbers; the
cipher then still seals, but shows that two messages are equal.
"""

from __future__ import annotations

from federlib.transport._entropy import new_secret, new_signing_key
from federlib.transport.keyring import Key, Keyring
from federlib.transport.memory import MemoryHub, MemoryTransport
from federlib.transport.protocol import (
    MAX_AMPLIFICATION,
    MAX_PACKET,
    MAX_STREAM,
    Asked,
    Limits,
    Received,
    Transport,
    fits_reply,
)
from federlib.transport.refusals import Refusal
from federlib.transport.udp import UdpTransport, resolve

__all__ = [
    "MAX_AMPLIFICATION",
    "MAX_PACKET",
    "MAX_STREAM",
    "Asked",
    "Key",
    "Keyring",
    "Limits",
    "MemoryHub",
    "MemoryTransport",
    "Received",
    "Refusal",
    "Transport",
    "UdpTransport",
    "fits_reply",
    "new_secret",
    "new_signing_key",
    "resolve",
]
