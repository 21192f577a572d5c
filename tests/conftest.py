"""Fixtures for every test: both event loops, warnings as errors."""

from __future__ import annotations

import signal

import pytest

# Tests that were started in the background have Ctrl-C ignored, and so would all their
# children; some of those are sent it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each async test on asyncio and on trio."""
    return str(request.param)
