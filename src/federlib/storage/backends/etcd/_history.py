"""Reading a watch: as a stream without an end, or as much history as was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from federlib.errors import StoreDenied, Unavailable
from federlib.storage.backends.etcd import _wire as wire
from federlib.storage.backends.etcd._client import EtcdClient, LineStream
from federlib.storage.backends.etcd._errors import Compacted, Lost, Refusal, Unusable, refusal
from federlib.storage.backends.etcd._events import Assembler, Gap
from federlib.storage.backends.etcd._keys import Place
from federlib.storage.protocol import Batch

__all__ = ["Source", "follow", "open_watch", "read_history", "size_of"]

_SILENCE_S = 5.0
"""History that is there is sent at once."""

_HISTORY_BYTES = 8 * 1024 * 1024


class Source(Protocol):
    """What is needed of an engine."""

    client: EtcdClient
    place: Place

    def read_revision(self, *, patience_s: float = ...) -> int:
        """Read the store's revision."""
        ...

    def is_kept(self, revision: int) -> bool:
        """Say whether all that happened after a revision is still kept."""
        ...


def open_watch(source: Source, after: int, *, silence_s: float | None = None) -> LineStream:
    """Watch everything from records to tick, after a revision of the store.

    The gateway has one range a stream, and without the tick nobody knows when a commit is
    whole: so the tick lies right behind the records.
    """
    layout = source.place.layout
    start = source.place.base + after + 1
    body = wire.watch(layout.users, layout.tick + b"\0", start_revision=start)
    return source.client.stream(wire.WATCH, body, silence_s=silence_s)


def follow(stream: LineStream, where: str) -> Iterator[wire.WatchResult]:
    """Give each message of a watch.

    Raises:
        Compacted: History from where it was to begin is no longer kept.
        Unusable: The stream broke.
        StoreDenied: The user may not read that range.
    """
    for line in stream.lines():
        if not line.strip():
            continue
        try:
            message = wire.read_watch(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            reason = f"a message that is not etcd's ({error})"
            raise Lost(reason, may_have_happened=False) from error
        if message.error is not None:
            raise _read_error(message.error)
        result = message.result
        if result is None:
            continue
        if result.compact_revision:
            raise Compacted
        if result.canceled:
            raise _read_cancel(result.cancel_reason, where)
        yield result
    raise Lost("the server ended the stream", may_have_happened=False)


def _read_error(error: wire.StreamError) -> Unusable:
    code = error.grpc_code or error.code
    return refusal(error.message or "the stream failed", status=200, code=code)


def _read_cancel(reason: str, where: str) -> Unusable | StoreDenied:
    if "permission denied" in reason:
        return StoreDenied(where, reason, hint="the role must read all keys under the prefix")
    return Lost(f"the server cancelled the watch: {reason}", may_have_happened=False)


def size_of(batch: Batch) -> int:
    """Say how many bytes of values a commit wrote."""
    return sum(len(event.record.value) for event in batch.events if event.record is not None)


def read_history(source: Source, after: int, limit: int) -> Sequence[Batch] | None:
    """Read commits after a revision, at most `limit`; None where they are no longer kept.

    Raises:
        Unavailable: The cluster cannot be read.
        CorruptRecord: The store is no longer the one that was opened.
    """
    head = source.read_revision()
    if after >= head:
        # Below it: restored from a backup, and what comes next is another history.
        return [] if after == head else None
    stream = open_watch(source, after, silence_s=_SILENCE_S)
    try:
        batches = _collect(stream, source, after, limit, head)
    except (Compacted, Gap):
        return None
    except Unusable as error:
        source.client.distrust(stream.endpoint)
        if isinstance(error, Refusal):
            raise error.translate(source.place.where) from error
        raise Unavailable(source.place.where, error.reason, hint="retry") from error
    finally:
        source.client.release(stream)
    return batches if batches[0].revision > after + 1 or source.is_kept(after) else None


def _collect(
    stream: LineStream, source: Source, after: int, limit: int, head: int
) -> Sequence[Batch]:
    assembler = Assembler(source.place, after=after)
    batches: list[Batch] = []
    size = 0
    for message in follow(stream, source.place.where):
        for batch in assembler.take(message.events):
            batches.append(batch)
            size += size_of(batch)
            if len(batches) == limit or batch.revision >= head or size >= _HISTORY_BYTES:
                return batches
    raise AssertionError  # `follow` ends by raising
