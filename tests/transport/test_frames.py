"""Streams as data: two sides joined by a pretend wire."""

from __future__ import annotations

import struct
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.transport import Key, Keyring
from federlib.transport.frames import CHUNK, HELLO, PREFIX, Conversation, MessageReader, Streams
from federlib.transport.refusals import Refusal
from transport.keys import OTHER, SECRET, SIGN, VERIFY, Traitor

MAX = 200_000
_nonces = count()


def streams(
    *keys: Key, cluster: str = "test", max_bytes: int = MAX, plaintext: bool = False
) -> Streams:
    use, *read = keys or (Key(SECRET),)
    ring = None if plaintext else Keyring(use, read)
    return Streams(ring, cluster=cluster, max_bytes=max_bytes)


def nonce() -> bytes:
    return next(_nonces).to_bytes(16, "big")


def met(client: Streams, server: Streams) -> tuple[Conversation, Conversation]:
    ours, theirs = client.hello(nonce()), server.hello(nonce())
    mine = client.meet(ours, theirs.sent, is_server=False)
    yours = server.meet(theirs, ours.sent, is_server=True)
    assert isinstance(mine, Conversation)
    assert isinstance(yours, Conversation)
    return mine, yours


def read(reader: MessageReader, frames: list[bytes]) -> bytes | Refusal | None:
    found: bytes | Refusal | None = None
    for frame in frames:
        length = reader.frame_bytes(frame[:PREFIX])
        if isinstance(length, Refusal):
            return length
        assert length == len(frame) - PREFIX
        found = reader.take(frame[PREFIX:])
        if found is not None:
            break
    return found


BOTH = pytest.mark.parametrize("plaintext", [False, True], ids=["sealed", "plaintext"])


@BOTH
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, MAX])
def test_a_message_of_any_size_comes_as_it_was_sent(size: int, plaintext: bool) -> None:
    side = streams(plaintext=plaintext)
    client, server = met(side, side)
    payload = bytes(number % 251 for number in range(size))
    assert read(server.reader(), list(client.seal(payload))) == payload
    assert read(client.reader(), list(server.seal(payload))) == payload


@BOTH
def test_a_message_that_is_too_long_is_refused_before_it_is_held(plaintext: bool) -> None:
    _, server = met(streams(plaintext=plaintext), streams(plaintext=plaintext, max_bytes=10))
    for claim, expected in ((2**32 - 1, Refusal.OVERSIZE), (0, Refusal.TRUNCATED)):
        assert server.reader().frame_bytes(struct.pack(">I", claim)) is expected
    assert server.reader().frame_bytes(b"\0\0") is Refusal.TRUNCATED
    reader = server.reader()
    longest = 11 + (0 if plaintext else 16)
    assert reader.frame_bytes(struct.pack(">I", longest)) == longest
    assert reader.frame_bytes(struct.pack(">I", longest + 1)) is Refusal.OVERSIZE


def test_the_bound_counts_for_all_frames_together() -> None:
    client, server = met(streams(), streams(max_bytes=CHUNK + 5))
    assert read(server.reader(), list(client.seal(b"x" * (CHUNK + 5)))) == b"x" * (CHUNK + 5)
    client, server = met(streams(), streams(max_bytes=CHUNK + 5))
    assert read(server.reader(), list(client.seal(b"x" * (CHUNK + 6)))) is Refusal.OVERSIZE


def test_every_bit_counts() -> None:
    client, server = met(streams(), streams())
    [frame] = client.seal(b"payload")
    for bit in range(PREFIX * 8, len(frame) * 8):
        forged = bytearray(frame)
        forged[bit // 8] ^= 1 << bit % 8
        assert read(server.reader(), [bytes(forged)]) is Refusal.UNAUTHENTIC
    assert read(server.reader(), [frame]) == b"payload"


def test_frames_come_in_order_and_none_is_left_out() -> None:
    client, server = met(streams(), streams())
    first, second, last = client.seal(b"x" * (2 * CHUNK + 1))
    assert read(server.reader(), [second]) is Refusal.UNAUTHENTIC
    assert read(server.reader(), [first, last]) is Refusal.UNAUTHENTIC
    assert read(server.reader(), [first, second]) is None


def test_a_recorded_stream_is_read_in_no_other() -> None:
    side = streams()
    client, server = met(side, side)
    frames = list(client.seal(b"once"))
    _, another = met(side, side)
    assert read(another.reader(), frames) is Refusal.UNAUTHENTIC
    # Nor is what one side said taken for the other's word.
    assert read(client.reader(), frames) is Refusal.UNAUTHENTIC
    assert read(server.reader(), frames) == b"once"


def test_our_own_hello_sent_back_is_refused() -> None:
    side = streams()
    mine = side.hello(nonce())
    assert side.meet(mine, mine.sent, is_server=False) is Refusal.REFLECTED


def test_another_cluster_is_refused_under_the_same_key() -> None:
    client, server = met(streams(), streams(cluster="test2"))
    assert read(server.reader(), list(client.seal(b"x"))) is Refusal.UNAUTHENTIC


@pytest.mark.parametrize(
    ("hello", "expected"),
    [
        (b"", Refusal.TRUNCATED),
        (b"\x01" * (HELLO - 1), Refusal.TRUNCATED),
        (b"\x02" + bytes(HELLO - 1), Refusal.VERSION),
        (b"\x00" + bytes(HELLO - 1), Refusal.PLAINTEXT),
        (b"\x01" + bytes(HELLO - 1), Refusal.UNKNOWN_KEY),
    ],
)
def test_what_is_no_hello_is_refused(hello: bytes, expected: Refusal) -> None:
    side = streams()
    assert side.meet(side.hello(nonce()), hello, is_server=True) is expected


def test_a_sealed_hello_is_refused_where_no_keys_are() -> None:
    plain = streams(plaintext=True)
    found = plain.meet(plain.hello(nonce()), streams().hello(nonce()).sent, is_server=True)
    assert found is Refusal.PLAINTEXT


def test_the_role_is_that_of_the_key_and_its_signature_counts() -> None:
    gate = Key(SECRET, role="gate", sign=SIGN)
    reads = Key(SECRET, role="gate", verify=VERIFY)
    worker = Key(OTHER, role="worker")
    client, server = met(streams(gate, worker), streams(worker, reads))
    assert (client.role, server.role) == ("worker", "gate")
    assert read(server.reader(), list(client.seal(b"x" * MAX))) == b"x" * MAX
    forged, server = met(
        streams(Traitor(SECRET, role="gate", verify=VERIFY), worker), streams(worker, reads)
    )
    assert read(server.reader(), list(forged.seal(b"order"))) is Refusal.WRONG_ROLE


def test_a_frame_that_is_short_and_not_the_last_is_refused() -> None:
    _, server = met(streams(plaintext=True), streams(plaintext=True))
    assert server.reader().take(b"\x00short") is Refusal.MALFORMED
    assert server.reader().take(b"\x02" + bytes(CHUNK)) is Refusal.MALFORMED
    assert server.reader().take(b"") is Refusal.MALFORMED


def test_a_cluster_has_a_name() -> None:
    with pytest.raises(InvalidInput, match="cluster"):
        streams(cluster="")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=64), max_size=8), st.booleans())
def test_whatever_comes_is_refused_or_waited_for(pieces: list[bytes], plaintext: bool) -> None:
    side = streams(plaintext=plaintext)
    mine = side.hello(nonce())
    for piece in pieces:
        found = side.meet(mine, piece[:HELLO].ljust(HELLO, b"\1"), is_server=True)
        if isinstance(found, Conversation):
            reader = found.reader()
            for frame in pieces:
                assert isinstance(reader.frame_bytes(frame[:PREFIX]), Refusal | int)
                taken = reader.take(frame)
                assert taken is None or isinstance(taken, Refusal | bytes)
        else:
            assert isinstance(found, Refusal)
