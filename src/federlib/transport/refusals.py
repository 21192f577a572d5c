"""Why something was not taken, as data, and how it is counted and told."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from federlib.telemetry import Metric, Telemetry

__all__ = ["LOG_EVERY_S", "MESSAGES", "REFUSED", "Channel", "Refusal", "Tally"]

Channel = Literal["udp", "tcp", "memory"]

LOG_EVERY_S = 60.0
"""One line a reason and minute: a flood fills counters, not disks; seconds."""

REFUSED = Metric(
    "federlib_transport_refused_total",
    "counter",
    "Messages refused or dropped, by channel and reason.",
    ("channel", "reason"),
)
MESSAGES = Metric(
    "federlib_transport_messages_total",
    "counter",
    "Messages sent, and messages received and taken.",
    ("channel", "direction"),
)
BYTES = Metric(
    "federlib_transport_bytes_total",
    "counter",
    "Bytes of them; on UDP with their envelopes.",
    ("channel", "direction"),
)


class Refusal(StrEnum):
    """Why a message was not taken, or not sent."""

    BAD_COOKIE = "bad_cookie"
    """An answer to a challenge that this process did not make, or made too long ago."""
    BROKEN = "broken"
    """A mistake of ours while reading it."""
    BUSY = "busy"
    """As many streams are open as may be."""
    FOREIGN = "foreign"
    """From an address outside the networks that are allowed."""
    LOST = "lost"
    """Drawn by the memory hub, or nobody listens there."""
    MALFORMED = "malformed"
    """The envelope is none, although its version is known."""
    OVERSIZE = "oversize"
    """Larger than a message of its channel may be."""
    PLAINTEXT = "plaintext"
    """Not sealed, and keys are used here; or sealed, and none are."""
    QUEUE_FULL = "queue_full"
    """It was in order, but nobody took what had come before."""
    REFLECTED = "reflected"
    """Our own, sent back to us."""
    REPLAYED = "replayed"
    """It has come before."""
    STALE_CHALLENGE = "stale_challenge"
    """It asks about another run than this one, or about what was not sent there just now."""
    TIMEOUT = "timeout"
    """A stream that did not end in time."""
    TOO_OLD = "too_old"
    """So far behind that it may have come before."""
    TRUNCATED = "truncated"
    """Its end is missing."""
    UNAUTHENTIC = "unauthentic"
    """Its tag is wrong: another key, cluster, channel or content."""
    UNCONFIRMED = "unconfirmed"
    """Of a run or address that is new here: it was challenged. Its sender sends it again."""
    UNKNOWN_KEY = "unknown_key"
    """Sealed with a key that is not in the keyring."""
    UNREACHABLE = "unreachable"
    """The system did not take it for sending."""
    VERSION = "version"
    """An envelope of another version."""
    WRONG_ROLE = "wrong_role"
    """Its key is of a role whose signature it lacks."""


# The first datagram of every pair of peers, and what a stop or a full line brings about.
_ORDINARY = {Refusal.LOST, Refusal.UNCONFIRMED}


class Tally:
    """Counts what was refused and logs it, at most once a reason and minute.

    Args:
        telemetry: Where numbers and events go.
        channel: Of the messages.
    """

    def __init__(self, telemetry: Telemetry, channel: Channel) -> None:
        self._telemetry = telemetry
        self._channel = channel
        self._quiet_until_s: dict[Refusal, float] = {}
        self._unsaid: dict[Refusal, int] = {}

    def refuse(self, reason: Refusal, *, now_s: float) -> None:
        """Count one; nothing of the message is logged, for it may be anybody's."""
        self._telemetry.emit(REFUSED, channel=self._channel, reason=reason.value)
        if reason in _ORDINARY:
            return
        count = self._unsaid.get(reason, 0) + 1
        if now_s < self._quiet_until_s.get(reason, now_s):
            self._unsaid[reason] = count
            return
        self._unsaid[reason] = 0
        self._quiet_until_s[reason] = now_s + LOG_EVERY_S
        self._telemetry.log(
            "warning",
            "transport_refused",
            channel=self._channel,
            reason=reason.value,
            count=count,
        )

    def moved(self, direction: Literal["sent", "received"], size: int) -> None:
        """Count a message that was sent or taken, and its bytes."""
        self._telemetry.emit(MESSAGES, channel=self._channel, direction=direction)
        self._telemetry.emit(BYTES, float(size), channel=self._channel, direction=direction)
