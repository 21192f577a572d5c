"""The functions that FEEL has built in.

Source: DMN 1.5, 10.3.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from federlib.dmn.feel.builtins import (
    aggregates,
    contexts,
    conversion,
    dates,
    lists,
    numeric,
    ranges,
    strings,
)
from federlib.dmn.feel.values import Function, Overloads

__all__ = ["BUILTINS"]


def _gathered() -> dict[str, Function | Overloads]:
    ways: dict[str, list[Function]] = {}
    for module in (conversion, strings, lists, aggregates, numeric, dates, ranges, contexts):
        for way in module.WAYS:
            ways.setdefault(way.name, []).append(way)
    return {
        name: each[0] if len(each) == 1 else Overloads(name, tuple(each))
        for name, each in ways.items()
    }


BUILTINS: Mapping[str, Function | Overloads] = MappingProxyType(_gathered())
"""By name; those with several ways to call them are `Overloads`."""
