"""Did leases and fencing tokens keep what they promise?

    report = lease_safety.check(history)
    assert report.is_safe, report

The witness is the resource: what it accepted, in which order, under which token
(`Recorder.accepted`). Beside it, what the lease backend answered is judged by itself. Where
the history does not say which of two came first, neither is blamed.

The rules, by name:

* ``token_order``: no write is accepted under a token below one accepted before.
* ``one_holder``: under one token there is one holder, among grants, renewals and writes.
* ``granted``: no write is accepted under a token that its holder cannot have.
* ``token_rises``: no token is granted to a newcomer, or again after its release, that is
  not above every one granted before; nor one below to anybody.
* ``renew_keeps``: a renewal is granted under the token, holder and session that asked.
* ``renew_lost``: no renewal is granted under a token once a higher one was.

Does not promise: that two holders never believe at the same time. No lease can promise that
of clocks that may be wrong, and the tokens are there for it; `check` reports such times
apart, on request.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import attrs

from federlib.errors import InvalidInput
from federlib.testing.history._beliefs import Overlap, overlaps
from federlib.testing.history._grants import Grant, read_grants
from federlib.testing.history.records import History, Operation

__all__ = ["Breach", "Overlap", "Report", "Rule", "check"]

Rule = Literal["token_order", "one_holder", "granted", "token_rises", "renew_keeps", "renew_lost"]


@attrs.frozen
class Breach:
    """A rule that was broken, and by what.

    Attributes:
        rule: Its name.
        lease: The lease.
        operations: Those that contradict each other, the earlier first.
        reason: Why, in words.
    """

    rule: Rule
    lease: str
    operations: tuple[Operation, ...]
    reason: str

    def __str__(self) -> str:
        lines = [f"lease {self.lease!r}: {self.rule}: {self.reason}"]
        lines += [f"    [{one.invoked} to {one.returned}] {one}" for one in self.operations]
        return "\n".join(lines)


@attrs.frozen(kw_only=True)
class Report:
    """What a check found; as text it says all of it.

    Attributes:
        breaches: Rules that were broken.
        overlaps: Times when two believed; empty unless asked for.
        grants: How many grants and renewals were judged.
        accepted: How many accepted writes.
    """

    breaches: tuple[Breach, ...]
    overlaps: tuple[Overlap, ...]
    grants: int
    accepted: int

    @property
    def is_safe(self) -> bool:
        """Whether no rule was broken; overlaps break none."""
        return not self.breaches

    def __str__(self) -> str:
        head = f"{len(self.breaches)} breaches, {self.grants} grants, {self.accepted} writes"
        return "\n".join([head, *map(str, self.breaches), *map(str, self.overlaps)])


def check(history: History, *, beliefs: bool = False) -> Report:
    """Judge the leases of a history by the rules of this module.

    Args:
        history: With ``acquire``, ``renew``, ``release`` and ``accept``; other verbs are
            overlooked.
        beliefs: Report too when two holders of one lease believed to have it, each by its
            own deadline. Their instants must then be nanoseconds.
    Raises:
        InvalidInput: An operation of these verbs is not as `Recorder` records it.
    """
    names: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        if operation.verb in {"acquire", "renew", "release", "accept"}:
            names[operation.key].append(operation)
    breaches: list[Breach] = []
    found: list[Overlap] = []
    grants = accepted = 0
    for name, operations in names.items():
        granted = read_grants(operations)
        writes = _read_writes(operations)
        grants += len(granted)
        accepted += len(writes)
        breaches += _token_order(name, writes)
        breaches += _one_holder(name, granted, writes)
        breaches += _granted(name, operations, granted, writes)
        breaches += _token_rises(name, operations, granted)
        breaches += _renewals(name, granted)
        if beliefs:
            found += overlaps(name, operations, granted)
    return Report(breaches=tuple(breaches), overlaps=tuple(found), grants=grants, accepted=accepted)


@attrs.frozen
class _Write:
    operation: Operation
    holder_id: str
    token: int


def _read_writes(operations: Sequence[Operation]) -> list[_Write]:
    writes = []
    for one in operations:
        if one.verb != "accept" or one.outcome != "ok":
            continue
        match one.arguments:
            case (int() as token,):
                writes.append(_Write(one, one.process, token))
            case _:
                raise InvalidInput("arguments", expected="a token for accept", found=one.arguments)
    return writes


def _ended(operation: Operation) -> int:
    assert operation.returned is not None
    return operation.returned


class _Highest:
    """The highest token of everything that had ended before an instant, asked in order of time."""

    def __init__(self, ended: Sequence[tuple[int, Operation]]) -> None:
        self._ended = sorted(ended, key=lambda pair: _ended(pair[1]), reverse=True)
        self.token = 0
        self.operation: Operation | None = None

    def before(self, operation: Operation) -> Operation | None:
        """Return the operation with the highest token that had ended before this one began."""
        while self._ended and _ended(self._ended[-1][1]) < operation.invoked:
            token, one = self._ended.pop()
            if token > self.token:
                self.token, self.operation = token, one
        return self.operation


def _token_order(name: str, writes: Sequence[_Write]) -> list[Breach]:
    highest = _Highest([(write.token, write.operation) for write in writes])
    breaches = []
    for write in writes:
        before = highest.before(write.operation)
        if before is not None and write.token < highest.token:
            reason = f"token {write.token} was accepted after token {highest.token}"
            breaches.append(Breach("token_order", name, (before, write.operation), reason))
    return breaches


def _one_holder(name: str, grants: Sequence[Grant], writes: Sequence[_Write]) -> list[Breach]:
    holders: dict[int, tuple[str, Operation]] = {}
    sessions: dict[int, tuple[str, Operation]] = {}
    breaches = []
    for grant in grants:
        session, operation = sessions.setdefault(grant.token, (grant.session, grant.operation))
        holder, first = holders.setdefault(grant.token, (grant.holder_id, grant.operation))
        if holder != grant.holder_id:
            reason = f"token {grant.token} was given to {holder} and to {grant.holder_id}"
            breaches.append(Breach("one_holder", name, (first, grant.operation), reason))
        elif session != grant.session:
            reason = f"token {grant.token} was given to two sessions of {holder}"
            breaches.append(Breach("one_holder", name, (operation, grant.operation), reason))
    for write in writes:
        holder, first = holders.setdefault(write.token, (write.holder_id, write.operation))
        if holder != write.holder_id:
            reason = f"{write.holder_id} wrote under token {write.token} of {holder}"
            breaches.append(Breach("one_holder", name, (first, write.operation), reason))
    return breaches


def _granted(
    name: str, operations: Sequence[Operation], grants: Sequence[Grant], writes: Sequence[_Write]
) -> list[Breach]:
    """Look for writes under tokens from nowhere; only where grants were recorded at all."""
    acquires = [one for one in operations if one.verb == "acquire"]
    if not acquires:
        return []
    begun: dict[int, Operation] = {}
    for grant in grants:
        begun.setdefault(grant.token, grant.operation)
    unknown: dict[object, int] = {}
    for one in acquires:
        if one.outcome == "info":
            unknown.setdefault(one.arguments[0] if one.arguments else None, one.invoked)
    breaches = []
    for write in writes:
        end = _ended(write.operation)
        grant_of = begun.get(write.token)
        if grant_of is not None and grant_of.invoked <= end:
            continue
        if unknown.get(write.holder_id, end + 1) <= end:
            continue  # One of its own attempts was not answered: it may have got it there.
        reason = f"{write.holder_id} wrote under token {write.token}, which it cannot have had"
        seen = (write.operation,) if grant_of is None else (write.operation, grant_of)
        breaches.append(Breach("granted", name, seen, reason))
    return breaches


def _token_rises(
    name: str, operations: Sequence[Operation], grants: Sequence[Grant]
) -> list[Breach]:
    highest = _Highest([(grant.token, grant.operation) for grant in grants])
    released: dict[object, Operation] = {}
    for one in operations:
        if one.verb == "release" and one.outcome == "ok" and one.result[:1] == ("released",):
            released.setdefault(one.arguments[-1], one)
    firsts: dict[int, Grant] = {}
    breaches = []
    for grant in grants:
        if grant.verb != "acquire":
            continue
        one, token = grant.operation, grant.token
        before, freed = highest.before(one), released.get(token)
        first = firsts.setdefault(token, grant)
        if before is not None and token < highest.token:
            reason = f"token {token} was granted after token {highest.token}"
            breaches.append(Breach("token_rises", name, (before, one), reason))
        elif freed is not None and _ended(freed) < one.invoked:
            reason = f"token {token} was granted again after its release"
            breaches.append(Breach("token_rises", name, (freed, one), reason))
        elif token < 1:
            reason = f"token {token} is not above 0"
            breaches.append(Breach("token_rises", name, (first.operation,), reason))
    return breaches


def _renewals(name: str, grants: Sequence[Grant]) -> list[Breach]:
    highest = _Highest([(g.token, g.operation) for g in grants if g.verb == "acquire"])
    breaches = []
    for grant in grants:
        if grant.verb != "renew":
            continue
        one = grant.operation
        before = highest.before(one)
        asked = one.arguments
        if asked != (grant.holder_id, grant.session, grant.token):
            reason = "the renewal changed what it renewed"
            breaches.append(Breach("renew_keeps", name, (one,), reason))
        elif before is not None and grant.token < highest.token:
            reason = f"token {grant.token} was renewed after token {highest.token} was granted"
            breaches.append(Breach("renew_lost", name, (before, one), reason))
    return breaches
