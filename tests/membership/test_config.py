"""How the protocol runs: presets and bounds."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from federlib.errors import InvalidInput
from federlib.membership.config import SwimConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("interval_s", 0),
        ("interval_s", math.nan),
        ("interval_s", "1"),
        ("late_s", 86_401.0),
        ("relays", -1),
        ("relays", 1.5),
        ("max_relayed", True),
        ("seal_overhead_bytes", 1_000),
        ("packet_bytes", 300),
        ("lifeguard", "false"),
        ("witness", 0),
        ("stream_fallback", None),
        ("limits", None),
        ("timeouts", 5.0),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=field.replace("seal_overhead", "packet")):
        SwimConfig(**{field: value})


def test_presets_differ_in_what_they_are_for() -> None:
    lan, wan, plain = SwimConfig(), SwimConfig.wan(), SwimConfig.plain_swim()
    assert (lan.interval_s, lan.timeouts.slack_s, lan.timeouts.suspicion_mult) == (1.0, 0.5, 4.0)
    assert (wan.interval_s, wan.timeouts.slack_s, wan.timeouts.suspicion_mult) == (5.0, 3.0, 6.0)
    assert attrs.evolve(plain, lifeguard=True, witness=True) == lan
    assert lan.room_bytes == 1_400 - 48
