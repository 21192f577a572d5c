"""Policies that come with federlib, as data: scaling, routing and restarts.

    model = compile_model(load_policy("scaling"))
    model.outputs({"queue depth": 50, "workers": 4, ...})     # {"action": "scale_up", "delta": 2}

They decide as the plain functions in `tests/dmn/test_policies.py` do, letter by letter: start
from them, publish versions of your own, and `diff_models` shows what changes.

Does not promise: that these figures suit your fleet. They are a baseline to compare with.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Literal, TypeAlias, get_args

import msgspec

from federlib._yaml import safe_loader
from federlib.dmn.documents.forms import parse_model
from federlib.dmn.events import EventMapping
from federlib.dmn.model import Definitions
from federlib.errors import InvalidInput

__all__ = ["POLICIES", "PolicyName", "load_mapping", "load_policy"]

PolicyName: TypeAlias = Literal["restart", "routing", "scaling"]
"""A policy that comes with federlib."""

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
"""All of them."""


def load_policy(name: PolicyName) -> Definitions:
    """Return a policy that comes with federlib.

    Args:
        name: Which.
    Raises:
        InvalidInput: There is no such policy.
        MissingExtra: PyYAML is not installed.
    """
    return parse_model(_data(_checked(name)), "yaml", where=f"policy {name}")


def load_mapping(name: PolicyName) -> EventMapping:
    """Return how events become the facts of a policy that comes with federlib.

    Args:
        name: Which.
    Raises:
        InvalidInput: There is no such policy.
        MissingExtra: PyYAML is not installed.
    """
    data = _data("events")
    loader = safe_loader(data, "event mapping", extra="dmn", max_bytes=1_000_000)
    # After it, as it says which extra is missing.
    import yaml

    plain = yaml.load(data, Loader=loader)  # noqa: S506 (a safe loader)
    return msgspec.convert(plain, dict[str, EventMapping])[_checked(name)]


def _checked(name: str) -> str:
    if name not in POLICIES:
        raise InvalidInput("policy", expected=f"one of {', '.join(POLICIES)}", found=name)
    return name


def _data(name: str) -> bytes:
    return (files(__name__) / f"{name}.yaml").read_bytes()
