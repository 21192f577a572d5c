"""Real processes on one store: killed, restarted, and copied."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import federlib
from federlib.identity import IdentityStore
from federlib.registry import Member, Registry
from fleet import until

pytestmark = pytest.mark.anyio
TTL_S = 0.6

WORKER = """
import sys
import anyio, federlib
from federlib.identity import IdentityStore

async def main(url, root):
    async with federlib.connect(url, identity=IdentityStore(root), ttl_s=TTL_S) as fed:
        async with fed.registry.join(slots=2) as member:
            with anyio.open_signal_receiver(15) as signals:
                print(member.worker_id, member.incarnation, flush=True)
                async for _ in signals:
                    return

try:
    anyio.run(main, *sys.argv[1:])
except federlib.FederlibError as error:
    print(type(error).__name__, error, flush=True)
""".replace("TTL_S", str(TTL_S))


@attrs.define
class Pool:
    """Worker processes on one store."""

    root: Path
    processes: list[subprocess.Popen[str]] = attrs.field(factory=list)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.root}/store.db"

    def start(self, host: str = "host") -> tuple[subprocess.Popen[str], str]:
        """Start a worker; return it and the line that it told."""
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, self.url, str(self.root / host)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    pool = Pool(tmp_path)
    try:
        yield pool
    finally:
        for process in pool.processes:
            process.kill()
            process.communicate()


async def only(registry: Registry) -> Member:
    (member,) = (await registry.inspect()).members
    return member


async def test_a_killed_worker_is_expired_after_its_ttl_and_not_before(pool: Pool) -> None:
    process, line = pool.start()
    async with federlib.connect(pool.url, identity=IdentityStore(pool.root / "us")) as fed:
        assert (await only(fed.registry)).state == "live"
        process.kill()
        process.wait()
        due_ns = (await only(fed.registry)).record.boot_ns + round(TTL_S * 1e9)
        while True:
            asked_ns = fed.clock.boot_ns()
            found = await only(fed.registry)
            if found.state != "live":
                break
            # It was judged after we asked.
            assert asked_ns < due_ns
        # On one machine no tolerance is needed: the boot clock decides to the instant.
        assert found.state == "expired"
        assert fed.clock.boot_ns() >= due_ns
        assert found.worker_id == line.split()[0]
        assert found.record.pid == process.pid


async def test_a_stopped_worker_has_left_and_comes_back_in_its_next_life(pool: Pool) -> None:
    process, line = pool.start()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    async with federlib.connect(pool.url, identity=IdentityStore(pool.root / "us")) as fed:
        assert (await only(fed.registry)).state == "left"
        _, again = pool.start()
        found = await only(fed.registry)
    assert (found.state, found.record.incarnation) == ("live", 2)
    assert [line.split()[0], "2"] == again.split()


async def test_a_copied_identity_directory_is_noticed_by_the_registry(pool: Pool) -> None:
    first, line = pool.start()
    first.send_signal(signal.SIGTERM)
    first.wait(20)
    shutil.copytree(pool.root / "host", pool.root / "copy")
    original, _ = pool.start()
    _, refused = pool.start("copy")
    assert refused.startswith(f"IdentityTaken worker identity {line.split()[0]}: ")
    assert "was copied" in refused
    assert original.poll() is None


async def test_of_two_copies_the_one_that_slept_is_stopped(pool: Pool) -> None:
    first, _ = pool.start()
    first.send_signal(signal.SIGTERM)
    first.wait(20)
    shutil.copytree(pool.root / "host", pool.root / "copy")
    slept, _ = pool.start()
    slept.send_signal(signal.SIGSTOP)
    async with federlib.connect(pool.url, identity=IdentityStore(pool.root / "us")) as fed:
        while (await only(fed.registry)).state == "live":
            pass
        twin, _ = pool.start("copy")
        slept.send_signal(signal.SIGCONT)
        assert slept.stdout is not None
        assert slept.stdout.readline().startswith("Fenced worker identity ")
        assert until(lambda: slept.poll() is not None)
        assert twin.poll() is None
        assert (await only(fed.registry)).record.pid == twin.pid
