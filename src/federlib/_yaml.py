"""YAML from anybody: looked at while it is flat, before anything of it is built.

PyYAML recurses over what is nested, and unfolds aliases: a few hundred bytes of them make
gigabytes. So its events are looked at first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from federlib._json import MAX_DEPTH
from federlib.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    import yaml

__all__ = ["line_of", "safe_loader", "unreadable"]

_DEPTHS = {
    "MappingStartEvent": 1,
    "SequenceStartEvent": 1,
    "MappingEndEvent": -1,
    "SequenceEndEvent": -1,
}


def safe_loader(
    data: bytes, where: str, *, extra: str, max_bytes: int, is_bare: bool = False
) -> type[yaml.SafeLoader]:
    """Check that YAML is small, shallow and without aliases, and return what loads it.

    Args:
        data: The text, in any encoding of Unicode.
        where: What it is, for errors.
        extra: Which of our extras brings PyYAML.
        max_bytes: How large it may be.
        is_bare: Neither anchors nor tags either.
    Returns:
        A class of PyYAML's safe loaders: the one in C where there is one.
    Raises:
        InvalidInput: It is something else; says in which line.
        MissingExtra: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra(extra, needed_for=f"a {where} in YAML") from error
    if len(data) > max_bytes:
        expected = f"at most {max_bytes} bytes of YAML; larger {where}s as JSON"
        raise InvalidInput(where, expected=expected, found=len(data))
    # The slow twin where C is missing; each has what we use of the other.
    loader = cast("type[yaml.SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    depth = 0
    try:
        for event in yaml.parse(data, Loader=loader):
            depth += _DEPTHS.get(type(event).__name__, 0)
            fault = _fault(event, depth, is_bare=is_bare)
            if fault is not None:
                found = f"{fault[1]} in line {line_of(event)}"
                raise InvalidInput(where, expected=fault[0], found=found)
    except yaml.YAMLError as error:
        raise unreadable(where, error) from error
    return loader


def line_of(thing: yaml.Event | yaml.Node) -> int:
    """Return the line in which something begins, counted from 1."""
    mark = thing.start_mark
    return 1 if mark is None else int(mark.line) + 1


def unreadable(where: str, error: Exception) -> InvalidInput:
    """Build the error for what PyYAML cannot read; its own words say where."""
    return InvalidInput(where, expected="YAML", found=" ".join(str(error).split()))


def _fault(event: yaml.Event, depth: int, *, is_bare: bool) -> tuple[str, str] | None:
    if type(event).__name__ == "AliasEvent":
        return "no aliases", "one"
    if depth > MAX_DEPTH:
        return f"at most {MAX_DEPTH} levels", "more"
    if is_bare and getattr(event, "anchor", None) is not None:
        return "no anchors", "one"
    # "!" stands before a text that is a text in any case.
    if is_bare and getattr(event, "tag", None) not in {None, "!"}:
        return "no tags", "one"
    return None
