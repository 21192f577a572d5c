"""The `LeaseBackend` protocol: subclass it to lease from any engine.

Five verbs make a backend; the others have defaults. `federlib.testing.LeaseBackendContract`
has a test for every sentence here. Everything that waits, renews and cancels is written
once, above this line, in `federlib.lease.hold`.

Source: design §4, ChronoWatch (Lease, AcquireLeaseRequest).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import msgspec

from federlib.errors import InvalidInput

__all__ = [
    "Busy",
    "Holder",
    "Lease",
    "LeaseBackend",
    "LeaseCapabilities",
    "LeaseState",
    "NotHeld",
    "Released",
]


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A lease as granted: what the holder has, and what rivals may read.

    All instants are Unix nanoseconds; they inform people and rule (c). The holder's own
    deadline never rests on them.

    Attributes:
        name: The leased name.
        holder_id: Who holds it, for example a worker id.
        session: Which of the holder's claims this is: two `hold` calls of one process
            exclude each other.
        fencing_token: Strictly rising per name; renewing keeps it.
        ttl_ms: Time to live; milliseconds.
        acquired_at: When it was granted.
        renewed_at: When it was last renewed.
        expires_at: `renewed_at` + ttl.
        clock_id: The boot clock that `renewed_boot_ns` was read from.
        renewed_boot_ns: The holder's boot clock at the last renewal.
    """

    name: str
    holder_id: str
    session: str
    fencing_token: int
    ttl_ms: int
    acquired_at: int
    renewed_at: int
    expires_at: int = msgspec.field(name="expires_at_ns")
    clock_id: str = ""
    renewed_boot_ns: int = 0


@attrs.frozen
class Holder:
    """Who asks for a lease.

    Attributes:
        holder_id: For example a worker id.
        session: Unique for each claim of that holder, for example `incarnation.counter`.
    """

    holder_id: str
    session: str


@attrs.frozen(kw_only=True)
class Busy:
    """The lease was not granted.

    Attributes:
        name: The lease.
        holder: Who holds it; None if it is free but others are ahead in its queue.
        expires: When it may expire; Unix nanoseconds, or None where nobody holds it.
        ahead: How many live waiters are ahead of this one.
        retry_in_s: When another attempt is worth it, if nothing is heard before; seconds.
    """

    name: str
    holder: str | None
    expires: int | None
    ahead: int
    retry_in_s: float


@attrs.frozen
class NotHeld:
    """The lease is no longer held under that token; nothing was changed.

    Attributes:
        name: The lease.
        token: The token that was presented.
        holder: Who holds it now, or None.
    """

    name: str
    token: int
    holder: str | None


@attrs.frozen
class Released:
    """The lease is free; its token is kept, so that the next one is higher."""

    name: str
    token: int


@attrs.frozen(kw_only=True)
class LeaseState:
    """What `inspect` and `watch` tell of a name.

    Attributes:
        name: The lease.
        fencing_token: The highest token ever granted; 0 if none is known.
        lease: The lease as last granted or renewed; None when it is free. It may have
            expired: `is_live` says whether rivals must still respect it.
        is_live: Judged now, by this backend's rule.
        waiters: The holder ids in the queue, first in line first.
    """

    name: str
    fencing_token: int
    lease: Lease | None
    is_live: bool
    waiters: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class LeaseCapabilities:
    """What a backend can do, as data; the contract suite tests what is declared.

    Attributes:
        fair_queue: Waiters are served in the order in which they came.
        multi_host: Holders on several hosts exclude each other.
        survives_restart: Tokens are kept when every process has gone.
        failover_slack_s: How long after ttl a dead holder's lease can be taken, at the
            latest, on an idle machine; seconds.
    """

    fair_queue: bool
    multi_host: bool
    survives_restart: bool
    failover_slack_s: float = 0.5


class LeaseBackend(ABC):
    """Grants, renews and releases leases with fencing tokens.

    Every verb may raise `Unavailable` (nothing happened) or `OutcomeUnknown` (it may have
    happened: repeating the verb with the same holder is safe), and `InvalidInput`.
    """

    @property
    @abstractmethod
    def capabilities(self) -> LeaseCapabilities:
        """What this backend can do."""

    @abstractmethod
    async def acquire(
        self, name: str, holder: Holder, *, ttl_s: float, queue: bool = False
    ) -> Lease | Busy:
        """Try once; never wait.

        A holder that already has the lease under this session gets it again, renewed,
        with the same token. With `queue`, a refused holder stands in the queue, and keeps
        its place while it calls again at least every `retry_in_s`.
        Without `queue`, a live waiter is never passed.
        """

    @abstractmethod
    async def renew(self, lease: Lease) -> Lease | NotHeld:
        """Push the expiry to now + ttl; the token stays.

        An expired lease that nobody took may be renewed: no rival has got a token since.
        """

    @abstractmethod
    async def release(self, lease: Lease) -> Released | NotHeld:
        """Free the lease, if it is still held under this token."""

    @abstractmethod
    async def inspect(self, name: str) -> LeaseState:
        """Read, without effect."""

    @abstractmethod
    def watch(self, name: str) -> AbstractAsyncContextManager[AsyncIterator[LeaseState]]:
        """Stream the states of a name: the present one first, then after every change."""

    async def withdraw(self, name: str, holder: Holder) -> None:  # noqa: B027 (a default)
        """Leave the queue. Backends without one need not do anything."""

    def turns(
        self, name: str, holder: Holder
    ) -> AbstractAsyncContextManager[AsyncIterator[object]]:
        """Tell one who stands in line when asking again may be worth it: an item each time.

        A hint: one too many costs a question, and one that is missed costs the rest of
        `Busy.retry_in_s`. By default every change that `watch` tells is looked at; a backend
        that can wake just whoever is next does better.
        """
        return _turns(self, name, holder)

    async def names(self) -> Sequence[str]:
        """List the names that are known, in byte order; none where no list is kept."""
        return ()

    async def floor(self) -> int:
        """Return the token that every later grant is above, on any name; 0 for none."""
        return 0

    async def raise_floor(self, token: int) -> None:  # noqa: ARG002 (a default)
        """Make every later grant, on any name, higher than `token`.

        Raises:
            InvalidInput: Not an int64 of 0 or more, or the backend has no floor.
        """
        raise InvalidInput(
            "lease backend", expected="one with a token floor", found=type(self).__name__
        )

    async def collect(self, now_ns: int) -> int:  # noqa: ARG002 (a default)
        """Forget names that have been free for 24 h, where that is needed; return how many.

        No later grant of theirs has a token that was granted before.

        Args:
            now_ns: The present; Unix nanoseconds.
        """
        return 0

    async def aclose(self) -> None:  # noqa: B027 (a default)
        """Let go of what the backend itself opened."""


@asynccontextmanager
async def _turns(
    backend: LeaseBackend, name: str, holder: Holder
) -> AsyncIterator[AsyncIterator[object]]:
    async with backend.watch(name) as states:
        yield _Turns(states, holder.holder_id, has_queue=backend.capabilities.fair_queue)


class _Turns:
    """The states that matter to one who waits: it is first or second in line, or not in it.

    A class, because a cancelled generator would be over.
    """

    def __init__(
        self, states: AsyncIterator[LeaseState], holder_id: str, *, has_queue: bool
    ) -> None:
        self._states = states
        self._holder_id = holder_id
        self._has_queue = has_queue
        self._look: tuple[bool, int, int | None] | None = None

    def __aiter__(self) -> _Turns:
        return self

    async def __anext__(self) -> LeaseState:
        while True:
            state = await anext(self._states)
            if self._is_news(state):
                return state

    def _is_news(self, state: LeaseState) -> bool:
        mine = self._holder_id
        place = state.waiters.index(mine) if mine in state.waiters else None
        look = (state.is_live, state.fencing_token, place)
        before, self._look = self._look, look
        if place is None:
            # Either this backend has no queue, or we were skipped and must stand again.
            return look != before and (self._has_queue or not state.is_live)
        return place <= 1 and look != before
