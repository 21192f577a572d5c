"""Timestamps of hybrid logical clocks: one integer each, whose order is time's order.

The upper 48 bits are milliseconds since the Unix epoch, the lower 16 count the events of
one millisecond. Below 2^63, so that a signed 64-bit column holds it: good until the year 6429.

Source: Kulkarni et al. 2014 (48 + 16 bits); design §3, skewclock.
"""

from __future__ import annotations

import re
from typing import Annotated, NewType

import msgspec

from federlib.errors import InvalidInput

__all__ = [
    "LOGICAL_BITS",
    "MAX_LOGICAL",
    "MAX_TIMESTAMP",
    "NS_PER_MS",
    "HlcTimestamp",
    "StoredHlc",
    "check_hlc",
    "hlc_bytes",
    "hlc_from_bytes",
    "hlc_from_text",
    "hlc_logical",
    "hlc_physical_ns",
    "hlc_text",
    "hlc_timestamp",
]

HlcTimestamp = NewType("HlcTimestamp", int)
"""A plain integer at run time, so that it costs nothing to make, to compare and to store."""

LOGICAL_BITS = 16
MAX_LOGICAL = (1 << LOGICAL_BITS) - 1
MAX_TIMESTAMP = 2**63 - 1
NS_PER_MS = 1_000_000

StoredHlc = Annotated[HlcTimestamp, msgspec.Meta(ge=0, le=MAX_TIMESTAMP)]
"""The type of a record's field: what is decoded is checked to be a timestamp."""

_MAX_MS = MAX_TIMESTAMP >> LOGICAL_BITS
# The first digit stops at 7: the sign bit of 64 is never used.
_TEXT = re.compile(r"[0-7][0-9a-f]{11}-[0-9a-f]{4}")


def hlc_timestamp(physical_ns: int, logical: int = 0) -> HlcTimestamp:
    """Build a timestamp; what `physical_ns` has below a millisecond is cut off.

    Args:
        physical_ns: Unix nanoseconds, until the year 6429.
        logical: 0 to 65,535.
    Raises:
        InvalidInput: One of them is out of range.
    """
    # `type`, because True is an int too.
    if type(physical_ns) is not int or not 0 <= physical_ns // NS_PER_MS <= _MAX_MS:
        raise InvalidInput("physical_ns", expected="years 1970 to 6429", found=physical_ns)
    if type(logical) is not int or not 0 <= logical <= MAX_LOGICAL:
        raise InvalidInput("logical", expected=f"0 to {MAX_LOGICAL}", found=logical)
    return HlcTimestamp(physical_ns // NS_PER_MS << LOGICAL_BITS | logical)


def check_hlc(value: object, *, field: str = "timestamp") -> HlcTimestamp:
    """Return `value` if it can be a timestamp.

    Raises:
        InvalidInput: Not an integer from 0 to the largest int64.
    """
    if type(value) is not int or not 0 <= value <= MAX_TIMESTAMP:
        raise InvalidInput(field, expected=f"an integer from 0 to {MAX_TIMESTAMP}", found=value)
    return HlcTimestamp(value)


def hlc_physical_ns(timestamp: HlcTimestamp) -> int:
    """Return the physical part; Unix nanoseconds, whole milliseconds."""
    return (timestamp >> LOGICAL_BITS) * NS_PER_MS


def hlc_logical(timestamp: HlcTimestamp) -> int:
    """Return the logical part; 0 to 65,535."""
    return timestamp & MAX_LOGICAL


def hlc_text(timestamp: HlcTimestamp) -> str:
    """Return 17 characters whose order as text is time's order: `018bcfe5687b-0001`.

    Twelve hex digits of milliseconds and four of the logical part.

    Raises:
        InvalidInput: No timestamp: its text would have another length, or another order.
    """
    check_hlc(timestamp)
    return f"{timestamp >> LOGICAL_BITS:012x}-{timestamp & MAX_LOGICAL:04x}"


def hlc_from_text(text: str) -> HlcTimestamp:
    """Read what `hlc_text` wrote, and nothing else: one timestamp has one spelling.

    Raises:
        InvalidInput: Anything else, upper case and blanks included.
    """
    if not _is_text(text):
        raise InvalidInput("timestamp", expected="text like 018bcfe5687b-0001", found=text)
    return HlcTimestamp(int(text[:12], 16) << LOGICAL_BITS | int(text[13:], 16))


def hlc_bytes(timestamp: HlcTimestamp) -> bytes:
    """Return 8 bytes, the highest first: their order as bytes is time's order.

    Raises:
        InvalidInput: No timestamp.
    """
    check_hlc(timestamp)
    return timestamp.to_bytes(8, "big")


def hlc_from_bytes(content: bytes) -> HlcTimestamp:
    """Read what `hlc_bytes` wrote.

    Raises:
        InvalidInput: Not 8 bytes, or the first bit is set.
    """
    if not _is_bytes(content):
        raise InvalidInput("timestamp", expected="8 bytes below 2^63", found=content)
    return HlcTimestamp(int.from_bytes(content, "big"))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and _TEXT.fullmatch(value) is not None


def _is_bytes(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == 8 and value[0] <= 0x7F
