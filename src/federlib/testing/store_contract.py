"""`RecordStoreContract`: a test for every sentence of `federlib.storage.protocol`.

    class TestMyStore(RecordStoreContract):
        lacks = frozenset({"multi_host", "server_clock"})

        def open_store(self, clock: Clock) -> AbstractAsyncContextManager[RecordStore]: ...

Subclass it in a test module. Hooks: `open_store` always, `second_client` where the driver
declares `shared`, `reopen` where it declares `durable`, and `outgrow_history` where the
default takes too long. Needs pytest and anyio's pytest plugin; runs on every event loop
that the fixture `anyio_backend` names.

Does not promise: faults. A torn file or a killed process is for the driver's own tests.

Source: design §4.
"""

from __future__ import annotations

import pytest

_PARTS = ("hooks", "reads", "commits", "watch", "sharing")
pytest.register_assert_rewrite(*(f"federlib.testing._store_{part}" for part in _PARTS))

# Behind the registration, or a failed assertion would not show its values.
from federlib.testing._store_commits import StoreCommits  # noqa: E402 (see above)
from federlib.testing._store_reads import StoreReads  # noqa: E402 (see above)
from federlib.testing._store_sharing import StoreSharing  # noqa: E402 (see above)
from federlib.testing._store_watch import StoreWatch  # noqa: E402 (see above)

__all__ = ["RecordStoreContract"]


class RecordStoreContract(StoreReads, StoreCommits, StoreWatch, StoreSharing):
    """Every test of the contract; subclass it and give it a store."""
