"""The pytest plugin: fixtures for tests of programs that use federlib.

    def test_the_job_runs_once(sim): ...

    def test_my_worker_renews_on_time(virtual_time):
        virtual_time.run(main)          # on asyncio, then on trio; an hour takes milliseconds

    def test_my_worker_on_a_real_server(postgres_server):
        main(postgres_server.url)

    @pytest.mark.anyio
    async def test_my_worker_gives_the_lease_back(lease_backend, manual_clock): ...

pytest loads it wherever federlib is installed, so it loads nothing itself: each fixture
imports what it needs when a test asks for it. The fixtures are plain functions, not
coroutines: they need no plugin for async tests and go with any.

Does not promise: one instance for several examples of one Hypothesis test. pytest makes a
fixture once a test; make the thing inside the test there.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from federlib.lease import LeaseBackend
    from federlib.storage import RecordStore
    from federlib.testing.clocks import ManualClock
    from federlib.testing.servers import EtcdCluster, PostgresServer
    from federlib.testing.sim import Simulation
    from federlib.testing.virtual_time import VirtualTime

__all__ = [
    "etcd_cluster",
    "etcd_server",
    "lease_backend",
    "manual_clock",
    "memory_store",
    "postgres_server",
    "pytest_addoption",
    "pytest_runtest_makereport",
    "sim",
    "virtual_time",
]

_OPTION = "--federlib-seed"
_SETTING = "federlib_seed"
_SEED_BYTES = 4
_SEED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--federlib-seed` and the setting `federlib_seed`."""
    what = "seed of `sim` and `virtual_time`, any integer; without one each test draws its own"
    parser.getgroup("federlib").addoption(_OPTION, type=int, metavar="N", help=what)
    parser.addini(_SETTING, what, default="")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell the seed of a test that failed, and how to have the same again."""
    report = yield
    seed = item.stash.get(_SEED, None)
    if seed is not None and report.failed:
        replay = f"python -m pytest {_OPTION}={seed} {shlex.quote(_test_here(item))}"
        report.sections.append(("federlib", f"seed {seed}; replay it: {replay}"))
    return report


def _test_here(item: pytest.Item) -> str:
    """Name the test as seen from where pytest was started, which need not be its root."""
    path = os.path.relpath(item.path, item.config.invocation_params.dir)
    return f"{path}::{item.nodeid.partition('::')[2]}"


def _seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of a test, the same for all that it asks for."""
    if _SEED not in request.node.stash:
        request.node.stash[_SEED] = _find_seed(request.config)
    seed: int = request.node.stash[_SEED]
    return seed


def _find_seed(config: pytest.Config) -> int:
    given: int | None = config.getoption(_OPTION)
    if given is not None:
        return given
    text = str(config.getini(_SETTING)).strip()
    if not text:
        # The failure report tells what was drawn.
        return int.from_bytes(os.urandom(_SEED_BYTES), "big")  # noqa: TID251 (a shell)
    try:
        return int(text)
    except ValueError:
        raise pytest.UsageError(f"{_SETTING}: expected an integer, found {text!r}") from None


@pytest.fixture
def sim(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """Simulate: virtual time and all chance from one seed; closed after the test.

    The seed is that of `--federlib-seed`, else of the setting `federlib_seed`, else drawn for
    this test. A failure shows it, with the command that replays it.
    """
    from federlib.testing.sim import Simulation

    with Simulation(_seed(request)) as simulation:
        yield simulation


@pytest.fixture(params=["asyncio", "trio"])
def virtual_time(request: pytest.FixtureRequest) -> VirtualTime:
    """Run programs in virtual time: on asyncio, and once more on trio if that is installed.

    `virtual_time.run(main)` runs a coroutine function. The seed comes as for `sim`.
    """
    from federlib.errors import MissingExtra
    from federlib.testing.virtual_time import VirtualTime, virtual_backend

    try:
        backend, _ = virtual_backend(request.param)
    except MissingExtra as error:
        pytest.skip(str(error))
    return VirtualTime(backend, _seed(request))


@pytest.fixture
def manual_clock() -> ManualClock:
    """Make a clock that moves only when told to; the other fixtures of the test read it."""
    from federlib.testing.clocks import ManualClock

    return ManualClock()


@pytest.fixture
def memory_store(manual_clock: ManualClock) -> RecordStore:
    """Make an empty store in memory, on `manual_clock`."""
    from federlib.storage.backends.memory import MemoryStore

    return MemoryStore(manual_clock)


@pytest.fixture
def lease_backend(memory_store: RecordStore, manual_clock: ManualClock) -> LeaseBackend:
    """Make leases on `memory_store`, which run out as `manual_clock` is moved."""
    from federlib.lease import StoreLeaseBackend
    from federlib.skewclock import SkewTolerance

    return StoreLeaseBackend(memory_store, manual_clock, SkewTolerance())


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run a real PostgreSQL for the session; a test that breaks it mends it again.

    Give each test a schema of its own: `postgres_server.url + "?schema=…"`.
    """
    from federlib.testing.servers import postgres_server as run

    with run() as server:
        yield server


@pytest.fixture(scope="session")
def etcd_server() -> Iterator[EtcdCluster]:
    """Run a real etcd of one member for the session; a test that breaks it mends it again.

    Give each test a prefix of its own: `etcd_server.url + "?prefix=…"`.
    """
    from federlib.testing.servers import etcd_server as run

    with run() as server:
        yield server


@pytest.fixture(scope="session")
def etcd_cluster() -> Iterator[EtcdCluster]:
    """Run a real etcd of three members for the session; as `etcd_server`."""
    from federlib.testing.servers import etcd_server as run

    with run(members=3) as cluster:
        yield cluster
