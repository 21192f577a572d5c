"""From the bytes of a file to plain lists and mappings, however hostile the bytes are.

gzip is known by its first bytes. JSON goes through msgspec (no NaN, nothing beyond the
standard). YAML means `yaml.safe_load`, without aliases (a few hundred bytes of them can
unfold to gigabytes), without repeated keys, and to a bounded depth and size.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Literal

import msgspec

from federlib._yaml import line_of, safe_loader, unreadable
from federlib.errors import InvalidInput
from federlib.graph import Problems
from federlib.graph.problems import show

__all__ = ["MAX_FILE_BYTES", "MAX_YAML_BYTES", "Format", "decode", "read_file"]

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Of a workflow file, before and after decompression."""

MAX_YAML_BYTES = 8 * 1024 * 1024
"""Of YAML, which is slow and wide in memory: larger workflows are for JSON."""

Format = Literal["json", "yaml"]

_SUFFIXES: dict[str, Format] = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
_GZIP = b"\x1f\x8b"


def read_file(path: Path) -> tuple[bytes, Format | None]:
    """Read a file's bytes, and tell its format by its name.

    Raises:
        InvalidInput: It is no readable file, or larger than `MAX_FILE_BYTES`.
    """
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    try:
        if not path.is_file():
            found = "a directory" if path.is_dir() else "no such file"
            raise InvalidInput(f"workflow {path}", expected="a file", found=found)
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput("workflow", expected="a readable file", found=reason) from error
    _check_size(len(data))
    return data, _SUFFIXES.get(suffixes[-1].lower()) if suffixes else None


def decode(data: bytes, form: Format | None) -> tuple[object, bytes | None]:
    """Decode a file's bytes.

    Args:
        data: Plain or gzip'd.
        form: None to look at the first character: `{` and `[` begin JSON.
    Returns:
        The document, and the JSON text that it came from (None for YAML).
    Raises:
        InvalidInput: It is too large, torn, or not what it should be.
        MissingExtra: It is YAML, and the extra `cli` is not installed.
    """
    _check_size(len(data))
    if data.startswith(_GZIP):
        data = _gunzip(data)
    data = data.removeprefix(b"\xef\xbb\xbf")
    if form is None:
        form = "json" if data.lstrip()[:1] in (b"{", b"[") else "yaml"
    return (_json(data), data) if form == "json" else (_yaml(data), None)


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise InvalidInput("workflow", expected=f"at most {MAX_FILE_BYTES} bytes", found="more")


def _gunzip(data: bytes) -> bytes:
    whole = bytearray()
    try:
        while data:
            member = zlib.decompressobj(wbits=31)
            whole += member.decompress(data, MAX_FILE_BYTES + 1 - len(whole))
            _check_size(len(whole))
            if not member.eof:
                raise InvalidInput("workflow", expected="whole gzip data", found="a torn file")
            # Only zeros may follow a member, or the next member.
            data = member.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise InvalidInput("workflow", expected="gzip data", found=str(error)) from error
    return bytes(whole)


def _json(data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput("workflow", expected="JSON", found=str(error)) from error
    except RecursionError as error:
        raise InvalidInput("workflow", expected="JSON", found="endless nesting") from error


def _yaml(data: bytes) -> object:
    base: Any = safe_loader(data, "workflow", extra="cli", max_bytes=MAX_YAML_BYTES)
    import yaml

    problems = Problems()

    class Strict(base):  # type: ignore[misc]  # chosen at run time
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> object:  # noqa: FBT001, FBT002 (PyYAML's own signature)
            seen: set[tuple[str, str]] = set()
            for key, _ in node.value:
                name = (key.tag, str(key.value)[:1000])
                if name in seen:
                    problems.add(f"line {line_of(key)}: the key {show(key.value)} is used twice")
                seen.add(name)
            return super().construct_mapping(node, deep=deep)

    try:
        document: object = yaml.load(data, Loader=Strict)  # noqa: S506 (a safe loader, and stricter)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # ValueError: a date or a number that Python cannot hold.
        raise unreadable("workflow", error) from error
    if problems:
        raise problems.error("workflow", expected="each key once")
    return document
