"""What `UdpTransport` and `Limits` are made with: what cannot be right is refused at once."""

from __future__ import annotations

from typing import Any

import pytest

from federlib.errors import InvalidInput
from federlib.transport import Key, Keyring, Limits, UdpTransport, new_secret
from transport.keys import SECRET
from transport.sockets import sealed

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("scope", ["\0", "\u00e9" * 64, "\ud800"])
async def test_an_interface_that_the_system_cannot_even_read_is_refused(scope: str) -> None:
    async with sealed("::1") as six:
        with pytest.raises(InvalidInput, match="address"):
            await six.send(f"[fe80::1%{scope}]:7000", b"x")
        with pytest.raises(InvalidInput, match="address"):
            await six.request(f"[fe80::1%{scope}]:7000", b"x", timeout_s=1)


async def test_without_keys_it_is_told_what_to_do() -> None:
    with pytest.raises(InvalidInput, match=r"Keyring\(Key\(secret\)\).*or plaintext=True"):
        UdpTransport(cluster="c")
    with pytest.raises(InvalidInput, match="not both"):
        UdpTransport(cluster="c", keyring=Keyring(Key(SECRET)), plaintext=True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "fd00::1"])
async def test_plaintext_stays_on_this_machine(host: str) -> None:
    with pytest.raises(InvalidInput, match=r"a loopback host such as 127\.0\.0\.1"):
        UdpTransport(host, cluster="c", plaintext=True)
    async with UdpTransport(cluster="c", plaintext=True) as plain:
        with pytest.raises(InvalidInput, match="others need a keyring"):
            await plain.send("10.0.0.7:7000", b"x")
        with pytest.raises(InvalidInput, match="others need a keyring"):
            await plain.request("10.0.0.7:7000", b"x", timeout_s=1)


@pytest.mark.parametrize("host", ["", "localhost", "example.org", "127.0.0.1:1", None, 2**32 - 1])
async def test_a_name_is_not_listened_on(host: Any) -> None:
    with pytest.raises(InvalidInput, match="host: expected an IP address"):
        UdpTransport(host, cluster="c", plaintext=True)


@pytest.mark.parametrize("port", [-1, 65_536, "7000", None, 7000.0, True])
async def test_what_is_no_port_is_refused(port: Any) -> None:
    with pytest.raises(InvalidInput, match="port"):
        UdpTransport(port=port, cluster="c", plaintext=True)


@pytest.mark.parametrize("allow", [["10.0.0.7/8"], ["host"], [49], "10.0.0.0/8", "", b"1"])
async def test_what_is_no_list_of_networks_is_refused(allow: Any) -> None:
    with pytest.raises(InvalidInput, match="allow: expected"):
        UdpTransport(cluster="c", plaintext=True, allow=allow)


@pytest.mark.parametrize("cluster", ["", "x" * 129, None, b"prod"])
async def test_a_cluster_has_a_name(cluster: Any) -> None:
    with pytest.raises(InvalidInput, match="cluster"):
        UdpTransport(cluster=cluster, plaintext=True)


async def test_what_is_no_keyring_is_refused_at_once_and_not_shown() -> None:
    secret = new_secret()
    for given in (secret, Key(secret)):
        with pytest.raises(InvalidInput, match=r"expected Keyring\(Key\(secret\)\)") as caught:
            UdpTransport(cluster="c", keyring=given)  # type: ignore[arg-type]  # on purpose
        assert secret not in str(caught.value)


@pytest.mark.parametrize("plaintext", ["false", 0, None])
async def test_only_true_is_a_wish_for_plaintext(plaintext: Any) -> None:
    with pytest.raises(InvalidInput, match="plaintext: expected True or False"):
        UdpTransport(cluster="c", plaintext=plaintext)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_packet": 1_401},
        {"max_packet": 255},
        {"queue": 0},
        {"queue": 1.5},
        {"queue": True},
        {"sessions": 0},
        {"streams": 0},
        {"streams": "64"},
        {"stream_s": None},
        {"hello_s": float("nan")},
    ],
)
async def test_limits_have_limits(limits: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"{next(iter(limits))}: expected"):
        Limits(**limits)
