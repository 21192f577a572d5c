"""The same verbs for programs without an event loop: any number of threads may use them.

    with federlib.blocking.connect("sqlite:///fleet.db") as fed:
        with fed.hold("nightly-report", ttl_s=15) as lease:
            for item in items:
                lease.check()
                upload(item, fence=lease.token)

On an embedded driver a verb runs in the calling thread, without an event loop and without
another thread. One daemon thread renews whatever is held.

Does not promise: to interrupt anything. A body whose lease is lost goes on until it asks, by
`lease.check()` or `lease.lost`.
Hazards: a body that keeps the interpreter to itself (a C extension that does not let go of
the GIL) stops the renewal of every lease of its process. After a fork the child has nothing:
its verbs raise `Fenced`, its leases are lost, and it must connect anew. Used on the thread of
an event loop it works, and stops that loop for as long as it waits.
"""

from __future__ import annotations

from federlib.blocking.causal import Causal
from federlib.blocking.dag import Handler, Runs
from federlib.blocking.election import Seat
from federlib.blocking.federation import Federation, connect
from federlib.blocking.fencing import CommandHandler, Commands, FenceGuard, OutcomeLog
from federlib.blocking.leases import HeldLease, Leases
from federlib.blocking.registry import Registry
from federlib.blocking.store import Store

__all__ = [
    "Causal",
    "CommandHandler",
    "Commands",
    "Federation",
    "FenceGuard",
    "Handler",
    "HeldLease",
    "Leases",
    "OutcomeLog",
    "Registry",
    "Runs",
    "Seat",
    "Store",
    "connect",
]
