"""Debug endpoints as a small ASGI app, which a host mounts where only its operators come.

    app = debug_app(source)          # anything with the three methods of DebugSource
    host.mount("/", app)             # Starlette, FastAPI, or any other ASGI host

| path | what |
|---|---|
| `GET /debug/vivaldi/coordinate` | the local coordinate |
| `GET /debug/vivaldi/peers` | coordinates of peers and how far they are |
| `GET /debug/peers/unconfirmed` | peers that nobody here has met, and what is done about them |

Answers are JSON. Another path is 404, another method 405. Lists show the first 1,000 and say
how many there are.

Does not promise: authentication. It shows names and roles of peers, no keys and no addresses;
whom that is for the host decides.

Source: seed 12.8.5.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import islice
from typing import Protocol, TypeAlias

import msgspec

from federlib.membership.confirmation import ConfirmationState
from federlib.vivaldi import VivaldiCoordinateSystem

__all__ = [
    "MAX_ROWS",
    "CoordinateView",
    "DebugSource",
    "PeerCoordinateView",
    "UnconfirmedPeerView",
    "coordinate_view",
    "debug_app",
    "peer_coordinate_views",
    "unconfirmed_view",
]

MAX_ROWS = 1_000
"""Of a list; what is there beyond is only counted."""

Message: TypeAlias = dict[str, object]
Scope: TypeAlias = Mapping[str, object]
Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, object]]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class CoordinateView(msgspec.Struct, frozen=True, kw_only=True):
    """The local coordinate.

    Attributes:
        position: In milliseconds along each axis.
        height_ms: What every path from here adds.
        error: Relative; 0 is perfect.
        residual_ms: By how much predictions are off.
        sample_count: Measurements behind it.
        age_s: Since its last change; None where there was none.
        is_converged: Whether its error is small enough to rely on.
    """

    position: tuple[float, ...]
    height_ms: float
    error: float
    residual_ms: float
    sample_count: int
    age_s: float | None
    is_converged: bool


class PeerCoordinateView(msgspec.Struct, frozen=True, kw_only=True):
    """One peer's coordinate, and how far that makes it.

    Attributes:
        peer: Whose.
        position: In milliseconds along each axis.
        height_ms: What every path from there adds.
        error: Relative; 0 is perfect.
        sample_count: Measurements behind it.
        age_s: How old it is.
        rtt_ms: The round trip expected.
        rtt_ucb_ms: An upper bound of it.
        quality: 0 to 1.
    """

    peer: str
    position: tuple[float, ...]
    height_ms: float
    error: float
    sample_count: int
    age_s: float
    rtt_ms: float
    rtt_ucb_ms: float
    quality: float


class UnconfirmedPeerView(msgspec.Struct, frozen=True, kw_only=True):
    """One peer that nobody here has met.

    Attributes:
        peer: Who.
        role: What it is said to do.
        elapsed_s: Since its discovery.
        passive_timeout_s: How long its own word is waited for, when load is no matter.
        asks: How often it was asked, in all.
        attempts: How often of these after its passive timeout.
        is_last_word: Whether that has run out.
        next_ask_s: Until it is asked next; None where it never is.
    """

    peer: str
    role: str
    elapsed_s: float
    passive_timeout_s: float
    asks: int
    attempts: int
    is_last_word: bool
    next_ask_s: float | None


def coordinate_view(vivaldi: VivaldiCoordinateSystem, *, now_s: float) -> CoordinateView:
    """Return what the endpoint shows of our own coordinate."""
    found = vivaldi.get_local_coordinate()
    return CoordinateView(
        position=tuple(found.position),
        height_ms=found.height,
        error=found.error,
        residual_ms=found.residual_ms,
        sample_count=found.sample_count,
        age_s=now_s - found.updated_at if found.sample_count else None,
        is_converged=vivaldi.is_converged(),
    )


def peer_coordinate_views(vivaldi: VivaldiCoordinateSystem) -> list[PeerCoordinateView]:
    """Return what the endpoint shows of each peer's distance."""
    views: list[PeerCoordinateView] = []
    for peer in vivaldi.peers():
        coord, estimate = vivaldi.get_peer_coordinate(peer), vivaldi.estimate(peer)
        if coord is not None and estimate.age_s is not None:
            views.append(
                PeerCoordinateView(
                    peer=peer,
                    position=tuple(coord.position),
                    height_ms=coord.height,
                    error=coord.error,
                    sample_count=coord.sample_count,
                    age_s=estimate.age_s,
                    rtt_ms=estimate.rtt_ms,
                    rtt_ucb_ms=estimate.ucb_ms,
                    quality=estimate.quality,
                )
            )
    return views


def unconfirmed_view(state: ConfirmationState, *, now_s: float) -> UnconfirmedPeerView:
    """Return what the endpoint shows of a pending confirmation."""
    is_asked = state.strategy.enable_proactive_confirmation
    return UnconfirmedPeerView(
        peer=state.peer,
        role=state.role.value,
        elapsed_s=now_s - state.discovered_at,
        passive_timeout_s=state.strategy.passive_timeout,
        asks=state.early_asks + state.attempts,
        attempts=state.attempts,
        is_last_word=state.is_last_word,
        next_ask_s=max(0.0, state.next_ask_at - now_s) if is_asked else None,
    )


class DebugSource(Protocol):
    """What the endpoints show; called on the host's event loop, and must not block."""

    def local_coordinate(self) -> CoordinateView:
        """Return the local coordinate."""
        ...

    def peer_coordinates(self) -> Iterable[PeerCoordinateView]:
        """Return the coordinates of peers."""
        ...

    def unconfirmed_peers(self) -> Iterable[UnconfirmedPeerView]:
        """Return the peers that are UNCONFIRMED."""
        ...


def debug_app(source: DebugSource) -> AsgiApp:
    """Return the app.

    Args:
        source: What it shows; an error of it is raised to the server, which answers 500.
    """
    return _DebugApp(source)


class _DebugApp:
    def __init__(self, source: DebugSource) -> None:
        self._answers: dict[str, Callable[[], object]] = {
            "/debug/vivaldi/coordinate": source.local_coordinate,
            "/debug/vivaldi/peers": lambda: _listed(source.peer_coordinates()),
            "/debug/peers/unconfirmed": lambda: _listed(source.unconfirmed_peers()),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await _live(receive, send)
        elif kind == "http":
            await self._answer(scope, send)
        else:
            # Before it is accepted, the server answers 403 to a web socket that is closed.
            await send({"type": "websocket.close", "code": 1000})

    async def _answer(self, scope: Scope, send: Send) -> None:
        path = str(scope["path"])
        # Where a host mounts it at /debug, the whole path is the one of the table.
        answer = self._answers.get(path) or self._answers.get(_below_root(path, scope))
        if answer is None:
            await _send_json(send, 404, {"error": "not found", "paths": sorted(self._answers)})
        elif scope["method"] != "GET":
            error = {"error": "method not allowed"}
            await _send_json(send, 405, error, (b"allow", b"GET"))
        else:
            await _send_json(send, 200, answer())


def _below_root(path: str, scope: Scope) -> str:
    """Return the path below where the app is mounted; hosts differ in whether they cut it."""
    return path.removeprefix(str(scope.get("root_path") or "").rstrip("/"))


def _listed(rows: Iterable[msgspec.Struct]) -> dict[str, object]:
    each = iter(rows)
    shown = list(islice(each, MAX_ROWS))
    return {"total": len(shown) + sum(1 for _ in each), "peers": shown}


async def _send_json(
    send: Send, status: int, content: object, *headers: tuple[bytes, bytes]
) -> None:
    # What is not finite becomes null: JSON has no word for it.
    body = msgspec.json.encode(content)
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *headers,
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    """Answer a server that runs the app alone: there is nothing to open or close."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
