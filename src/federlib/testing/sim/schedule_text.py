"""Schedules as text: JSON and YAML, one format, however hostile what is read.

    name: two leaders
    faults:
      - {at_ms: 8000, kind: kill, who: leader, for_ms: 5000}
      - {at_ms: 9000, kind: store_slow, for_ms: 4000, amount: 700}

Of YAML only what JSON has too: text and whole numbers in mappings and lists. Anchors, aliases,
tags, dates and fractions are refused, and so are keys that come twice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from federlib._json import repeated_keys
from federlib._yaml import line_of, safe_loader, unreadable
from federlib.errors import InvalidInput
from federlib.testing.sim.schedule import Schedule

if TYPE_CHECKING:
    import yaml

__all__ = ["MAX_BYTES", "read_schedule"]

MAX_BYTES = 4 * 1024 * 1024
"""Of a schedule as text."""

_WHERE = "fault schedule"
_TEXT = "tag:yaml.org,2002:str"
_LIST = "tag:yaml.org,2002:seq"
_MAPPING = "tag:yaml.org,2002:map"
# YAML has octals and times of day among its whole numbers: too easily meant otherwise.
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]{0,19})")
_PLACE = re.compile(r"`(\$[^`]*)`")


def read_schedule(text: str | bytes) -> Schedule:
    """Read a schedule from JSON or YAML; `{` begins JSON.

    Raises:
        InvalidInput: It is none; says where and why.
        MissingExtra: It is YAML, and PyYAML is not installed.
    """
    if not isinstance(text, (str, bytes)):
        raise InvalidInput(_WHERE, expected="text or bytes", found=text)
    try:
        data = text.encode() if isinstance(text, str) else text
        plain = data[: MAX_BYTES + 1].decode()
    except UnicodeError as error:
        raise InvalidInput(_WHERE, expected=f"UTF-8 ({error})", found=ascii(text[:100])) from error
    if len(data) > MAX_BYTES:
        raise InvalidInput(_WHERE, expected=f"at most {MAX_BYTES} bytes", found=len(data))
    plain = plain.removeprefix("\ufeff")
    read = _from_json if plain.lstrip()[:1] in {"{", "["} else _from_yaml
    return read(plain)


def _from_json(text: str) -> Schedule:
    try:
        schedule = msgspec.json.decode(text, type=Schedule)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidInput(_WHERE, expected=f"a schedule ({error})", found=text) from error
    repeated = repeated_keys(text.encode(), _WHERE)
    if repeated:
        raise InvalidInput(_WHERE, expected="each key once", found=f"{repeated[0]!r} twice")
    return schedule


def _from_yaml(text: str) -> Schedule:
    data = text.encode()
    loader = safe_loader(data, _WHERE, extra="testing", max_bytes=MAX_BYTES, is_bare=True)
    import yaml

    try:
        node = yaml.compose(data, Loader=loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise unreadable(_WHERE, error) from error
    if node is None:
        raise InvalidInput(_WHERE, expected="a schedule", found="nothing")
    lines: dict[str, int] = {}
    document = _plain(node, "$", lines)
    try:
        return msgspec.convert(document, Schedule)
    except msgspec.ValidationError as error:
        place = _PLACE.search(str(error))
        line = lines.get(place[1], 1) if place is not None else lines["$"]
        where = f"{_WHERE}, line {line}"
        found = text.splitlines()[line - 1].strip()
        raise InvalidInput(where, expected=f"a schedule ({error})", found=found) from error


def _plain(node: yaml.Node, path: str, lines: dict[str, int]) -> object:
    """Make plain values of what PyYAML composed, and note in which line each stands."""
    lines[path] = line_of(node)
    if node.tag == _LIST:
        return [_plain(item, f"{path}[{place}]", lines) for place, item in enumerate(node.value)]
    if node.tag == _MAPPING:
        found: dict[str, object] = {}
        for key, value in node.value:
            if key.tag != _TEXT:
                raise _fault(key, "a name")
            if key.value in found:
                raise _fault(key, "each key once")
            found[key.value] = _plain(value, f"{path}.{key.value}", lines)
        return found
    if node.tag == _TEXT:
        return str(node.value)
    if not _WHOLE.fullmatch(node.value):
        raise _fault(node, "text or a whole number")
    return int(node.value)


def _fault(node: yaml.Node, expected: str) -> InvalidInput:
    return InvalidInput(f"{_WHERE}, line {line_of(node)}", expected=expected, found=node.value)
