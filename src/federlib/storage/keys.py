"""Keys: what is allowed, and how foreign text becomes one safe segment.

Source: design §4, portable limits.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from urllib.parse import quote, unquote

from federlib.errors import InvalidInput

__all__ = ["MAX_KEY_BYTES", "check_key", "check_prefix", "check_text", "segment", "unsegment"]

MAX_KEY_BYTES = 512
_ESCAPED = frozenset("/%")


def check_key(key: str) -> str:
    """Return `key` if it is a legal key.

    Legal: 1 to 512 bytes of UTF-8 in NFC; segments separated by single `/`, none empty,
    none `.` or `..`; no NUL or other control character.

    Raises:
        InvalidInput: It is not; the sentence says which rule was broken.
    """
    if not isinstance(key, str):
        # Not hashable, perhaps.
        raise InvalidInput("key", expected="text", found=key)
    return _checked_key(key)


# The few keys that a process works with come again and again.
@lru_cache(maxsize=4_096)
def _checked_key(key: str) -> str:
    check_text("key", key)
    if not key:
        raise InvalidInput("key", expected="at least one character", found=key)
    for part in key.split("/"):
        if part in ("", ".", ".."):
            raise InvalidInput("key", expected="no empty, '.' or '..' segment", found=key)
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` if some legal key may start with it.

    Raises:
        InvalidInput: It is too long, not NFC, or has a control character.
    """
    return check_text("prefix", prefix)


def check_text(field: str, text: str) -> str:
    """Return `text` if it is NFC, without control characters and at most 512 bytes of UTF-8.

    Args:
        field: How to call it in an error.
        text: May be empty.
    Raises:
        InvalidInput: It is not.
    """
    if not isinstance(text, str):
        raise InvalidInput(field, expected="text", found=text)
    # Characters first: a 10 MB text should not be encoded only to be refused.
    if len(text) > MAX_KEY_BYTES:
        raise InvalidInput(field, expected=f"at most {MAX_KEY_BYTES} bytes", found=text)
    if text.isascii():
        if not text.isprintable():
            raise InvalidInput(field, expected="no control character", found=text)
        return text
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput(field, expected="text that UTF-8 can hold", found=text) from None
    if size > MAX_KEY_BYTES:
        raise InvalidInput(field, expected=f"at most {MAX_KEY_BYTES} bytes", found=text)
    if any(unicodedata.category(c) == "Cc" for c in text):
        raise InvalidInput(field, expected="no control character", found=text)
    if not unicodedata.is_normalized("NFC", text):
        raise InvalidInput(field, expected="Unicode normal form NFC", found=text)
    return text


def segment(text: str, *, field: str = "name", max_bytes: int = 200) -> str:
    """Turn a name that people chose into one key segment, one to one.

    `/` and `%` are percent-encoded, and so is a leading `.` or `~` (`~` is kept for
    federlib's own records). Everything else stays readable.

    Args:
        text: Any non-empty NFC text without control characters.
        field: How to call it in an error.
        max_bytes: Limit of the encoded segment, so that a whole key stays in its limit.
    Raises:
        InvalidInput: Empty, too long, not NFC, or with a control character.
    """
    if not isinstance(text, str):
        # Not hashable, perhaps.
        raise InvalidInput(field, expected="text", found=text)
    return _segment(text, field, max_bytes)


# The few names that a process works with come again and again.
@lru_cache(maxsize=1_024)
def _segment(text: str, field: str, max_bytes: int) -> str:
    check_text(field, text)
    if not text:
        raise InvalidInput(field, expected="at least one character", found=text)
    out = _escape(text, _ESCAPED)
    if not unicodedata.is_normalized("NFC", out):
        # An accent behind '/' would melt into the last letter of '%2F': escape it, too.
        out = _escape(text, _ESCAPED | {c for c in text if unicodedata.combining(c)})
    if len(out.encode()) > max_bytes:
        raise InvalidInput(field, expected=f"at most {max_bytes} bytes", found=text)
    return out


def _escape(text: str, escaped: frozenset[str]) -> str:
    first = f"%{ord(text[0]):02X}" if text[0] in ".~" else ""
    rest = text[1:] if first else text
    return first + "".join(quote(c, safe="") if c in escaped else c for c in rest)


def unsegment(part: str) -> str:
    """Undo `segment`."""
    return unquote(part)
