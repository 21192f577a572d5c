"""Settings of membership that come from the environment.

    settings = MembershipSettings.from_env()
    AdaptiveTimeouts(distances, lhm=lhm, strategies=settings.strategies,
                     settings=settings.timeouts)

| variable | default | what |
|---|---|---|
| `GATE_PASSIVE_TIMEOUT` | 120 | seconds that a gate's own word is waited for |
| `GATE_CONFIRMATION_ATTEMPTS` | 5 | how often it is then asked |
| `MANAGER_PASSIVE_TIMEOUT` | 90 | the same of managers, and of peers of unknown role |
| `MANAGER_CONFIRMATION_ATTEMPTS` | 3 | |
| `WORKER_PASSIVE_TIMEOUT` | 180 | the same of workers, which are not asked |
| `REFERENCE_RTT_MS` | 10 | milliseconds; of the policy `multiplicative` |
| `MAX_LATENCY_MULTIPLIER` | 10 | of the policy `multiplicative` |

An empty variable counts as one that is not set.

Source: seed 12.9.2, 12.9.3.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import attrs

from federlib._bounds import instance
from federlib.errors import InvalidInput
from federlib.membership.config import SwimConfig
from federlib.membership.roles import (
    GATE_STRATEGY,
    MANAGER_STRATEGY,
    WORKER_STRATEGY,
    RoleStrategies,
)
from federlib.membership.timeouts import (
    MAX_LATENCY_MULTIPLIER,
    REFERENCE_RTT_MS,
    TimeoutPolicy,
    TimeoutSettings,
)

__all__ = ["MEMBERSHIP_ENVS", "MembershipSettings"]

MEMBERSHIP_ENVS = (
    "GATE_PASSIVE_TIMEOUT",
    "GATE_CONFIRMATION_ATTEMPTS",
    "MANAGER_PASSIVE_TIMEOUT",
    "MANAGER_CONFIRMATION_ATTEMPTS",
    "WORKER_PASSIVE_TIMEOUT",
    "REFERENCE_RTT_MS",
    "MAX_LATENCY_MULTIPLIER",
)


@attrs.frozen(kw_only=True)
class MembershipSettings:
    """How peers are confirmed and waited for.

    Attributes:
        strategies: By role.
        timeouts: How timeouts are made; `complete` says what becomes of them beside a
            `SwimConfig` that has timeouts too.
    """

    strategies: RoleStrategies = attrs.field(
        factory=RoleStrategies, validator=instance(RoleStrategies)
    )
    timeouts: TimeoutSettings = attrs.field(
        factory=TimeoutSettings, validator=instance(TimeoutSettings)
    )

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, policy: TimeoutPolicy = "additive"
    ) -> MembershipSettings:
        """Read `MEMBERSHIP_ENVS`; the seed's values where they are not set.

        Args:
            environ: `os.environ` by default.
            policy: The form of timeouts; no variable chooses it.
        Raises:
            InvalidInput: A variable is set and not what it accepts; it names both.
        Source: seed 12.9.2, 12.9.3.
        """
        read = _Reader(os.environ if environ is None else environ)
        gate = attrs.evolve(
            GATE_STRATEGY,
            passive_timeout=read.seconds("GATE_PASSIVE_TIMEOUT", GATE_STRATEGY.passive_timeout),
            confirmation_attempts=read.attempts(
                "GATE_CONFIRMATION_ATTEMPTS", GATE_STRATEGY.confirmation_attempts
            ),
        )
        manager = attrs.evolve(
            MANAGER_STRATEGY,
            passive_timeout=read.seconds(
                "MANAGER_PASSIVE_TIMEOUT", MANAGER_STRATEGY.passive_timeout
            ),
            confirmation_attempts=read.attempts(
                "MANAGER_CONFIRMATION_ATTEMPTS", MANAGER_STRATEGY.confirmation_attempts
            ),
        )
        worker = attrs.evolve(
            WORKER_STRATEGY,
            passive_timeout=read.seconds("WORKER_PASSIVE_TIMEOUT", WORKER_STRATEGY.passive_timeout),
        )
        timeouts = TimeoutSettings(
            policy=policy,
            reference_rtt_ms=read.number(
                "REFERENCE_RTT_MS", REFERENCE_RTT_MS, 0.001, 10_000, "milliseconds"
            ),
            max_latency_multiplier=read.number(
                "MAX_LATENCY_MULTIPLIER", MAX_LATENCY_MULTIPLIER, 1, 1_000
            ),
        )
        strategies = RoleStrategies(gate=gate, manager=manager, worker=worker)
        return cls(strategies=strategies, timeouts=timeouts)

    def complete(self, config: SwimConfig) -> SwimConfig:
        """Return a configuration with the timeouts of both.

        Each number of `timeouts` may be said by one of them: whoever leaves it at its default
        takes over what the other says, so that nothing that was said is ignored.

        Raises:
            InvalidInput: Both say one, and not the same.
        """
        merged: dict[str, Any] = {}
        for field in attrs.fields(TimeoutSettings):
            theirs, ours = getattr(config.timeouts, field.name), getattr(self.timeouts, field.name)
            if theirs != ours and field.default not in {theirs, ours}:
                raise InvalidInput(
                    f"config.timeouts.{field.name}",
                    expected=f"{ours}, as settings or the environment say, or its default",
                    found=theirs,
                )
            merged[field.name] = ours if theirs == field.default else theirs
        return attrs.evolve(config, timeouts=attrs.evolve(config.timeouts, **merged))


@attrs.frozen
class _Reader:
    environ: Mapping[str, str]

    def seconds(self, name: str, default: float) -> float:
        return self.number(name, default, 0.001, 86_400, "seconds")

    def number(self, name: str, default: float, low: float, high: float, unit: str = "") -> float:
        text = self.environ.get(name, "").strip()
        if not text:
            return default
        try:
            # `float` would take underscores and foreign digits too.
            value = float(text) if text.isascii() and "_" not in text else -1.0
        except ValueError:
            value = -1.0
        # NaN compares false with everything, and so is refused here.
        if not low <= value <= high:
            expected = f"{low:.9g} to {high:.9g} {unit}".rstrip()
            raise InvalidInput(name, expected=expected, found=text)
        return value

    def attempts(self, name: str, default: int) -> int:
        text = self.environ.get(name, "").strip()
        if not text:
            return default
        # Neither signs nor underscores nor foreign digits, all of which `int` would take.
        value = int(text) if text.isascii() and text.isdecimal() and len(text) <= 3 else 0
        if not 1 <= value <= 100:
            raise InvalidInput(name, expected="an integer from 1 to 100", found=text)
        return value
