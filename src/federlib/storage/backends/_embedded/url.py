"""The URL of a store that lies on a disk: what it says, and how its place is opened."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from federlib.errors import InvalidInput
from federlib.storage.backends._embedded.filesystem import (
    refuse_network_filesystem,
    translate_os_error,
)
from federlib.storage.urls import redact_url

__all__ = ["FileUrl", "locate", "parse_file_url"]


@attrs.frozen
class FileUrl:
    """What a URL of a store on a disk says.

    Attributes:
        path: As written: relative to the working directory, or absolute.
        allow_network_fs: Open it on a network file system, too.
    """

    path: str
    allow_network_fs: bool = False


def parse_file_url(url: str, scheme: str, *, what: str) -> FileUrl:
    """Read `scheme:///relative`, `scheme:////absolute` and the options.

    Args:
        url: As the user wrote it.
        scheme: The only one accepted.
        what: What the path names, for errors.
    Raises:
        InvalidInput: Anything else.
    """
    if any(unicodedata.category(c) == "Cc" for c in url):
        raise InvalidInput("store URL", expected="no control character", found=redact_url(url))
    parts = urlsplit(url)
    path = unquote(parts.path[1:], errors="surrogateescape")
    if parts.scheme != scheme or parts.netloc or not path or "\0" in path:
        raise InvalidInput(
            "store URL",
            expected=f"{scheme}:///relative/path or {scheme}:////absolute/path",
            found=redact_url(url),
        )
    if parts.fragment or path.endswith("/") or path == ":memory:":
        raise InvalidInput(
            "store URL",
            expected=f"the path of a {what} (write # as %23; memory:// exists)",
            found=redact_url(url),
        )
    return FileUrl(path, _parse_options(parts.query))


def _parse_options(query: str) -> bool:
    allow_network_fs = False
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "allow_network_fs" or value not in {"0", "1"}:
            raise InvalidInput("store URL option", expected="allow_network_fs=0 or =1", found=name)
        allow_network_fs = value == "1"
    return allow_network_fs


def locate(place: FileUrl, driver: str) -> Path:
    """Return the absolute, resolved path of a place on a local disk.

    Raises:
        InvalidInput: It lies on a network file system.
        Unavailable: The working directory is gone.
    """
    try:
        path = Path(os.path.realpath(place.path))
    except OSError as error:
        raise translate_os_error(error, f"{driver} store {place.path}") from error
    if not place.allow_network_fs:
        refuse_network_filesystem(path)
    return path
