"""Three processes on a wire that somebody plays with: whatever he does, what is taken is fresh.

A model keeps who sent what, to which address, and when; every datagram that is taken is held
against it.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from federlib.transport import Key, Keyring
from transport.keys import OTHER, SECRET
from transport.pairs import Run, S

NODES = st.integers(0, 2)
ADDRESSES = tuple(f"10.0.0.{number}:7000" for number in range(1, 4))
VOUCHED_NS = 2 * S
ANY = st.integers(0, 2**16)


class Meeting(RuleBasedStateMachine):
    """Sends, restarts and key changes of the honest; everything else is the wire's."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 1_000 * S
        self.runs = [self.new_run(number) for number in range(3)]
        self.started_ns = [self.now_ns] * 3
        self.flying: list[tuple[str, str, bytes]] = []
        self.record: list[bytes] = []
        self.sent: dict[bytes, tuple[str, str, int]] = {}

    def new_run(self, number: int) -> Run:
        ring = Keyring(Key(SECRET), [Key(OTHER)])
        return Run(ADDRESSES[number], keyring=ring)

    def put(self, sender: str, to: str, packet: bytes) -> None:
        self.flying.append((sender, to, packet))
        self.record.append(packet)

    def arrive(self, sender: str, to: str, packet: bytes) -> None:
        number = ADDRESSES.index(to)
        run = self.runs[number]
        taken = run.packets.take(packet, sender, self.now_ns)
        for reply in taken.replies:
            self.put(to, sender, reply)
        if taken.delivered is None:
            return
        payload = taken.delivered.payload
        assert payload not in run.payloads, "taken twice"
        run.inbox.append(taken.delivered)
        from_, _, sent_ns = self.sent[payload]
        assert sent_ns >= self.started_ns[number] - VOUCHED_NS, "sent to an earlier run"
        assert taken.delivered.session != ""
        # The wire may put another's address on it, but only one that has proved itself.
        assert taken.delivered.address == from_

    def settle(self) -> None:
        while self.flying:
            self.arrive(*self.flying.pop(0))

    @rule(sender=NODES, to=NODES)
    def send(self, sender: int, to: int) -> None:
        if sender == to:
            return
        payload = b"%d" % len(self.sent)
        self.sent[payload] = (ADDRESSES[sender], ADDRESSES[to], self.now_ns)
        packet = self.runs[sender].packets.seal(payload, ADDRESSES[to], self.now_ns)
        self.put(ADDRESSES[sender], ADDRESSES[to], packet)

    @rule(which=ANY)
    def deliver(self, which: int) -> None:
        if self.flying:
            self.arrive(*self.flying.pop(which % len(self.flying)))

    @rule()
    def deliver_all(self) -> None:
        self.settle()

    @rule(which=ANY)
    def lose(self, which: int) -> None:
        if self.flying:
            self.flying.pop(which % len(self.flying))

    @rule(which=ANY, sender=NODES, to=NODES)
    def replay(self, which: int, sender: int, to: int) -> None:
        """Deliver anything that ever went by, to anybody, in anybody's name."""
        if self.record:
            packet = self.record[which % len(self.record)]
            self.arrive(ADDRESSES[sender], ADDRESSES[to], packet)

    @rule(number=NODES)
    def restart(self, number: int) -> None:
        self.runs[number] = self.new_run(number)
        self.started_ns[number] = self.now_ns

    @rule(number=NODES, key=st.sampled_from([SECRET, OTHER]))
    def use(self, number: int, key: bytes) -> None:
        self.runs[number].keyring.use(Key(key).key_id)

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 31.0, 61.0, 4_000.0]))
    def wait(self, seconds: float) -> None:
        self.now_ns += int(seconds * S)

    @rule(sender=NODES, to=NODES)
    def talk_while_the_wire_is_left_alone(self, sender: int, to: int) -> None:
        if sender == to:
            return
        self.settle()
        self.send(sender, to)
        payload = b"%d" % (len(self.sent) - 1)
        self.settle()
        assert payload in self.runs[to].payloads, "a wire in order carries what is sent"

    @invariant()
    def no_more_is_known_than_there_is(self) -> None:
        assert all(len(run.packets.sessions) <= len(self.record) for run in self.runs)


Meeting.TestCase.settings = settings(
    max_examples=4_000 if os.environ.get("FEDERLIB_SOAK") else 150,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestMeeting = Meeting.TestCase
