"""Keys and keyrings: what is refused, what never shows, and the three steps of a rotation."""

from __future__ import annotations

import base64
import copy
import pickle
import subprocess
import sys
import traceback
from typing import Any

import pytest

from federlib.errors import Conflict, InvalidInput
from federlib.transport import Key, Keyring, new_secret, new_signing_key
from federlib.transport.keyring import MAX_KEYS
from transport.keys import OTHER, SECRET, SIGN, VERIFY


def test_a_key_is_the_same_from_bytes_and_from_text() -> None:
    text = base64.b64encode(SECRET).decode()
    assert Key(SECRET).key_id == Key(text).key_id
    assert len(Key(SECRET).key_id) == 8


def test_role_and_public_half_are_part_of_a_key() -> None:
    keys = [
        Key(SECRET),
        Key(SECRET, role="gate"),
        Key(SECRET, role="worker"),
        Key(SECRET, role="gate", sign=SIGN),
        Key(OTHER),
    ]
    assert len({key.key_id for key in keys}) == len(keys)
    reads, signs = Key(SECRET, role="gate", verify=VERIFY), Key(SECRET, role="gate", sign=SIGN)
    assert (reads.key_id, reads.can_seal, signs.can_seal) == (signs.key_id, False, True)
    assert signs.verify == VERIFY


@pytest.mark.parametrize("secret", [b"", b"x" * 31, b"x" * 33, "", "hunter2", "é" * 32, "=" * 44])
def test_what_is_no_secret_is_refused_and_not_shown(secret: bytes | str) -> None:
    with pytest.raises(InvalidInput, match="32 bytes or their base64") as caught:
        Key(secret)
    shown = "".join(traceback.format_exception(caught.value))
    assert not secret or str(secret) not in shown.replace("expected 32 bytes", "")


@pytest.mark.parametrize("secret", [None, 32, list(range(32)), True])
def test_what_is_neither_bytes_nor_text_is_no_secret(secret: Any) -> None:
    with pytest.raises(InvalidInput, match="secret: expected 32 bytes or their base64"):
        Key(secret)
    with pytest.raises(InvalidInput, match="sign: expected 32 bytes or their base64"):
        Key(SECRET, role="gate", sign=[secret])  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("given", [SECRET, None, 5])
def test_what_is_no_key_is_refused_and_not_shown(given: Any) -> None:
    for use, read in ((given, ()), (Key(SECRET), [given])):
        with pytest.raises(InvalidInput, match=r"key: expected Key\(secret\)") as caught:
            Keyring(use, read=read)
        assert str(SECRET) not in str(caught.value)


@pytest.mark.parametrize("role", ["", "x" * 65, "gate\n", "\0", 5, b"gate"])
def test_what_is_no_role_is_refused(role: Any) -> None:
    with pytest.raises(InvalidInput, match="role"):
        Key(SECRET, role=role)


def test_a_signing_key_needs_a_role_and_one_half() -> None:
    with pytest.raises(InvalidInput, match="role: expected one"):
        Key(SECRET, sign=SIGN)
    with pytest.raises(InvalidInput, match="not both"):
        Key(SECRET, role="gate", sign=SIGN, verify=VERIFY)


def test_a_key_never_shows_its_secret_and_never_leaves_its_process() -> None:
    key = Key(SECRET, role="gate", sign=SIGN)
    ring = Keyring(key)
    for text in (repr(key), str(key), repr(ring), f"{ring}", repr([ring.keys])):
        assert key.key_id in text
        for secret in (SECRET, SIGN):
            for form in (repr(secret), secret.hex(), base64.b64encode(secret).decode()):
                assert form not in text
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(InvalidInput, match="stay in its process"):
            leave(key)


def test_secrets_and_signing_keys_are_drawn_anew_each_time() -> None:
    assert new_secret() != new_secret()
    sign, verify = new_signing_key()
    assert Key(new_secret(), role="gate", sign=sign).verify == verify
    assert Key(SECRET, role="gate", sign=SIGN).verify == VERIFY


def test_a_key_is_installed_then_used_then_the_old_one_removed() -> None:
    old, new = Key(SECRET), Key(OTHER)
    ring = Keyring(old)
    ring.install(new)
    ring.install(new)
    assert (ring.primary, ring.keys) == (old, (old, new))
    ring.use(new.key_id)
    assert ring.primary is new
    ring.remove(old.key_id)
    assert (ring.keys, ring.get(old.wire_id), ring.get(new.wire_id)) == ((new,), None, new)


def test_the_key_in_use_is_not_removed() -> None:
    key = Key(SECRET)
    with pytest.raises(Conflict, match=r"call use\(\) with the new key first"):
        Keyring(key, read=[Key(OTHER)]).remove(key.key_id)


@pytest.mark.parametrize("verb", ["use", "remove"])
def test_a_key_that_is_not_there_is_told(verb: str) -> None:
    with pytest.raises(InvalidInput, match="a key that is installed"):
        getattr(Keyring(Key(SECRET)), verb)("00000000")


def test_a_key_that_only_reads_is_not_sealed_with() -> None:
    reads = Key(SECRET, role="gate", verify=VERIFY)
    ring = Keyring(Key(OTHER), read=[reads])
    with pytest.raises(InvalidInput, match="private half"):
        ring.use(reads.key_id)
    with pytest.raises(InvalidInput, match="private half"):
        Keyring(reads)
    signs = Key(SECRET, role="gate", sign=SIGN)
    ring.install(signs)
    ring.use(signs.key_id)
    ring.install(reads)
    assert ring.primary.can_seal


def test_a_keyring_is_bounded() -> None:
    ring = Keyring(Key(SECRET), read=[Key(SECRET, role=f"r{n}") for n in range(MAX_KEYS - 1)])
    with pytest.raises(InvalidInput, match=f"at most {MAX_KEYS}"):
        ring.install(Key(OTHER))


def test_without_cryptography_the_package_imports_and_a_key_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from federlib.transport import Key, MemoryHub, UdpTransport\n"
        "UdpTransport(cluster='c', plaintext=True)\n"
        "for more in ({}, {'role': 'r', 'sign': b'x' * 32}, {'role': 'r', 'verify': b'x' * 32}):\n"
        "    try: Key(b'x' * 32, **more)\n"
        "    except ImportError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.count('needs an extra: pip install "federlib[membership]"') == 3, done
