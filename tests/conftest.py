"""Fixtures for every test: both event loops, warnings as errors."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

from proof.looked import NAME

# Tests that were started in the background have Ctrl-C ignored, and so would all their
# children; some of those are sent it.
signal.signal(signal.SIGINT, signal.default_int_handler)

LEAST = int(os.environ.get("FEDERLIB_LEAST_CRASH_POINTS", "0"))
"""How many crash points all tests together must look at; CI says it."""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each async test on asyncio and on trio."""
    return str(request.param)


# Thousands of plays and crash points: two to four times as fast when no line is counted. Their
# lines are counted in the tests of each part.
PLAYS = (
    "causal/test_effect.py",
    "dag/test_run_machine.py",
    "membership/test_far_peers.py",
    "membership/test_swarm",
    "proof/",
    "skewclock/test_hlc_history.py",
    "storage/test_model.py",
    "testing/test_exploration.py",
    "testing/test_exploring.py",
    "testing/test_schedules.py",
    "testing/test_shell_",
    "testing/test_store_model.py",
    "testing/test_strategies.py",
    "testing/test_witness.py",
    "testing/test_workflow_simulation.py",
    "transport/test_fuzz.py",
    "vivaldi/test_hostile.py",
    "vivaldi/test_worlds.py",
)


# These have single tests of half a minute and more. They come first: whoever runs tests on several
# processes waits at the end for the last one.
LONG = (
    "proof/",
    "testing/test_exploration.py",
    "testing/test_exploring.py",
    "testing/test_schedules.py",
    "testing/test_workflow_simulation.py",
    "test_benchmarks.py",
    "cli/test_run.py",
    "membership/test_swarm.py",
    "lease/test_store_backend.py",
    "leadership/test_on_servers.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what takes long run first."""
    items.sort(key=lambda item: not _path(item).startswith(LONG))


def _path(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).as_posix()


# pytest-cov's mark no_cover does nothing on the workers of xdist: two counters are stacked there,
# and it stops the upper one.
@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Let what plays much run without counting lines."""
    if not _path(item).startswith(PLAYS):
        return (yield)
    tracing, in_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracing)
        threading.settrace(in_threads)


def crash_points(config: pytest.Config) -> Counter[str]:
    """Add up the crash points that all tests looked at, on whichever worker they ran."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    counted: Counter[str] = Counter()
    for reports in terminal.stats.values() if terminal is not None else ():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "teardown":
                for name, value in report.user_properties:
                    if name == NAME and isinstance(value, list):
                        counted[str(value[0])] += int(value[1])
    return counted


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that was to look at more crash points than it did."""
    is_worker = hasattr(session.config, "workerinput")
    if not is_worker and crash_points(session.config).total() < LEAST:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how many crash points were looked at."""
    counted = crash_points(terminalreporter.config)
    if counted or LEAST:
        terminalreporter.section("crash points")
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(counted.items()))
        least = f" (at least {LEAST:,} are asked for)" if LEAST else ""
        terminalreporter.write_line(f"{counted.total():,} looked at{least}: {kinds}")
