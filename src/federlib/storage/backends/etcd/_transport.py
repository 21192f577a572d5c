"""What httpx does for the client of etcd: answers and streams read, failures named, TLS."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress

from federlib.errors import InvalidInput, MissingExtra
from federlib.storage.backends.etcd._errors import Lost
from federlib.storage.backends.etcd._url import EtcdUrl

try:
    import httpx
except ImportError as error:
    raise MissingExtra("etcd", needed_for="an etcd:// URL") from error

__all__ = ["CERTIFICATE", "LineStream", "httpx", "now_s", "read_whole", "reason_of", "trust"]

MAX_ANSWER_BYTES = 256 * 1024 * 1024
MAX_LINE_BYTES = 64 * 1024 * 1024
_TLS_REFUSALS = ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE", "ACCESS_DENIED")
CERTIFICATE = "a certificate is refused"
"""How the reason begins where one side does not believe the other's."""


class LineStream:
    """A streaming answer, read by one thread; `abort` may be called by others."""

    def __init__(self, response: httpx.Response, endpoint: int) -> None:
        self.endpoint: int = endpoint
        self._response = response

    def lines(self) -> Iterator[bytes]:
        """Give each line as it comes; ends when the server ends it.

        Raises:
            Lost: The connection failed, was silent for too long, or was aborted.
        """
        rest = b""
        try:
            for chunk in self._response.iter_raw():
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole
                if len(rest) > MAX_LINE_BYTES:
                    raise Lost("it sends a line without an end", may_have_happened=True)
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise Lost(reason_of(error), may_have_happened=True) from error
        if rest:
            yield rest

    def abort(self) -> None:
        """Wake the reading thread, from any other; for it the stream is over."""
        stream = self._response.extensions.get("network_stream")
        plug = stream.get_extra_info("socket") if stream is not None else None
        if isinstance(plug, socket.socket):
            # Not the method of an SSL socket, which takes its state from under the reader.
            with suppress(OSError):
                socket.socket.shutdown(plug, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection; for the thread that reads."""
        with suppress(httpx.HTTPError, OSError):
            self._response.close()


def reason_of(error: Exception) -> str:
    """Say in words why a connection failed."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            name = cause.reason or type(cause).__name__
            if any(mark in name for mark in _TLS_REFUSALS):
                return f"{CERTIFICATE}: {cause}"
            break
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.TimeoutException):
        return f"no answer in time ({type(error).__name__})"
    return f"{str(error) or 'it failed'} ({type(error).__name__})"


def read_whole(response: httpx.Response, end_s: float) -> bytes:
    body = bytearray()
    try:
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise Lost("its answer is too large", may_have_happened=True)
            if now_s() > end_s:
                # It trickles: each piece in time, and never all of it.
                raise Lost("no whole answer in time", may_have_happened=True)
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        raise Lost(reason_of(error), may_have_happened=True) from error
    finally:
        response.close()
    return bytes(body)


def trust(url: EtcdUrl) -> ssl.SSLContext:
    """Make what verifies the servers, and shows them who we are.

    Raises:
        InvalidInput: A file cannot be read, or is not what it should be.
    """
    try:
        context = ssl.create_default_context(cafile=url.ca)
    except (OSError, ValueError) as error:
        expected = f"a PEM file of certificates ({error})"
        raise InvalidInput("store URL option ca", expected=expected, found=url.ca) from error
    if url.cert is not None:
        try:
            # A password is never asked for: nobody sits at the terminal of a server.
            context.load_cert_chain(url.cert, url.key, password="")
        except (OSError, ValueError) as error:
            expected = f"PEM files of a certificate and its key, without a password ({error})"
            raise InvalidInput(
                "store URL options cert and key", expected=expected, found=(url.cert, url.key)
            ) from error
    return context


def now_s() -> float:
    """Tell the time that deadlines are measured in; seconds."""
    return time.monotonic()  # noqa: TID251 (a shell: deadlines of what it waits for)
