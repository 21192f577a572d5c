"""From when on a holder counts its ttl."""

from __future__ import annotations

import pytest

from federlib.lease import Lease
from federlib.lease.holding import counted_from_ns
from federlib.testing import ManualClock


def lease(clock_id: str, renewed_boot_ns: int) -> Lease:
    return Lease(
        name="n",
        holder_id="ada",
        session="1",
        fencing_token=1,
        ttl_ms=1_000,
        acquired_at=0,
        renewed_at=0,
        expires_at=1_000_000_000,
        clock_id=clock_id,
        renewed_boot_ns=renewed_boot_ns,
    )


@pytest.mark.parametrize(
    ("is_own", "renewed_boot_ns", "counted"),
    [
        pytest.param(True, 400, 400, id="kept alive before the request left"),
        pytest.param(True, 600, 500, id="written while the request was under way"),
        pytest.param(False, 400, 500, id="another clock says nothing"),
    ],
)
def test_a_ttl_counts_from_the_earlier_instant_that_the_own_clock_knows(
    is_own: bool, renewed_boot_ns: int, counted: int
) -> None:
    clock = ManualClock()
    found = lease(clock.clock_id if is_own else "elsewhere", renewed_boot_ns)
    assert counted_from_ns(found, 500, clock) == counted
