"""Keys of the tests, the same in each run."""

from __future__ import annotations

import base64

from federlib.transport import Key
from federlib.transport._aead import signer_of

SECRET = bytes(range(32))
OTHER = bytes(range(1, 33))
SIGN = bytes(range(2, 34))
VERIFY = base64.b64encode(signer_of(SIGN)[1]).decode()


class Traitor(Key):
    """A key that can only read, in the hands of somebody who seals with it all the same."""

    @property
    def can_seal(self) -> bool:
        return True

    def signed(self, payload: bytes, associated: bytes) -> bytes:
        return bytes(64) + payload
