"""`Audit`: looks at every commit of a fleet's store, and says which must not have been made.

Each invariant is a small function of the store before the commit and the commit itself. The
audit knows the truth (true time, who lives), which no process of the fleet does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from federlib.fencing import read_event
from federlib.fencing.records import (
    COMMAND_PREFIX,
    Command,
    Started,
    decode_mark,
    fence_key,
)
from federlib.lease import Lease
from federlib.lease.queue import GRANT_GRACE_S
from federlib.lease.records import (
    LeaseRecord,
    WaiterRecord,
    decode_lease,
    decode_waiter,
    is_waiter_key,
    lease_key,
    name_prefix,
    queue_key,
)
from federlib.storage import Batch, Event
from federlib.testing.sim.kernel import SECOND_NS

__all__ = ["INVARIANTS", "Audit", "Invariant", "Scene"]

_FRESH_SHARE = 2
_GRACE_NS = round(GRANT_GRACE_S * SECOND_NS * 0.9)


@attrs.frozen(kw_only=True)
class Scene:
    """One commit, and what was there before it.

    Attributes:
        name: The lease and election.
        batch: The commit.
        written: What it put, by key; None for what it deleted.
        now_lease: The lease record that it put, if it put one.
        lease: The lease record before.
        waiters: The queue before, by key: who stood there, since which revision, and the
            true time of its last refresh.
        high: The fence's mark before.
        has_queue: Whether the queue's sign was there before.
        now_ns: True time.
        freed_ns: True time since when the lease was released; None where it was not.
        is_well: Says whether a process runs, unhindered.
        believer: Names a process that may act on the lease, as far as it knows; None where
            there is none, or where clocks are so wrong that it proves nothing.
    """

    name: str
    batch: Batch
    written: Mapping[str, bytes | None]
    now_lease: LeaseRecord | None
    lease: LeaseRecord | None
    waiters: Mapping[str, tuple[WaiterRecord, int, int]]
    high: int
    has_queue: bool
    now_ns: int
    freed_ns: int | None
    is_well: Callable[[str], bool]
    believer: Callable[[], str | None]

    @property
    def granted(self) -> Lease | None:
        """The lease that this commit grants anew, if it does."""
        found = self.now_lease.lease if self.now_lease is not None else None
        before = self.lease.lease if self.lease is not None else None
        if found is None or (before is not None and _owner(found) == _owner(before)):
            return None
        return found


def _owner(lease: Lease) -> tuple[str, str, int]:
    return lease.holder_id, lease.session, lease.fencing_token


Invariant = Callable[[Scene], str | None]
"""Says what is wrong with a commit, or None."""


def tokens_rise(scene: Scene) -> str | None:
    """A grant has a higher token than all before it on that name, and no token is forgotten."""
    if scene.lease is None:
        return None
    before = scene.lease.fencing_token
    if scene.now_lease is None:
        is_gone = lease_key(scene.name) in scene.written
        return f"the record of token {before} is gone" if is_gone else None
    token = scene.now_lease.fencing_token
    if token < before:
        return f"token {token} after {before}"
    granted = scene.granted
    if granted is not None and granted.fencing_token == before:
        return f"token {token} for {granted.holder_id}, as for the holder before"
    return None


def marks_rise(scene: Scene) -> str | None:
    """The fence's mark never falls, and never goes."""
    key = fence_key(scene.name)
    event = next((event for event in scene.batch.events if event.key == key), None)
    if event is None:
        return None
    high = 0 if event.record is None else decode_mark(event.record, scene.name).high_water
    return f"mark {high} after {scene.high}" if high < scene.high else None


def stale_epochs_are_refused(scene: Scene) -> str | None:
    """Nothing is issued or begun under an epoch below the mark."""
    for event in scene.batch.events:
        if event.record is None or not event.key.startswith(COMMAND_PREFIX):
            continue
        found = read_event(event.record).record
        # A refused command is kept together with its outcome: it is no accepted one.
        is_refused = event.key.rpartition("/")[0] + "/outcome" in scene.written
        if isinstance(found, Command) and not is_refused and found.leader_epoch < scene.high:
            return f"issued under epoch {found.leader_epoch}, below {scene.high}"
        if isinstance(found, Started) and found.epoch < scene.high:
            return f"begun under epoch {found.epoch}, below {scene.high}"
    return None


def whoever_waits_is_announced(scene: Scene) -> str | None:
    """Where somebody stands in line, the queue's sign is there."""
    waiting = set(scene.waiters)
    for key, value in scene.written.items():
        if is_waiter_key(key):
            (waiting.discard if value is None else waiting.add)(key)
    sign = queue_key(scene.name)
    has_queue = scene.written[sign] is not None if sign in scene.written else scene.has_queue
    return f"{len(waiting)} wait, unannounced" if waiting and not has_queue else None


def no_holder_still_believes(scene: Scene) -> str | None:
    """While clocks keep to their bounds, who takes an expired lease has no rival that believes."""
    granted = scene.granted
    if granted is None or scene.lease is None or scene.lease.lease is None:
        return None
    believer = scene.believer()
    if believer is not None and believer != granted.holder_id:
        return f"{granted.holder_id} has it, and {believer} believes that it has"
    return None


def nobody_is_passed_over(scene: Scene) -> str | None:
    """Who takes the lease passes no process that is well and stood in line before it."""
    granted = scene.granted
    if granted is None:
        return None
    own = next(
        (
            created
            for waiter, created, _ in scene.waiters.values()
            if (waiter.holder_id, waiter.session) == (granted.holder_id, granted.session)
        ),
        None,
    )
    if scene.freed_ns is not None and scene.now_ns - scene.freed_ns > _GRACE_NS:
        return None  # The head had its chance.
    for waiter, created, refreshed_ns in scene.waiters.values():
        is_first = own is None or created < own
        is_fresh = scene.now_ns - refreshed_ns < waiter.wait_ttl_ms * 1_000_000 // _FRESH_SHARE
        if is_first and is_fresh and scene.is_well(waiter.holder_id) and created != own:
            return f"{granted.holder_id} passed {waiter.holder_id}"
    return None


def holders_leave_the_queue(scene: Scene) -> str | None:
    """Who is granted the lease stands in line no more."""
    granted = scene.granted
    if granted is None:
        return None
    for key, (waiter, _, _) in scene.waiters.items():
        is_own = (waiter.holder_id, waiter.session) == (granted.holder_id, granted.session)
        if is_own and scene.written.get(key, b"") is not None:
            return f"{granted.holder_id} holds it and waits for it"
    return None


def records_of_commands_stand(scene: Scene) -> str | None:
    """What is recorded of a command is written once."""
    for event in scene.batch.events:
        record = event.record
        is_new = record is not None and record.created == record.revision
        if event.key.startswith(COMMAND_PREFIX) and not is_new:
            return f"{event.key} was changed"
    return None


INVARIANTS: Mapping[str, Invariant] = {
    check.__name__: check
    for check in (
        tokens_rise,
        marks_rise,
        stale_epochs_are_refused,
        whoever_waits_is_announced,
        no_holder_still_believes,
        nobody_is_passed_over,
        holders_leave_the_queue,
        records_of_commands_stand,
    )
}
"""By name; each is asked at every commit."""


class Audit:
    """Follows one election's records, and asks every invariant at every commit.

    Args:
        name: The lease and election.
        now_ns: Tells true time.
        is_well: Says whether a process runs, unhindered.
        believer: As in `Scene`.
        accuse: Told the name of an invariant that does not hold, and what was found.
    """

    def __init__(
        self,
        name: str,
        *,
        now_ns: Callable[[], int],
        is_well: Callable[[str], bool],
        believer: Callable[[], str | None],
        accuse: Callable[[str, str], object],
    ) -> None:
        self._name = name
        self._prefix = name_prefix(name)
        self._lease_key = lease_key(name)
        self._fence_key = fence_key(name)
        self._now_ns = now_ns
        self._is_well = is_well
        self._believer = believer
        self._accuse = accuse
        self._lease: LeaseRecord | None = None
        self._waiters: dict[str, tuple[WaiterRecord, int, int]] = {}
        self._high = 0
        self._has_queue = False
        self._freed_ns: int | None = None

    @property
    def present(self) -> set[str]:
        """Who holds the lease or stands in line, by the records."""
        held = self._lease.lease if self._lease is not None else None
        waiting = {waiter.holder_id for waiter, _, _ in self._waiters.values()}
        return waiting | ({held.holder_id} if held is not None else set())

    def hear(self, batch: Batch) -> None:
        """Judge one commit, and take it in."""
        if len(batch.events) == 1 and self._is_refresh(batch.events[0]):
            return
        written = {e.key: None if e.record is None else e.record.value for e in batch.events}
        value = written.get(self._lease_key)
        scene = Scene(
            name=self._name,
            batch=batch,
            written=written,
            now_lease=decode_lease(self._lease_key, value) if value is not None else None,
            lease=self._lease,
            waiters=self._waiters,
            high=self._high,
            has_queue=self._has_queue,
            now_ns=self._now_ns(),
            freed_ns=self._freed_ns,
            is_well=self._is_well,
            believer=self._believer,
        )
        for name, check in INVARIANTS.items():
            wrong = check(scene)
            if wrong is not None:
                self._accuse(name, wrong)
        for event in batch.events:
            self._take(event, scene.now_ns)

    def _is_refresh(self, event: Event) -> bool:
        """Take in that a place was kept, by far the most frequent commit; nothing else changed."""
        known = self._waiters.get(event.key)
        if known is None or event.record is None:
            return False
        self._waiters[event.key] = (known[0], known[1], self._now_ns())
        return True

    def _take(self, event: Event, now_ns: int) -> None:
        key, record = event.key, event.record
        if key == self._lease_key:
            self._lease = None if record is None else decode_lease(key, record.value)
            is_free = self._lease is not None and self._lease.lease is None
            self._freed_ns = now_ns if is_free else None
        elif key == self._fence_key:
            self._high = 0 if record is None else decode_mark(record, self._name).high_water
        elif key == queue_key(self._name):
            self._has_queue = record is not None
        elif key.startswith(self._prefix) and is_waiter_key(key):
            if record is None:
                self._waiters.pop(key, None)
            else:
                waiter = decode_waiter(key, record.value)
                self._waiters[key] = (waiter, record.created, now_ns)
