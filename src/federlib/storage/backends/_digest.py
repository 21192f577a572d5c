"""What tells one transaction from another, for receipts."""

from __future__ import annotations

import hashlib

import msgspec

from federlib.storage.protocol import Transaction

__all__ = ["digest_of"]

_encoder = msgspec.msgpack.Encoder()


def digest_of(transaction: Transaction) -> bytes:
    """Return 16 bytes; other transactions have others."""
    return hashlib.blake2b(_encoder.encode(transaction), digest_size=16).digest()
