"""Hostile packets by the hundred thousand; a million with `FEDERLIB_SOAK=1`.

Everybody who can be near a wire takes part: who has no key and turns bits, who has recorded
all that went by, a neighbour cluster under the same key, a peer that can read a role and speaks
for it, a peer that has lost its mind and seals nonsense. What may come out is only what a live
peer has sent to this process, once; all else is refused by a reason, and no exception leaves.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable
from random import Random

import anyio
import pytest

from federlib.telemetry import RecordingSink, Telemetry
from federlib.transport import MAX_PACKET, Key, Keyring, Refusal, UdpTransport, fits_reply
from federlib.transport.addresses import parse_address
from federlib.transport.envelope import HEADER, Kind
from federlib.transport.frames import HELLO, PREFIX, Conversation, Streams
from transport.keys import OTHER, SECRET, SIGN, VERIFY, Traitor
from transport.pairs import Run, S, Wire

IS_SOAK = bool(os.environ.get("FEDERLIB_SOAK"))
PACKETS = 1_000_000 if IS_SOAK else 100_000
STREAMS = 20_000 if IS_SOAK else 2_000
STRAYS = 20_000 if IS_SOAK else 2_000

ADA, BEN, CY, GATE = (f"10.0.0.{number}:7000" for number in range(1, 5))
KINDS = list(Kind)

WORKER = Key(OTHER, role="worker")
READS_GATE = Key(SECRET, role="gate", verify=VERIFY)


def fleet_ring(use: Key = WORKER) -> Keyring:
    return Keyring(use, [WORKER, READS_GATE])


class Hostile:
    """A fleet of three, its neighbours, and everything that was ever on the wire."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.ben = Run(BEN, keyring=fleet_ring())
        self.ada = Run(ADA, keyring=fleet_ring())
        self.gate = Run(GATE, keyring=fleet_ring(Key(SECRET, role="gate", sign=SIGN)))
        self.neighbour = Run(ADA, keyring=fleet_ring(), cluster="test2")
        self.forger = Run(CY, keyring=fleet_ring(Traitor(SECRET, role="gate", verify=VERIFY)))
        self.mad = Run(CY, keyring=fleet_ring())
        self.streams = Streams(fleet_ring(), cluster="test", max_bytes=10_000)
        self.wire = Wire(self.ada, self.ben, self.gate)
        self.sent: set[bytes] = set()
        # Recorded while Ben's run before this one was alive.
        dead, self.wire.runs[BEN] = self.ben, Run(BEN, keyring=fleet_ring())
        for _ in range(50):
            self.speak(self.wire.runs[BEN])
        self.wire.runs[BEN] = dead
        self.sent.clear()
        self.attacks: list[Callable[[], bytes]] = [
            self.noise,
            self.turned_bits,
            self.cut_off,
            self.prolonged,
            self.spliced,
            self.replayed,
            self.replayed,
            self.of_the_neighbour,
            self.of_a_stream,
            self.of_another_version,
            self.mad_words,
            self.with_another_header,
        ]

    def speak(self, to: Run) -> None:
        """Let a live peer send something, as it should."""
        sender = self.random.choice((self.ada, self.ada, self.ada, self.gate))
        payload = b"%d %s" % (self.random.getrandbits(64), bytes(self.random.randrange(60)))
        self.sent.add(payload)
        self.wire.send(sender, to, payload)

    def recorded(self) -> bytes:
        return self.random.choice(self.wire.record)[2]

    def noise(self) -> bytes:
        return self.random.randbytes(self.random.choice((0, 1, 39, 40, 41, 74, 200, 1_400)))

    def turned_bits(self) -> bytes:
        packet = bytearray(self.recorded())
        for _ in range(self.random.randrange(1, 4)):
            bit = self.random.randrange(len(packet) * 8)
            packet[bit // 8] ^= 1 << bit % 8
        return bytes(packet)

    def cut_off(self) -> bytes:
        packet = self.recorded()
        return packet[: self.random.randrange(len(packet))]

    def prolonged(self) -> bytes:
        return self.recorded() + self.random.randbytes(self.random.choice((1, 16, 1_400, 65_000)))

    def spliced(self) -> bytes:
        return self.recorded()[:HEADER] + self.recorded()[HEADER:]

    def replayed(self) -> bytes:
        return self.recorded()

    def of_the_neighbour(self) -> bytes:
        return self.neighbour.packets._seal(self.random.choice(KINDS), b"x" * 32)

    def of_a_stream(self) -> bytes:
        hello = self.streams.hello(self.random.randbytes(16))
        talk = self.streams.meet(
            hello, self.streams.hello(self.random.randbytes(16)).sent, is_server=False
        )
        assert isinstance(talk, Conversation)
        [frame] = talk.seal(b"payload")
        return self.random.choice((hello.sent, frame, hello.sent + frame, frame[PREFIX:]))

    def of_another_version(self) -> bytes:
        return bytes((self.random.randrange(256),)) + self.recorded()[1:]

    def mad_words(self) -> bytes:
        size = self.random.choice((0, 1, 31, 32, 33, 34, 35, 600))
        return self.mad.packets._seal(self.random.choice(KINDS), self.random.randbytes(size))

    def with_another_header(self) -> bytes:
        packet, start = self.recorded(), self.random.randrange(HEADER)
        size = self.random.randrange(1, HEADER - start + 1)
        return packet[:start] + self.random.randbytes(size) + packet[start + size :]

    def in_anothers_role(self) -> bytes:
        return self.forger.packets._seal(Kind.DATA, b"an order of the gate")


def test_no_exception_leaves_all_are_counted_and_nothing_false_is_taken() -> None:
    random = Random(2026)
    hostile = Hostile(random)
    ben, wire = hostile.ben, hostile.wire
    outcomes: Counter[str] = Counter()
    for number in range(PACKETS):
        if number % 500 == 0:
            wire.now_ns += S // 10
            hostile.speak(ben)
            del wire.record[: max(0, len(wire.record) - 2_000)]
        # A signature costs as much as twenty other checks.
        attack = hostile.in_anothers_role if number % 50 == 0 else random.choice(hostile.attacks)
        packet = attack()
        sender = random.choice((ADA, BEN, CY, GATE, "6.6.6.6:6666"))
        taken = ben.packets.take(packet, sender, wire.now_ns)
        if taken.delivered is not None:
            ben.inbox.append(taken.delivered)
        assert sum(map(len, taken.replies)) <= 3 * len(packet) or taken.refused is None
        assert all(fits_reply(len(each), request_bytes=len(packet)) for each in taken.replies)
        is_silent = taken.refused is None and taken.delivered is None
        outcomes[taken.refused or ("handshake" if is_silent else "delivered")] += 1
    assert outcomes.total() == PACKETS
    # Only what was sent to this run, and at most once; and of what was sent, all.
    payloads = ben.payloads
    assert len(payloads) == len(set(payloads))
    assert set(payloads) == hostile.sent
    assert {each.role for each in ben.inbox} == {"worker", "gate"}
    expected = set(Refusal) - {
        Refusal.BROKEN, Refusal.BUSY, Refusal.FOREIGN, Refusal.LOST, Refusal.QUEUE_FULL,
        Refusal.TIMEOUT, Refusal.TOO_OLD, Refusal.UNREACHABLE,
    }  # fmt: skip
    assert {each for each in Refusal if outcomes[each]} >= expected
    assert len(ben.packets.sessions) == 2
    assert len(ben.packets._sent) <= 512
    print(dict(outcomes))


def test_hostile_streams_are_refused_by_a_reason() -> None:
    random = Random(7)
    side = Streams(Keyring(Key(SECRET)), cluster="test", max_bytes=1_000)
    outcomes: Counter[str] = Counter()
    for _ in range(STREAMS):
        ours, theirs = side.hello(random.randbytes(16)), side.hello(random.randbytes(16))
        client = side.meet(ours, theirs.sent, is_server=False)
        assert isinstance(client, Conversation)
        flow = bytearray(ours.sent + b"".join(client.seal(random.randbytes(random.randrange(90)))))
        for _ in range(random.randrange(3)):
            flow[random.randrange(len(flow))] ^= 1 << random.randrange(8)
        del flow[random.choice((len(flow), random.randrange(len(flow) + 1))) :]
        outcomes[_read(side, theirs.sent, bytes(flow), random)] += 1
    assert outcomes.total() == STREAMS
    assert {"taken", "truncated", "unauthentic", "unknown_key", "version"} <= set(outcomes)
    assert outcomes["taken"] < STREAMS // 2


def _read(side: Streams, _theirs: bytes, flow: bytes, random: Random) -> str:
    # Another run of the server: what was recorded is read under another nonce half the time.
    mine = side.hello(_theirs[5:] if random.random() < 0.5 else random.randbytes(16))
    server = side.meet(mine, flow[:HELLO], is_server=True)
    if isinstance(server, Refusal):
        return server
    reader, at = server.reader(), HELLO
    while True:
        length = reader.frame_bytes(flow[at : at + PREFIX])
        if isinstance(length, Refusal):
            return length
        assert length <= 1_000 + 17
        frame = flow[at + PREFIX : at + PREFIX + length]
        if len(frame) < length:
            return Refusal.TRUNCATED
        taken = reader.take(frame)
        if taken is not None:
            return taken if isinstance(taken, Refusal) else "taken"
        at += PREFIX + length


@pytest.mark.anyio
async def test_a_real_socket_counts_every_stray() -> None:
    random = Random(2027)
    hostile = Hostile(random)
    sink = RecordingSink()
    transport = UdpTransport(cluster="test", keyring=fleet_ring(), telemetry=Telemetry(sink))

    def refused() -> int:
        name = "federlib_transport_refused_total"
        counts = (sink.value(name, channel="udp", reason=reason.value) for reason in Refusal)
        return int(sum(counts))

    def handshakes() -> int:
        # A datagram that is no refusal and not delivered is answered, or is the last answer.
        name = "federlib_transport_messages_total"
        return int(sink.value(name, channel="udp", direction="received"))

    async with transport:
        host, port = parse_address(transport.address)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(STRAYS):
                packet = random.choice(hostile.attacks)()
                sock.sendto(packet[:60_000], (host, port))
                if number % 20 == 0:
                    with anyio.fail_after(10):
                        while refused() + handshakes() <= number:
                            await anyio.sleep(0)
            with anyio.fail_after(10):
                while refused() + handshakes() < STRAYS:
                    await anyio.sleep(0)
        assert sink.value("federlib_transport_refused_total", channel="udp", reason="broken") == 0
        assert handshakes() == 0
        assert MAX_PACKET == 1_400
