"""`UdpTransport` on real sockets: what the contract does not say."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable

import anyio
import pytest

from federlib.errors import Fenced, InvalidInput, OutcomeUnknown, Unavailable
from federlib.transport import (
    Key,
    Keyring,
    Limits,
    Refusal,
    UdpTransport,
    resolve,
)
from federlib.transport.addresses import parse_address
from transport.keys import OTHER, SECRET
from transport.sockets import PATIENCE_S, Counts, dialled, receive, sealed, stray

pytestmark = pytest.mark.anyio


async def test_udp_and_tcp_have_the_same_port() -> None:
    async with sealed() as one:
        host, port = parse_address(one.address)
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with (
                socket.socket(socket.AF_INET, kind) as sock,
                pytest.raises(OSError, match="in use"),
            ):
                sock.bind((host, port))


async def test_a_port_that_is_taken_is_told() -> None:
    async with sealed() as one:
        port = parse_address(one.address)[1]
        with pytest.raises(Unavailable, match=f"udp 127.0.0.1:{port}.*choose another port"):
            await UdpTransport(port=port, cluster="c", plaintext=True).__aenter__()


async def test_a_port_whose_tcp_is_taken_gives_its_udp_back() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"tcp 127.0.0.1:{port}"):
            await UdpTransport(port=port, cluster="c", plaintext=True).__aenter__()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", port))


async def test_bound_to_all_it_speaks_both_families() -> None:
    async with sealed("::") as everywhere, sealed() as four, sealed("::1") as six:
        port = parse_address(everywhere.address)[1]
        for transport, host in ((four, "127.0.0.1"), (six, "[::1]")):
            await transport.send(f"{host}:{port}", b"in")
            received = await receive(everywhere)
            assert received.address == transport.address
            await everywhere.send(received.address, b"out")
            assert (await receive(transport)).payload == b"out"


async def test_the_other_family_is_refused() -> None:
    async with sealed() as four, sealed("::1") as six:
        for transport, other in ((four, six), (six, four)):
            with pytest.raises(InvalidInput, match="of the family"):
                await transport.send(other.address, b"x")
            with pytest.raises(InvalidInput, match="of the family"):
                await transport.request(other.address, b"x", timeout_s=1)


async def test_there_is_no_downgrade_either_way(counts: Counts) -> None:
    plain_counts = Counts()
    plain = UdpTransport(cluster="test", plaintext=True, telemetry=plain_counts.telemetry)
    async with sealed(counts=counts) as one, plain:
        await plain.send(one.address, b"x")
        await one.send(plain.address, b"x")
        await counts.wait_for(Refusal.PLAINTEXT)
        await plain_counts.wait_for(Refusal.PLAINTEXT)
        for asker, asked in ((plain, one), (one, plain)):
            with pytest.raises((Unavailable, OutcomeUnknown)):
                await asker.request(asked.address, b"x", timeout_s=5)
        await counts.wait_for(Refusal.PLAINTEXT, channel="tcp")
        await plain_counts.wait_for(Refusal.PLAINTEXT, channel="tcp")


async def test_strays_are_counted_and_the_work_goes_on(counts: Counts) -> None:
    async with sealed(counts=counts) as one, sealed() as other:
        stray(one, b"", b"\x09hello", b"\x01" + bytes(60), b"\x01" * 1_401, b"\x01" * 60_000)
        await counts.wait_for(Refusal.OVERSIZE, 2)
        assert counts.refused(Refusal.TRUNCATED) == 1
        assert counts.refused(Refusal.VERSION) == 1
        assert counts.refused(Refusal.UNKNOWN_KEY) == 1
        await other.send(one.address, b"x")
        assert (await receive(one)).payload == b"x"


async def test_other_clusters_and_keys_are_refused_on_both_channels(counts: Counts) -> None:
    async with (
        sealed(counts=counts) as one,
        sealed(cluster="test2") as neighbour,
        sealed(secret=OTHER) as stranger,
    ):
        for other, reason in ((neighbour, Refusal.UNAUTHENTIC), (stranger, Refusal.UNKNOWN_KEY)):
            await other.send(one.address, b"x")
            await counts.wait_for(reason)
            with pytest.raises((Unavailable, OutcomeUnknown)):
                await other.request(one.address, b"x", timeout_s=5)
            await counts.wait_for(reason, channel="tcp")


async def test_a_datagram_on_a_stream_and_a_stream_in_a_datagram_are_refused(
    counts: Counts,
) -> None:
    async with sealed(counts=counts) as one, sealed() as other:
        packet = other._packets.seal(b"x" * 100, one.address, 0)
        hello = other._streams.hello(bytes(16)).sent
        stray(one, hello, hello + bytes(60))
        await counts.wait_for(Refusal.TRUNCATED)
        async with dialled(one) as stream:
            await stream.send(packet)
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                while True:
                    await stream.receive()
        refused = {each for each in Refusal if counts.refused(each, "tcp")}
        assert refused
        assert refused <= {Refusal.UNKNOWN_KEY, Refusal.OVERSIZE, Refusal.UNAUTHENTIC}


async def test_a_mistake_of_ours_does_not_stop_the_loop(counts: Counts) -> None:
    async with sealed(counts=counts) as one, sealed() as other:
        take, one._packets.take = one._packets.take, None  # type: ignore[method-assign,assignment]
        stray(one, b"x")
        await counts.wait_for(Refusal.BROKEN)
        one._packets.take = take  # type: ignore[method-assign]
        await other.send(one.address, b"x")
        assert (await receive(one)).payload == b"x"


async def test_a_full_queue_drops_and_counts(counts: Counts) -> None:
    async with sealed(limits=Limits(queue=5), counts=counts) as one, sealed() as other:
        await other.send(one.address, b"first")
        await receive(one)
        for number in range(12):
            await other.send(one.address, b"%d" % number)
        await counts.wait_for(Refusal.QUEUE_FULL, 7)
        assert [(await receive(one)).payload for _ in range(5)] == [b"%d" % n for n in range(5)]


async def test_what_the_system_does_not_take_is_counted(counts: Counts) -> None:
    async with sealed("127.0.0.1", counts=counts) as one:
        await one.send("192.0.2.1:7000", b"from loopback there is no way out")
        await counts.wait_for(Refusal.UNREACHABLE)


async def test_datagrams_are_never_fragmented() -> None:
    async with sealed() as one, sealed("::1") as six:
        four_socket, six_socket = one._socket, six._socket
        assert four_socket is not None
        assert six_socket is not None
        assert four_socket.getsockopt(socket.IPPROTO_IP, 10) == 2
        assert six_socket.getsockopt(socket.IPPROTO_IPV6, 23) == 2


async def test_only_allowed_networks_are_heard(counts: Counts) -> None:
    def only(*networks: str) -> UdpTransport:
        return UdpTransport(
            cluster="test",
            keyring=Keyring(Key(SECRET)),
            allow=networks,
            telemetry=counts.telemetry,
        )

    async with (
        only("10.0.0.0/8", "fd00::/8") as closed,
        only("127.0.0.0/8") as open_,
        sealed() as one,
    ):
        await one.send(open_.address, b"x")
        assert (await receive(open_)).payload == b"x"
        await one.send(closed.address, b"x")
        await counts.wait_for(Refusal.FOREIGN)
        with pytest.raises((Unavailable, OutcomeUnknown)):
            await one.request(closed.address, b"x", timeout_s=5)
        await counts.wait_for(Refusal.FOREIGN, channel="tcp")


async def test_a_smaller_packet_may_be_asked_for() -> None:
    async with sealed(limits=Limits(max_packet=576)) as one, sealed() as other:
        assert one.max_payload == 530
        await other.send(one.address, b"x" * 1_354)
        assert len((await receive(one)).payload) == 1_354
        with pytest.raises(InvalidInput, match="at most 530 bytes"):
            await one.send("127.0.0.1:7000", b"x" * 537)


async def test_keys_rotate_under_traffic_without_losing_a_message() -> None:
    rings = [Keyring(Key(SECRET)) for _ in range(3)]
    fleet = [UdpTransport(cluster="test", keyring=ring) for ring in rings]
    got: list[bytes] = []
    sent: list[bytes] = []

    async def listen(transport: UdpTransport) -> None:
        while True:
            got.append((await transport.receive()).payload)

    async def answer(transport: UdpTransport) -> None:
        while True:
            asked = await transport.receive_request()
            asked.answer(asked.received.payload)

    async def talk(seconds: float) -> None:
        end_s = anyio.current_time() + seconds
        while anyio.current_time() < end_s:
            for one in fleet:
                for other in fleet:
                    if one is not other:
                        sent.append(b"%d" % len(sent))
                        await one.send(other.address, sent[-1])
            await anyio.sleep(0.002)
            reply = await fleet[0].request(fleet[1].address, b"x" * 100_000, timeout_s=5)
            assert len(reply.payload) == 100_000

    async with fleet[0], fleet[1], fleet[2], anyio.create_task_group() as group:
        for transport in fleet:
            group.start_soon(listen, transport)
            group.start_soon(answer, transport)
        steps: tuple[Callable[[Keyring], None], ...] = (
            lambda ring: ring.install(Key(OTHER)),
            lambda ring: ring.use(Key(OTHER).key_id),
            lambda ring: ring.remove(Key(SECRET).key_id),
        )
        await talk(0.05)
        for step in steps:
            for ring in rings:
                step(ring)
                await talk(0.02)
        with anyio.fail_after(PATIENCE_S):
            while len(got) < len(sent):
                await anyio.sleep(0.001)
        group.cancel_scope.cancel()
    assert sorted(got) == sorted(sent)
    assert all(ring.keys == (ring.primary,) for ring in rings)


async def test_opened_again_it_is_another_run() -> None:
    one = sealed()
    async with sealed() as other:
        sessions = []
        for _ in range(2):
            async with one:
                await one.send(other.address, b"x")
                sessions.append((await receive(other)).session)
    assert len(set(sessions)) == 2


async def test_a_forked_child_may_not_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with sealed() as one:
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(Fenced, match="before this process was forked"):
            await one.send(one.address, b"x")
        with pytest.raises(Fenced):
            await one.request(one.address, b"x", timeout_s=1)
        monkeypatch.undo()


async def test_it_never_shows_a_secret() -> None:
    transport = sealed()
    assert "closed" in repr(transport)
    async with transport:
        assert transport.address in repr(transport)
        for form in (SECRET.hex(), repr(SECRET), "AAECAwQF"):
            assert form not in repr(transport)


async def test_an_unopened_one_has_no_address() -> None:
    with pytest.raises(Unavailable, match="not open"):
        _ = sealed().address


async def test_names_are_looked_up_by_name() -> None:
    assert "127.0.0.1:7000" in await resolve("localhost", 7000)
    assert await resolve("127.0.0.1", 7000) == ("127.0.0.1:7000",)
    for name in ("no such host.invalid", "x" * 100 + ".example", "\0"):
        with pytest.raises(Unavailable, match="cannot be looked up"):
            await resolve(name, 7000)


async def test_cancelled_calls_leave_it_whole() -> None:
    async with sealed() as one, sealed() as other:
        calls: tuple[Callable[[], Awaitable[object]], ...] = (
            one.receive,
            one.receive_request,
            lambda: one.request(other.address, b"x", timeout_s=PATIENCE_S),
        )
        for call in calls:
            for after_s in (0.0, 0.001, 0.01):
                with anyio.move_on_after(after_s):
                    await call()
        await one.send(other.address, b"x")
        assert (await receive(other)).payload == b"x"


async def test_an_error_of_the_body_comes_out_as_itself() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with sealed():
            raise KeyError("mine")


async def test_who_closes_hears_no_answers_any_more() -> None:
    told: list[str] = []

    async def ask(one: UdpTransport, address: str) -> None:
        with pytest.raises(OutcomeUnknown) as caught:
            await one.request(address, b"x", timeout_s=2 * PATIENCE_S)
        told.append(caught.value.reason)

    async with sealed() as other:
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as group, sealed() as one:
                group.start_soon(ask, one, other.address)
                asked = await other.receive_request()
        asked.answer(b"too late")
    assert told == ["the transport was closed"]
