"""The debug endpoints, called as a server calls them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import attrs
import msgspec
import pytest

from federlib.membership.confirmation import RoleAwareConfirmationManager
from federlib.membership.debug import (
    MAX_ROWS,
    AsgiApp,
    CoordinateView,
    PeerCoordinateView,
    UnconfirmedPeerView,
    debug_app,
    unconfirmed_view,
)
from federlib.membership.roles import PeerRole
from federlib.membership.timeouts import AdaptiveTimeouts, Unmeasured

pytestmark = pytest.mark.anyio

HERE = CoordinateView(
    position=(1.0, 2.0, 3.0, 4.0),
    height_ms=0.5,
    error=0.2,
    residual_ms=3.0,
    sample_count=12,
    age_s=1.5,
    is_converged=False,
)
THERE = PeerCoordinateView(
    peer="gate-1",
    position=(0.0, 0.0, 0.0, 0.0),
    height_ms=0.1,
    error=float("inf"),
    sample_count=3,
    age_s=20.0,
    rtt_ms=6.0,
    rtt_ucb_ms=16.0,
    quality=0.6,
)
PATHS = ["/debug/peers/unconfirmed", "/debug/vivaldi/coordinate", "/debug/vivaldi/peers"]


@attrs.define
class Source:
    peers: list[PeerCoordinateView] = attrs.field(factory=lambda: [THERE])
    unconfirmed: list[UnconfirmedPeerView] = attrs.field(factory=list)

    def local_coordinate(self) -> CoordinateView:
        return HERE

    def peer_coordinates(self) -> Iterable[PeerCoordinateView]:
        return iter(self.peers)

    def unconfirmed_peers(self) -> Iterable[UnconfirmedPeerView]:
        return self.unconfirmed


@attrs.frozen
class Answer:
    status: int
    headers: dict[bytes, bytes]
    content: dict[str, object]


async def nothing() -> Mapping[str, object]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def call(app: AsgiApp, path: str, *, method: str = "GET", root: str | None = None) -> Answer:
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope: dict[str, object] = {"type": "http", "method": method, "path": path}
    if root is not None:
        scope["root_path"] = root
    await app(scope, nothing, send)
    start, body = sent
    assert [start["type"], body["type"]] == ["http.response.start", "http.response.body"]
    status, headers, content = start["status"], start["headers"], body["body"]
    assert isinstance(status, int)
    assert isinstance(headers, list)
    assert isinstance(content, bytes)
    found = dict(headers)
    assert found[b"content-type"] == b"application/json"
    assert int(found[b"content-length"]) == len(content)
    return Answer(status, found, json.loads(content))


async def test_the_local_coordinate() -> None:
    answer = await call(debug_app(Source()), "/debug/vivaldi/coordinate")
    assert (answer.status, answer.headers[b"cache-control"]) == (200, b"no-store")
    assert answer.content == {
        "position": [1.0, 2.0, 3.0, 4.0],
        "height_ms": 0.5,
        "error": 0.2,
        "residual_ms": 3.0,
        "sample_count": 12,
        "age_s": 1.5,
        "is_converged": False,
    }


async def test_the_coordinates_of_peers_where_what_is_not_finite_is_null() -> None:
    answer = await call(debug_app(Source()), "/debug/vivaldi/peers")
    assert answer.content["total"] == 1
    assert answer.content["peers"] == [
        {**msgspec.to_builtins(THERE), "position": [0.0] * 4, "error": None}
    ]


async def test_unconfirmed_peers_as_the_manager_has_them() -> None:
    manager = RoleAwareConfirmationManager(
        AdaptiveTimeouts(Unmeasured(), lhm=lambda: 0), jitter=lambda: 1.0
    )
    manager.start_confirmation("gate-1", PeerRole.GATE, now_s=0)
    manager.start_confirmation("worker-1", PeerRole.WORKER, now_s=0)
    manager.tick(now_s=1.0)
    views = [unconfirmed_view(each, now_s=2.0) for each in manager.pending()]
    answer = await call(debug_app(Source(unconfirmed=views)), "/debug/peers/unconfirmed")
    assert answer.content == {
        "total": 2,
        "peers": [
            {
                "peer": "gate-1",
                "role": "gate",
                "elapsed_s": 2.0,
                "passive_timeout_s": 120.0,
                "asks": 1,
                "attempts": 0,
                "is_last_word": False,
                "next_ask_s": 1.0,
            },
            {
                "peer": "worker-1",
                "role": "worker",
                "elapsed_s": 2.0,
                "passive_timeout_s": 180.0,
                "asks": 0,
                "attempts": 0,
                "is_last_word": False,
                "next_ask_s": None,
            },
        ],
    }


async def test_long_lists_are_cut_and_counted() -> None:
    answer = await call(debug_app(Source(peers=[THERE] * (MAX_ROWS + 5))), "/debug/vivaldi/peers")
    assert answer.content["total"] == MAX_ROWS + 5
    assert len(answer.content["peers"]) == MAX_ROWS  # type: ignore[arg-type]  # from JSON


@pytest.mark.parametrize("path", ["/", "", "/debug", "/debug/vivaldi/peers/", "/debug//peers"])
async def test_another_path_is_not_found(path: str) -> None:
    answer = await call(debug_app(Source()), path)
    assert answer.status == 404
    assert answer.content == {"error": "not found", "paths": PATHS}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "get"])
async def test_another_method_is_not_allowed(path: str, method: str) -> None:
    answer = await call(debug_app(Source()), path, method=method)
    assert (answer.status, answer.headers[b"allow"]) == (405, b"GET")


@pytest.mark.parametrize(
    ("root", "path", "status"),
    [
        pytest.param("/inside", "/inside/debug/vivaldi/peers", 200, id="the host keeps the root"),
        pytest.param("/inside/", "/inside/debug/vivaldi/peers", 200, id="with a slash"),
        pytest.param("/inside", "/debug/vivaldi/peers", 200, id="the host cuts it"),
        pytest.param("/debug", "/debug/vivaldi/peers", 200, id="its own first part"),
        pytest.param("", "/debug/vivaldi/peers", 200, id="no root"),
        pytest.param("/in", "/inside/debug/vivaldi/peers", 404, id="not that root"),
    ],
)
async def test_a_host_may_mount_it_anywhere(root: str, path: str, status: int) -> None:
    assert (await call(debug_app(Source()), path, root=root)).status == status


async def test_an_error_of_the_source_is_raised_to_the_server_before_anything_is_sent() -> None:
    class Broken(Source):
        def local_coordinate(self) -> CoordinateView:
            raise RuntimeError("broken")

    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/debug/vivaldi/coordinate"}
    with pytest.raises(RuntimeError, match="broken"):
        await debug_app(Broken())(scope, nothing, send)
    assert sent == []


async def test_it_lives_as_long_as_its_server() -> None:
    told = iter(["lifespan.startup", "lifespan.shutdown"])
    sent: list[object] = []

    async def receive() -> Mapping[str, object]:
        return {"type": next(told)}

    async def send(message: dict[str, object]) -> None:
        sent.append(message["type"])

    await debug_app(Source())({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_web_socket_is_refused() -> None:
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await debug_app(Source())({"type": "websocket", "path": PATHS[0]}, nothing, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]
