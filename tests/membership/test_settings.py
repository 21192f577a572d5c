"""Settings of membership from the environment."""

from __future__ import annotations

import attrs
import pytest

from federlib.errors import InvalidInput
from federlib.membership.config import SwimConfig
from federlib.membership.roles import GATE_STRATEGY, MANAGER_STRATEGY, WORKER_STRATEGY, PeerRole
from federlib.membership.settings import MEMBERSHIP_ENVS, MembershipSettings
from federlib.membership.timeouts import TimeoutSettings


def test_nothing_set_is_what_the_seed_says() -> None:
    found = MembershipSettings.from_env({})
    assert found == MembershipSettings()
    assert found.strategies.gate == GATE_STRATEGY
    assert found.strategies.manager == MANAGER_STRATEGY
    assert found.strategies.worker == WORKER_STRATEGY
    assert found.timeouts == TimeoutSettings()


def test_an_empty_variable_is_not_set() -> None:
    assert MembershipSettings.from_env(dict.fromkeys(MEMBERSHIP_ENVS, " ")) == MembershipSettings()


def test_the_process_has_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_PASSIVE_TIMEOUT", "200")
    assert MembershipSettings.from_env().strategies.worker.passive_timeout == 200


def test_every_variable_is_read() -> None:
    found = MembershipSettings.from_env(
        {
            "GATE_PASSIVE_TIMEOUT": "12.5",
            "GATE_CONFIRMATION_ATTEMPTS": "7",
            "MANAGER_PASSIVE_TIMEOUT": " 9 ",
            "MANAGER_CONFIRMATION_ATTEMPTS": "1",
            "WORKER_PASSIVE_TIMEOUT": "1e3",
            "REFERENCE_RTT_MS": "25",
            "MAX_LATENCY_MULTIPLIER": "4",
        },
        policy="multiplicative",
    )
    assert found.strategies.gate == attrs.evolve(
        GATE_STRATEGY, passive_timeout=12.5, confirmation_attempts=7
    )
    unknown = found.strategies.for_role(PeerRole.UNKNOWN)
    assert (unknown.passive_timeout, unknown.confirmation_attempts) == (9, 1)
    assert found.strategies.worker.passive_timeout == 1_000
    assert found.timeouts == TimeoutSettings(
        policy="multiplicative", reference_rtt_ms=25, max_latency_multiplier=4
    )


WRONG = ("no", "nan", "inf", "-1", "0", "1_0", "٣", "1e9", "0x10", "5s")


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("name", MEMBERSHIP_ENVS)
def test_a_wrong_value_names_its_variable_and_what_it_accepts(name: str, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        MembershipSettings.from_env({name: text})
    assert caught.value.field == name
    assert " to " in caught.value.expected
    assert caught.value.found == repr(text)


@pytest.mark.parametrize("text", ["1.5", "+3", "101", "9" * 5_000])
def test_attempts_are_a_plain_whole_number(text: str) -> None:
    with pytest.raises(InvalidInput, match="an integer from 1 to 100"):
        MembershipSettings.from_env({"GATE_CONFIRMATION_ATTEMPTS": text})


@pytest.mark.parametrize("field", ["strategies", "timeouts"])
def test_settings_are_made_of_settings(field: str) -> None:
    with pytest.raises(InvalidInput, match=f"{field}: expected a "):
        MembershipSettings(**{field: None})  # type: ignore[arg-type]  # on purpose


def test_timeouts_of_settings_and_of_a_configuration_are_put_together() -> None:
    wan = SwimConfig.wan()
    environ = {"REFERENCE_RTT_MS": "25"}
    found = MembershipSettings.from_env(environ, policy="multiplicative").complete(wan)
    assert found.timeouts == attrs.evolve(
        wan.timeouts, policy="multiplicative", reference_rtt_ms=25.0
    )
    assert attrs.evolve(found, timeouts=wan.timeouts) == wan


def test_what_only_one_of_both_says_counts_whichever_it_is() -> None:
    said = TimeoutSettings(slack_s=0.06)
    silent = MembershipSettings()
    assert silent.complete(SwimConfig(timeouts=said)).timeouts == said
    assert MembershipSettings(timeouts=said).complete(SwimConfig()).timeouts == said
    both = SwimConfig(timeouts=said)
    assert MembershipSettings(timeouts=said).complete(both) == both


def test_where_both_say_different_things_neither_is_ignored() -> None:
    config = SwimConfig(timeouts=TimeoutSettings(reference_rtt_ms=50))
    settings = MembershipSettings.from_env({"REFERENCE_RTT_MS": "25"})
    with pytest.raises(InvalidInput) as told:
        settings.complete(config)
    assert told.value.field == "config.timeouts.reference_rtt_ms"
    assert "expected 25" in str(told.value)
