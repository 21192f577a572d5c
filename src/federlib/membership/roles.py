"""What a peer does in the fleet, and how patiently it is confirmed for that.

    strategy = get_strategy_for_role(detect_peer_role("10.0.0.7:9000", {"role": "gate"}))
    assert strategy is GATE_STRATEGY

A role is an authenticated field of a member; what gossip says and what ports and host names
suggest are only fallbacks for peers of which nothing better is known. `HealthAwareServer` never
needs the last two, as whoever tells it of a peer tells its role; they are for programs that
learn of peers from lists of addresses, and call `detect_peer_role`. A peer of which nothing
is known stays UNKNOWN and is treated like a manager: it is asked, and asking is harmless,
where waiting as for a worker would leave a gate undiscovered for three minutes.

Source: seed §12.4; research note §1.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase

import attrs

from federlib._bounds import boolean, instance, integer, number
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
    "check_role",
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


_WORDS = {role.value: role for role in PeerRole}


def check_role(role: object) -> PeerRole:
    """Return a role; its word will do, as `Received.role` or a variable has it.

    Raises:
        InvalidInput: It is none. Taken for UNKNOWN, a misspelt worker would be probed.
    """
    if isinstance(role, PeerRole):
        return role
    found = _WORDS.get(role) if isinstance(role, str) else None
    if found is None:
        raise InvalidInput("role", expected=f"one of {', '.join(_WORDS)}", found=role)
    return found


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


GATE_STRATEGY = RoleBasedConfirmationStrategy(
    passive_timeout=120.0,
    enable_proactive_confirmation=True,
    confirmation_attempts=5,
    latency_aware=True,
    use_vivaldi=True,
    load_multiplier_max=3.0,
)
"""Of gates; seed 12.4.4."""

MANAGER_STRATEGY = RoleBasedConfirmationStrategy(
    passive_timeout=90.0,
    enable_proactive_confirmation=True,
    confirmation_attempts=3,
    latency_aware=True,
    use_vivaldi=True,
    load_multiplier_max=5.0,
)
"""Of managers; seed 12.4.4."""

WORKER_STRATEGY = RoleBasedConfirmationStrategy(
    passive_timeout=180.0,
    enable_proactive_confirmation=False,
    confirmation_attempts=0,
    latency_aware=False,
    use_vivaldi=False,
    load_multiplier_max=10.0,
)
"""Of workers, who are never probed; seed 12.4.4."""


_strategy = instance(RoleBasedConfirmationStrategy)


@attrs.frozen(kw_only=True)
class RoleStrategies:
    """The strategies of one fleet; a peer of unknown role has the manager's.

    Raises:
        InvalidInput: Workers were to be asked. They push heartbeats, and are never probed.
    """

    gate: RoleBasedConfirmationStrategy = attrs.field(default=GATE_STRATEGY, validator=_strategy)
    manager: RoleBasedConfirmationStrategy = attrs.field(
        default=MANAGER_STRATEGY, validator=_strategy
    )
    worker: RoleBasedConfirmationStrategy = attrs.field(
        default=WORKER_STRATEGY, validator=_strategy
    )

    def __attrs_post_init__(self) -> None:
        if self.worker.enable_proactive_confirmation:
            raise InvalidInput("worker.enable_proactive_confirmation", expected="False", found=True)

    def for_role(self, role: PeerRole) -> RoleBasedConfirmationStrategy:
        """Return the strategy for peers of a role.

        Raises:
            InvalidInput: It is no role.
        """
        known = check_role(role)
        if known is PeerRole.GATE:
            return self.gate
        return self.worker if known is PeerRole.WORKER else self.manager


DEFAULT_STRATEGIES = RoleStrategies()


def get_strategy_for_role(role: PeerRole) -> RoleBasedConfirmationStrategy:
    """Return the seed's strategy for a role; the manager's where the role is unknown.

    Raises:
        InvalidInput: It is no role.
    Source: seed 12.4.5.
    """
    return DEFAULT_STRATEGIES.for_role(role)


def _ports(given: Iterable[tuple[int, int, PeerRole]]) -> tuple[tuple[int, int, PeerRole], ...]:
    try:
        ranges = tuple((low, high, check_role(role)) for low, high, role in given)
        are_right = all(0 <= low <= high <= 65_535 for low, high, _ in ranges)
    except InvalidInput:
        raise
    except (TypeError, ValueError):
        are_right = False
    if not are_right:
        expected = "ranges (low, high, role) with 0 <= low <= high <= 65535"
        raise InvalidInput("ports", expected=expected, found=given)
    return ranges


def _hostnames(given: Iterable[tuple[str, PeerRole]]) -> tuple[tuple[str, PeerRole], ...]:
    try:
        # Names are compared in small letters.
        return tuple((str.lower(pattern), check_role(role)) for pattern, role in given)
    except InvalidInput:
        raise
    except (TypeError, ValueError):
        raise InvalidInput("hostnames", expected="pairs (pattern, role)", found=given) from None


@attrs.frozen(kw_only=True)
class RoleHints:
    """What an address suggests of a role, in one fleet; nothing by default.

    Attributes:
        ports: Ranges, both ends included, and their roles; the first that fits counts.
        hostnames: Patterns as of a shell (`gate-*`), of any case, and their roles; likewise.
    Raises:
        InvalidInput: A range that is none, a pattern that is no text, or no role.
    """

    ports: tuple[tuple[int, int, PeerRole], ...] = attrs.field(default=(), converter=_ports)
    hostnames: tuple[tuple[str, PeerRole], ...] = attrs.field(default=(), converter=_hostnames)

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

    For who learns of a peer elsewhere than from its messages: a server calls it for nobody.

    Args:
        node: Its address, `host:port`.
        gossip_data: What was said of it; its `role` is read, anything else ignored. What is no
            role counts as not said.
        authenticated: The role that its key stands for, where keys are bound to roles; as a
            word it will do.
        hints: Port ranges first, host names second.
        default: Where nothing tells; `SEED_DEFAULT_ROLE` does as the seed does, and leaves a
            gate that is learned without its role unasked for three minutes.
    Raises:
        InvalidInput: `authenticated` or `default` is no role.
    Source: seed 12.4.2; research note §1.4.
    """
    proven = PeerRole.UNKNOWN if authenticated is None else check_role(authenticated)
    if proven is not PeerRole.UNKNOWN:
        return proven
    said = gossip_data.get("role")
    told = _WORDS.get(said, PeerRole.UNKNOWN) if isinstance(said, str) else PeerRole.UNKNOWN
    if told is not PeerRole.UNKNOWN:
        return told
    host, _, port = node.rpartition(":")
    # No port has more digits; a hostile number of thousands is not even read.
    is_port = 1 <= len(port) <= 5 and port.isascii() and port.isdecimal()
    by_port = hints.by_port(int(port)) if is_port else None
    return by_port or hints.by_hostname(host.strip("[]") or node) or check_role(default)
