"""`Entry`: this process's own record, written over whatever stands there, if it may be.

Source: A2.2 §2.3.
"""

from __future__ import annotations

import attrs

from federlib.errors import Fenced, IdentityTaken
from federlib.identity import ClaimedIdentity
from federlib.registry.reading import Reader
from federlib.registry.records import MemberRecord, encode_member, member_key
from federlib.registry.roster import Refusal, refusal
from federlib.storage.protocol import Absent, AtRevision, Committed, Put, Transaction

__all__ = ["Entry", "Facts"]

_MAX_INSTANT = 2**63 - 1


@attrs.frozen(kw_only=True)
class Facts:
    """What a process says of itself, the same in every heartbeat."""

    kind: str
    labels: dict[str, str]
    slots: int
    ttl_ms: int
    session: str
    pid: int
    hostname: str
    version: str


class Entry:
    """One worker's record, as the process that is this worker writes it.

    Not shared between tasks.

    Args:
        facts: What it says.
        me: Under which identity.
        reader: On the store.

    Attributes:
        may_stand: Whether a record of ours may be in the store.
    """

    def __init__(self, facts: Facts, me: ClaimedIdentity, reader: Reader) -> None:
        self.may_stand: bool = False
        self._facts = facts
        self._me = me
        self._reader = reader
        self._started_ns = self._wall_ns()
        # The record as we know it; `_is_known` is false where it has to be looked at first.
        self._revision: int | None = None
        self._is_known = False

    async def write(self, *, load: float = 0.0, left: bool = False) -> None:
        """Write a heartbeat, or a goodbye.

        Without a transaction id: what stands there tells what became of a lost answer.

        Raises:
            Fenced: A later life of the identity has joined, or another process as this one.
            IdentityTaken: We have not joined yet, and another live process is this life.
            CorruptRecord: What stands there cannot be read; it is left alone.
            Unavailable, OutcomeUnknown: As the store says; write again.
        """
        key = member_key(self._me.worker_id)
        while True:
            if not self._is_known:
                self._revision = await self._look()
            put = Put(key, encode_member(self._record(load, left=left)))
            check = Absent(key) if self._revision is None else AtRevision(key, self._revision)
            stood, self.may_stand, self._is_known = self.may_stand, True, False
            done = await self._reader.store.commit(Transaction((put,), (check,)))
            if isinstance(done, Committed):
                self._revision, self._is_known = done.revision, True
                return
            self.may_stand = stood

    async def _look(self) -> int | None:
        """Find out what stands there; return its revision, or None where nothing does."""
        found = await self._reader.find(self._me.worker_id)
        if found is None:
            return None
        record, member = found
        mine = self._record(0.0, left=False)
        why = refusal(member, mine, has_joined=self.may_stand)
        if why is not None:
            raise self._refused(why, member.record)
        return record.revision

    def _refused(self, why: Refusal, found: MemberRecord) -> Fenced | IdentityTaken:
        what, mine = f"worker identity {self._me.worker_id}", self._me.incarnation
        who = f"process {found.pid} on {found.hostname}"
        if why == "taken":
            return IdentityTaken(
                what,
                expected=f"incarnation {mine} to be this process alone",
                actual=f"{who}, which is live under the same incarnation",
                hint="the identity directory was copied: give each machine its own",
            )
        reason = f"{who} has joined the registry under the same incarnation"
        if why == "newer":
            reason = f"this is incarnation {mine}, and {found.incarnation} ({who}) has joined"
        return Fenced(what, reason=reason)

    def _record(self, load: float, *, left: bool) -> MemberRecord:
        facts, now_ns, clock = self._facts, self._wall_ns(), self._reader.clock
        return MemberRecord(
            worker_id=self._me.worker_id,
            host_id=self._me.host_id,
            incarnation=self._me.incarnation,
            session=facts.session,
            kind=facts.kind,
            labels=facts.labels,
            slots=facts.slots,
            load=load,
            pid=facts.pid,
            hostname=facts.hostname,
            version=facts.version,
            started_at_ns=self._started_ns,
            last_seen=now_ns,
            clock_id=clock.clock_id,
            boot_ns=max(0, clock.boot_ns()),
            ttl_ms=facts.ttl_ms,
            left_at_ns=now_ns if left else None,
        )

    def _wall_ns(self) -> int:
        # A clock gone mad must not write a record that nobody can read again.
        return min(max(self._reader.clock.wall_ns(), 0), _MAX_INSTANT)
