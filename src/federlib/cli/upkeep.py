"""`federlib store check`, `copy`, `export` and `import`."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import anyio
import click

from federlib.cli.exits import FAILED, OK
from federlib.cli.inspection import print_json
from federlib.cli.report import printable
from federlib.cli.stores import require_store
from federlib.errors import CorruptRecord, InvalidInput
from federlib.skewclock import SystemClock
from federlib.storage import RecordStore, StoreProblem, open_store, redact_url
from federlib.upkeep import (
    Copied,
    StoreReport,
    check_store,
    copy_store,
    export_store,
    import_store,
)

__all__ = ["check", "copy", "export", "import_"]

_DASH = Path("-")
_PAUSE_NS = 1_000_000_000


class _Progress:
    """Tells people on standard error how far it is, at most once a second."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._told_ns = self._clock.monotonic_ns()

    def read(self, records: int) -> None:
        self.tell("read", records)

    def tell(self, step: Literal["read", "written"], records: int) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._told_ns >= _PAUSE_NS:
            self._told_ns = now_ns
            click.echo(f"{step} {records} records", err=True)


@asynccontextmanager
async def _opened(url: str, *, must_exist: bool) -> AsyncGenerator[RecordStore, None]:
    if must_exist:
        require_store(url)
    store = await open_store(url)
    try:
        if not store.capabilities.durable:
            raise InvalidInput(
                "store", expected="one that outlives this command", found=redact_url(url)
            )
        yield store
    finally:
        with anyio.CancelScope(shield=True):
            await store.aclose()


async def check(url: str, *, as_json: bool) -> int:
    """Verify a store, and print what is wrong."""
    try:
        async with _opened(url, must_exist=True) as store:
            report = await check_store(store, on_progress=_Progress().read)
    except CorruptRecord as error:
        # So damaged, or so unfinished, that it cannot even be opened.
        hint = f"; {error.hint}" if error.hint else ""
        problem = StoreProblem(error.where, error.expected, error.found + hint)
        report = StoreReport(
            store_id="", records=0, kinds={}, foreign={}, problems=(problem,),
            is_driver_checked=False,
        )  # fmt: skip
    if as_json:
        print_json(_report_facts(url, report))
    else:
        _print_report(url, report)
    return FAILED if report.problems else OK


def _report_facts(url: str, report: StoreReport) -> dict[str, object]:
    return {
        "store": redact_url(url),
        "store_id": report.store_id,
        "sound": not report.problems,
        "driver_checked": report.is_driver_checked,
        "records": report.records,
        "kinds": dict(report.kinds),
        "foreign": dict(report.foreign),
        "problems": list(report.problems),
    }


def _print_report(url: str, report: StoreReport) -> None:
    click.echo(f"store    {redact_url(url)}" + (f" ({report.store_id})" if report.store_id else ""))
    if report.store_id:
        driver = "verified" if report.is_driver_checked else "cannot verify itself"
        click.echo(f"driver   {driver}")
        click.echo(f"records  {report.records}")
    for kind, count in report.kinds.items():
        click.echo(f"  {count:>8}  {kind}")
    for part, count in report.foreign.items():
        click.echo(f"  {count:>8}  of others, below {printable(part)}: not known here")
    click.echo(f"problems {len(report.problems) or 'none'}")
    for problem in report.problems:
        text = f"{problem.what}: expected {problem.expected}, found {problem.found}"
        click.echo(f"  - {printable(text)}")


async def copy(old_url: str, new_url: str, *, live: bool, floor: int, as_json: bool) -> int:
    """Copy a store into an empty one."""
    async with (
        _opened(old_url, must_exist=True) as old,
        _opened(new_url, must_exist=False) as new,
    ):
        copied = await copy_store(old, new, live=live, floor=floor, on_step=_Progress().tell)
    _tell_copied(copied, as_json=as_json)
    return OK


async def export(url: str, file: Path) -> int:
    """Write a store as lines of JSON."""
    target = sys.stdout.buffer if file == _DASH else file
    async with _opened(url, must_exist=True) as store:
        told = await export_store(store, target, on_step=_Progress().tell)
    text = f"exported {told.records} records of store {told.store_id} at revision {told.revision}"
    click.echo(text, err=True)
    return OK


async def import_(url: str, file: Path, *, floor: int, as_json: bool) -> int:
    """Fill an empty store from lines of JSON."""
    source = sys.stdin.buffer if file == _DASH else file
    async with _opened(url, must_exist=False) as new:
        copied = await import_store(
            source, new, floor=floor, name="standard input", on_step=_Progress().tell
        )
    _tell_copied(copied, as_json=as_json)
    return OK


def _tell_copied(copied: Copied, *, as_json: bool) -> None:
    if as_json:
        print_json(copied)
        return
    click.echo(
        f"wrote {copied.records} records of store {copied.source_id}, "
        f"as at revision {copied.revision}, into store {copied.store_id}"
    )
    if copied.freed or copied.waiters:
        click.echo(
            f"left behind: {copied.freed} held leases, now free, and {copied.waiters} waiters"
        )
    click.echo(f"every later token is higher than {copied.floor}")
