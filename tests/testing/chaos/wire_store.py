"""A store behind a TCP server, as small as it can be: what a driver for a server looks like.

Run as ``python -m testing.chaos.wire_store`` it serves an empty store, and prints its port.
`open_store` is the driver: one connection for each question, one for each watch.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import anyio
import msgspec
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from federlib.errors import InvalidInput, OutcomeUnknown, Unavailable
from federlib.skewclock import Clock, SystemClock
from federlib.storage import (
    Capabilities,
    Committed,
    Conflicted,
    NotSeen,
    Page,
    Record,
    RecordStore,
    Subscription,
    Transaction,
    WatchItem,
)
from federlib.storage.backends.memory import MemoryStore
from federlib.telemetry import Telemetry

__all__ = ["WireStore", "open_store"]

_ANSWER_S = 1.5
_MAX = 1 << 22
_BROKEN = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.IncompleteRead)

T = TypeVar("T")


class _Ask(msgspec.Struct, tag_field="verb", forbid_unknown_fields=True):
    pass


class _Hello(_Ask, tag="hello"):
    pass


class _Get(_Ask, tag="get"):
    key: str


class _Scan(_Ask, tag="scan"):
    prefix: str
    after: str | None
    limit: int


class _Commit(_Ask, tag="commit"):
    transaction: Transaction


class _Outcome(_Ask, tag="outcome"):
    id: str


class _Watch(_Ask, tag="watch"):
    prefix: str
    after: int


_Question = _Hello | _Get | _Scan | _Commit | _Outcome | _Watch


class _Answer(msgspec.Struct, omit_defaults=True):
    """What came of a question, or why it cannot be asked."""

    value: msgspec.Raw = msgspec.Raw(b"null")
    invalid: str = ""


class WireStore:
    """The driver's side."""

    def __init__(self, host: str, port: int, store_id: str) -> None:
        self._place = (host, port)
        self.store_id = store_id

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            durable=False,
            shared=True,
            multi_host=True,
            server_clock=False,
            push_watch=True,
            wake_latency_s=0.1,
        )

    async def get(self, key: str) -> Record | None:
        return await self._read(_Get(key), Record | None)  # type: ignore[arg-type]  # a union

    async def scan(self, prefix: str, *, after: str | None = None, limit: int = 1_000) -> Page:
        return await self._read(_Scan(prefix, after, limit), Page)

    async def outcome(self, transaction_id: str) -> Committed | NotSeen:
        return await self._read(_Outcome(transaction_id), Committed | NotSeen)  # type: ignore[arg-type]  # a union

    async def commit(self, transaction: Transaction) -> Committed | Conflicted:
        is_sent = False
        try:
            with anyio.CancelScope(shield=True), anyio.fail_after(_ANSWER_S):
                async with await anyio.connect_tcp(*self._place) as stream:
                    is_sent = True
                    return await _ask(stream, _Commit(transaction), Committed | Conflicted)  # type: ignore[arg-type]  # a union
        except (*_BROKEN, TimeoutError) as error:
            if not is_sent:
                raise Unavailable("the wire store", "it cannot be reached") from error
            raise OutcomeUnknown(
                "commit", transaction_id=transaction.id, reason="no answer"
            ) from error
        raise AssertionError("a shielded scope swallows nothing")

    def watch(self, prefix: str, *, after: int) -> AbstractAsyncContextManager[Subscription]:
        return self._watch(prefix, after)

    @asynccontextmanager
    async def _watch(self, prefix: str, after: int) -> AsyncGenerator[Subscription, None]:
        try:
            stream = await anyio.connect_tcp(*self._place)
        except OSError as error:
            raise Unavailable("the wire store", "it cannot be reached") from error
        async with stream:
            yield _Changes(stream, _Watch(prefix, after))

    async def aclose(self) -> None:
        pass

    async def _read(self, question: _Question, kind: type[T]) -> T:
        try:
            with anyio.fail_after(_ANSWER_S):
                async with await anyio.connect_tcp(*self._place) as stream:
                    return await _ask(stream, question, kind)
        except (*_BROKEN, TimeoutError) as error:
            raise Unavailable("the wire store", "no answer") from error


class _Changes:
    """A connection on which changes come; one that is silent for too long is given up."""

    def __init__(self, stream: SocketStream, question: _Watch) -> None:
        self._stream = stream
        self._lines = BufferedByteReceiveStream(stream)
        self._question: _Watch | None = question

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> WatchItem:
        try:
            if self._question is not None:
                question, self._question = self._question, None
                await self._stream.send(msgspec.json.encode(question) + b"\n")
            with anyio.fail_after(2 * _ANSWER_S):
                line = await self._lines.receive_until(b"\n", _MAX)
        except (*_BROKEN, TimeoutError) as error:
            raise Unavailable("the wire store", "the watch has ended") from error
        item: WatchItem = msgspec.json.decode(line, type=WatchItem)
        return item


async def _ask(stream: SocketStream, question: _Question, kind: type[T]) -> T:
    await stream.send(msgspec.json.encode(question) + b"\n")
    line = await BufferedByteReceiveStream(stream).receive_until(b"\n", _MAX)
    answer = msgspec.json.decode(line, type=_Answer)
    if answer.invalid:
        raise InvalidInput("question", expected="one that the server takes", found=answer.invalid)
    return msgspec.json.decode(answer.value, type=kind)


async def open_store(url: str, clock: Clock, telemetry: Telemetry) -> RecordStore:
    """Open a wire store, by its URL."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    store = WireStore(parts.hostname, parts.port, "")
    store.store_id = await store._read(_Hello(), str)
    return store


async def _serve(store: MemoryStore, client: SocketStream) -> None:
    async with client:
        try:
            line = await BufferedByteReceiveStream(client).receive_until(b"\n", _MAX)
            question = msgspec.json.decode(line, type=_Question)
            if isinstance(question, _Watch):
                async with store.watch(question.prefix, after=question.after) as changes:
                    async for item in changes:
                        await client.send(msgspec.json.encode(item) + b"\n")
            else:
                answer = await _answer(store, question)
                await client.send(msgspec.json.encode(answer) + b"\n")
        except _BROKEN:
            pass


async def _answer(store: MemoryStore, question: object) -> _Answer:
    try:
        return _Answer(value=msgspec.Raw(msgspec.json.encode(await _find(store, question))))
    except InvalidInput as error:
        return _Answer(invalid=str(error))


async def _find(store: MemoryStore, question: object) -> object:
    match question:
        case _Get(key):
            return await store.get(key)
        case _Scan(prefix, after, limit):
            return await store.scan(prefix, after=after, limit=limit)
        case _Commit(transaction):
            return await store.commit(transaction)
        case _Outcome(name):
            return await store.outcome(name)
        case _:
            return store.store_id


async def _main() -> None:
    store = MemoryStore(SystemClock())
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        print(listener.extra(SocketAttribute.local_port), flush=True)

        async def serve(client: SocketStream) -> None:
            await _serve(store, client)

        await listener.serve(serve, group)


if __name__ == "__main__":
    anyio.run(_main)
