"""Where a server is, by its URL, and the same URL by way of a proxy."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from federlib.errors import InvalidInput
from federlib.storage import redact_url

__all__ = ["server_of", "through"]

_PORTS = {"postgresql": 5432, "etcd": 2379}


def server_of(url: str) -> tuple[str, int]:
    """Return host and port of the server.

    Raises:
        InvalidInput: The URL names no host, several, or a port that cannot be.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    port = _PORTS.get(parts.scheme) if port is None else port
    if not host or port is None or "," in parts.netloc:
        raise InvalidInput(
            "--url", expected=f"{parts.scheme}://host:port/… of one server", found=redact_url(url)
        )
    return host, port


def through(url: str, port: int) -> str:
    """Return the URL of the same server by way of a proxy on a port of this machine."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}{at}127.0.0.1:{port}"))
