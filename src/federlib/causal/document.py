"""`read_hypothesis`: a hypothesis from JSON or YAML, as people write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from federlib._json import repeated_keys
from federlib._yaml import safe_loader, unreadable
from federlib.causal.records import Hypothesis, checked
from federlib.errors import InvalidInput

if TYPE_CHECKING:
    import yaml

__all__ = ["read_hypothesis"]

_MOST_BYTES = 256 * 1024
_WHERE = "hypothesis"


class _Strict(Hypothesis, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, with a typing error in a field's name told instead of passed over."""


def read_hypothesis(data: bytes, *, form: Literal["json", "yaml"] = "json") -> Hypothesis:
    """Read a hypothesis from a document.

    Args:
        data: The text.
        form: `yaml` needs the extra `cli`.
    Raises:
        InvalidInput: It cannot be read, a field is missing, unknown or out of its range, or
            a key stands there twice.
        MissingExtra: YAML, and no PyYAML.
    """
    if len(data) > _MOST_BYTES:
        raise InvalidInput(_WHERE, expected=f"at most {_MOST_BYTES} bytes", found=len(data))
    if form == "yaml":
        data = _from_yaml(data)
    elif repeated := repeated_keys(data, _WHERE):
        raise InvalidInput(_WHERE, expected="each key once", found=repeated)
    try:
        found = msgspec.json.decode(data, type=_Strict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(_WHERE, expected=str(error), found=data) from error
    return checked(Hypothesis(**msgspec.structs.asdict(found)))


def _repeated(root: yaml.Node | None) -> list[str]:
    """Name the keys that stand twice in one mapping."""
    found: list[str] = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node is None or not isinstance(node.value, list):
            continue
        if type(node).__name__ == "MappingNode":
            keys = [str(key.value) for key, _ in node.value]
            found += [key for key in dict.fromkeys(keys) if keys.count(key) > 1]
            waiting += [value for _, value in node.value]
        else:
            waiting += node.value
    return found


def _from_yaml(data: bytes) -> bytes:
    loader = safe_loader(data, _WHERE, extra="cli", max_bytes=_MOST_BYTES, is_bare=True)
    import yaml

    try:
        if repeated := _repeated(yaml.compose(data, Loader=loader)):
            raise InvalidInput(_WHERE, expected="each key once", found=repeated)
        return msgspec.json.encode(yaml.load(data, Loader=loader))  # noqa: S506  # a safe one
    except InvalidInput:
        raise
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise unreadable(_WHERE, error) from error
