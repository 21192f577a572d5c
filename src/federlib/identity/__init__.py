"""Worker identities that survive restarts: claimed from disk, one process each.

    with IdentityStore("runtime/identities").claim() as worker:
        worker.worker_id      # '550e8400-e29b-41d4-a716-446655440000:0'
        worker.incarnation    # 1, then 2 after a restart
        worker.check()        # raises Fenced once it is not ours any more

Does not promise: that an identity belongs to one person or program; whoever can write the
directory can be any of its workers.
Hazards: on a network file system the locks may not exclude (keep the directory local); a
cloned disk is noticed only where both machines have a trusted id (in containers, set
`FEDERLIB_MACHINE_ID`); a copy of the directory on the same machine is not noticed at all.
"""

from __future__ import annotations

from federlib.identity.claimed import ClaimedIdentity
from federlib.identity.records import HostRecord, SeenStoreRecord, SlotRecord, WorkerIdentity
from federlib.identity.store import (
    DEFAULT_ROOT,
    IDENTITY_ROOT_ENV,
    IdentityStore,
    identity_root,
)

__all__ = [
    "DEFAULT_ROOT",
    "IDENTITY_ROOT_ENV",
    "ClaimedIdentity",
    "HostRecord",
    "IdentityStore",
    "SeenStoreRecord",
    "SlotRecord",
    "WorkerIdentity",
    "identity_root",
]
