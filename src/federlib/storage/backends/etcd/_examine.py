"""What can be said of an etcd cluster before a store is opened in it: each member by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Literal

import anyio
import anyio.to_thread
import attrs
import msgspec

from federlib.errors import FederlibError, Unavailable
from federlib.skewclock import Clock
from federlib.storage.backends.etcd import _wire as wire
from federlib.storage.backends.etcd._client import Ask, EtcdClient
from federlib.storage.backends.etcd._keys import Layout
from federlib.storage.backends.etcd._url import EtcdUrl, parse_url
from federlib.storage.examining import ClockOffset, Examined, Finding, Verdict

__all__ = ["examine"]

_PATIENCE_S = 3.0
_TURNS = 8
_OLDEST = (3, 4)
_INCONSISTENT = {"3.5.0", "3.5.1", "3.5.2"}
"""A crash under load may leave their members with different data; 3.5.3 mended it.

Source: etcd, issues 13766 and 13514, and the notes of release 3.5.3.
"""

_FRAGILE = {f"3.5.{patch}" for patch in range(7)}
"""A client that is cut off while it reads may crash a member; 3.5.7 mended it.

Source: etcd, issues 14110 and 14891; seen with 3.5.1.
"""

_DEFAULT_QUOTA = 2 * 1024**3
_NEARLY_FULL = 0.8
_MIB = 1024 * 1024


class _Status(msgspec.Struct, frozen=True):
    header: wire.Header = wire.Header()
    version: str = ""
    dbSize: int = 0  # noqa: N815 (etcd's)
    dbSizeInUse: int = 0  # noqa: N815
    dbSizeQuota: int = 0  # noqa: N815  # from 3.6 on
    leader: int = 0
    isLearner: bool = False  # noqa: N815
    errors: tuple[str, ...] = ()


class _Listed(msgspec.Struct, frozen=True):
    members: tuple[dict[str, object], ...] = ()


_read_status = msgspec.json.Decoder(_Status, strict=False).decode
_read_list = msgspec.json.Decoder(_Listed, strict=False).decode


@attrs.frozen(kw_only=True)
class _Member:
    """What one member says of itself."""

    name: str
    took_ms: float
    status: _Status
    clock: ClockOffset | None


async def examine(url: str, clock: Clock, *, may_write: bool) -> Examined:  # noqa: ARG001 (reads only)
    """Look at each member that an `etcd://` or `etcds://` URL names.

    Raises:
        InvalidInput: The URL is malformed, or a file that it names cannot be used.
    """
    place = parse_url(url)
    found: list[_Member | FederlibError] = [Unavailable(place.where, "not asked")] * len(
        place.endpoints
    )
    limiter = anyio.CapacityLimiter(_TURNS)

    async def ask(index: int) -> None:
        found[index] = await anyio.to_thread.run_sync(
            partial(_ask, place, index, clock), limiter=limiter, abandon_on_cancel=True
        )

    async with anyio.create_task_group() as group:
        for index in range(len(place.endpoints)):
            group.start_soon(ask, index)
    names = [str(endpoint) for endpoint in place.endpoints]
    reached = [one for one in found if isinstance(one, _Member)]
    is_led = any(one.status.leader for one in reached)
    findings = [_reach(name, one, is_served=is_led) for name, one in zip(names, found, strict=True)]
    if not reached:
        return Examined(findings=tuple(findings), store="away")
    presence, listed = await anyio.to_thread.run_sync(partial(_look, place), abandon_on_cancel=True)
    findings += [
        _judge_version(reached),
        _judge_leader(reached),
        _judge_members(len(names), len(reached), listed),
    ]
    findings += [_judge_space(reached), _judge_alarms(reached), _COMPACTION]
    clocks = [one.clock for one in reached if one.clock is not None]
    return Examined(
        findings=tuple(findings),
        store=presence,
        # The one that is farthest off: any member may be asked.
        clock=max(clocks, key=lambda one: abs(one.offset_s) - one.uncertainty_s, default=None),
    )


def _ask(place: EtcdUrl, index: int, clock: Clock) -> _Member | FederlibError:
    """Ask one member; blocks, for a bounded time."""
    endpoint = place.endpoints[index]
    try:
        client = EtcdClient(attrs.evolve(place, endpoints=(endpoint,)))
    except FederlibError as error:
        return error
    ask = Ask(path="/v3/maintenance/status", body=b"{}", decode=_read_status)
    try:
        began_ns = clock.monotonic_ns()
        client.ask(ask, patience_s=_PATIENCE_S)
        took_ms = (clock.monotonic_ns() - began_ns) / 1e6
        # Once for the connection, and once for the time.
        before_ns = clock.wall_ns()
        reply = client.ask(ask, patience_s=_PATIENCE_S)
        offset = _offset(str(endpoint), reply.date, before_ns, clock.wall_ns())
        return _Member(name=str(endpoint), took_ms=took_ms, status=reply.answer, clock=offset)
    except FederlibError as error:
        return error
    finally:
        client.close()


def _offset(name: str, date: str, before_ns: int, after_ns: int) -> ClockOffset | None:
    """Compare our clock with the `Date` of an answer, which tells whole seconds."""
    try:
        told_s = parsedate_to_datetime(date).astimezone(UTC).timestamp()
    except (ValueError, TypeError):
        return None
    ours_s = (before_ns + after_ns) / 2e9
    uncertainty_s = 0.5 + max(0, after_ns - before_ns) / 2e9
    return ClockOffset(told_s + 0.5 - ours_s, uncertainty_s, f"etcd at {name}")


def _look(place: EtcdUrl) -> tuple[Literal["there", "missing", "away"], int | FederlibError]:
    """Say whether there is a store under the prefix, and how many members there are."""
    client = EtcdClient(place)
    listed: int | FederlibError
    try:
        try:
            answer = client.ask(
                Ask(path="/v3/cluster/member/list", body=b"{}", decode=_read_list),
                patience_s=_PATIENCE_S,
            ).answer
            listed = len(answer.members)
        except FederlibError as error:
            listed = error
        body = wire.encode(wire.range_request(Layout(place.prefix).meta))
        try:
            found = client.ask(
                Ask(path=wire.RANGE, body=body, decode=wire.read_range), patience_s=_PATIENCE_S
            ).answer
        except FederlibError:
            # Opening it tells why.
            return "there", listed
        return ("there" if found.kvs else "missing"), listed
    finally:
        client.close()


def _reach(name: str, found: _Member | FederlibError, *, is_served: bool) -> Finding:
    if isinstance(found, _Member):
        return Finding(
            name="reach",
            verdict="ok",
            measured=f"{name} answered after {found.took_ms:.1f} ms",
            numbers={"answer_ms": round(found.took_ms, 3)},
        )
    reason = found.reason if isinstance(found, Unavailable) else str(found)
    measured = reason if reason.startswith(f"{name}: ") else f"{name}: {reason}"
    fix = f"start {name}, or check what lies between (firewall, etcds:// for TLS)"
    if isinstance(found, Unavailable) and found.hint:
        fix = found.hint
    verdict: Verdict = "warn" if is_served else "fail"
    return Finding(name="reach", verdict=verdict, measured=measured, fix=fix)


def _judge_version(members: Sequence[_Member]) -> Finding:
    versions = sorted({one.status.version for one in members})
    measured = f"etcd {', '.join(versions)}"
    if any(_parse(version) < _OLDEST for version in versions):
        fix = "upgrade etcd to 3.5.3 or newer"
        return Finding(name="engine", verdict="fail", measured=f"{measured}: too old", fix=fix)
    bad: list[str] = []
    if not _INCONSISTENT.isdisjoint(versions):
        bad.append("after a crash under load members may differ in their data (issue 13766)")
    if not _FRAGILE.isdisjoint(versions):
        bad.append("a client that is cut off while it reads may crash a member (issue 14110)")
    if bad:
        measured += f": {'; '.join(bad)}"
        fix = "upgrade every member to 3.5.7 or newer"
        return Finding(name="engine", verdict="warn", measured=measured, fix=fix)
    return Finding(name="engine", verdict="ok", measured=measured)


def _parse(version: str) -> tuple[int, ...]:
    numbers = version.partition("-")[0].split(".")[:2]
    return tuple(int(number) for number in numbers if number.isdigit())


def _judge_leader(members: Sequence[_Member]) -> Finding:
    name, leaders = "leader", {one.status.leader for one in members}
    if leaders == {0}:
        fix = "bring back a majority of the members; nothing can be committed without"
        return Finding(name=name, verdict="fail", measured="none: no quorum", fix=fix)
    if len(leaders) > 1:
        told = ", ".join(f"{one.name}: {one.status.leader:x}" for one in members)
        fix = "wait for an election to end; if it stays so, check the network between members"
        return Finding(name=name, verdict="warn", measured=f"members differ ({told})", fix=fix)
    (leader,) = leaders
    led = next(
        (one.name for one in members if one.status.header.member_id == leader), f"{leader:x}"
    )
    return Finding(name=name, verdict="ok", measured=f"{led} leads")


def _judge_members(named: int, reached: int, listed: int | FederlibError) -> Finding:
    if not isinstance(listed, int):
        measured = f"the list could not be read: {listed}"
        return Finding(name="members", verdict="skip", measured=measured)
    measured = f"{listed}, of which the URL names {named} and {reached} can be reached"
    if listed > named:
        fix = "name all members in the URL: etcd://a,b,c"
        return Finding(name="members", verdict="warn", measured=measured, fix=fix)
    if 2 * reached <= listed:
        fix = "bring back a majority of the members; nothing can be committed without"
        return Finding(name="members", verdict="fail", measured=measured, fix=fix)
    return Finding(name="members", verdict="ok", measured=measured)


def _judge_space(members: Sequence[_Member]) -> Finding:
    sizes = [(one.status.dbSize, one.status.dbSizeInUse, one.status.dbSizeQuota) for one in members]
    size, in_use, quota = max(sizes)
    limit = quota or _DEFAULT_QUOTA
    says = f"quota {limit / _MIB:,.0f} MiB" if quota else "etcd's default quota is 2,048 MiB"
    is_tight = size > _NEARLY_FULL * limit
    return Finding(
        name="database",
        verdict="warn" if is_tight else "ok",
        measured=f"{size / _MIB:,.1f} MiB, {in_use / _MIB:,.1f} in use; {says}",
        fix="compact and defragment etcd, or raise --quota-backend-bytes" if is_tight else "",
        numbers={"db_bytes": size, "db_in_use_bytes": in_use},
    )


def _judge_alarms(members: Sequence[_Member]) -> Finding:
    # Beside alarms it says that there is no leader, which is told by itself.
    told = {text for one in members for text in one.status.errors}
    alarms = sorted(text for text in told if "no leader" not in text)
    if alarms:
        fix = "NOSPACE: compact, defragment, then etcdctl alarm disarm; CORRUPT: replace the member"
        return Finding(name="alarms", verdict="fail", measured="; ".join(alarms), fix=fix)
    return Finding(name="alarms", verdict="ok", measured="none")


_COMPACTION = Finding(
    name="compaction",
    verdict="skip",
    measured="etcd does not tell whether it compacts by itself (--auto-compaction-retention); "
    "without it the database grows with every commit",
)
