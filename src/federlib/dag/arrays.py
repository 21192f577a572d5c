"""Arrays of numbers as bytes: little-endian in the store, whatever the machine."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from typing import TypeVar

__all__ = ["cut", "pack", "unpack", "where"]

_Item = TypeVar("_Item")


def cut(items: Iterable[_Item], size: int) -> list[tuple[_Item, ...]]:
    """Cut items into tuples of `size`, the last one shorter."""
    whole = tuple(items)
    return [whole[first : first + size] for first in range(0, len(whole), size)]


def where(states: bytearray, code: int) -> list[int]:
    """List the places that hold `code`, in rising order."""
    return [node for node, found in enumerate(states) if found == code]


def pack(numbers: array[int]) -> bytes:
    """Turn numbers into bytes."""
    if sys.byteorder == "big":  # pragma: no cover (stored little-endian everywhere)
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def unpack(into: array[int], data: bytes) -> None:
    """Append the numbers in `data`."""
    numbers = array(into.typecode, data)
    if sys.byteorder == "big":  # pragma: no cover (as above)
        numbers.byteswap()
    into.extend(numbers)
