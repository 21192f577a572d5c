"""Bounds of settings, as validators of attrs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs

from federlib.errors import InvalidInput

__all__ = ["boolean", "instance", "integer", "number"]

T = TypeVar("T")


def number(
    low: float, high: float, unit: str = ""
) -> Callable[[object, attrs.Attribute[float], float], None]:
    """Return a validator for numbers of a range, both ends included."""

    def check(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
        # NaN compares false with everything, and so is refused here.
        if type(value) not in {int, float} or not low <= value <= high:
            expected = f"{low:.9g} to {high:.9g} {unit}".rstrip()
            raise InvalidInput(attribute.name, expected=expected, found=value)

    return check


def integer(low: int, high: int) -> Callable[[object, attrs.Attribute[int], int], None]:
    """Return a validator for integers of a range, both ends included."""

    def check(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
        # `type`, because True is an int too.
        if type(value) is not int or not low <= value <= high:
            expected = f"an integer from {low} to {high}"
            raise InvalidInput(attribute.name, expected=expected, found=value)

    return check


def boolean() -> Callable[[object, attrs.Attribute[bool], object], None]:
    """Return a validator for True and False; the text "false" would count as true."""

    def check(_instance: object, attribute: attrs.Attribute[bool], value: object) -> None:
        if type(value) is not bool:
            raise InvalidInput(attribute.name, expected="True or False", found=value)

    return check


def instance(
    kind: type[T],
) -> Callable[[object, attrs.Attribute[T], object], None]:
    """Return a validator for values of a class, such as other settings."""

    def check(_instance: object, attribute: attrs.Attribute[T], value: object) -> None:
        if not isinstance(value, kind):
            raise InvalidInput(attribute.name, expected=f"a {kind.__name__}", found=value)

    return check
