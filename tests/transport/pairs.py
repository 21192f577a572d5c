"""Runs of processes joined by a pretend wire: no socket, no clock."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from federlib.transport import Key, Keyring, Limits, Received
from federlib.transport.packets import SealedPackets, Taken
from transport.keys import SECRET

S = 1_000_000_000
ADA = "10.0.0.1:7000"
BEN = "10.0.0.2:7000"
MALLORY = "10.6.6.6:6666"


class Run:
    """One run of one process."""

    drawn = 0

    def __init__(
        self,
        address: str,
        *,
        keyring: Keyring | None = None,
        cluster: str = "test",
        limits: Limits | None = None,
    ) -> None:
        Run.drawn += 1
        self.address = address
        self.keyring = keyring or Keyring(Key(SECRET))
        self.packets = SealedPackets(
            self.keyring,
            cluster=cluster,
            session=b"s" + Run.drawn.to_bytes(11, "big"),
            cookie_secret=b"c" + Run.drawn.to_bytes(31, "big"),
            limits=limits or Limits(),
        )
        self.inbox: list[Received] = []
        self.refused: Counter[str] = Counter()

    @property
    def payloads(self) -> list[bytes]:
        return [each.payload for each in self.inbox]


class Wire:
    """Carries datagrams in order, writes them all down, and loses what it is told."""

    def __init__(self, *runs: Run) -> None:
        self.now_ns = 1_000 * S
        self.runs = {run.address: run for run in runs}
        self.record: list[tuple[str, str, bytes]] = []
        self.flying: deque[tuple[str, str, bytes]] = deque()
        self.loses: Callable[[str, str, bytes], bool] = lambda _sender, _to, _packet: False

    def send(self, sender: Run, to: Run, payload: bytes) -> bytes:
        """Send a payload and let everything that follows from it happen."""
        packet = self.launch(sender, to, payload)
        self.settle()
        return packet

    def launch(self, sender: Run, to: Run, payload: bytes) -> bytes:
        """Send a payload; it stays in flight."""
        packet = sender.packets.seal(payload, to.address, self.now_ns)
        self._fly(sender.address, to.address, packet)
        return packet

    def inject(self, sender: str, to: Run, packet: bytes) -> Taken:
        """Let anybody's bytes arrive; what follows from it happens."""
        taken = self._arrive(sender, to, packet)
        self.settle()
        return taken

    def settle(self) -> None:
        while self.flying:
            sender, to, packet = self.flying.popleft()
            if to in self.runs:
                self._arrive(sender, self.runs[to], packet)

    def _arrive(self, sender: str, to: Run, packet: bytes) -> Taken:
        taken = to.packets.take(packet, sender, self.now_ns)
        if taken.delivered is not None:
            to.inbox.append(taken.delivered)
        if taken.refused is not None:
            to.refused[taken.refused] += 1
        for reply in taken.replies:
            self._fly(to.address, sender, reply)
        return taken

    def _fly(self, sender: str, to: str, packet: bytes) -> None:
        self.record.append((sender, to, packet))
        if not self.loses(sender, to, packet):
            self.flying.append((sender, to, packet))
