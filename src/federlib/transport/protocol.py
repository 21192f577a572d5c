"""The `Transport` protocol: datagrams that may be lost, and requests for what is larger.

Everything that comes out of a transport was sent by somebody who holds a key of the cluster,
since this process began, and comes at most once; everything else was refused and counted.
What may still happen to a datagram: it is lost, it is late, or it overtakes another.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import attrs

from federlib._bounds import integer, number
from federlib.errors import Conflict, InvalidInput, OutcomeUnknown

__all__ = [
    "MAX_AMPLIFICATION",
    "MAX_PACKET",
    "MAX_STREAM",
    "Asked",
    "Limits",
    "Received",
    "Transport",
    "fits_reply",
]

MAX_PACKET = 1_400
"""Bytes of one datagram, header and tag included: fits every common path unfragmented.

Source: research/membership-routing §4; memberlist's UDPBufferSize.
"""

MIN_PACKET = 256
"""The lowest setting of `Limits.max_packet`; below it the header is most of a datagram."""

MAX_STREAM = 8 * 1_024 * 1_024
"""Bytes of one request or answer on a stream, if `Limits.max_stream` does not say otherwise."""

MAX_AMPLIFICATION = 3
"""A reply to an address that has not proved itself is at most so many times its request.

Source: RFC 9000 §8.1.
"""


def fits_reply(reply_bytes: int, *, request_bytes: int) -> bool:
    """Say whether a reply may go to an address that has not proved that it is there.

    Whoever writes another's address on a request has the reply sent to that other; so it is
    kept small.
    """
    return reply_bytes <= MAX_AMPLIFICATION * request_bytes


@attrs.frozen(kw_only=True)
class Limits:
    """What a transport holds at most; all that comes from outside is bounded by one of them.

    Attributes:
        max_packet: Bytes of a datagram that is sent, header and tag included; 256 to 1,400.
            What others send is read up to 1,400.
        queue: Datagrams that wait for `receive`, and requests that wait for
            `receive_request`; what comes on top is dropped and counted.
        max_stream: Bytes of one request or answer.
        streams: Streams that others may have open to this process at once. Beyond it the
            oldest that has not proved that it has a key gives way.
        stream_s: How long one stream may take from opening to answer; seconds.
        hello_s: How long a stream may take to prove that it has a key; seconds.
        sessions: Peers that are remembered as confirmed; the longest silent is forgotten.
        session_idle_s: How long a silent one is remembered; seconds, at least 120.

    Raises:
        InvalidInput: A limit is out of its range, or no integer where it counts something.
    """

    max_packet: int = attrs.field(default=MAX_PACKET, validator=integer(MIN_PACKET, MAX_PACKET))
    queue: int = attrs.field(default=1_024, validator=integer(1, 1_000_000))
    max_stream: int = attrs.field(default=MAX_STREAM, validator=integer(1, 1_024 * 1_024 * 1_024))
    streams: int = attrs.field(default=64, validator=integer(1, 65_536))
    stream_s: float = attrs.field(default=10.0, validator=number(0.001, 3_600, "seconds"))
    hello_s: float = attrs.field(default=3.0, validator=number(0.001, 3_600, "seconds"))
    sessions: int = attrs.field(default=16_384, validator=integer(1, 1_000_000))
    session_idle_s: float = attrs.field(
        default=3_600.0, validator=number(120, 30 * 86_400, "seconds")
    )


@attrs.frozen(kw_only=True)
class Received:
    """What came, and who is known to have sent it.

    Attributes:
        payload: The bytes, as they were sent.
        address: Where it came from, ``host:port``; an answer sent there arrives.
        role: The role of the key that it was sealed with, or None where that key has none.
        session: Names the sender's run; "" where nothing proves one.
        is_proven: Whether a key of the cluster sealed it. Plaintext proves nothing.
        is_first: Whether it is the first from this run, or since this run had to be shown who
            we are. Its trip may hold the exchange that confirmed one of both, so a round trip
            measured with it is too long.
    """

    payload: bytes
    address: str
    role: str | None = None
    session: str = ""
    is_proven: bool = False
    is_first: bool = False

    def vouches_for(self, role: str) -> bool:
        """Say whether the sender may speak as `role`.

        Yes if its key is of this role, and if its key has no role at all: then every holder
        of the key is trusted to say what it is.
        """
        return self.role is None or self.role == role


class Asked:
    """A request that came on a stream and waits for its answer.

    Attributes:
        received: The request, and who is known to have sent it.
    """

    def __init__(
        self, received: Received, answer: Callable[[bytes], None], *, max_bytes: int
    ) -> None:
        self.received: Received = received
        self._answer: Callable[[bytes], None] | None = answer
        self._max_bytes = max_bytes

    def __repr__(self) -> str:
        return f"Asked(address={self.received.address!r}, bytes={len(self.received.payload)})"

    def answer(self, payload: bytes) -> None:
        """Send the answer; at once, and without hearing whether it arrives.

        Raises:
            InvalidInput: It is no bytes, or longer than `Limits.max_stream`; another may still
                be given.
            Conflict: An answer was given already.
        """
        payload = check_stream(payload, max_bytes=self._max_bytes)
        if self._answer is None:
            raise Conflict("stream request", expected="not answered yet", actual="answered")
        answer, self._answer = self._answer, None
        answer(payload)


@runtime_checkable
class Transport(Protocol):
    """Carries messages between processes; open it with `async with`.

    For the tasks of one event loop. Every call may be cancelled; a cancelled `receive` loses
    nothing.
    """

    @property
    def address(self) -> str:
        """Where it listens, ``host:port``, once it is open."""
        ...

    @property
    def max_payload(self) -> int:
        """Bytes that one datagram carries at most."""
        ...

    async def send(self, address: str, payload: bytes) -> None:
        """Send one datagram; whether it arrives nobody says.

        Raises:
            InvalidInput: The address is none, or the payload is longer than `max_payload`.
            Unavailable: The transport is not open.
        """
        ...

    async def receive(self) -> Received:
        """Wait for the next datagram.

        Raises:
            Unavailable: The transport is not open.
        """
        ...

    async def request(self, address: str, payload: bytes, *, timeout_s: float) -> Received:
        """Send what may be larger than a datagram, and wait for its answer.

        Raises:
            InvalidInput: The address is none, the payload is longer than `Limits.max_stream`,
                or `timeout_s` is no number or negative.
            Unavailable: Nobody was reached, or the transport is not open; nothing was sent.
            OutcomeUnknown: The request left, and no answer came that can be trusted, or the
                transport was closed.
        """
        ...

    async def receive_request(self) -> Asked:
        """Wait for the next request of another.

        Raises:
            Unavailable: The transport is not open.
        """
        ...

    async def __aenter__(self) -> Self:
        """Open it."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Close it; whoever waits is told. Where it is closed already, nothing happens."""
        ...


def check_datagram(payload: bytes, *, max_payload: int) -> bytes:
    """Return a payload that fits into one datagram.

    Raises:
        InvalidInput: It is no bytes, or too long.
    """
    payload = _bytes_of(payload)
    if len(payload) > max_payload:
        raise InvalidInput(
            "payload",
            expected=f"at most {max_payload} bytes in a datagram, or `request` for more",
            found=len(payload),
        )
    return payload


def check_stream(payload: bytes, *, max_bytes: int) -> bytes:
    """Return a payload that a stream carries.

    Raises:
        InvalidInput: It is no bytes, or too long.
    """
    payload = _bytes_of(payload)
    if len(payload) > max_bytes:
        raise InvalidInput(
            "payload", expected=f"at most {max_bytes} bytes on a stream", found=len(payload)
        )
    return payload


def check_timeout(timeout_s: float) -> float:
    """Return how long an answer may be waited for; seconds.

    Raises:
        InvalidInput: It is no number, or negative.
    """
    # NaN compares false with everything, and so is refused here.
    if type(timeout_s) not in {int, float} or not timeout_s >= 0:
        raise InvalidInput("timeout_s", expected="seconds, 0 or more", found=timeout_s)
    return timeout_s


def closed_while_asking(address: str) -> OutcomeUnknown:
    """Make what is raised to whoever waits for an answer when its transport is closed."""
    return OutcomeUnknown(
        f"request to {address}", transaction_id=None, reason="the transport was closed"
    )


def _bytes_of(payload: bytes) -> bytes:
    # A bytearray that its owner changes must not change what is under way.
    if isinstance(payload, bytes | bytearray | memoryview):
        return bytes(payload)
    raise InvalidInput("payload", expected="bytes", found=type(payload).__name__)
