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
        InvalidInput: A variable is set and is not what its field takes; it is named.
    """
    found = os.environ if environ is None else environ
    for name, field in VIVALDI_ENV.items():
        text = found.get(name, "").strip()
        if text:
            number = _number(name, text, is_whole=field in _WHOLE)
            try:
                # attrs types `evolve` with one type for all fields.
                base = attrs.evolve(base, **{field: number})  # type: ignore[arg-type]
            except InvalidInput as error:
                # By the name that whoever set it knows.
                raise InvalidInput(name, expected=error.expected, found=text) from None
    return base


def _number(name: str, text: str, *, is_whole: bool) -> int | float:
    try:
        # Both would take underscores and foreign digits too.
        if text.isascii() and "_" not in text:
            return int(text) if is_whole else float(text)
    except ValueError:
        pass
    raise InvalidInput(name, expected="an integer" if is_whole else "a number", found=text)
