"""Who may take part as what: arguments of a server, its address, its key and those of others."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest

from federlib.errors import Conflict, InvalidInput
from federlib.membership.config import SwimConfig
from federlib.membership.credentials import is_strange, proven_role
from federlib.membership.lifecycle import NodeLifecycleState
from federlib.membership.messages import (
    Alive,
    ConfirmationPing,
    Dead,
    Digest,
    Ping,
    encode_message,
    encode_update,
    pack,
)
from federlib.membership.node import Member, NodeId
from federlib.membership.roles import PeerRole
from federlib.membership.server import HealthAwareServer
from federlib.membership.settings import MembershipSettings
from federlib.membership.timeouts import TimeoutSettings
from federlib.telemetry import SILENT
from federlib.testing import LoopClock, virtual_backend
from federlib.transport import (
    Key,
    Keyring,
    Limits,
    MemoryHub,
    MemoryTransport,
    Received,
    Transport,
    UdpTransport,
    new_secret,
)

pytestmark = pytest.mark.anyio
GATE, MANAGER, WORKER, UNKNOWN = PeerRole
HERE = "10.0.0.1:7946"
_LIMIT_S = 30.0


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """Run these in virtual time: what does not come is waited for, and nobody waits for it."""
    return virtual_backend(request.param)


def closed(*, role: str | None = None, address: str = HERE) -> MemoryTransport:
    return MemoryHub(draw=lambda: 0.5).transport(address, role=role)


def member(
    transport: Transport, role: PeerRole = GATE, *, name: str = "n0", advertise: str | None = None
) -> HealthAwareServer:
    return HealthAwareServer(
        transport, name, role, epoch=1, advertise=advertise, clock=LoopClock(), leave_timeout_s=0
    )


async def until_known(server: HealthAwareServer, name: str) -> Member:
    with anyio.fail_after(_LIMIT_S):
        while not (found := server.member(name)):
            await anyio.sleep(0.01)
    return found


# What a server is given.


@pytest.mark.parametrize("role", ["banana", "worker", "", None, 5, b"gate"])
async def test_a_role_is_a_role(role: Any) -> None:
    with pytest.raises(InvalidInput, match="role: expected a PeerRole"):
        HealthAwareServer(closed(), "n0", role)


@pytest.mark.parametrize("name", [None, 5, b"n0", "", "x" * 129, "\n", "a\ud800", ["n0"]])
async def test_a_name_can_be_sent(name: Any) -> None:
    with pytest.raises(InvalidInput, match="name: expected 1 to 128 printable characters"):
        HealthAwareServer(closed(), name, GATE)


@pytest.mark.parametrize("epoch", [-1, 2**53 + 1, 1.0, 1.5, math.nan, True, "1"])
async def test_an_epoch_is_a_number_of_a_run(epoch: Any) -> None:
    with pytest.raises(InvalidInput, match="epoch: expected an integer from 0"):
        HealthAwareServer(closed(), "n0", GATE, epoch=epoch)


@pytest.mark.parametrize("epoch", [0, 1, 2**53])
async def test_every_other_epoch_will_do(epoch: int) -> None:
    assert HealthAwareServer(closed(), "n0", GATE, epoch=epoch).node == NodeId("n0", epoch)


@pytest.mark.parametrize(
    "address",
    [
        *("", "localhost:1", "x" * 300, "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "[::1]"),
        *("0.0.0.0:7946", "[::]:7946", "[::ffff:0.0.0.0]:7946", "[::%lo]:1", 5, b"1.2.3.4:5", []),
    ],
)
async def test_nobody_can_be_reached_at_what_is_no_address(address: Any) -> None:
    with pytest.raises(InvalidInput, match=r"advertise: expected an IP address and port.*found"):
        HealthAwareServer(closed(), "n0", GATE, advertise=address)


@pytest.mark.parametrize("leave_timeout_s", [math.nan, math.inf, -1, 86_401, "2", None, True])
async def test_a_goodbye_takes_a_while_that_can_be(leave_timeout_s: Any) -> None:
    with pytest.raises(InvalidInput, match="leave_timeout_s: expected 0 to 86400 seconds"):
        HealthAwareServer(closed(), "n0", GATE, leave_timeout_s=leave_timeout_s)


async def test_timeouts_that_settings_tell_are_not_ignored() -> None:
    settings = MembershipSettings(timeouts=TimeoutSettings(reference_rtt_ms=25))
    config = SwimConfig(timeouts=TimeoutSettings(reference_rtt_ms=50))
    with pytest.raises(InvalidInput, match=r"config\.timeouts\.reference_rtt_ms: expected 25"):
        HealthAwareServer(closed(), "n0", GATE, settings=settings, config=config)


@pytest.mark.parametrize(
    "addresses",
    [
        *("127.0.0.1:1", b"127.0.0.1:1", None, 5, [""], [None], [5], [["10.0.0.2:1"]]),
        *(["10.0.0.2:7946", "localhost:7946"], ["10.0.0.2:0"], ["x" * 10_000]),
    ],
)
async def test_who_is_asked_to_join_stands_at_an_address(addresses: Any) -> None:
    hub = MemoryHub(draw=lambda: 0.5)
    async with (
        hub.transport(HERE) as transport,
        member(transport) as server,
        hub.transport("10.0.0.2:7946") as asked,
    ):
        with pytest.raises(InvalidInput, match=r"addresse?s?: expected"):
            server.join(addresses)
        with anyio.move_on_after(_LIMIT_S) as scope:
            await asked.receive_request()
        assert scope.cancelled_caught
        assert server.lost == 0


async def test_a_name_is_refused_with_what_to_do() -> None:
    async with closed() as transport, member(transport) as server:
        with pytest.raises(InvalidInput, match=r"a name is for resolve\(\).*localhost:7946"):
            server.join(["localhost:7946"])


# Where a server is.


@pytest.mark.parametrize("address", ["0.0.0.0:7946", "[::]:7946"])
async def test_who_listens_everywhere_says_where_it_is(address: str) -> None:
    async with closed(address=address) as transport:
        with pytest.raises(InvalidInput, match=r"advertise: .*listens on all interfaces"):
            await member(transport).__aenter__()
        async with member(transport, advertise="10.0.0.7:1") as server:
            assert server.members() == ()


async def test_an_advertised_address_is_told_in_the_one_way_to_write_it() -> None:
    hub = MemoryHub(draw=lambda: 0.5)
    async with (
        hub.transport("[fd00::7]:7946") as other,
        hub.transport(HERE) as transport,
        member(other, MANAGER, name="n1", advertise="[FD00:0::7]:07946") as joining,
        member(transport) as server,
    ):
        joining.join([HERE])
        assert (await until_known(server, "n1")).address == "[fd00::7]:7946"


async def test_a_transport_may_have_addresses_of_another_kind() -> None:
    hub = MemoryHub(draw=lambda: 0.5)
    transport = MemoryTransport(hub, "bus of host seven", None, Limits(), SILENT)
    async with transport, member(transport) as server:
        assert server.members() == ()


# What keys prove.


@pytest.mark.parametrize(
    ("key", "role"),
    [
        *(("gate", MANAGER), ("gate", UNKNOWN), ("worker", GATE)),
        *(("operator", GATE), ("operator", UNKNOWN), ("unknown", UNKNOWN), ("", GATE)),
    ],
)
async def test_who_cannot_prove_what_it_says_is_not_let_stay_alone(
    key: str, role: PeerRole
) -> None:
    async with closed(role=key) as transport:
        fitting = "" if role is UNKNOWN else f"of the role {role}, or one "
        with pytest.raises(Conflict, match=f"role {role}: expected a key {fitting}without a role"):
            await member(transport, role).__aenter__()


@pytest.mark.parametrize(
    ("key", "role"), [("gate", GATE), ("worker", WORKER), (None, GATE), (None, UNKNOWN)]
)
async def test_a_key_of_its_role_or_of_none_will_do(key: str | None, role: PeerRole) -> None:
    async with closed(role=key) as transport, member(transport, role) as server:
        assert server.refused == {}


async def test_a_transport_over_udp_knows_its_role() -> None:
    secret = new_secret()
    gate, worker = (Key(secret, role=role) for role in ("gate", "worker"))
    keyring = Keyring(worker, [gate])
    async with UdpTransport(cluster="test", keyring=keyring) as transport:
        with pytest.raises(Conflict, match="found a key of the role worker"):
            await member(transport).__aenter__()
        keyring.use(gate.key_id)
        async with member(transport) as server:
            assert server.members() == ()


async def test_without_keys_there_is_no_role_to_fit() -> None:
    async with (
        UdpTransport(cluster="test", plaintext=True) as transport,
        member(transport, WORKER) as server,
    ):
        assert server.members() == ()


@pytest.mark.parametrize(
    ("is_proven", "role", "proven"),
    [(False, None, None), (True, None, UNKNOWN), (True, "gate", GATE), (True, "worker", WORKER)],
)
def test_a_key_proves_its_role(is_proven: bool, role: str | None, proven: PeerRole | None) -> None:
    received = Received(payload=b"", address=HERE, role=role, is_proven=is_proven)
    assert not is_strange(received)
    assert proven_role(received) is proven


@pytest.mark.parametrize("key", ["operator", "unknown", "GATE"])
async def test_a_key_of_no_role_of_members_speaks_for_no_member(key: str) -> None:
    hub = MemoryHub(draw=lambda: 0.5)
    node = NodeId("n1", 1)
    async with (
        hub.transport(HERE) as transport,
        member(transport) as server,
        hub.transport("10.0.0.2:7946") as honest,
        hub.transport("10.0.0.3:7946", role=key) as bad,
    ):
        hello = ConfirmationPing(1, "n0", Alive(node, 0, honest.address, MANAGER))
        await honest.send(HERE, pack(encode_message(hello)))
        await until_known(server, "n1")
        for role in PeerRole:
            claim = Alive(NodeId(f"bad-{role}", 1), 0, bad.address, role)
            await bad.send(HERE, pack(encode_message(ConfirmationPing(1, "n0", claim))))
        # In the name of another, and about it.
        rumour = encode_update(Dead(node, 0, "n1"))
        await bad.send(HERE, pack(encode_message(Ping(1, "n0", node, 0)), [rumour]))
        digest = Digest(Alive(NodeId("bad", 1), 0, bad.address, GATE), b"\0" * 64)
        answer = await bad.request(HERE, pack(encode_message(digest)), timeout_s=_LIMIT_S)
        assert answer.payload == b""
        with anyio.fail_after(_LIMIT_S):
            while server.refused.get("role", 0) < 6:
                await anyio.sleep(0.01)
        (known,) = server.members()
        assert (known.node, known.role) == (node, MANAGER)
        assert known.state is not NodeLifecycleState.DEAD
