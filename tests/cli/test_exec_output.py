"""What becomes of a task's output."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.exec_workshop import Workshop
from federlib.cli.exec import TaskRunner
from federlib.cli.exec._capped import Log

CAP = 10 << 20


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.mark.anyio
async def test_a_log_of_exactly_the_cap_is_kept_whole(shop: Workshop) -> None:
    async with TaskRunner() as runner:
        result = await runner.run(shop.spec(f"head -c {CAP} /dev/zero"))
    assert (result.log_bytes, result.log_dropped) == (CAP, 0)
    assert shop.log.read_bytes() == bytes(CAP)


@pytest.mark.anyio
async def test_a_gigabyte_is_drained_and_only_its_head_kept(shop: Workshop) -> None:
    async with TaskRunner() as runner:
        result = await runner.run(shop.spec("head -c 1000000000 /dev/zero"))
    assert result.outcome == "success"
    assert result.log_bytes == shop.log.stat().st_size == CAP
    content = shop.log.read_bytes()
    last = content.splitlines()[-1].decode()
    assert last == f"[federlib] log capped at {CAP} bytes: {result.log_dropped} bytes dropped"
    assert content.count(b"\0") + result.log_dropped == 1_000_000_000


@pytest.mark.anyio
async def test_a_task_that_closes_its_output_runs_on(shop: Workshop) -> None:
    line = "echo before; exec >&- 2>&-; sleep 0.2; echo 5 > $FEDERLIB_RESULT"
    async with TaskRunner() as runner:
        result = await runner.run(shop.spec(line))
    assert (result.outcome, result.result) == ("success", 5)
    assert shop.text() == "before\n"


@pytest.mark.anyio
async def test_what_a_killed_task_had_printed_is_in_its_log(shop: Workshop) -> None:
    code = "import os; os.write(1, b'x' * 60000); os.kill(os.getpid(), 9)"
    async with TaskRunner() as runner:
        result = await runner.run(shop.spec((sys.executable, "-c", code)))
    assert result.signal == 9
    assert shop.log.read_bytes() == b"x" * 60000


@pytest.mark.anyio
async def test_output_of_a_program_that_changes_its_process_is_kept_in_order(
    shop: Workshop,
) -> None:
    async with TaskRunner() as runner:
        await runner.run(shop.spec("for i in 1 2 3; do echo o$i; echo e$i >&2; done"))
    assert shop.text().split() == ["o1", "e1", "o2", "e2", "o3", "e3"]


@pytest.mark.anyio
async def test_a_log_starts_anew(shop: Workshop) -> None:
    shop.log.parent.mkdir()
    shop.log.write_text("old text\n" * 100)
    shop.log.chmod(0o644)
    async with TaskRunner() as runner:
        await runner.run(shop.spec("echo new"))
    assert shop.text() == "new\n"
    assert shop.log.stat().st_mode & 0o777 == 0o600


@pytest.mark.anyio
async def test_a_full_disk_ends_the_log_but_not_the_task(shop: Workshop) -> None:
    # A limit on file size fails a write as a full disk does.
    import resource

    async with TaskRunner() as runner:
        assert runner.guard_pid is not None
        resource.prlimit(runner.guard_pid, resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))
        result = await runner.run(shop.spec("head -c 1000000 /dev/zero"))
    assert result.outcome == "success"
    assert "its log is incomplete: File too large" in result.message
    assert shop.log.read_bytes().count(b"\0") + result.log_dropped == 1_000_000
    assert result.log_bytes == shop.log.stat().st_size


@given(
    st.lists(st.binary(max_size=400), max_size=12),
    st.integers(min_value=1, max_value=1500),
)
def test_a_log_never_exceeds_its_cap_and_counts_every_byte(chunks: list[bytes], cap: int) -> None:
    path = f"/dev/shm/federlib-{os.getpid()}.log" if Path("/dev/shm").is_dir() else "t.log"
    log = Log(path, cap)
    for chunk in chunks:
        log.take(chunk)
    log.close()
    content = Path(path).read_bytes()
    Path(path).unlink()
    total = b"".join(chunks)
    assert len(content) == log.size <= cap
    if len(total) <= cap:
        assert (content, log.dropped) == (total, 0)
    else:
        assert len(content) == cap
        kept = len(total) - log.dropped
        assert content[:kept] == total[:kept]
        line = f"\n[federlib] log capped at {cap} bytes: {log.dropped} bytes dropped\n"
        assert content[kept:] == line.encode()[:cap]
