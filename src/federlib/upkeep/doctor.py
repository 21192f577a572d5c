"""Look at an engine and a store as a doctor does: measure, judge, and say what to do.

Each check has an end in time. None needs another to have gone well but for the store to be
open, and what cannot be looked at is told with its reason.

Nobody's records are touched: what is written lies under a key of its own below `doctor/`,
and is removed again. It leaves no receipt; only the store's revision has grown.
"""

from __future__ import annotations

import secrets  # noqa: TID251 (a shell draws a key that nobody else has)
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import msgspec

from federlib.errors import CorruptRecord, FederlibError, InvalidInput, MissingExtra
from federlib.lease import lease_ttl_s
from federlib.skewclock import Clock, SkewTolerance, SystemClock
from federlib.storage import (
    META_KEY,
    Batch,
    ClockOffset,
    Committed,
    Delete,
    Examined,
    Finding,
    Put,
    RecordStore,
    ServerClock,
    Transaction,
    find_examiner,
    open_store,
    redact_url,
)
from federlib.storage.urls import url_scheme
from federlib.upkeep import diagnosis

__all__ = ["PREFIX", "DoctorReport", "examine", "examine_store"]

PREFIX = "doctor/"
"""What the keys of records begin with that are written and removed again."""

_ENGINE_S = 15.0
_OPEN_S = 12.0
_CHECK_S = 6.0
_READS, _COMMITS, _CLOCK_READINGS = 20, 10, 5


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        store: The URL, without secrets.
        store_id: Of the store; empty where it was not opened.
        health: The sum of it.
        findings: In the order in which they were made.
    """

    store: str
    store_id: str
    health: diagnosis.Health
    findings: tuple[Finding, ...]

    def urgent(self) -> list[Finding]:
        """Return what asks for something to be done: what fails first, then warnings."""
        return diagnosis.worst_of(self.findings)


async def examine(
    url: str,
    *,
    may_write: bool = True,
    may_create: bool = False,
    clock: Clock | None = None,
    tolerance: SkewTolerance | None = None,
    ttl_s: float | None = None,
) -> DoctorReport:
    """Examine the engine and the store that a URL names; raises for nothing that it finds.

    Args:
        url: Of a store.
        may_write: Records and files may be made, that are gone afterwards.
        may_create: A store that is not there may be made, and stays.
        clock: The system's by default.
        tolerance: Of clocks; `OPAL_CLOCK_SKEW_TOLERANCE_SECS`, or 3 seconds, by default.
        ttl_s: Of the leases that will be held; `OPAL_LEASE_TTL_SECS`, or 15 seconds.
    Raises:
        InvalidInput: One of these variables is wrong.
    Source: issue 5, doctor.
    """
    clock = clock or SystemClock()
    tolerance = tolerance or SkewTolerance.from_env()
    ttl_s = lease_ttl_s() if ttl_s is None else ttl_s
    findings: list[Finding] = []
    store_id = ""
    examined = await _examine_engine(url, clock, findings, may_write=may_write)
    if examined is not None:
        findings += examined.findings
        if _may_open(examined, findings, may_create=may_create and may_write):
            async with _opened(url, clock, findings) as store:
                if store is not None:
                    store_id = store.store_id
                    findings += await examine_store(
                        store,
                        open_another=lambda: open_store(url, clock=clock),
                        may_write=may_write,
                        clock=clock,
                        tolerance=tolerance,
                        ttl_s=ttl_s,
                        engine_clock=examined.clock,
                    )
    return DoctorReport(
        store=redact_url(url),
        store_id=store_id,
        health=diagnosis.health_of(findings, is_open=bool(store_id)),
        findings=tuple(map(_printable, findings)),
    )


def _printable(finding: Finding) -> Finding:
    """Replace what is no text, such as of the name of a file."""
    texts = (finding.measured, finding.fix)
    measured, fix = (text.encode("utf-8", "replace").decode() for text in texts)
    return msgspec.structs.replace(finding, measured=measured, fix=fix)


async def _examine_engine(
    url: str, clock: Clock, findings: list[Finding], *, may_write: bool
) -> Examined | None:
    """Ask the driver; None where there is no driver, or it took too long."""
    try:
        examiner = find_examiner(url)
        findings.append(
            Finding(
                name="URL", verdict="ok", measured=f"a driver for {url_scheme(url)}:// is installed"
            )
        )
        if examiner is None:
            said = "the driver cannot tell without opening the store"
            return Examined(findings=(diagnosis.skipped("engine", said),), store="missing")
        with anyio.fail_after(_ENGINE_S):
            return await examiner(url, clock, may_write=may_write)
    except TimeoutError:
        findings.append(_too_long("engine", _ENGINE_S))
    except (InvalidInput, MissingExtra) as error:
        findings[:] = [diagnosis.judge_error("URL", error)]
    except Exception as error:  # A driver may be anybody's.
        findings.append(_told("engine", error))
    return None


def _may_open(examined: Examined, findings: list[Finding], *, may_create: bool) -> bool:
    """Say whether the store may be opened, and tell why not."""
    match examined.store:
        case "there":
            return True
        case "away":
            said = "not opened, for a reason given above"
            findings.append(diagnosis.skipped("store", said))
            return False
        case "missing" if may_create:
            return True
    findings.append(
        Finding(
            name="store",
            verdict="fail",
            measured="there is none, and none was made",
            fix="check the URL; whoever connects first makes one, and so does --create",
        )
    )
    return False


@asynccontextmanager
async def _opened(
    url: str, clock: Clock, findings: list[Finding]
) -> AsyncIterator[RecordStore | None]:
    """Open the store and say how it went; None where it cannot be opened."""
    began_ns = clock.monotonic_ns()
    store: RecordStore | None = None
    try:
        with anyio.fail_after(_OPEN_S):
            store = await open_store(url, clock=clock)
    except TimeoutError:
        findings.append(_too_long("store", _OPEN_S))
    except Exception as error:  # A driver may be anybody's.
        findings.append(_told("store", error))
    if store is not None:
        took_ms = (clock.monotonic_ns() - began_ns) / 1e6
        findings.append(
            Finding(
                name="store",
                verdict="ok",
                measured=f"{store.store_id}, opened in {took_ms:.1f} ms",
                numbers={"open_ms": round(took_ms, 3)},
            )
        )
    try:
        yield store
    finally:
        if store is not None:
            with anyio.CancelScope(shield=True):
                await store.aclose()


async def examine_store(
    store: RecordStore,
    *,
    open_another: Callable[[], Awaitable[RecordStore]],
    may_write: bool,
    clock: Clock,
    tolerance: SkewTolerance,
    ttl_s: float,
    engine_clock: ClockOffset | None = None,
) -> list[Finding]:
    """Examine an open store.

    Args:
        store: Stays open.
        open_another: Opens it once more, as another process would.
        may_write: As in `examine`, and so are the next three.
        clock: Ours.
        tolerance: Of clocks.
        ttl_s: Of leases; seconds.
        engine_clock: Of an engine whose store does not tell the time.
    """
    visit = _Visit(store, clock)
    findings = [
        diagnosis.judge_durability(store.capabilities),
        await _bounded("reads", visit.read),
    ]
    if may_write:
        findings += [
            await _bounded("commits", lambda: visit.write(ttl_s)),
            await _bounded("watch", lambda: visit.listen(open_another)),
        ]
    else:
        said = "not tried: nothing may be written"
        findings += [diagnosis.skipped(name, said) for name in ("commits", "watch")]
    findings.append(
        await _bounded("clock", lambda: _examine_clock(store, clock, tolerance, engine_clock))
    )
    return findings


async def _bounded(name: str, check: Callable[[], Awaitable[Finding]]) -> Finding:
    """Make one check: it ends in time, and an error is a finding."""
    try:
        with anyio.fail_after(_CHECK_S):
            return await check()
    except TimeoutError:
        return _too_long(name, _CHECK_S)
    except Exception as error:  # A driver may be anybody's.
        return _told(name, error)


def _told(name: str, error: Exception) -> Finding:
    match error:
        case FederlibError():
            return diagnosis.judge_error(name, error)
        case OSError(strerror=str(reason)):
            said, fix = f"{reason} ({type(error).__name__})", "look at this machine's own log"
        case _:
            # Its text may hold anything, secrets too.
            said, fix = f"the driver fails with {type(error).__name__}", "report it to its authors"
    return Finding(name=name, verdict="fail", measured=said, fix=fix)


def _too_long(name: str, limit_s: float) -> Finding:
    return Finding(
        name=name,
        verdict="fail",
        measured=f"given up after {limit_s:g} s",
        fix="see whether the engine hangs, or whether something between drops packets",
    )


class _Visit:
    """What is done to one open store, and undone."""

    def __init__(self, store: RecordStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._key = f"{PREFIX}{secrets.token_hex(8)}"

    def _since_s(self, began_ns: int) -> float:
        return (self._clock.monotonic_ns() - began_ns) / 1e9

    async def read(self) -> Finding:
        """Read the record that names the store, some times."""
        times_s = []
        for _ in range(_READS):
            began_ns = self._clock.monotonic_ns()
            found = await self._store.get(META_KEY)
            times_s.append(self._since_s(began_ns))
            if found is None:
                raise CorruptRecord(META_KEY, expected="the record that names it", found="nothing")
        return diagnosis.judge_reads(times_s)

    async def write(self, ttl_s: float) -> Finding:
        """Commit a record some times, and remove it."""
        times_s = []
        async with self._tidied():
            for number in range(_COMMITS):
                began_ns = self._clock.monotonic_ns()
                await self._put(number)
                times_s.append(self._since_s(began_ns))
        return diagnosis.judge_commits(times_s, ttl_s=ttl_s)

    async def listen(self, open_another: Callable[[], Awaitable[RecordStore]]) -> Finding:
        """Let another client hear of a commit."""
        store = self._store
        if not store.capabilities.shared:
            return await self._hear(store)
        other = await open_another()
        try:
            return await self._hear(other)
        finally:
            with anyio.CancelScope(shield=True):
                await other.aclose()

    async def _hear(self, other: RecordStore) -> Finding:
        page = await other.scan(self._key, limit=1)
        async with self._tidied(), other.watch(self._key, after=page.revision) as watch:
            # The first item says that it listens.
            with anyio.move_on_after(diagnosis.HEARD_S / 2):
                await anext(watch)
            revision = await self._put(0)
            began_ns = self._clock.monotonic_ns()
            with anyio.move_on_after(diagnosis.HEARD_S):
                async for item in watch:
                    if isinstance(item, Batch) and item.revision >= revision:
                        heard_s = self._since_s(began_ns)
                        return diagnosis.judge_watch(heard_s, self._store.capabilities)
        return diagnosis.judge_watch(None, self._store.capabilities)

    async def _put(self, number: int) -> int:
        done = await self._store.commit(Transaction((Put(self._key, b"%d" % number),)))
        assert isinstance(done, Committed)
        return done.revision

    @asynccontextmanager
    async def _tidied(self) -> AsyncIterator[None]:
        """Remove our record whatever happens; one whose answer was lost may be there, too."""
        try:
            yield
        except BaseException:
            # What ended the check tells more.
            with anyio.CancelScope(shield=True), suppress(FederlibError):
                await self._remove()
            raise
        with anyio.CancelScope(shield=True):
            await self._remove()

    async def _remove(self) -> None:
        await self._store.commit(Transaction((Delete(self._key),)))


async def _examine_clock(
    store: RecordStore, clock: Clock, tolerance: SkewTolerance, engine_clock: ClockOffset | None
) -> Finding:
    """Compare our clock with the engine's, where it has one."""
    if isinstance(store, ServerClock):
        return diagnosis.judge_clock(await _read_offset(store, clock), tolerance)
    if engine_clock is not None:
        return diagnosis.judge_clock(engine_clock, tolerance)
    if not store.capabilities.multi_host:
        said = "one machine has one clock: nothing to compare with"
        return Finding(name="clock", verdict="ok", measured=said)
    return diagnosis.skipped("clock", "the engine does not tell its time: nothing to compare with")


async def _read_offset(store: ServerClock, clock: Clock) -> ClockOffset:
    """Read the engine's clock some times; the shortest round trip tells most."""
    best: ClockOffset | None = None
    for _ in range(_CLOCK_READINGS):
        wall_ns, began_ns = clock.wall_ns(), clock.monotonic_ns()
        told_ns = await store.server_now_ns()
        half_ns = (clock.monotonic_ns() - began_ns) // 2
        found = ClockOffset((told_ns - wall_ns - half_ns) / 1e9, half_ns / 1e9, "the engine")
        if best is None or found.uncertainty_s < best.uncertainty_s:
            best = found
    assert best is not None
    return best
