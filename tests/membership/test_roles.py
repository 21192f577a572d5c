"""Roles: by whose word a peer has one, and how it is confirmed for it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.membership.roles import (
    GATE_STRATEGY,
    MANAGER_STRATEGY,
    SEED_DEFAULT_ROLE,
    WORKER_STRATEGY,
    PeerRole,
    RoleHints,
    RoleStrategies,
    detect_peer_role,
    get_strategy_for_role,
)

HINTS = RoleHints(
    ports=((9000, 9099, PeerRole.GATE), (9050, 9200, PeerRole.MANAGER)),
    hostnames=(("gate-*", PeerRole.GATE), ("*worker*", PeerRole.WORKER)),
)


@pytest.mark.parametrize(
    ("node", "said", "role"),
    [
        pytest.param("worker-1:9000", {"role": "manager"}, PeerRole.MANAGER, id="what it says"),
        pytest.param("worker-1:9000", {}, PeerRole.GATE, id="its port, before its host"),
        pytest.param("h:9099", {}, PeerRole.GATE, id="the last of a range"),
        pytest.param("h:9100", {}, PeerRole.MANAGER, id="the next range"),
        pytest.param("GATE-7.example:80", {}, PeerRole.GATE, id="its host's name, any case"),
        pytest.param("[::1]:9000", {}, PeerRole.GATE, id="a port behind IPv6"),
        pytest.param("my-worker", {}, PeerRole.WORKER, id="a host without a port"),
        pytest.param("h:80", {}, PeerRole.UNKNOWN, id="nothing tells"),
        pytest.param("h:9000", {"role": "admin"}, PeerRole.GATE, id="no role of ours"),
        pytest.param("h:80", {"role": "unknown"}, PeerRole.UNKNOWN, id="it does not know either"),
        pytest.param("h:9000", {"role": 7}, PeerRole.GATE, id="no text"),
        pytest.param("h:9000 ", {}, PeerRole.UNKNOWN, id="no port"),
        pytest.param("h:" + "9" * 5_000, {}, PeerRole.UNKNOWN, id="a port without end"),
        pytest.param("h:٩٠٠٠", {}, PeerRole.UNKNOWN, id="foreign digits"),
    ],
)
def test_fallbacks_come_in_their_order(node: str, said: dict[str, object], role: PeerRole) -> None:
    assert detect_peer_role(node, said, hints=HINTS) is role


def test_what_a_key_proves_comes_first() -> None:
    found = detect_peer_role("h:9000", {"role": "gate"}, authenticated=PeerRole.WORKER, hints=HINTS)
    assert found is PeerRole.WORKER
    found = detect_peer_role("h:1", {"role": "gate"}, authenticated=PeerRole.UNKNOWN)
    assert found is PeerRole.GATE


def test_unknown_stays_unknown_and_the_seed_said_worker() -> None:
    assert detect_peer_role("h:1", {}) is PeerRole.UNKNOWN
    assert detect_peer_role("h:1", {}, default=SEED_DEFAULT_ROLE) is PeerRole.WORKER


@given(st.text(max_size=300), st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_no_address_and_no_gossip_raises(node: str, said: dict[str, object]) -> None:
    assert detect_peer_role(node, said, hints=HINTS) in PeerRole


def test_an_unknown_role_is_asked_like_a_manager() -> None:
    assert get_strategy_for_role(PeerRole.UNKNOWN) is MANAGER_STRATEGY
    assert get_strategy_for_role(PeerRole.GATE) is GATE_STRATEGY
    assert get_strategy_for_role(PeerRole.WORKER) is WORKER_STRATEGY


def test_workers_cannot_be_made_to_be_asked() -> None:
    asked = attrs.evolve(
        WORKER_STRATEGY, enable_proactive_confirmation=True, confirmation_attempts=1
    )
    with pytest.raises(InvalidInput, match="enable_proactive_confirmation"):
        RoleStrategies(worker=asked)


@pytest.mark.parametrize(
    "fields",
    [
        {"passive_timeout": 0},
        {"passive_timeout": float("nan")},
        {"passive_timeout": True},
        {"confirmation_attempts": 0},
        {"confirmation_attempts": 101},
        {"attempt_interval": -1},
        {"load_multiplier_max": 0.5},
    ],
    ids=str,
)
def test_strategies_that_make_no_sense_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(fields))):
        attrs.evolve(GATE_STRATEGY, **fields)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("low_high", [(5, 4), (-1, 4), (0, 65_536)], ids=str)
def test_ranges_of_ports_that_are_none_are_refused(low_high: tuple[int, int]) -> None:
    with pytest.raises(InvalidInput, match="ports"):
        RoleHints(ports=((*low_high, PeerRole.GATE),))


def test_a_role_may_be_given_by_its_word() -> None:
    worker: Any = "worker"
    assert get_strategy_for_role(worker) is WORKER_STRATEGY
    assert detect_peer_role("h:1", {}, authenticated=worker) is PeerRole.WORKER
    hints = RoleHints(ports=((1, 2, worker),), hostnames=(("GATE-*", worker),))
    assert hints.by_port(1) is hints.by_hostname("gate-1") is PeerRole.WORKER


@pytest.mark.parametrize("role", ["wroker", "", None, 7, b"gate", []])
def test_what_is_no_role_is_not_taken_for_unknown(role: Any) -> None:
    for call in (
        lambda: get_strategy_for_role(role),
        lambda: RoleHints(ports=((1, 2, role),)),
        lambda: RoleHints(hostnames=(("gate-*", role),)),
        lambda: detect_peer_role("h:1", {}, default=role),
    ):
        with pytest.raises(InvalidInput, match="role: expected one of gate, manager, worker"):
            call()


@pytest.mark.parametrize(
    ("hints", "field"),
    [
        ({"ports": "9000"}, "ports"),
        ({"ports": (9000, 9100, PeerRole.GATE)}, "ports"),
        ({"ports": (("1", "2", PeerRole.GATE),)}, "ports"),
        ({"ports": None}, "ports"),
        ({"hostnames": "gate-*"}, "hostnames"),
        ({"hostnames": ("gate-*", PeerRole.GATE)}, "hostnames"),
        ({"hostnames": ((None, PeerRole.GATE),)}, "hostnames"),
    ],
)
def test_hints_of_another_shape_are_refused_by_name(hints: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        RoleHints(**hints)
    assert caught.value.field in {field, "role"}


def test_strategies_are_strategies() -> None:
    with pytest.raises(InvalidInput, match="gate: expected a RoleBasedConfirmationStrategy"):
        RoleStrategies(gate=PeerRole.GATE)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InvalidInput, match="use_vivaldi: expected True or False"):
        attrs.evolve(GATE_STRATEGY, use_vivaldi="no")  # type: ignore[arg-type]  # on purpose
