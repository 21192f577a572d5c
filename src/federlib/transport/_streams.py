"""Requests over TCP: the shell around `frames`."""

from __future__ import annotations

import anyio
from anyio.abc import SocketAttribute, SocketListener, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.memory import MemoryObjectSendStream

from federlib._tasks import open_task_group
from federlib.errors import OutcomeUnknown, Unavailable
from federlib.transport._entropy import draw
from federlib.transport._sockets import connect
from federlib.transport.addresses import Networks, format_address
from federlib.transport.frames import HELLO, NONCE, PREFIX, Conversation, MessageReader, Streams
from federlib.transport.protocol import Asked, Limits, Received
from federlib.transport.refusals import Refusal, Tally

__all__ = ["StreamServer", "ask"]

_ACCEPT_PAUSE_S = 0.1
"""After the system had no room for another socket; seconds."""

_CLOSE_S = 1.0

_BROKEN = (
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    anyio.IncompleteRead,
    # The address of a peer that is gone again already.
    anyio.TypedAttributeLookupError,
    OSError,
)


class StreamServer:
    """Takes the requests of others.

    Args:
        streams: How they are read and answered.
        networks: From where they may come.
        limits: How many, and for how long.
        tally: Counts what is refused.
        asked: Where requests go.
    """

    def __init__(
        self,
        streams: Streams,
        networks: Networks,
        limits: Limits,
        tally: Tally,
        asked: MemoryObjectSendStream[Asked],
    ) -> None:
        self._streams = streams
        self._networks = networks
        self._limits = limits
        self._tally = tally
        self._asked = asked
        self._open = 0
        # Those that have not proved that they have a key, the oldest first.
        self._strangers: dict[anyio.CancelScope, None] = {}

    async def serve(self, listener: SocketListener) -> None:
        """Serve until cancelled."""
        async with open_task_group() as group:
            while True:
                try:
                    stream = await listener.accept()
                except OSError:
                    self._refuse(Refusal.BUSY)
                    await anyio.sleep(_ACCEPT_PAUSE_S)
                    continue
                if self._open >= self._limits.streams:
                    self._refuse(Refusal.BUSY)
                    if not self._part_from_stranger():
                        await anyio.aclose_forcefully(stream)
                        continue
                self._open += 1
                group.start_soon(self._talk, stream)

    def _part_from_stranger(self) -> bool:
        """Close the oldest stream that has proved nothing; say whether there was one.

        A peer proves itself within a round trip. So who holds streams open without a key must
        open as many a round trip as there may be, and not as many in `hello_s`.
        """
        oldest = next(iter(self._strangers), None)
        # Those that are being closed still count.
        if oldest is None or self._open >= 2 * self._limits.streams:
            return False
        del self._strangers[oldest]
        oldest.cancel()
        return True

    async def _talk(self, stream: SocketStream) -> None:
        try:
            host = str(stream.extra(SocketAttribute.remote_address)[0])  # noqa: S610 (not a query)
            if not self._networks.admit(host):
                self._refuse(Refusal.FOREIGN)
                return
            with anyio.move_on_after(self._limits.stream_s) as limit:
                await self._converse(stream)
            if limit.cancelled_caught:
                self._refuse(Refusal.TIMEOUT)
        except _BROKEN:
            self._refuse(Refusal.TRUNCATED)
        except Exception:
            # Whatever a stranger sends, the others are served.
            self._refuse(Refusal.BROKEN)
        finally:
            self._open -= 1
            with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSE_S):
                await stream.aclose()

    async def _converse(self, stream: SocketStream) -> None:
        reader = BufferedByteReceiveStream(stream)
        proved = await self._prove(stream, reader)
        if proved is None:
            return
        conversation, message, payload = proved
        while payload is None:
            payload = await _read_frame(reader, message)
        if isinstance(payload, Refusal):
            self._refuse(payload)
            return
        answered = anyio.Event()
        answers: list[bytes] = []

        def answer(given: bytes) -> None:
            answers.append(given)
            answered.set()

        host = str(stream.extra(SocketAttribute.remote_address)[0])  # noqa: S610 (not a query)
        address = format_address(host, stream.extra(SocketAttribute.remote_port))  # noqa: S610 (as above)
        received = Received(
            payload=payload,
            address=address,
            role=conversation.role,
            is_proven=self._streams.is_sealed,
        )
        try:
            self._asked.send_nowait(Asked(received, answer, max_bytes=self._limits.max_stream))
        except anyio.WouldBlock:
            self._refuse(Refusal.QUEUE_FULL)
            return
        self._tally.moved("received", len(payload))
        await answered.wait()
        for frame in conversation.seal(answers[0]):
            await stream.send(frame)
        self._tally.moved("sent", len(answers[0]))

    async def _prove(
        self, stream: SocketStream, reader: BufferedByteReceiveStream
    ) -> tuple[Conversation, MessageReader, bytes | Refusal | None] | None:
        """Let the other side prove that it has a key: by its hello and its first frame."""
        mine = self._streams.hello(draw(NONCE))
        is_replaced = False
        with anyio.move_on_after(self._limits.hello_s) as limit:
            self._strangers[limit] = None
            try:
                theirs = await reader.receive_exactly(HELLO)
                found = self._streams.meet(mine, theirs, is_server=True)
                if isinstance(found, Refusal):
                    self._refuse(found)
                    return None
                await stream.send(mine.sent)
                message = found.reader()
                return found, message, await _read_frame(reader, message)
            finally:
                is_replaced = limit not in self._strangers
                self._strangers.pop(limit, None)
        if not is_replaced:
            # Where another took its place, that was counted.
            self._refuse(Refusal.TIMEOUT)
        return None

    def _refuse(self, reason: Refusal) -> None:
        self._tally.refuse(reason, now_s=anyio.current_time())


async def ask(
    streams: Streams, host: str, port: int, payload: bytes, *, timeout_s: float, tally: Tally
) -> Received:
    """Send a request and wait for its answer.

    Raises:
        Unavailable: Nobody was reached; nothing of the request was sent.
        OutcomeUnknown: It was sent, and no answer came that can be trusted.
    """
    address = format_address(host, port)
    is_sent = False
    reason = f"no answer within {timeout_s:g} s"
    stream: SocketStream | None = None
    try:
        with anyio.move_on_after(timeout_s):
            stream = await connect(host, port)
            reader = BufferedByteReceiveStream(stream)
            mine = streams.hello(draw(NONCE))
            await stream.send(mine.sent)
            theirs = await reader.receive_exactly(HELLO)
            found = streams.meet(mine, theirs, is_server=False)
            if not isinstance(found, Refusal):
                is_sent = True
                for frame in found.seal(payload):
                    await stream.send(frame)
                tally.moved("sent", len(payload))
                message, answer = found.reader(), None
                while answer is None:
                    answer = await _read_frame(reader, message)
                if not isinstance(answer, Refusal):
                    tally.moved("received", len(answer))
                    return Received(
                        payload=answer,
                        address=address,
                        role=found.role,
                        is_proven=streams.is_sealed,
                    )
                found = answer
            tally.refuse(found, now_s=anyio.current_time())
            reason = f"the other side was not believed: {found}"
    except _BROKEN as error:
        reason = f"the stream broke: {type(error).__name__}"
    finally:
        if stream is not None:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSE_S):
                await anyio.aclose_forcefully(stream)
    if is_sent:
        raise OutcomeUnknown(f"request to {address}", transaction_id=None, reason=reason)
    raise Unavailable(f"peer {address}", reason)


async def _read_frame(
    reader: BufferedByteReceiveStream, message: MessageReader
) -> bytes | Refusal | None:
    length = message.frame_bytes(await reader.receive_exactly(PREFIX))
    if isinstance(length, Refusal):
        return length
    return message.take(await reader.receive_exactly(length))
