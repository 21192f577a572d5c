"""`Membership`: one process's entry, kept fresh by heartbeats while its body runs.

Source: A2.2 §2.3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Literal, Self

import anyio
import anyio.lowlevel
from anyio import CancelScope
from anyio.abc import TaskGroup

from federlib._tasks import leave_scope
from federlib.errors import (
    Conflict,
    FederlibError,
    Fenced,
    IdentityTaken,
    InvalidInput,
    OutcomeUnknown,
    Unavailable,
)
from federlib.identity import ClaimedIdentity
from federlib.registry.entry import Entry, Facts
from federlib.registry.reading import Reader
from federlib.registry.records import check_load
from federlib.telemetry import Metric, Telemetry
from federlib.telemetry.logs import Level

__all__ = ["CLOSE_TIMEOUT_S", "HEARTBEATS", "Membership"]

CLOSE_TIMEOUT_S = 5.0
"""How long saying goodbye may take; seconds."""

HEARTBEATS = Metric(
    "federlib_registry_heartbeats_total",
    "counter",
    "Heartbeats of this process: sent, failed (and tried again) or refused.",
    ("result",),
)

_BEATS_PER_TTL = 3
_JITTER = 0.1
_FIRST_PAUSE_S = 0.05
_TRY_S = 5.0
_NS = 1_000_000_000


class Membership:
    """One process's entry in the registry; an async context manager that keeps it fresh.

    Made by `Registry.join`. Entering writes the first heartbeat, leaving marks the entry
    as left. A store that is away ends nothing: the heartbeat is tried again until it comes
    back, and the entry expires meanwhile. Only when the identity is not this process's any
    more is the body cancelled, and the `with` raises `Fenced`.

    `report` may be called from any thread; everything else belongs to the task that entered.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        reader: Reader,
        identity: Callable[[], Awaitable[ClaimedIdentity]],
        roll: list[Membership],
        jitter: Callable[[], float],
        telemetry: Telemetry,
    ) -> None:
        self._facts = facts
        self._reader = reader
        self._clock = reader.clock
        self._identity = identity
        self._roll = roll
        self._jitter = jitter
        self._telemetry = telemetry
        self._state: Literal["new", "joined", "ended"] = "new"
        self._me: ClaimedIdentity | None = None
        self._entry: Entry | None = None
        self._load = 0.0
        self._sent_ns = 0
        self._is_away = False
        self._was_heard = False
        self._lost: Exception | None = None
        self._group: TaskGroup | None = None
        self._body = CancelScope()

    @property
    def kind(self) -> str:
        """What this process does."""
        return self._facts.kind

    @property
    def worker_id(self) -> str:
        """Under which id this process is in the registry."""
        return self._claimed.worker_id

    @property
    def incarnation(self) -> int:
        """Which life of that identity this is."""
        return self._claimed.incarnation

    def report(self, *, load: float) -> None:
        """Say how much of the slots is in use; it goes with the next heartbeat.

        Raises:
            InvalidInput: Not a finite number from 0.
        """
        self._load = check_load(load)

    async def __aenter__(self) -> Self:
        """Claim the identity, and write the first heartbeat if the store lets us.

        Raises:
            Conflict: This process is in the registry already.
            IdentityTaken: Another live process is this very life of the identity: its
                files were copied.
            Fenced: A later life of the identity has joined.
            InvalidInput: It was entered before.
        """
        if self._state != "new":
            raise InvalidInput("membership", expected="entered once", found=self._state)
        if self._roll:
            raise Conflict(
                "the registry",
                expected="one entry of this process",
                actual=f"a {self._roll[0].kind!r} that has joined already",
                hint="an identity has one entry; tell more by its labels",
            )
        self._roll.append(self)
        try:
            self._me = await self._identity()
            self._entry = Entry(self._facts, self._me, self._reader)
            await self._try_to_beat()
        except BaseException:
            await self._end()
            raise
        group = anyio.create_task_group()
        await group.__aenter__()
        self._group = group
        self._state = "joined"
        self._body.__enter__()
        group.start_soon(self._keep)
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool:
        """Stop the heartbeats and say goodbye, shielded, within `CLOSE_TIMEOUT_S`.

        The body's own exception goes on as it is. A cancellation from outside wins over
        the loss of the identity.

        Raises:
            Fenced, IdentityTaken: The identity is not this process's, or not any more.
        """
        left = leave_scope(self._body, error)
        try:
            await self._stop()
        finally:
            await self._end()
        if left is not None and left is error:
            return False
        if left is not None:
            raise left
        if self._lost is not None:
            # Trio's scopes swallow any Cancelled: ask whether an outer one is meant too.
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise self._lost
        return error is not None

    async def _stop(self) -> None:
        group = self._group
        assert group is not None
        # The group never sees the body's exception, or it would wrap it.
        group.cancel_scope.shield = True
        group.cancel_scope.cancel()
        await group.__aexit__(None, None, None)

    async def _keep(self) -> None:
        """Send a heartbeat every third of the ttl, until we are not allowed to."""
        try:
            while True:
                await self._sleep_until(self._sent_ns + self._interval_ns())
                await self._beat_until_heard()
        except Exception as error:
            # A fault of our own, too, comes out as it is and not in a group.
            self._lost = error
            self._body.cancel()

    async def _beat_until_heard(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not await self._try_to_beat():
            # Of many processes that lost their store, each comes back at its own time.
            await anyio.sleep(pause_s * (1 - _JITTER * self._jitter()))
            pause_s = min(2 * pause_s, self._ttl_s / _BEATS_PER_TTL)

    async def _try_to_beat(self) -> bool:
        """Send one heartbeat; say whether it was heard.

        Raises:
            Fenced, IdentityTaken: We may not.
        """
        self._sent_ns = self._clock.boot_ns()
        try:
            # Whoever hangs in one attempt should make another.
            with anyio.move_on_after(_TRY_S) as attempt:
                await self._identity()
                await self._own.write(load=self._load)
            if attempt.cancelled_caught:
                raise Unavailable("the registry", f"no answer within {_TRY_S:g} s")
        except (Fenced, IdentityTaken) as error:
            self._telemetry.emit(HEARTBEATS, result="refused")
            self._log("error", "registry_fenced", reason=str(error))
            raise
        except FederlibError as error:
            self._telemetry.emit(HEARTBEATS, result="failed")
            if not self._is_away:
                self._log("warning", "registry_heartbeat_failed", reason=str(error))
            self._is_away = True
            return False
        self._telemetry.emit(HEARTBEATS, result="sent")
        if not self._was_heard:
            self._log("info", "registry_joined", kind=self._facts.kind)
        self._was_heard = True
        if self._is_away:
            self._log("info", "registry_heartbeat_resumed")
        self._is_away = False
        return True

    async def _end(self) -> None:
        self._state = "ended"
        self._roll.remove(self)
        if self._entry is None or not self._entry.may_stand or self._lost is not None:
            return
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            if await self._say_goodbye():
                self._log("info", "registry_left")
                return
        # Then it expires.
        self._log("warning", "registry_leave_failed")

    async def _say_goodbye(self) -> bool:
        """Mark the entry as left; say whether it worked."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._own.write(left=True)
                return True
            except (Unavailable, OutcomeUnknown):
                await anyio.sleep(pause_s)
                pause_s *= 2
            except FederlibError:
                # A newer life stands there already, or what nobody can read.
                return False

    @property
    def _claimed(self) -> ClaimedIdentity:
        if self._me is None:
            raise InvalidInput("membership", expected="entered", found="one that was not")
        return self._me

    @property
    def _own(self) -> Entry:
        assert self._entry is not None
        return self._entry

    @property
    def _ttl_s(self) -> float:
        return self._facts.ttl_ms / 1_000

    def _interval_ns(self) -> int:
        # Never later than a third of the ttl, and a little earlier by chance, so that
        # workers that started together do not go on together.
        share = (1 - _JITTER * self._jitter()) / _BEATS_PER_TTL
        return round(self._facts.ttl_ms * 1_000_000 * share)

    async def _sleep_until(self, boot_ns: int) -> None:
        await anyio.sleep(max(0, boot_ns - self._clock.boot_ns()) / _NS)

    def _log(self, level: Level, event: str, **more: str) -> None:
        self._telemetry.log(
            level, event, worker_id=self.worker_id, incarnation=self.incarnation, **more
        )
