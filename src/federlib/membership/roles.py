"""What a peer does in the fleet, and how patiently it is confirmed for that.

    strategy = get_strategy_for_role(detect_peer_role("10.0.0.7:9000", {"role": "gate"}))
    assert strategy is GATE_STRATEGY

A role is an authenticated field of a member; what gossip says and what ports and host names
suggest are only fallbacks for peers of which nothing better is known. A peer of which nothing
is known stays UNKNOWN and is treated like a manager: it is asked, and asking is harmless,
where waiting as for a worker would leave a gate undiscovered for three minutes.

Source: seed §12.4; research note §1.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase

import attrs

from federlib._bounds import boolean, integer, number
from federlib.errors import InvalidInput

__all__ = [
    "DEFAULT_STRATEGIES",
    "GATE_STRATEGY",
    "MANAGER_STRATEGY",
    "SEED_DEFAULT_ROLE",
    "WORKER_STRATEGY",
    "PeerRole",
    "RoleBasedConfirmationStrategy",
    "RoleHints",
    "RoleStrategies",
    "detect_peer_role",
    "get_strategy_for_role",
]


class PeerRole(StrEnum):
    """What a peer does."""

    GATE = "gate"
    MANAGER = "manager"
    WORKER = "worker"
    UNKNOWN = "unknown"


SEED_DEFAULT_ROLE = PeerRole.WORKER
"""What the seed takes a peer for of which nothing is known: `detect_peer_role(…, default=…)`."""

_ROLES = {role.value: role for role in PeerRole if role is not PeerRole.UNKNOWN}


@attrs.frozen(kw_only=True)
class RoleBasedConfirmationStrategy:
    """How a peer of one role is confirmed.

    Attributes:
        passive_timeout: How long its word is waited for; seconds.
        enable_proactive_confirmation: Whether it is asked.
        confirmation_attempts: How often it is asked at the end, before it is removed.
        attempt_interval: Between these attempts; seconds. The seed gives no value; its origin
            used 5.
        latency_aware: Whether its distance counts in timeouts.
        use_vivaldi: Whether that distance comes from coordinates.
        load_multiplier_max: How far our own load may stretch its timeouts.
    Raises:
        InvalidInput: A number out of range, or a peer that is to be asked zero times.
    Source: seed 12.4.3.
    """

    passive_timeout: float = attrs.field(validator=number(0.001, 86_400, "seconds"))
    enable_proactive_confirmation: bool = attrs.field(validator=boolean())
    confirmation_attempts: int = attrs.field(validator=integer(0, 100))
    attempt_interval: float = attrs.field(default=5.0, validator=number(0.001, 86_400, "seconds"))
    latency_aware: bool = attrs.field(validator=boolean())
    use_vivaldi: bool = attrs.field(validator=boolean())
    load_multiplier_max: float = attrs.field(validator=number(1, 1_000))

    def __attrs_post_init__(self) -> None:
        if self.enable_proactive_confirmation and not self.confirmation_attempts:
            raise InvalidInput(
                "confirmation_attempts", expected="at least 1 where a peer is asked", found=0
            )


# Source of all three: seed 12.4.4.
GATE_STRATEGY = RoleBasedConfirmationStrategy(
    passive_timeout=120.0,
    enable_proactive_confirmation=True,
    confirmation_attempts=5,
    latency_aware=True,
    use_vivaldi=True,
    load_multiplier_max=3.0,
)
MANAGER_STRATEGY = RoleBasedConfirmationStrategy(
    passive_timeout=90.0,
    enable_proactive_confirmation=True,
    confirmation_attempts=3,
    latency_aware=True,
    use_vivaldi=True,
    load_multiplier_max=5.0,
)
WORKER_STRATEGY = RoleBasedConfirmationStrategy(
    passive_timeout=180.0,
    enable_proactive_confirmation=False,
    confirmation_attempts=0,
    latency_aware=False,
    use_vivaldi=False,
    load_multiplier_max=10.0,
)


@attrs.frozen(kw_only=True)
class RoleStrategies:
    """The strategies of one fleet; a peer of unknown role has the manager's.

    Raises:
        InvalidInput: Workers were to be asked. They push heartbeats, and are never probed.
    """

    gate: RoleBasedConfirmationStrategy = GATE_STRATEGY
    manager: RoleBasedConfirmationStrategy = MANAGER_STRATEGY
    worker: RoleBasedConfirmationStrategy = WORKER_STRATEGY

    def __attrs_post_init__(self) -> None:
        if self.worker.enable_proactive_confirmation:
            raise InvalidInput("worker.enable_proactive_confirmation", expected="False", found=True)

    def for_role(self, role: PeerRole) -> RoleBasedConfirmationStrategy:
        """Return the strategy for peers of a role."""
        if role is PeerRole.GATE:
            return self.gate
        return self.worker if role is PeerRole.WORKER else self.manager


DEFAULT_STRATEGIES = RoleStrategies()


def get_strategy_for_role(role: PeerRole) -> RoleBasedConfirmationStrategy:
    """Return the seed's strategy for a role; the manager's where the role is unknown.

    Source: seed 12.4.5.
    """
    return DEFAULT_STRATEGIES.for_role(role)


def _check_ports(
    _instance: object,
    _attribute: attrs.Attribute[tuple[tuple[int, int, PeerRole], ...]],
    value: tuple[tuple[int, int, PeerRole], ...],
) -> None:
    for low, high, _ in value:
        if not 0 <= low <= high <= 65_535:
            raise InvalidInput("ports", expected="0 <= low <= high <= 65535", found=(low, high))


@attrs.frozen(kw_only=True)
class RoleHints:
    """What an address suggests of a role, in one fleet; nothing by default.

    Attributes:
        ports: Ranges, both ends included, and their roles; the first that fits counts.
        hostnames: Patterns as of a shell (`gate-*`), small letters, and their roles; likewise.
    Raises:
        InvalidInput: A range that is none.
    """

    ports: tuple[tuple[int, int, PeerRole], ...] = attrs.field(default=(), validator=_check_ports)
    hostnames: tuple[tuple[str, PeerRole], ...] = ()

    def by_port(self, port: int) -> PeerRole | None:
        """Return the role that a port suggests."""
        return next((role for low, high, role in self.ports if low <= port <= high), None)

    def by_hostname(self, hostname: str) -> PeerRole | None:
        """Return the role that a host's name suggests."""
        name = hostname.lower()
        return next((role for pattern, role in self.hostnames if fnmatchcase(name, pattern)), None)


_NO_HINTS = RoleHints()


def detect_peer_role(
    node: str,
    gossip_data: Mapping[str, object],
    *,
    authenticated: PeerRole | None = None,
    hints: RoleHints = _NO_HINTS,
    default: PeerRole = PeerRole.UNKNOWN,
) -> PeerRole:
    """Return a peer's role: what its key proves, else what it says, else what its address hints.

    Args:
        node: Its address, `host:port`.
        gossip_data: What was said of it; its `role` is read, anything else ignored. What is no
            role counts as not said.
        authenticated: The role that its key stands for, where keys are bound to roles.
        hints: Port ranges first, host names second.
        default: Where nothing tells; `SEED_DEFAULT_ROLE` does as the seed does, and leaves a
            gate that is learned without its role unasked for three minutes.
    Source: seed 12.4.2; research note §1.4.
    """
    if authenticated is not None and authenticated is not PeerRole.UNKNOWN:
        return authenticated
    said = gossip_data.get("role")
    if isinstance(said, str) and said in _ROLES:
        return _ROLES[said]
    host, _, port = node.rpartition(":")
    # No port has more digits; a hostile number of thousands is not even read.
    is_port = 1 <= len(port) <= 5 and port.isascii() and port.isdecimal()
    by_port = hints.by_port(int(port)) if is_port else None
    return by_port or hints.by_hostname(host.strip("[]") or node) or default
