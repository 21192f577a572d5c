"""Where servers are, by their URL, and the same URL by way of proxies."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from federlib.errors import InvalidInput
from federlib.storage import redact_url

__all__ = ["servers_of", "through"]

_PORTS = {"postgresql": 5432, "etcd": 2379}


def servers_of(url: str) -> tuple[tuple[str, int], ...]:
    """Return host and port of each server that a URL names.

    Raises:
        InvalidInput: It names no host, or a port that cannot be.
    """
    scheme = urlsplit(url).scheme
    found = []
    for place in urlsplit(url).netloc.rpartition("@")[2].split(","):
        try:
            parts = urlsplit(f"//{place}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        port = _PORTS.get(scheme) if port is None else port
        if not host or port is None:
            raise InvalidInput("--url", expected=f"{scheme}://host:port/…", found=redact_url(url))
        found.append((host, port))
    return tuple(found)


def through(url: str, ports: Sequence[int]) -> str:
    """Return the URL of the same servers by way of proxies on ports of this machine."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    places = ",".join(f"127.0.0.1:{port}" for port in ports)
    return urlunsplit(parts._replace(netloc=f"{credentials}{at}{places}"))
