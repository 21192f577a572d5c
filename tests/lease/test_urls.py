"""Lease backends by URL."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from federlib.errors import InvalidInput, Unavailable
from federlib.lease import Holder, Lease, LeaseBackend, StoreLeaseBackend, from_url, urls
from federlib.skewclock import Clock, SkewTolerance
from federlib.telemetry import Telemetry
from federlib.testing import ManualClock

pytestmark = pytest.mark.anyio
ADA = Holder("ada", "1")


async def test_a_store_url_leases_on_that_store_and_tokens_outlive_the_backend(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    for token in (1, 2):
        backend = await from_url(url)
        lease = await backend.acquire("x", ADA, ttl_s=5)
        assert isinstance(lease, Lease)
        assert lease.fencing_token == token
        await backend.release(lease)
        await backend.aclose()


async def test_closing_closes_the_store_that_was_opened_here() -> None:
    backend = await from_url("memory://")
    await backend.aclose()
    with pytest.raises(Unavailable):
        await backend.acquire("x", ADA, ttl_s=5)


@pytest.mark.parametrize("url", ["", "x", "nonsense://host", "postgres://u:s3cret@host/db"])
async def test_a_url_that_nothing_is_installed_for_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await from_url(url)
    assert "s3cret" not in str(caught.value)


MADE: list[tuple[str, Clock, SkewTolerance]] = []


async def open_mine(
    url: str, clock: Clock, tolerance: SkewTolerance, telemetry: Telemetry
) -> LeaseBackend:
    """Stand in for a third party's opener."""
    MADE.append((url, clock, tolerance))
    return await from_url("memory://", clock=clock, tolerance=tolerance, telemetry=telemetry)


async def test_a_third_partys_backend_is_reached_by_its_entry_point(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = EntryPoint("mine", f"{__name__}:open_mine", urls.ENTRY_POINTS)
    monkeypatch.setattr(urls, "entry_points", lambda group: EntryPoints([entry]))
    MADE.clear()
    clock, tolerance = ManualClock(), SkewTolerance(1)
    backend = await from_url("mine://host", clock=clock, tolerance=tolerance)
    assert isinstance(backend, StoreLeaseBackend)
    assert [("mine://host", clock, tolerance)] == MADE
    await backend.aclose()
