"""The constants: their bounds, the seed's form, and the environment."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

from federlib.errors import InvalidInput
from federlib.vivaldi import DEFAULTS, VIVALDI_ENV, VivaldiConfig, config_from_env

NUMBERS = [each.name for each in attrs.fields(VivaldiConfig) if str(each.type) in {"int", "float"}]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, True, "4", None, 1e12])
def test_a_constant_out_of_its_range_is_refused_by_name(name: str, value: object) -> None:
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(InvalidInput) as caught:
        VivaldiConfig(**wrong)
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"min_error": 0.9, "max_error": 0.5, "initial_error": 0.7}, "min_error"),
        ({"rtt_min_ms": 200.0, "rtt_max_ms": 100.0}, "rtt_min_ms"),
        ({"rtt_floor_ms": 200.0, "rtt_max_ms": 100.0}, "rtt_floor_ms"),
        ({"sigma_min_ms": 20.0, "sigma_max_ms": 10.0}, "sigma_min_ms"),
        ({"initial_error": 2.0}, "initial_error"),
        ({"steady_gain": 0.5}, "steady_gain"),
        ({"direct_first": 1}, "direct_first"),
    ],
)
def test_constants_must_fit_together(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        VivaldiConfig(**changes)
    assert caught.value.field == field


def test_the_plain_form_has_nothing_around_the_update() -> None:
    plain = VivaldiConfig.plain()
    assert (plain.filter_samples, plain.replay, plain.gate, plain.gravity_rho) == (1, 0, 0, 0)
    assert (plain.trust_max, plain.steady_gain) == (1, plain.coordinate_adjustment)
    assert (plain.ucb_target, plain.direct_first, plain.adjustment_window) == (0, False, 0)
    assert plain.rtt_floor_ms == plain.rtt_min_ms == 1


def test_the_environment_sets_the_constants_that_it_names() -> None:
    environ = {
        "VIVALDI_DIMENSIONS": " 3 ",
        "VIVALDI_CONVERGENCE_THRESHOLD": "0.2",
        "VIVALDI_K_SIGMA": "3",
        "VIVALDI_MIN_SAMPLES_FOR_ROUTING": "9",
        "VIVALDI_OTHER": "ignored",
    }
    assert config_from_env(environ) == attrs.evolve(
        DEFAULTS, dimensions=3, convergence_threshold=0.2, k_sigma=3.0, min_samples_for_routing=9
    )


def test_without_variables_the_base_stays() -> None:
    base = VivaldiConfig.plain()
    assert config_from_env({"VIVALDI_DIMENSIONS": " "}, base=base) == base


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIVALDI_K_SIGMA", "1.5")
    assert config_from_env().k_sigma == 1.5


@pytest.mark.parametrize("name", VIVALDI_ENV)
@pytest.mark.parametrize("text", ["four", "1e99", "-1", "nan", "1_0", "\u0664", "9" * 5_000])
def test_a_variable_that_cannot_be_is_refused_by_its_own_name(name: str, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        config_from_env({name: text})
    assert caught.value.field == name
