"""`Key` and `Keyring`: what messages are sealed with, and what is believed.

Keys are changed without a pause in three steps, each on all processes before the next:

    keyring.install(new)      # all can read it
    keyring.use(new.key_id)   # all seal with it
    keyring.remove(old)       # nobody reads the old one any more
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import NoReturn

from federlib.errors import Conflict, InvalidInput
from federlib.transport._aead import (
    Cipher,
    Signer,
    Verifier,
    derive,
    is_signed,
    make_cipher,
    signer_of,
    verifier_of,
)
from federlib.transport.envelope import KEY_ID, SIGNATURE

__all__ = ["MAX_KEYS", "SECRET_BYTES", "Key", "Keyring"]

SECRET_BYTES = 32
"""Of a secret and of both halves of a signing key."""

MAX_KEYS = 32
"""Of one keyring; three roles, each with an old and a new key, need six."""

_MAX_ROLE = 64
_PURPOSE = b"federlib transport 1 "


class Key:
    """A secret of the cluster, and what its holders may say.

    With a role alone, every process that can read messages of that role can also make them:
    that catches a mistake, not a traitor. With a signing key too, only its holders make them:
    hand the private half to the processes of the role, `verify` to all. One secret may serve
    keys of several roles.

    Args:
        secret: 32 random bytes, or their base64, as `new_secret` makes them.
        role: What a message sealed with it proves its sender to be, or None.
        sign: The private half of an Ed25519 key, 32 bytes or base64: this process may speak
            for the role.
        verify: The public half: this process can only read. Not with `sign`.

    Attributes:
        key_id: Names it; derived, so it tells nothing of the secret.
        wire_id: The same, 4 bytes, as it stands on the wire.
        role: As given.
        verify: The public half, base64, or None.

    Raises:
        InvalidInput: Something is not 32 bytes, or the role is empty, too long or not text
            that can be printed.
        MissingExtra: `cryptography` is not there, or lacks AES-GCM-SIV.
    """

    def __init__(
        self,
        secret: bytes | str,
        *,
        role: str | None = None,
        sign: bytes | str | None = None,
        verify: bytes | str | None = None,
    ) -> None:
        self._secret = _bytes_of("secret", secret)
        if role is not None and not _is_role(role):
            raise InvalidInput("role", expected="1 to 64 printable characters", found=role)
        if (sign is not None or verify is not None) and role is None:
            raise InvalidInput("role", expected="one, with a signing key", found=None)
        if sign is not None and verify is not None:
            raise InvalidInput("verify", expected="sign or verify, not both", found="both")
        self.role: str | None = role
        self._signer: Signer | None = None
        self._verifier: Verifier | None = None
        public = b""
        if sign is not None:
            self._signer, public = signer_of(_bytes_of("sign", sign))
        elif verify is not None:
            public = _bytes_of("verify", verify)
        if public:
            self._verifier = verifier_of(public)
        self.verify: str | None = base64.b64encode(public).decode() if public else None
        # Role and public half go into all that is derived: who disagrees on them has
        # another key.
        self._facts = b"%d:%b%b" % (len((role or "").encode()), (role or "").encode(), public)
        self.wire_id: bytes = derive(
            self._secret, salt=b"", info=_PURPOSE + b"key id " + self._facts, size=KEY_ID
        )
        self.key_id: str = self.wire_id.hex()
        self.cipher(b"", b"probe")  # so that a missing cipher shows now

    def __repr__(self) -> str:
        return f"Key(key_id={self.key_id!r}, role={self.role!r})"

    def __reduce__(self) -> NoReturn:
        raise InvalidInput("key", expected="to stay in its process", found=self.key_id)

    @property
    def can_seal(self) -> bool:
        """Whether this process may seal with it; a key that only verifies cannot."""
        return self._verifier is None or self._signer is not None

    @property
    def signature_bytes(self) -> int:
        """How long the signature of each message is; 0 without a signing key."""
        return 0 if self._verifier is None else SIGNATURE

    def cipher(self, salt: bytes, purpose: bytes) -> Cipher:
        """Derive the cipher of one session or stream."""
        info = _PURPOSE + purpose + b" " + self._facts
        return make_cipher(derive(self._secret, salt=salt, info=info))

    def signed(self, payload: bytes, associated: bytes) -> bytes:
        """Return the payload behind its signature, or as it is where the key has none."""
        if self._signer is None:
            return payload
        return self._signer.sign(_signed_part(payload, associated)) + payload

    def unsigned(self, body: bytes, associated: bytes) -> bytes | None:
        """Return the payload of a body; None where its signature is wrong or missing."""
        if self._verifier is None:
            return body
        signature, payload = body[:SIGNATURE], body[SIGNATURE:]
        is_good = len(signature) == SIGNATURE and is_signed(
            self._verifier, signature, _signed_part(payload, associated)
        )
        return payload if is_good else None


class Keyring:
    """The keys of one process: it reads with all of them and seals with one.

    For the tasks of one event loop. A change counts for the next message.

    Args:
        use: The key to seal with.
        read: Others, whose messages are believed too.

    Raises:
        InvalidInput: One of them is no `Key`, there are more than 32, or the one to seal with
            can only read.
    """

    def __init__(self, use: Key, read: Iterable[Key] = ()) -> None:
        self._keys: dict[bytes, Key] = {}
        for key in (use, *read):
            self.install(key)
        self._primary = use
        self.use(use.key_id)

    def __repr__(self) -> str:
        return f"Keyring(use={self._primary!r}, keys={list(self._keys.values())!r})"

    @property
    def primary(self) -> Key:
        """The key to seal with."""
        return self._primary

    @property
    def keys(self) -> tuple[Key, ...]:
        """All of them, in the order of their coming."""
        return tuple(self._keys.values())

    def get(self, key_id: bytes) -> Key | None:
        """Find a key by its id as it is on the wire."""
        return self._keys.get(key_id)

    def install(self, key: Key) -> None:
        """Believe a key too; it is not sealed with yet. Again is no error.

        Raises:
            InvalidInput: It is no `Key`, or there are 32 already.
        """
        if not isinstance(key, Key):
            # What was given may be the secret itself: it is not shown.
            raise InvalidInput("key", expected="Key(secret)", found=type(key).__name__)
        if key.wire_id not in self._keys and len(self._keys) >= MAX_KEYS:
            raise InvalidInput(
                "key", expected=f"at most {MAX_KEYS} in a keyring; remove one", found=key
            )
        # A key that can sign takes the place of the same key that could only read.
        if not (key.wire_id in self._keys and self._keys[key.wire_id].can_seal):
            self._keys[key.wire_id] = key

    def use(self, key_id: str) -> None:
        """Seal with a key that is installed, from the next message on.

        Raises:
            InvalidInput: It is not installed, or it can only read.
        """
        key = self._named(key_id)
        if not key.can_seal:
            raise InvalidInput("key_id", expected="a key with its private half (sign=…)", found=key)
        self._primary = key

    def remove(self, key_id: str) -> None:
        """Believe a key no more.

        Raises:
            InvalidInput: It is not installed.
            Conflict: It is the one that is sealed with.
        """
        key = self._named(key_id)
        if key.wire_id == self._primary.wire_id:
            raise Conflict(
                f"key {key_id}",
                expected="another one in use",
                actual="in use",
                hint="call use() with the new key first, on all processes",
            )
        del self._keys[key.wire_id]

    def _named(self, key_id: str) -> Key:
        for key in self._keys.values():
            if key.key_id == key_id:
                return key
        raise InvalidInput("key_id", expected="a key that is installed", found=key_id)


def _is_role(role: object) -> bool:
    return isinstance(role, str) and 0 < len(role) <= _MAX_ROLE and role.isprintable()


def _signed_part(payload: bytes, associated: bytes) -> bytes:
    return b"%d:%b%b" % (len(associated), associated, payload)


def _bytes_of(field: str, given: object) -> bytes:
    found = given
    if isinstance(found, str):
        try:
            found = base64.b64decode(found, validate=True)
        except (binascii.Error, ValueError):
            found = b""
    if isinstance(found, bytes) and len(found) == SECRET_BYTES:
        return found
    # What was given may be the secret with a typing error: it is not shown.
    size = f" of length {len(given)}" if isinstance(given, bytes | str) else ""
    raise InvalidInput(
        field,
        expected=f"{SECRET_BYTES} bytes or their base64, as new_secret() makes them",
        found=type(given).__name__ + size,
    )
