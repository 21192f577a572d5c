"""What records are made of: text, names, instants, tokens, JSON."""

from __future__ import annotations

import unicodedata

import msgspec
from hypothesis import strategies as st

from federlib.skewclock import HlcTimestamp
from federlib.skewclock.timestamp import MAX_TIMESTAMP

__all__ = [
    "INT64",
    "any_text",
    "booleans",
    "counts",
    "hlc_timestamps",
    "instants",
    "json_values",
    "plain_text",
    "raw_json",
    "seconds",
    "tokens",
]

INT64 = 2**63 - 1

_SHORT = 20
_WIDE = ("a", "é", "漢", "🙂")  # one to four bytes of UTF-8

booleans = st.booleans()


def plain_text(
    *, max_bytes: int, min_size: int = 0, max_size: int | None = None, without: str = ""
) -> st.SearchStrategy[str]:
    """Generate text in NFC without control characters, the longest allowed among it.

    Args:
        max_bytes: Of its UTF-8.
        min_size: Characters.
        max_size: Characters.
        without: Characters that it must not hold.
    """
    most = max_bytes if max_size is None else max_size
    # What would end a line in a log is in no name of ours.
    letters = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters=without)
    short = st.text(letters, min_size=min_size, max_size=min(_SHORT, most))
    longest = st.sampled_from(_WIDE).map(lambda c: c * min(most, max_bytes // len(c.encode())))
    whole = short.map(lambda text: unicodedata.normalize("NFC", text))
    # Normal forms may be longer than what they were made of.
    fitting = whole.filter(lambda text: len(text.encode()) <= max_bytes and len(text) <= most)
    return fitting | longest


def any_text(*, max_size: int, min_size: int = 0) -> st.SearchStrategy[str]:
    """Generate whatever UTF-8 can hold, line breaks and control characters included."""
    return st.text(
        st.characters(exclude_categories=["Cs"]), min_size=min_size, max_size=min(_SHORT, max_size)
    )


def counts(least: int = 0, most: int = INT64) -> st.SearchStrategy[int]:
    """Generate whole numbers that a signed 64-bit column holds."""
    return st.integers(least, most)


def tokens() -> st.SearchStrategy[int]:
    """Generate fencing tokens: 1 to the largest int64."""
    return counts(1)


def instants() -> st.SearchStrategy[int]:
    """Generate Unix nanoseconds to which any ttl may be added."""
    return counts(0, INT64 // 2)


def seconds(least: float, most: float) -> st.SearchStrategy[float]:
    """Generate finite seconds between two bounds, both included."""
    return st.floats(least, most, allow_nan=False, allow_infinity=False)


def hlc_timestamps() -> st.SearchStrategy[HlcTimestamp]:
    """Generate timestamps of hybrid logical clocks, the smallest and the largest among them."""
    return counts(0, MAX_TIMESTAMP).map(HlcTimestamp)


def json_values(*, max_leaves: int = 8) -> st.SearchStrategy[object]:
    """Generate what JSON can hold and federlib accepts: payloads, results, single arguments.

    Args:
        max_leaves: How many values inside each other at most.
    """
    text = any_text(max_size=_SHORT)
    numbers = st.integers(-INT64 - 1, INT64) | st.floats(allow_nan=False, allow_infinity=False)
    leaves: st.SearchStrategy[object] = st.none() | booleans | numbers | text
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=max_leaves,
    )


def raw_json() -> st.SearchStrategy[msgspec.Raw]:
    """Generate JSON as records carry it: encoded, keys sorted."""
    return json_values().map(lambda value: msgspec.Raw(msgspec.json.encode(value, order="sorted")))
