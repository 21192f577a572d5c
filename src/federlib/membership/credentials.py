"""Who a server says it is and where, and what keys prove of that.

A key of one of the roles `gate`, `manager` and `worker` lets its holder speak as that role. A
key without a role lets it speak as any. A key of any other role, such as one that operators
hold for something else in the same cluster, lets its holder speak as no member at all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from federlib.errors import Conflict, InvalidInput
from federlib.membership.node import MAX_NAME, MAX_NUMBER, NodeId, is_name
from federlib.membership.roles import PeerRole
from federlib.transport import Received, Transport
from federlib.transport.addresses import canonical, parse_address

__all__ = [
    "address_of",
    "check_advertised",
    "check_key",
    "check_own_role",
    "check_seeds",
    "is_strange",
    "name_node",
    "proven_role",
]

_PROVABLE = {role.value: role for role in PeerRole if role is not PeerRole.UNKNOWN}


# What we say of ourselves.


def name_node(name: object, epoch: object) -> NodeId:
    """Return who we are, and which run.

    Raises:
        InvalidInput: The name cannot be sent, or the epoch is no number of a run.
    """
    if not isinstance(name, str) or not is_name(name):
        raise InvalidInput("name", expected=f"1 to {MAX_NAME} printable characters", found=name)
    # `type`, because True is an int too.
    if type(epoch) is not int or not 0 <= epoch <= MAX_NUMBER:
        raise InvalidInput("epoch", expected="an integer from 0 to 2**53", found=epoch)
    return NodeId(name, epoch)


def check_own_role(role: object) -> PeerRole:
    """Return what we are.

    Raises:
        InvalidInput: It is no `PeerRole`.
    """
    if not isinstance(role, PeerRole):
        expected = 'a PeerRole, as PeerRole.GATE or PeerRole("gate")'
        raise InvalidInput("role", expected=expected, found=role)
    return role


def check_advertised(address: object) -> str:
    """Return where others reach us, in the one way to write it.

    Raises:
        InvalidInput: It is no ``host:port`` with an IP address, or nobody can be there.
    """
    expected = "an IP address and port where others reach this process, as 10.0.0.7:7946"
    try:
        found = canonical(address)
    except (InvalidInput, TypeError):
        raise InvalidInput("advertise", expected=expected, found=address) from None
    if _is_unspecified(found):
        raise InvalidInput("advertise", expected=expected, found=address)
    return found


def address_of(transport: Transport, advertise: str | None) -> str:
    """Return where others reach us.

    Raises:
        InvalidInput: Nobody said, and the transport listens on all interfaces.
    """
    if advertise is None and _is_unspecified(transport.address):
        raise InvalidInput(
            "advertise",
            expected="where others reach this process, as 10.0.0.7:7946, "
            f"since its transport listens on all interfaces ({transport.address})",
            found=None,
        )
    return advertise or transport.address


def check_seeds(addresses: object) -> tuple[str, ...]:
    """Return the addresses that are to be asked, each in the one way to write it.

    Raises:
        InvalidInput: One of them is none, or holds a name; or they are one text.
    """
    # Of a text, its characters would be taken for addresses.
    if isinstance(addresses, str | bytes) or not isinstance(addresses, Iterable):
        raise InvalidInput("addresses", expected='several, as ["10.0.0.1:7946"]', found=addresses)
    return tuple(map(_check_seed, addresses))


def check_key(transport: Transport, role: PeerRole) -> None:
    """Check that our own key lets us be what we say; otherwise nobody would listen.

    Only where the transport knows what its key proves: it then has an attribute `role`.

    Raises:
        Conflict: It does not.
    """
    proven: object = getattr(transport, "role", None)
    if proven is not None and (proven not in _PROVABLE or proven != role.value):
        fitting = "" if role is PeerRole.UNKNOWN else f"of the role {role.value}, or one "
        raise Conflict(
            f"role {role.value}",
            expected=f"a key {fitting}without a role",
            actual=f"a key of the role {proven}",
            hint="give this process the key of its role, or the role of its key",
        )


# What others prove.


def is_strange(received: Received) -> bool:
    """Say whether the sender's key is of a role that no member has."""
    return received.is_proven and received.role is not None and received.role not in _PROVABLE


def proven_role(received: Received) -> PeerRole | None:
    """Say what the key of a sender that is not strange proves.

    UNKNOWN is membership only, None is nothing at all.
    """
    if not received.is_proven:
        return None
    return PeerRole.UNKNOWN if received.role is None else _PROVABLE[received.role]


def _check_seed(address: object) -> str:
    try:
        return canonical(address)
    except TypeError:
        # A list, for example: not even looked up among the addresses that are known.
        raise InvalidInput("address", expected="text, as 10.0.0.1:7946", found=address) from None


def _is_unspecified(address: str) -> bool:
    try:
        return ipaddress.ip_address(parse_address(address)[0]).is_unspecified
    except InvalidInput:
        # Transports of others may have addresses of another kind.
        return False
