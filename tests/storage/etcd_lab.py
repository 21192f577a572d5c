"""Real etcd for the tests of its driver: one server a worker, a prefix of its own a store."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from io import BufferedReader
from typing import Self

import httpx
import msgspec

from federlib.skewclock import Clock, SystemClock
from federlib.storage import open_store
from federlib.storage.backends.etcd import EtcdStore
from federlib.testing.servers import EtcdCluster


def new_prefix() -> str:
    return f"test/{secrets.token_hex(6)}/"


def new_url(cluster: EtcdCluster) -> str:
    return f"{cluster.url}?prefix={new_prefix()}"


@asynccontextmanager
async def opened(url: str, clock: Clock | None = None) -> AsyncIterator[EtcdStore]:
    store = await open_store(url, clock=clock or SystemClock())
    assert isinstance(store, EtcdStore)
    try:
        yield store
    finally:
        await store.aclose()


def ask(cluster: EtcdCluster, path: str, body: object, *, token: str = "") -> dict[str, object]:
    """Ask the first member that runs, past the driver."""
    member = next(member for member in cluster.members if member.is_running)
    answer = httpx.post(
        f"http://{member.endpoint}{path}",
        content=msgspec.json.encode(body),
        headers={"Authorization": token} if token else {},
        trust_env=False,
        timeout=10,
    )
    answer.raise_for_status()
    return msgspec.json.decode(answer.content, type=dict[str, object])


def compact(cluster: EtcdCluster) -> int:
    """Forget all history but the newest; return etcd's revision."""
    header = ask(cluster, "/v3/kv/range", {"key": b"\0"})["header"]
    assert isinstance(header, dict)
    revision = int(header["revision"])
    ask(cluster, "/v3/kv/compaction", {"revision": revision})
    return revision


def write(cluster: EtcdCluster, *ops: dict[str, object]) -> None:
    """Write past the driver."""
    ask(cluster, "/v3/kv/txn", {"compare": [], "success": ops})


def put_op(key: str, value: bytes) -> dict[str, object]:
    return {"request_put": {"key": key.encode(), "value": value}}


def delete_op(key: str) -> dict[str, object]:
    return {"request_delete_range": {"key": key.encode()}}


def add_users(cluster: EtcdCluster, names: Sequence[str], *, prefix: str, password: str) -> None:
    """Turn authentication on, with users who may do all under the prefix."""
    for name in ("root", *names):
        ask(cluster, "/v3/auth/user/add", {"name": name, "password": password})
    ask(cluster, "/v3/auth/role/add", {"name": "root"})
    ask(cluster, "/v3/auth/user/grant", {"user": "root", "role": "root"})
    ask(cluster, "/v3/auth/role/add", {"name": "store"})
    key, end = prefix.encode(), prefix.encode()[:-1] + b"0"
    perm = {"permType": "READWRITE", "key": key, "range_end": end}
    ask(cluster, "/v3/auth/role/grant", {"name": "store", "perm": perm})
    for name in names:
        ask(cluster, "/v3/auth/user/grant", {"user": name, "role": "store"})
    ask(cluster, "/v3/auth/enable", {})


class Gateway:
    """Stands in for a gateway, to fail in ways that a real one does not on demand.

    For each request it takes the next of `answers`: bytes to send, `CLOSE` to hang up, or
    `HANG` to say nothing. Afterwards it hangs up.
    """

    CLOSE = b"close"
    HANG = b"hang"

    def __init__(self, *answers: bytes, idle_close: bool = False) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._answers = list(answers)
        self._idle_close = idle_close
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._socket]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                plug, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(plug)
            self._threads.append(threading.Thread(target=self._serve, args=(plug,), daemon=True))
            self._threads[-1].start()

    def _serve(self, plug: socket.socket) -> None:
        with plug, plug.makefile("rb") as stream:
            while (request := _read_request(stream)) is not None:
                self.requests.append(request)
                answer = self._answers.pop(0) if self._answers else self.CLOSE
                if answer == self.HANG:
                    self._over.wait(30)
                if answer in {self.CLOSE, self.HANG}:
                    return
                plug.sendall(answer)
                if self._idle_close:
                    return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for plug in self._open:
            with suppress(OSError):
                plug.shutdown(socket.SHUT_RDWR)
            plug.close()
        for thread in self._threads:
            thread.join(10)


def _read_request(stream: BufferedReader) -> bytes | None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return None
        head += line
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    return stream.read(length)


def answer(body: object, *, status: int = 200) -> bytes:
    """Put an answer of HTTP together."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s" % (status, len(data), data)


def refuse(message: str, code: int, *, status: int = 503) -> bytes:
    """Put a refusal of etcd together."""
    return answer({"error": message, "message": message, "code": code}, status=status)
