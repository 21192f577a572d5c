"""The ciphers, all of them from `cryptography`; imported when first used."""

from __future__ import annotations

from typing import Protocol

from federlib.errors import MissingExtra

__all__ = [
    "Cipher",
    "Signer",
    "Verifier",
    "derive",
    "is_signed",
    "make_cipher",
    "open_sealed",
    "signer_of",
    "verifier_of",
]


class Cipher(Protocol):
    """Authenticated encryption under one key."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """Return the sealed data with its tag."""
        ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """Return the data; raises where the tag does not fit."""
        ...


def derive(secret: bytes, *, salt: bytes, info: bytes, size: int = 32) -> bytes:
    """Derive a key for one purpose.

    Source: RFC 5869 (HKDF) with SHA-256.
    """
    try:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError as error:
        raise MissingExtra("membership", needed_for="a sealed transport") from error
    return HKDF(algorithm=hashes.SHA256(), length=size, salt=salt, info=info).derive(secret)


def make_cipher(key: bytes) -> Cipher:
    """Make the cipher of a derived key.

    Raises:
        MissingExtra: `cryptography` is built without AES-GCM-SIV.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

    try:
        return AESGCMSIV(key)
    except UnsupportedAlgorithm as error:
        raise MissingExtra(
            "membership", needed_for="AES-GCM-SIV (cryptography on OpenSSL 3.2 or newer)"
        ) from error


def open_sealed(cipher: Cipher, nonce: bytes, sealed: bytes, associated: bytes) -> bytes | None:
    """Open what somebody sealed; None if it is not as it was sealed."""
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(nonce, sealed, associated)
    except InvalidTag:
        return None


class Signer(Protocol):
    """Signs with the private half of an Ed25519 key (RFC 8032)."""

    def sign(self, data: bytes, /) -> bytes:
        """Return the signature; 64 bytes."""
        ...


class Verifier(Protocol):
    """Holds the public half."""

    def verify(self, signature: bytes, data: bytes, /) -> None:
        """Return if the private half signed this; raises otherwise."""
        ...


def signer_of(signing_key: bytes) -> tuple[Signer, bytes]:
    """Make the signer of a private half of 32 bytes; return it with its public half."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise MissingExtra("membership", needed_for="a signed transport key") from error
    private = Ed25519PrivateKey.from_private_bytes(signing_key)
    return private, private.public_key().public_bytes_raw()


def verifier_of(verifying_key: bytes) -> Verifier:
    """Make the verifier of a public half of 32 bytes."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise MissingExtra("membership", needed_for="a signed transport key") from error
    return Ed25519PublicKey.from_public_bytes(verifying_key)


def is_signed(verifier: Verifier, signature: bytes, message: bytes) -> bool:
    """Say whether the holder of the private half signed this."""
    from cryptography.exceptions import InvalidSignature

    try:
        verifier.verify(signature, message)
    except InvalidSignature:
        return False
    return True
