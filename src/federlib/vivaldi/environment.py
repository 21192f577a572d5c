"""Constants from the environment.

Source: AD-35 §12.9.1.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import attrs

from federlib.errors import InvalidInput
from federlib.vivaldi.config import DEFAULTS, VivaldiConfig

__all__ = ["VIVALDI_ENV", "config_from_env"]

VIVALDI_ENV: Mapping[str, str] = {
    "VIVALDI_DIMENSIONS": "dimensions",
    "VIVALDI_CONVERGENCE_THRESHOLD": "convergence_threshold",
    "VIVALDI_K_SIGMA": "k_sigma",
    "VIVALDI_MIN_SAMPLES_FOR_ROUTING": "min_samples_for_routing",
}
"""Which variable sets which field."""

_WHOLE = frozenset({"dimensions", "min_samples_for_routing"})


def config_from_env(
    environ: Mapping[str, str] | None = None, *, base: VivaldiConfig = DEFAULTS
) -> VivaldiConfig:
    """Read the constants that the environment sets; the others are those of `base`.

    Raises:
        InvalidInput: A variable is set and is not what its field takes.
    """
    found = os.environ if environ is None else environ
    changes: dict[str, int | float] = {}
    for name, field in VIVALDI_ENV.items():
        text = found.get(name, "").strip()
        if text:
            changes[field] = _number(name, text, is_whole=field in _WHOLE)
    # attrs types `evolve` with one type for all fields.
    return attrs.evolve(base, **changes)  # type: ignore[arg-type]


def _number(name: str, text: str, *, is_whole: bool) -> int | float:
    try:
        return int(text) if is_whole else float(text)
    except ValueError:
        expected = "an integer" if is_whole else "a number"
        raise InvalidInput(name, expected=expected, found=text) from None
