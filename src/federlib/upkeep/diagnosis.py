"""What measurements of a store mean: thresholds, verdicts, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from federlib.errors import (
    Conflict,
    CorruptRecord,
    FederlibError,
    InvalidInput,
    MissingExtra,
    StoreDenied,
    Unavailable,
)
from federlib.skewclock import SkewTolerance
from federlib.storage import Capabilities, ClockOffset, Finding

__all__ = [
    "Health",
    "health_of",
    "judge_clock",
    "judge_commits",
    "judge_durability",
    "judge_error",
    "judge_reads",
    "judge_watch",
    "skipped",
    "worst_of",
]

Health = Literal["healthy", "degraded", "unhealthy", "cannot tell"]

HEARD_S = 5.0
"""How long a change is listened for; seconds."""

_GENEROUS = 5
"""A watch may take so many times what the driver declares before anybody is warned."""

_AT_LEAST_S = 0.5
_SLOW_READ_S = 0.1


def health_of(findings: Iterable[Finding], *, is_open: bool) -> Health:
    """Sum up findings; a store that was not opened leaves most of them out."""
    verdicts = {finding.verdict for finding in findings}
    if not is_open:
        return "cannot tell"
    if "fail" in verdicts:
        return "unhealthy"
    return "degraded" if "warn" in verdicts else "healthy"


def skipped(name: str, reason: str) -> Finding:
    """Say that something was not looked at, and why."""
    return Finding(name=name, verdict="skip", measured=reason)


def judge_error(name: str, error: FederlibError) -> Finding:
    """Say what an error means, and what to do about it."""
    fix = getattr(error, "hint", "") or _advice(error)
    measured = error.reason if isinstance(error, Unavailable) else str(error)
    return Finding(name=name, verdict="fail", measured=measured, fix=str(fix))


def _advice(error: FederlibError) -> str:
    match error:
        case MissingExtra():
            return f'pip install "federlib[{error.extra}]"'
        case InvalidInput():
            return f"write it as expected: {error.expected}"
        case StoreDenied():
            return "give this user the right to read and write the store"
        case CorruptRecord() | Conflict():
            return "name another place, or restore a backup: what lies there is left as it is"
        case Unavailable():
            return "see that the engine runs and can be reached from here"
    return "ask again; if it stays so, look at the engine's own log"


def judge_durability(capabilities: Capabilities) -> Finding:
    """Say whether commits outlive their process, as the driver declares it."""
    if capabilities.durable:
        hosts = "several hosts" if capabilities.multi_host else "the processes of one host"
        measured = f"declared: a commit outlives every process and the machine; for {hosts}"
        return Finding(name="durability", verdict="ok", measured=measured)
    return Finding(
        name="durability",
        verdict="warn",
        measured="none: what is stored is gone with this process",
        fix="use sqlite:///, postgresql:// or etcd:// for what must last",
    )


def _spread(times_s: Sequence[float]) -> tuple[float, float, dict[str, float]]:
    ordered = sorted(times_s)
    median_s, worst_s = ordered[len(ordered) // 2], ordered[-1]
    numbers = {
        "count": float(len(ordered)),
        "median_ms": round(median_s * 1e3, 3),
        "max_ms": round(worst_s * 1e3, 3),
    }
    return median_s, worst_s, numbers


def judge_reads(times_s: Sequence[float]) -> Finding:
    """Judge how long reads took."""
    median_s, worst_s, numbers = _spread(times_s)
    is_slow = median_s > _SLOW_READ_S
    return Finding(
        name="reads",
        verdict="warn" if is_slow else "ok",
        measured=f"median {median_s * 1e3:.2f} ms, longest {worst_s * 1e3:.2f} ms "
        f"of {len(times_s)}",
        fix="bring the engine nearer, or look at what keeps it busy" if is_slow else "",
        numbers=numbers,
    )


def judge_commits(times_s: Sequence[float], *, ttl_s: float) -> Finding:
    """Judge how long commits took, against the third of a ttl in which a lease is renewed."""
    median_s, worst_s, numbers = _spread(times_s)
    third_s = ttl_s / 3
    measured = (
        f"median {median_s * 1e3:.2f} ms, longest {worst_s * 1e3:.2f} ms of {len(times_s)}; "
        f"a lease of {ttl_s:g} s is renewed every {third_s:.3g} s"
    )
    if median_s > third_s:
        fix = f"raise the ttl above {6 * median_s:.3g} s (OPAL_LEASE_TTL_SECS): leases are lost"
        return Finding(name="commits", verdict="fail", measured=measured, fix=fix, numbers=numbers)
    if worst_s > third_s:
        fix = "look at what stalls the engine, or raise the ttl (OPAL_LEASE_TTL_SECS)"
        return Finding(name="commits", verdict="warn", measured=measured, fix=fix, numbers=numbers)
    return Finding(name="commits", verdict="ok", measured=measured, numbers=numbers)


def judge_watch(heard_s: float | None, capabilities: Capabilities) -> Finding:
    """Judge when another client heard of a commit; None: it did not."""
    declared_s = capabilities.wake_latency_s
    who = "another client" if capabilities.shared else "a watcher"
    if heard_s is None:
        return Finding(
            name="watch",
            verdict="fail",
            measured=f"{who} did not hear of a commit within {HEARD_S:g} s",
            fix="see that nothing between here and the engine holds back long-lived connections",
        )
    is_late = heard_s > max(_AT_LEAST_S, _GENEROUS * declared_s)
    return Finding(
        name="watch",
        verdict="warn" if is_late else "ok",
        measured=f"{who} heard of a commit {heard_s * 1e3:.1f} ms after its answer "
        f"(declared: {declared_s * 1e3:g} ms)",
        fix="look at what keeps this machine or the engine busy" if is_late else "",
        numbers={"heard_ms": round(heard_s * 1e3, 3)},
    )


def judge_clock(offset: ClockOffset, tolerance: SkewTolerance) -> Finding:
    """Judge how far our clock is off; only what is beyond doubt counts."""
    off_s, doubt_s = offset.offset_s, offset.uncertainty_s
    least_s = max(0.0, abs(off_s) - doubt_s)
    is_off = least_s > tolerance.tolerance_s
    side = "ahead of" if off_s > 0 else "behind"
    return Finding(
        name="clock",
        verdict="warn" if is_off else "ok",
        measured=f"{offset.of} is {_seconds(abs(off_s))} {side} this machine, "
        f"± {_seconds(doubt_s)} (tolerance {tolerance.tolerance_s:g} s)",
        fix="run an NTP client on both machines (chronyc tracking, timedatectl)" if is_off else "",
        numbers={"offset_s": round(off_s, 6), "uncertainty_s": round(doubt_s, 6)},
    )


def _seconds(value_s: float) -> str:
    return f"{value_s * 1e3:.1f} ms" if value_s < 1 else f"{value_s:.3g} s"


def worst_of(findings: Iterable[Finding]) -> list[Finding]:
    """Return what asks for something to be done, what fails first."""
    return [
        finding
        for verdict in ("fail", "warn")
        for finding in findings
        if finding.verdict == verdict
    ]
