"""Stored JSON: what may go into it when it comes from users, and records read by version."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from federlib.errors import CorruptRecord, InvalidInput

__all__ = ["MAX_DEPTH", "RecordReader", "encode_json", "json_fault", "repeated_keys"]

_T = TypeVar("_T")

MAX_DEPTH = 64
"""Of lists and objects in one another."""

_INT64 = range(-(2**63), 2**63)


def json_fault(value: object) -> str | None:
    """Name what JSON cannot hold, without recursion; None if it can hold all of it.

    A number that is not finite would become null without a word, one beyond 64 bits cannot
    be read back, and depth is what hostile input is made of.
    """
    stack = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, list | dict) and depth > MAX_DEPTH:
            return f"more than {MAX_DEPTH} levels"
        if isinstance(item, dict):
            if not all(isinstance(key, str) for key in item):
                return "a key that is not text"
            stack += ((inner, depth + 1) for inner in item.values())
        elif isinstance(item, list):
            stack += ((inner, depth + 1) for inner in item)
        elif isinstance(item, float) and not math.isfinite(item):
            return str(item)
        elif isinstance(item, int) and item not in _INT64:
            return "a number beyond 64 bits"
        elif not (item is None or isinstance(item, str | int | float)):
            return f"a value of type {type(item).__name__}"
    return None


def encode_json(value: object, *, field: str, max_bytes: int) -> bytes:
    """Turn a user's value into JSON, keys sorted: the same value is the same bytes.

    Args:
        value: Plain values, dataclasses, attrs classes, Structs, or a `msgspec.Raw`.
        field: How to call it in an error.
        max_bytes: Of the JSON.
    Raises:
        InvalidInput: JSON cannot hold it, or it is too large or too deep.
    """
    try:
        if isinstance(value, msgspec.Raw):
            value = msgspec.json.decode(value)
        plain = msgspec.to_builtins(value, str_keys=True)
        fault = json_fault(plain)
        encoded = b"" if fault else msgspec.json.encode(plain, order="sorted")
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput(field, expected=f"what JSON can hold ({error})", found=value) from error
    if fault:
        raise InvalidInput(field, expected="what JSON can hold", found=fault)
    if len(encoded) > max_bytes:
        raise InvalidInput(field, expected=f"at most {max_bytes} bytes of JSON", found=len(encoded))
    return encoded


def repeated_keys(data: bytes, where: str) -> list[str]:
    """Name the keys that one JSON object has twice: decoders keep the last and say nothing.

    Args:
        data: JSON.
        where: What it is, for errors.
    Raises:
        InvalidInput: It is not JSON.
    """
    repeated: list[str] = []

    def look(pairs: Sequence[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                repeated.append(key)
            seen.add(key)

    try:
        json.loads(data, object_pairs_hook=look)
    except (RecursionError, ValueError) as error:
        raise InvalidInput(where, expected="JSON", found=str(error)) from error
    return repeated


class _Header(msgspec.Struct):
    v: int


_header = msgspec.json.Decoder(_Header)


class RecordReader(Generic[_T]):
    """Reads stored records of one kind and version.

    Args:
        kind: The Struct that they are.
        version: What their field `v` must say.
    """

    def __init__(self, kind: type[_T], version: int) -> None:
        self._kind = kind
        self._version = version
        self._decoder = msgspec.json.Decoder(kind)

    def read(self, key: str, value: bytes) -> _T:
        """Read the record that is stored under a key.

        Raises:
            CorruptRecord: Not a record of this kind and version.
        """
        try:
            # The version first: a newer record may differ in everything else.
            found = _header.decode(value).v
            if found == self._version:
                return self._decoder.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            # msgspec names the field: "Expected `int`, got `str` - at `$.leader_epoch`".
            expected = f"{self._kind.__name__} ({error})"
            raise CorruptRecord(key, expected=expected, found=value) from error
        hint = "a newer federlib wrote it: upgrade this one" if found > self._version else ""
        raise CorruptRecord(key, expected=f"field v = {self._version}", found=found, hint=hint)
