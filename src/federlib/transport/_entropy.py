"""What this package draws from the system: secrets of operators, and nonces of a start."""

from __future__ import annotations

import base64
import secrets  # noqa: TID251 (the one place here that draws)

from federlib.transport._aead import signer_of
from federlib.transport.keyring import SECRET_BYTES

__all__ = ["draw", "new_secret", "new_signing_key"]


def draw(size: int) -> bytes:
    """Draw random bytes."""
    return secrets.token_bytes(size)


def new_secret() -> str:
    """Draw a secret for `Key`; base64, for a file that only the fleet can read."""
    return base64.b64encode(draw(SECRET_BYTES)).decode()


def new_signing_key() -> tuple[str, str]:
    """Draw a pair for a role: what signs, for `Key(sign=…)`, and what verifies, for the others.

    Raises:
        MissingExtra: `cryptography` is not there.
    """
    private = draw(SECRET_BYTES)
    _, public = signer_of(private)
    return base64.b64encode(private).decode(), base64.b64encode(public).decode()
