"""Who believed to hold a lease, from when to when, by its own deadline."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from federlib.testing.history._grants import Grant
from federlib.testing.history.records import Operation

__all__ = ["Overlap", "overlaps"]

_NS_PER_MS = 1_000_000


@attrs.frozen
class Overlap:
    """A time when two holders of one lease both believed to have it.

    Attributes:
        lease: The lease.
        holders: Holder and token of both, the one that believed first before the other.
        begin: From when.
        end: Until when.
    """

    lease: str
    holders: tuple[tuple[str, int], tuple[str, int]]
    begin: int
    end: int

    def __str__(self) -> str:
        (one, low), (other, high) = self.holders
        return (
            f"lease {self.lease!r}: {one} (token {low}) and {other} (token {high}) both "
            f"believed to have it for {self.end - self.begin} ns, from {self.begin} on"
        )


@attrs.define
class _Belief:
    holder_id: str
    token: int
    begin: int
    end: int


def overlaps(name: str, operations: Sequence[Operation], grants: Sequence[Grant]) -> list[Overlap]:
    """Compare the beliefs of all holders of one lease.

    A belief begins with the answer, and ends a ttl after the last renewal that was answered
    was *asked* for, or sooner: when release is called, or an answer says that it is lost.
    """
    beliefs = _beliefs(operations, grants)
    found: list[Overlap] = []
    for index, one in enumerate(beliefs):
        for other in beliefs[index + 1 :]:
            if other.begin >= one.end:
                break
            end = min(one.end, other.end)
            if one.token != other.token and other.begin < end:
                pair = ((one.holder_id, one.token), (other.holder_id, other.token))
                found.append(Overlap(name, pair, other.begin, end))
    return found


def _beliefs(operations: Sequence[Operation], grants: Sequence[Grant]) -> list[_Belief]:
    stops: dict[tuple[object, ...], int] = {}
    for one in operations:
        if one.verb == "release":
            stop = one.invoked
        elif one.verb == "renew" and one.result[:1] == ("not_held",) and one.returned is not None:
            stop = one.returned
        else:
            continue
        stops[one.arguments] = min(stop, stops.get(one.arguments, stop))
    beliefs: list[_Belief] = []
    latest: dict[tuple[object, ...], _Belief] = {}
    for grant in sorted(grants, key=_answered):
        who = (grant.holder_id, grant.session, grant.token)
        begin = _answered(grant)
        end = grant.operation.invoked + grant.ttl_ms * _NS_PER_MS
        end = min(end, stops.get(who, end))
        before = latest.get(who)
        if before is not None and begin <= before.end:
            before.end = max(before.end, end)
        elif begin < end:
            latest[who] = _Belief(grant.holder_id, grant.token, begin, end)
            beliefs.append(latest[who])
    return beliefs


def _answered(grant: Grant) -> int:
    assert grant.operation.returned is not None
    return grant.operation.returned
