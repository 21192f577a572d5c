"""`FaultProxy`: stands between one process and a server, and does what networks do.

    async with FaultProxy("127.0.0.1", 5432, draw=chance.random) as proxy:
        ...                                    # the process connects to proxy.port
        proxy.hindrance = Hindrance(is_mute=True)
        proxy.reset()

It works on bytes and knows no protocol. A way that is cut stalls, as a connection over a
broken link does, and goes on when it is mended; what TCP would have sent again is late, never
lost. A server that is down refuses, and drops the connections that it had. A reset drops those
that are open, without a word; a half-close ends one of their ways, and the other goes on.

Does not promise: that a request and its answer are told apart. An answer is lost by dropping
the connection after bytes went to the server and before any came back.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Literal, Self

import anyio
import anyio.abc
from anyio.streams.stapled import MultiListener

from federlib.testing.chaos.hindrance import CLEAR, Hindrance, is_drawn, way_s

__all__ = ["FaultProxy"]

_CHUNK = 16_384
_NO_LINGER = struct.pack("ii", 1, 0)


class FaultProxy:
    """A TCP proxy that hinders.

    Args:
        host: Of the server.
        port: Of the server.
        draw: Draws a number from 0 to below 1.
        answer_lost: Told whenever a connection is dropped before an answer.

    Attributes:
        port: Where to connect to, on 127.0.0.1; known once it is entered.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        draw: Callable[[], float],
        answer_lost: Callable[[], object] = lambda: None,
    ) -> None:
        self.port: int = 0
        self._server = (host, port)
        self._draw = draw
        self._answer_lost = answer_lost
        self._hindrance = CLEAR
        self._changed = anyio.Event()
        self._links: set[_Link] = set()
        self._group: anyio.abc.TaskGroup | None = None
        self._listener: MultiListener[anyio.abc.SocketStream] | None = None

    @property
    def hindrance(self) -> Hindrance:
        """What stands in the way now; assign another at any time."""
        return self._hindrance

    @hindrance.setter
    def hindrance(self, hindrance: Hindrance) -> None:
        self._hindrance = hindrance
        self._changed.set()
        self._changed = anyio.Event()
        if hindrance.is_down:
            for link in tuple(self._links):
                link.scope.cancel()

    def reset(self) -> None:
        """Drop the connections that are open; the process sees a reset (RST), not an end."""
        for link in tuple(self._links):
            raw: socket.socket = link.client.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610
            with suppress(OSError):  # it is going anyway
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            link.scope.cancel()

    async def half_close(self, way: Literal["requests", "answers"]) -> None:
        """End one way of the connections that are open, with all that was sent on it.

        Args:
            way: ``answers``: the process reads an end, and what it asks still reaches the
                server. ``requests``: the server reads an end, and its answers still come.
        """
        for link in tuple(self._links):
            stream = link.client if way == "answers" else link.server
            link.ended.add(way)
            with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                await stream.send_eof()

    async def __aenter__(self) -> Self:
        self._listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = self._listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 (no Django)
        self.port = int(port)
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._listener.serve, self._serve)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._group is not None
        assert self._listener is not None
        self._group.cancel_scope.cancel()
        try:
            await self._group.__aexit__(kind, error, traceback)
        finally:
            with anyio.CancelScope(shield=True):
                await self._listener.aclose()

    async def _serve(self, client: anyio.abc.SocketStream) -> None:
        """Carry one connection until either side ends it."""
        async with client:
            if self._hindrance.is_down or is_drawn(self._hindrance.refuse_ppm, self._draw):
                return
            try:
                async with await anyio.connect_tcp(*self._server) as server:
                    link = _Link(client, server)
                    if self._hindrance.is_down:
                        return
                    self._links.add(link)
                    try:
                        with link.scope:
                            await self._join(link)
                    finally:
                        self._links.discard(link)
            except OSError:
                pass  # The server is not there: the client sees its connection dropped.

    async def _join(self, link: _Link) -> None:
        async with anyio.create_task_group() as group:

            async def carry(*, is_request: bool) -> None:
                source, sink = link.client, link.server
                if not is_request:
                    source, sink = sink, source
                way = "requests" if is_request else "answers"
                try:
                    while True:
                        chunk = await source.receive(_CHUNK)
                        await self._pass(len(chunk), is_request=is_request)
                        if is_request:
                            link.is_asking = True
                        elif link.is_asking:
                            link.is_asking = False
                            if is_drawn(self._hindrance.lost_answer_ppm, self._draw):
                                self._answer_lost()
                                break
                        if way not in link.ended:
                            await sink.send(chunk)
                except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    pass
                group.cancel_scope.cancel()

            group.start_soon(partial(carry, is_request=True))
            group.start_soon(partial(carry, is_request=False))

    async def _pass(self, size: int, *, is_request: bool) -> None:
        """Pass the time that some bytes take on their way, and wait while that is cut."""
        pause_s = way_s(self._hindrance, size, self._draw, is_request=is_request)
        if pause_s:
            await anyio.sleep(pause_s)
        while self._hindrance.is_mute if is_request else self._hindrance.is_deaf:
            await self._changed.wait()


class _Link:
    """One connection: how to drop it, and whether an answer is awaited."""

    def __init__(self, client: anyio.abc.SocketStream, server: anyio.abc.SocketStream) -> None:
        self.client = client
        self.server = server
        self.scope = anyio.CancelScope()
        self.is_asking = False
        self.ended: set[str] = set()
