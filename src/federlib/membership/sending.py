"""Sends what the core wants sent, as well as it goes; what waits is bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio
import anyio.abc

from federlib.errors import FederlibError
from federlib.membership.effects import Send
from federlib.transport import Received, Transport

__all__ = ["Sender"]

_STREAM_S = 5.0
"""How long the other end of a stream is waited for."""

_OUT = 4_096
"""Packets that wait to be sent; what comes on top is lost, as on the way."""

_STREAMS = 16
"""Streams of ours that are open at once; as many wait."""


class Sender:
    """Sends packets, in their order, and asks by streams.

    Args:
        transport: Carries them.
        take: Given each answer that came by a stream.

    Attributes:
        lost: What was not sent.
    """

    def __init__(self, transport: Transport, take: Callable[[Received], None]) -> None:
        self._transport = transport
        self._take = take
        self._out: deque[Send] = deque()
        self._has_out = anyio.Event()
        self._streams = anyio.CapacityLimiter(_STREAMS)
        self._begun = 0
        self._asking: set[int] = set()
        self._progress = anyio.Event()
        self._group: anyio.abc.TaskGroup | None = None
        self.lost: int = 0

    @property
    def is_waiting(self) -> bool:
        """Whether packets wait to be sent."""
        return bool(self._out)

    @property
    def asking(self) -> frozenset[int]:
        """Numbers of the streams that are open or wait to be."""
        return frozenset(self._asking)

    async def wait_sent(self, streams: frozenset[int]) -> None:
        """Wait until no packet waits and these streams have ended, or the group has."""
        while self._out or self._asking & streams:
            await self._progress.wait()

    def begin(self, group: anyio.abc.TaskGroup) -> None:
        """Send from now on, until the group is cancelled."""
        self._group = group
        group.start_soon(self._send)

    def end(self) -> None:
        """Send nothing more: the group has ended."""
        self._group = None
        self._out.clear()
        self._asking.clear()
        self._tell_progress()

    def post(self, send: Send) -> None:
        """Send one soon, or count it as lost; never waits."""
        group = self._group if send.reliable else None
        if group is not None and self._streams.statistics().tasks_waiting < _STREAMS:
            self._begun += 1
            self._asking.add(self._begun)
            group.start_soon(self._request, send, self._begun)
        elif not send.reliable and len(self._out) < _OUT:
            self._out.append(send)
            self._has_out.set()
        else:
            self.lost += 1

    async def _send(self) -> None:
        while True:
            while self._out:
                send = self._out.popleft()
                try:
                    await self._transport.send(send.address, send.payload)
                except FederlibError:
                    # An address of another family, or one that is none: somebody told us so.
                    self.lost += 1
            self._tell_progress()
            self._has_out = anyio.Event()
            await self._has_out.wait()

    async def _request(self, send: Send, number: int) -> None:
        try:
            async with self._streams:
                answer = await self._transport.request(
                    send.address, send.payload, timeout_s=_STREAM_S
                )
        except FederlibError:
            # Nobody there; the protocol asks again.
            self.lost += 1
            return
        finally:
            self._asking.discard(number)
            self._tell_progress()
        if answer.payload:
            self._take(answer)

    def _tell_progress(self) -> None:
        progress, self._progress = self._progress, anyio.Event()
        progress.set()
