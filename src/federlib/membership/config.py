"""How the protocol runs; all durations in seconds.

`SwimConfig()` is for a local network, `SwimConfig.wan()` for several data centres, and
`SwimConfig.plain_swim()` switches off what Lifeguard added, to compare.
"""

from __future__ import annotations

import attrs

from federlib._bounds import boolean, instance, integer, number
from federlib.errors import InvalidInput
from federlib.membership.lifecycle import TrackerLimits
from federlib.membership.messages import MAX_PACKET_BYTES
from federlib.membership.timeouts import TimeoutSettings

__all__ = ["SwimConfig"]


_seconds = number(0.001, 86_400, "seconds")
_count = integer(0, 1_000_000)


@attrs.frozen(kw_only=True)
class SwimConfig:
    """How one member takes part.

    Attributes:
        interval_s: Between two probes; grows with our own local health score.
        relays: Members asked to ping a target that does not answer.
        stream_fallback: Whether such a target is pinged by a stream as well.
        confirmations: K, other accusers that make a suspicion shortest.
        lifeguard: Nacks, local health, suspicion that decays, the suspect told first,
            refutations first, and who hears nobody keeps its verdicts to itself. Without it this
            is SWIM with suspicion.
        witness: Accuse only if a relay said nack, or nobody could be asked, or our health is
            at its worst. Who hears nobody doubts itself; part of `lifeguard`.
        awareness_most: The worst local health score; waiting is that many times longer, and
            once.
        gossip_interval_s: Between packets that only bring updates, while there are any.
        gossip_nodes: Members that each is sent to.
        retransmit_mult: An update is sent this often, times log10 of the members.
        push_pull_interval_s: Between comparisons of all that is known, up to 32 members; it
            doubles with the doubling of these.
        reconnect_interval_s: Between tries to reach a member that is dead: it may have been a
            partition.
        reclaim_s: How long a dead or gone member is remembered with its address.
        late_s: A wake-up that comes so late counts as our own fault, and as time in which
            nobody could be heard.
        heartbeat_nodes: Members that a worker pushes its heartbeats to.
        heartbeat_phi: A worker is suspected from this level of suspicion on.
        packet_bytes: Of a datagram, sealed.
        seal_overhead_bytes: What the transport adds to a payload.
        max_new_a_packet: Names in one datagram that may be new; as many times 32 in a stream.
        max_relayed: Requests to ping others that are pending at one time.
        limits: How many members are kept.
        timeouts: How long a probe and a suspicion last.
    Raises:
        InvalidInput: A number out of range.
    Source: research membership-routing §4; memberlist's LAN and WAN defaults.
    """

    interval_s: float = attrs.field(default=1.0, validator=_seconds)
    relays: int = attrs.field(default=3, validator=_count)
    stream_fallback: bool = attrs.field(default=True, validator=boolean())
    confirmations: int = attrs.field(default=3, validator=_count)
    lifeguard: bool = attrs.field(default=True, validator=boolean())
    witness: bool = attrs.field(default=True, validator=boolean())
    awareness_most: int = attrs.field(default=8, validator=_count)
    gossip_interval_s: float = attrs.field(default=0.2, validator=_seconds)
    gossip_nodes: int = attrs.field(default=3, validator=_count)
    retransmit_mult: int = attrs.field(default=4, validator=_count)
    push_pull_interval_s: float = attrs.field(default=30.0, validator=_seconds)
    reconnect_interval_s: float = attrs.field(default=30.0, validator=_seconds)
    reclaim_s: float = attrs.field(default=86_400.0, validator=_seconds)
    late_s: float = attrs.field(default=0.5, validator=_seconds)
    heartbeat_nodes: int = attrs.field(default=3, validator=_count)
    heartbeat_phi: float = attrs.field(default=8.0, validator=number(0.001, 1_000))
    packet_bytes: int = attrs.field(default=MAX_PACKET_BYTES, validator=_count)
    seal_overhead_bytes: int = attrs.field(default=48, validator=_count)
    max_new_a_packet: int = attrs.field(default=32, validator=_count)
    max_relayed: int = attrs.field(default=1_000, validator=_count)
    limits: TrackerLimits = attrs.field(factory=TrackerLimits, validator=instance(TrackerLimits))
    timeouts: TimeoutSettings = attrs.field(
        factory=TimeoutSettings, validator=instance(TimeoutSettings)
    )

    def __attrs_post_init__(self) -> None:
        if self.room_bytes < 512:
            raise InvalidInput(
                "packet_bytes",
                expected="512 bytes more than the seal takes",
                found=f"{self.packet_bytes} with a seal of {self.seal_overhead_bytes}",
            )

    @property
    def room_bytes(self) -> int:
        """What a datagram has for its payload."""
        return self.packet_bytes - self.seal_overhead_bytes

    @classmethod
    def wan(cls) -> SwimConfig:
        """Return the settings for members in several data centres."""
        return cls(
            interval_s=5.0,
            gossip_interval_s=0.5,
            gossip_nodes=4,
            push_pull_interval_s=60.0,
            timeouts=TimeoutSettings(slack_s=3.0, suspicion_mult=6.0),
        )

    @classmethod
    def plain_swim(cls) -> SwimConfig:
        """Return SWIM with suspicion and no more."""
        return cls(lifeguard=False, witness=False)
