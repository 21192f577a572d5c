"""Addresses: one way to write each, and no names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.transport.addresses import (
    Networks,
    canonical,
    check_host,
    format_address,
    is_loopback,
    parse_address,
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("10.0.0.7:7000", "10.0.0.7:7000"),
        ("[::1]:7000", "[::1]:7000"),
        ("[0:0::0001]:07000", "[::1]:7000"),
        ("[FD00::A]:1", "[fd00::a]:1"),
        ("[::ffff:10.0.0.7]:65535", "10.0.0.7:65535"),
        ("[fe80::1%eth0]:7000", "[fe80::1%eth0]:7000"),
    ],
)
def test_an_address_has_one_way_to_be_written(written: str, expected: str) -> None:
    assert canonical(written) == expected
    assert canonical(expected) == expected


@given(st.ip_addresses(), st.integers(1, 65_535))
def test_every_address_comes_back(ip: object, port: int) -> None:
    text = format_address(str(ip), port)
    host, number = parse_address(text)
    assert (format_address(host, number), number) == (text, port)


def name_of_what_is_wrong(text: str) -> str:
    try:
        parse_address(text)
    except InvalidInput as error:
        return error.field
    return ""


@pytest.mark.parametrize("scope", ["\0", "\n", "e 0", "\u00e9", "\ud800", "x" * 16])
def test_what_is_no_interface_is_no_part_of_an_address(scope: str) -> None:
    with pytest.raises(InvalidInput, match="address: expected an IP address and port"):
        parse_address(f"[fe80::1%{scope}]:7000")
    with pytest.raises(InvalidInput, match="host: expected an IP address"):
        check_host(f"fe80::1%{scope}")


@pytest.mark.parametrize("scope", ["1", "eth0", "br-0a1b2c3d4e5f"])
def test_an_interface_may_be_part_of_an_address(scope: str) -> None:
    assert parse_address(f"[fe80::1%{scope}]:7000") == (f"fe80::1%{scope}", 7000)
    assert check_host(f"fe80::1%{scope}") == f"fe80::1%{scope}"


@given(st.text(max_size=100) | st.from_regex(r"[\[\]:.0-9a-f%]{1,60}", fullmatch=True))
def test_whatever_is_no_address_is_refused_by_name(text: str) -> None:
    wrong = name_of_what_is_wrong(text)
    assert wrong == "address" or canonical(canonical(text)) == canonical(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_loopback_is_what_never_leaves_the_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_what_is_remembered_of_networks_is_bounded() -> None:
    networks = Networks(["10.0.0.0/9", "fe80::/10"])
    found = [networks.admit(f"10.{a}.{b}.1") for a in (0, 127, 128) for b in range(200)]
    assert found == [True] * 400 + [False] * 200
    assert networks.admit("fe80::1%eth0")
    assert networks.admit("::ffff:10.0.0.1")
    for number in range(10_000):
        networks.admit(f"10.1.{number // 256}.{number % 256}")
    assert len(networks._known) <= 4_096
