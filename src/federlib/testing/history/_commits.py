"""Recorded commits, read: what was checked and written, and what the answer said."""

from __future__ import annotations

import attrs
import msgspec

from federlib.errors import InvalidInput
from federlib.testing.history.records import Operation, Word

__all__ = ["Commit", "Plan", "check_get", "joined", "read_commit"]


@attrs.frozen
class Plan:
    """What a recorded commit checked, wrote and was told.

    Attributes:
        id: Of the transaction.
        checks: The revision that each checked key must have; None for absent.
        writes: The value that each written key gets; None where it is deleted.
        revision: Its own; None where it did not commit, or nobody knows.
        found: By key what a conflict says was found; None where there was no conflict.
        is_false: It tells of a conflict where there can be none.
        taken: Revisions of commits that are known: none of unknown outcome has one of them.
    """

    id: str | None
    checks: dict[str, int | None]
    writes: dict[str, str | None]
    revision: int | None
    found: dict[str, int | None] | None
    is_false: bool = False
    taken: frozenset[int] = frozenset()

    @property
    def keys(self) -> list[str]:
        """All keys that it touches, each once."""
        return list(dict.fromkeys([*self.checks, *self.writes]))


Commit = tuple[Operation, Plan]


def joined(commits: list[Commit]) -> tuple[list[Commit], frozenset[str]]:
    """Make one of all attempts under one id, but for those that met a conflict.

    Returns:
        The commits, and the ids that must be remembered when they took effect: a conflict
        under such an id says that they had not.
    """
    found: list[Commit] = []
    places: dict[str, int] = {}
    spent: set[str] = set()
    for operation, plan in commits:
        place = None if plan.id is None or plan.found is not None else places.get(plan.id)
        if place is not None and _are_one(found[place], (operation, plan)):
            found[place] = _join(found[place], (operation, plan))
            continue
        if plan.id is not None and (plan.found is not None or place is not None):
            # Refused while it had not taken effect; or it did so twice, which is wrong.
            spent.add(plan.id)
        if plan.id is not None and plan.found is None:
            places.setdefault(plan.id, len(found))
        found.append((operation, plan))
    return found, frozenset(spent & places.keys())


def _are_one(one: Commit, other: Commit) -> bool:
    revisions = {one[1].revision, other[1].revision} - {None}
    return one[0].arguments == other[0].arguments and len(revisions) < 2


def _join(one: Commit, other: Commit) -> Commit:
    known = [two for two in (one, other) if two[0].outcome == "ok"]
    ends = [operation.returned for operation, _ in known if operation.returned is not None]
    best, plan = known[0] if known else one
    operation = msgspec.structs.replace(
        best,
        invoked=min(one[0].invoked, other[0].invoked),
        returned=min(ends) if ends else None,
    )
    return operation, plan


def check_get(operation: Operation) -> None:
    match operation.result:
        case () | (str(), int(), int()):
            return
        case _:
            raise InvalidInput(
                "result", expected="nothing, or value, revision, created", found=operation.result
            )


def read_commit(operation: Operation) -> Plan:
    """Read the words of a commit.

    Raises:
        InvalidInput: They are not those of one.
    """
    if operation.verb != "commit":
        raise InvalidInput("verb", expected="get or commit", found=operation.verb)
    identity: str | None = None
    checks: dict[str, int | None] = {}
    writes: dict[str, str | None] = {}
    words = operation.arguments
    while words:
        match words:
            case ("id", str() | None as identity, *rest):
                pass
            case ("at", str() as key, int() as revision, *rest):
                checks[key] = revision
            case ("absent", str() as key, *rest):
                checks[key] = None
            case ("put", str() as key, str() as value, *rest):
                writes[key] = value
            case ("delete", str() as key, *rest):
                writes[key] = None
            case _:
                raise InvalidInput("arguments", expected="words of a commit", found=words)
        words = tuple(rest)
    if operation.outcome != "ok":
        return Plan(identity, checks, writes, None, None)
    match operation.result:
        case ("committed", int() as revision):
            return Plan(identity, checks, writes, revision, None)
        case ("conflicted", *failed) if failed and len(failed) % 3 == 0:
            found, is_false = _found(operation, failed, checks)
            return Plan(identity, checks, writes, None, found, is_false)
        case _:
            raise InvalidInput("result", expected="committed or conflicted", found=operation.result)


def _found(
    operation: Operation, failed: list[Word], checks: dict[str, int | None]
) -> tuple[dict[str, int | None], bool]:
    """Read what a conflict says was found, and whether it cannot be one of these checks."""
    found: dict[str, int | None] = {}
    is_false = False
    for key, expected, revision in zip(failed[::3], failed[1::3], failed[2::3], strict=True):
        if not isinstance(key, str) or not isinstance(revision, int | None):
            raise InvalidInput("result", expected="checked keys", found=operation.result)
        is_false |= key not in checks or checks[key] != expected or expected == revision
        found[key] = revision
    return found, is_false
