"""Addresses as text: ``127.0.0.1:7000`` and ``[::1]:7000``, never a name."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from federlib.errors import InvalidInput

__all__ = ["Networks", "canonical", "check_host", "format_address", "is_loopback", "parse_address"]

_EXPECTED = "an IP address and port, as 10.0.0.7:7000 or [fd00::7]:7000; a name is for resolve()"
_LONGEST = 80  # an IPv6 address with the name of an interface, and a port

_SCOPE = re.compile("[!-~]{1,15}")  # Linux's names are no longer

_REMEMBERED = 4_096


@lru_cache(maxsize=_REMEMBERED)
def parse_address(address: str) -> tuple[str, int]:
    """Return host and port of an address.

    Raises:
        InvalidInput: It is none, or holds a name: looking one up may take seconds.
    """
    if not isinstance(address, str):
        raise InvalidInput("address", expected=_EXPECTED, found=address)
    host, colon, port = address[:_LONGEST].rpartition(":")
    is_six = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_six else host
    try:
        known = ipaddress.ip_address(host)
        number = int(port) if port.isascii() and port.isdigit() else -1
    except ValueError:
        number, known = -1, None
    right = known is not None and (known.version == 6) == is_six and _has_usable_scope(known)
    if not (colon and right and 0 < number <= 65_535 and len(address) <= _LONGEST):
        raise InvalidInput("address", expected=_EXPECTED, found=address)
    return _canonical(host), number


@lru_cache(maxsize=_REMEMBERED)
def canonical(address: str) -> str:
    """Return the one way to write an address, which is also how senders are shown.

    Raises:
        InvalidInput: It is none.
    """
    return format_address(*parse_address(address))


def format_address(host: str, port: int) -> str:
    """Return an address as text; an IPv4 address inside IPv6 is shown as itself."""
    if ":" not in host:
        return f"{host}:{port}"
    host = _canonical(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_host(host: object) -> str:
    """Return an IP address in the one way to write it.

    Raises:
        InvalidInput: It is none.
    """
    try:
        if isinstance(host, str) and _has_usable_scope(ipaddress.ip_address(host[:_LONGEST])):
            return _canonical(host[:_LONGEST])
    except ValueError:
        pass
    raise InvalidInput("host", expected="an IP address to listen on", found=host)


class Networks:
    """Networks from which messages are taken.

    Args:
        allowed: In CIDR form, as ``10.0.0.0/8``; None allows all.

    Raises:
        InvalidInput: One of them is no network.
    """

    def __init__(self, allowed: Iterable[str] | None) -> None:
        if isinstance(allowed, str | bytes):
            # Its characters would be taken for networks.
            raise InvalidInput("allow", expected='several, as ["10.0.0.0/8"]', found=allowed)
        self._allowed = None if allowed is None else [_network(each) for each in allowed]
        self._known: dict[str, bool] = {}

    def admit(self, host: str) -> bool:
        """Say whether messages of this IP address are taken."""
        if self._allowed is None:
            return True
        found = self._known.get(host)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            ip = ipaddress.ip_address(_canonical(host).partition("%")[0])
            found = self._known[host] = any(ip in network for network in self._allowed)
        return found


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        # The module would take an integer for an address.
        if isinstance(text, str):
            return ipaddress.ip_network(text)
    except ValueError:
        pass
    raise InvalidInput("allow", expected="a network as 10.0.0.0/8", found=text)


def _has_usable_scope(known: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Say whether the interface that an IPv6 address names, if any, may be one.

    Anything may stand there, and of zeros, accents and surrogates the system makes errors of
    its own, which whoever sends to an address that others told him does not expect.
    """
    scope = known.scope_id if isinstance(known, ipaddress.IPv6Address) else None
    return scope is None or _SCOPE.fullmatch(scope) is not None


def is_loopback(host: str) -> bool:
    """Say whether an IP address never leaves this machine."""
    return ipaddress.ip_address(_canonical(host)).is_loopback


@lru_cache(maxsize=_REMEMBERED)
def _canonical(host: str) -> str:
    known = ipaddress.ip_address(host)
    mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
    return str(mapped or known)
