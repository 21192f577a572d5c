"""Keys of the tests, the same in each run."""

from __future__ import annotations

import base64

from federlib.transport._aead import signer_of

SECRET = bytes(range(32))
OTHER = bytes(range(1, 33))
SIGN = bytes(range(2, 34))
VERIFY = base64.b64encode(signer_of(SIGN)[1]).decode()
