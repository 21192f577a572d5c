"""`HealthAwareServer`: membership over a transport, on a real event loop.

    async with (
        UdpTransport("10.0.0.7", 7946, cluster="prod", keyring=keyring) as transport,
        HealthAwareServer(transport, "gate-1", PeerRole.GATE) as server,
        server.events() as events,
    ):
        server.join(["10.0.0.1:7946"])
        async for event in events:
            ...

It only carries out what `SwimCore` decides: sends its packets, wakes it, and learns distances
from the answers. That and the queries, of a line each, are one class, as they are one object to
whoever uses it.

*Does not promise*: agreement, as `SwimCore` does not.

*Hazards*: a handler of events that blocks the event loop makes this process look dead.

Source: seed §12.6, §12.7 (AD-35).
"""

from __future__ import annotations

import random  # noqa: TID251 (a shell: it seeds the core)
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
import anyio.lowlevel
import attrs

from federlib._tasks import open_task_group
from federlib.errors import Conflict, FederlibError, InvalidInput, Unavailable
from federlib.membership.config import SwimConfig
from federlib.membership.confirmation import PeerConfirmed
from federlib.membership.core import SwimCore
from federlib.membership.credentials import (
    address_of,
    check_advertised,
    check_key,
    check_own_role,
    check_seeds,
    is_strange,
    name_node,
    proven_role,
)
from federlib.membership.debug import (
    CoordinateView,
    PeerCoordinateView,
    UnconfirmedPeerView,
    coordinate_view,
    peer_coordinate_views,
    unconfirmed_view,
)
from federlib.membership.effects import (
    Effect,
    Event,
    LeaveTold,
    MemberRemoved,
    MemberRestarted,
    PeerMeasured,
    Send,
    WakeAt,
)
from federlib.membership.feed import EventFeed, Feeds
from federlib.membership.locating import Locator
from federlib.membership.metrics import MembershipMeter
from federlib.membership.node import Member, NodeId
from federlib.membership.roles import PeerRole
from federlib.membership.sending import Sender
from federlib.membership.settings import MembershipSettings
from federlib.skewclock import Clock, SystemClock
from federlib.telemetry import SILENT, Telemetry
from federlib.transport import Asked, Received, Transport
from federlib.vivaldi import (
    VivaldiConfig,
    VivaldiCoordinate,
    VivaldiCoordinateSystem,
    config_from_env,
    encode_coordinate,
)

__all__ = ["HealthAwareServer"]

_PATIENCE_S = 86_400
"""For a goodbye, at most."""

_QUIET_TURNS = 5
_DRAIN_TURNS = 2_000


class HealthAwareServer:
    """One member of the group. Open it with `async with`; leaving says goodbye.

    For the tasks of one event loop. Every call may be cancelled.

    Args:
        transport: Carries the packets; open.
        name: Who we are, across restarts; 1 to 128 printable characters, unique in the group.
        role: What we are; where the transport's key is of a role, of that one.
        epoch: Which run of us; larger with each restart. By default the wall clock in ms, which
            is enough where it is not set back by more than a restart takes.
        advertise: Where others reach us, an IP address and port, if not at the transport's
            address; needed where that listens on all interfaces.
        config: How the protocol runs.
        settings: How peers are confirmed, and timeouts made; by default the environment's.
            Where `config` has timeouts too, `MembershipSettings.complete` puts them together.
        vivaldi: Network coordinates; by default the environment's settings.
        clock: Tells time.
        telemetry: Where metrics and logs go.
        leave_timeout_s: How long the goodbye may take; seconds, up to a day.
    Raises:
        InvalidInput: A name, role, epoch, address or duration that cannot be; or a variable of
            the environment, or timeouts that `config` and `settings` tell differently.
    """

    def __init__(
        self,
        transport: Transport,
        name: str,
        role: PeerRole,
        *,
        epoch: int | None = None,
        advertise: str | None = None,
        config: SwimConfig | None = None,
        settings: MembershipSettings | None = None,
        vivaldi: VivaldiConfig | None = None,
        clock: Clock | None = None,
        telemetry: Telemetry = SILENT,
        leave_timeout_s: float = 2.0,
    ) -> None:
        self._clock = clock or SystemClock()
        self._node = name_node(name, self._clock.wall_ns() // 1_000_000 if epoch is None else epoch)
        self._role = check_own_role(role)
        self._transport = transport
        self._advertise = None if advertise is None else check_advertised(advertise)
        settings = MembershipSettings.from_env() if settings is None else settings
        self._settings = settings
        self._config = settings.complete(SwimConfig() if config is None else config)
        self._random = random.SystemRandom()
        self._vivaldi = VivaldiCoordinateSystem(
            vivaldi or config_from_env(), now_s=self._now_s, rng=self._random
        )
        self._meter = MembershipMeter(telemetry)
        self._locator = Locator(self._vivaldi, self._meter, self._now_s)
        self._leave_timeout_s = _check_patience(leave_timeout_s)
        self._core: SwimCore | None = None
        self._stack: AsyncExitStack | None = None
        # Whoever opened us may be cancelled: the tasks go on until the goodbye has been said.
        self._scope = anyio.CancelScope(shield=True)
        self._sooner = anyio.Event()
        self._told = anyio.Event()
        self._is_told = self._has_ended = False
        self._handled = self._strangers = 0
        self._feeds = Feeds()
        self._sender = Sender(transport, self._take_answer)

    async def __aenter__(self) -> Self:
        """Begin to take part.

        Raises:
            Conflict: It was entered before, as a run begins once; or the transport's key is of
                another role than ours, so that nobody would listen to us.
            Unavailable: The transport is not open.
            InvalidInput: The transport listens on all interfaces, and `advertise` does not say
                where others reach us.
        """
        if self._core is not None:
            raise Conflict("membership", expected="a new server", actual="used before")
        check_key(self._transport, self._role)
        address = address_of(self._transport, self._advertise)
        # A sealed packet must fit, whatever the transport's seal takes.
        seal = self._config.packet_bytes - self._transport.max_payload
        self._core = SwimCore(
            self._node,
            address,
            self._role,
            rng=self._random,
            config=attrs.evolve(self._config, seal_overhead_bytes=max(0, seal)),
            distances=self._vivaldi,
            coordinate=self._encoded,
            strategies=self._settings.strategies,
            on_timeout=self._meter.tell_timeout,
        )
        async with AsyncExitStack() as stack:
            group = await stack.enter_async_context(open_task_group())
            stack.callback(self._scope.cancel)
            await group.start(self._run)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Say goodbye, for at most `leave_timeout_s`, and end; where it has ended, do nothing.

        Also where it was cancelled. Without a transport there is no goodbye, and no waiting.

        Raises:
            Unavailable: The transport was closed meanwhile.
        """
        stack, self._stack = self._stack, None
        if stack is None:
            return None
        try:
            if not self._is_told:
                with anyio.move_on_after(self._leave_timeout_s, shield=True):
                    await self._leave()
        finally:
            self._end()
            self._feeds.end()
            is_swallowed = await stack.__aexit__(kind, error, traceback)
        return is_swallowed

    # Taking part.

    def join(self, addresses: Sequence[str]) -> None:
        """Ask these addresses who is there, again and again until somebody is.

        Raises:
            InvalidInput: One of them is no IP address with a port; nobody is asked then. A name
                is for `federlib.transport.resolve`.
            Unavailable: The server is not open.
        """
        self._check_open()
        self._apply(self._open_core().join(check_seeds(addresses), self._now_s()))

    async def leave(self) -> None:
        """Say goodbye and wait until it has been told; there is no way back.

        Raises:
            Unavailable: The server is not open, or it or its transport was closed before the
                goodbye had been told.
        """
        self._check_open()
        await self._leave()
        if not self._is_told:
            raise Unavailable("membership", "it or its transport was closed while it said goodbye")

    @asynccontextmanager
    async def events(self, *, detailed: bool = False) -> AsyncGenerator[EventFeed, None]:
        """Subscribe to what changes from now on; a slow reader gets `EventsMissed`.

        The feed ends with the server.

        Args:
            detailed: Whether to be told of every measurement (`PeerMeasured`) and of every
                question to an UNCONFIRMED peer (`AskPeer`) too: many events, and no change.
        Raises:
            Unavailable: The server is not open.
        """
        self._check_open()
        with self._feeds.open(detailed=detailed) as feed:
            yield feed

    # Queries.

    @property
    def node(self) -> NodeId:
        """Who we are, and which run."""
        return self._node

    @property
    def vivaldi(self) -> VivaldiCoordinateSystem:
        """Our coordinate, and what is known of those of peers."""
        return self._vivaldi

    @property
    def health_score(self) -> int:
        """Our own local health; 0 is well. Source: Lifeguard §IV.A."""
        return self._open_core().health_score

    @property
    def refused(self) -> Mapping[str, int]:
        """How often something that came was refused by the protocol, by reason.

        `role`: who sent it may not speak as who it says to be, or as any member.
        """
        refused = dict(self._open_core().refused)
        if self._strangers:
            refused["role"] = refused.get("role", 0) + self._strangers
        return refused

    @property
    def lost(self) -> int:
        """Packets that were not sent: too many waited, or a stream failed."""
        return self._sender.lost

    def members(self) -> tuple[Member, ...]:
        """Return all peers that are known, whatever their state; not ourselves."""
        return self._open_core().members()

    def member(self, name: str) -> Member | None:
        """Return one peer, or None."""
        return self._open_core().member(name)

    def get_vivaldi_coordinate(self) -> VivaldiCoordinate:
        """Return our own coordinate. Source: seed 12.7.1."""
        return self._vivaldi.get_local_coordinate()

    def get_peer_vivaldi_coordinate(self, peer: str) -> VivaldiCoordinate | None:
        """Return a peer's coordinate, or None where it is not known. Source: seed 12.7.2."""
        return self._vivaldi.get_peer_coordinate(peer)

    def estimate_peer_rtt(self, peer: str) -> float:
        """Return the round trip to a peer; milliseconds. Source: seed 12.7.3."""
        return self._vivaldi.estimate_rtt(peer)

    def estimate_peer_rtt_ucb(self, peer: str) -> float:
        """Return what that hardly exceeds; milliseconds. Source: seed 12.7.4."""
        return self._vivaldi.estimate_rtt_ucb_ms(peer)

    def is_vivaldi_converged(self) -> bool:
        """Say whether our coordinate can be relied on. Source: seed 12.7.5."""
        return self._vivaldi.is_converged()

    # For `debug_app`.

    def local_coordinate(self) -> CoordinateView:
        """Show our own coordinate."""
        return coordinate_view(self._vivaldi, now_s=self._now_s())

    def peer_coordinates(self) -> list[PeerCoordinateView]:
        """Show what is known of each peer's distance."""
        return peer_coordinate_views(self._vivaldi)

    def unconfirmed_peers(self) -> list[UnconfirmedPeerView]:
        """Show the peers that have not spoken themselves."""
        now_s = self._now_s()
        pending = self._open_core().confirmations.pending()
        return [unconfirmed_view(state, now_s=now_s) for state in pending]

    # Tasks.

    async def _run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        try:
            with self._scope:
                async with open_task_group() as group:
                    self._sender.begin(group)
                    self._apply(self._open_core().start(self._now_s()))
                    for task in (self._receive, self._receive_requests, self._run_timers):
                        group.start_soon(task)
                    task_status.started()
        finally:
            # As a rule the transport was closed under us: nobody is told anything any more.
            self._sender.end()
            self._end()

    async def _receive(self) -> None:
        while True:
            received = await self._transport.receive()
            self._handled += 1
            self._take(received, reliable=False)

    async def _receive_requests(self) -> None:
        while True:
            asked = await self._transport.receive_request()
            self._handled += 1
            self._answer(asked)

    async def _run_timers(self) -> None:
        core = self._open_core()
        while True:
            wake_s = core.next_wake_s
            assert wake_s is not None
            ahead_s = wake_s - self._now_s()
            if ahead_s > 0:
                self._sooner = anyio.Event()
                with anyio.move_on_after(ahead_s):
                    await self._sooner.wait()
                continue
            await self._drain()
            self._apply(core.tick(self._now_s()))

    async def _drain(self) -> None:
        """Let everything that waits be read: a late loop must not accuse who has answered."""
        quiet = 0
        for _ in range(_DRAIN_TURNS):
            before = self._handled
            await anyio.lowlevel.checkpoint()
            quiet = quiet + 1 if self._handled == before else 0
            if quiet == _QUIET_TURNS:
                return

    # What the core wants.

    def _take(self, received: Received, *, reliable: bool) -> None:
        self._apply(self._handle(received, reliable=reliable))

    def _take_answer(self, answer: Received) -> None:
        self._take(answer, reliable=True)

    def _answer(self, asked: Asked) -> None:
        effects = self._handle(asked.received, reliable=True)
        answers = [each for each in effects if type(each) is Send and each.reliable]
        try:
            asked.answer(answers[0].payload if answers else b"")
        except FederlibError:
            # Longer than this transport's streams may be.
            self._sender.lost += 1
        self._apply([each for each in effects if each not in answers[:1]])

    def _handle(self, received: Received, *, reliable: bool) -> tuple[Effect, ...]:
        if is_strange(received):
            self._strangers += 1
            return ()
        return self._open_core().handle(
            received.payload,
            received.address,
            proven_role(received),
            self._now_s(),
            reliable=reliable,
            # A first packet's trip may hold the exchange that confirmed its sender.
            is_timed=not received.is_first,
        )

    def _apply(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._sender.post(effect)
            elif isinstance(effect, WakeAt):
                self._sooner.set()
            elif isinstance(effect, PeerMeasured):
                self._locator.learn(effect)
                self._tell(effect)
            else:
                self._tell(effect)

    def _tell(self, event: Event) -> None:
        if isinstance(event, PeerConfirmed):
            self._locator.tell_confirmed(event)
        elif isinstance(event, LeaveTold):
            self._is_told = True
            self._told.set()
        elif not isinstance(event, PeerMeasured):
            if isinstance(event, MemberRemoved | MemberRestarted):
                # Another run may stand elsewhere.
                self._vivaldi.forget(event.node.name)
            self._meter.tell_event(event, self._open_core().tracker)
        self._feeds.put(event)

    # Small things.

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9

    def _encoded(self) -> bytes:
        return encode_coordinate(self._vivaldi.get_local_coordinate(), now_s=self._now_s())

    def _check_open(self) -> None:
        if self._stack is None:
            raise _closed()

    def _open_core(self) -> SwimCore:
        if self._core is None:
            raise _closed()
        return self._core

    def _end(self) -> None:
        self._has_ended = True
        self._told.set()

    async def _leave(self) -> None:
        if self._has_ended:
            return
        before = self._sender.asking
        self._apply(self._open_core().leave(self._now_s()))
        # A worker says goodbye by streams, others by packets: the last stand in the queue.
        goodbyes = self._sender.asking - before
        await self._told.wait()
        await self._sender.wait_sent(goodbyes)


def _closed() -> Unavailable:
    return Unavailable("membership", "it is not open", hint="use it inside `async with`")


def _check_patience(leave_timeout_s: float) -> float:
    # `type`, because True is an int too; NaN compares false with everything.
    if type(leave_timeout_s) not in {int, float} or not 0 <= leave_timeout_s <= _PATIENCE_S:
        expected = f"0 to {_PATIENCE_S} seconds"
        raise InvalidInput("leave_timeout_s", expected=expected, found=leave_timeout_s)
    return leave_timeout_s
