"""Who is there: workers, kept fresh by heartbeats, keyed by worker id and mapped to hosts.

    async with fed.registry.join(kind="worker", labels={"zone": "b"}, slots=8) as member:
        member.report(load=3)
    for worker in await fed.registry.members(kind="worker"):
        print(worker.worker_id, worker.age_s)

Does not promise: that who is live here can act, or that who is expired cannot. Heartbeats
and clocks advise; leases and their tokens decide.
Hazards: a worker whose wall clock is behind by more than the tolerance expires early for
judges on other machines; one that is ahead is live for longer, yet never longer than a ttl
and the tolerance after a judge that keeps looking has seen its last heartbeat.
"""

from __future__ import annotations

from federlib.registry.membership import Membership
from federlib.registry.records import MemberRecord
from federlib.registry.registry import Registry
from federlib.registry.roster import HostSummary, Member, Roster, State
from federlib.registry.watching import Change, Changes

__all__ = [
    "Change",
    "Changes",
    "HostSummary",
    "Member",
    "MemberRecord",
    "Membership",
    "Registry",
    "Roster",
    "State",
]
