"""`StoreModel`: what a `RecordStore` would do, as `Recorder.store` records it.

Every answer of a store names a revision, so nearly every order is given away, and long
histories are checked in a moment. Two ways:

* Key by key (the default). A committed transaction is put in order once for each key that it
  checks or writes, with what it said of that key; a conflict says of each checked key what
  was found there. One more part has the revisions of all commits in order. If the store is
  linearizable, each of these parts is; so a violation is one. A fault that shows only
  where several keys are seen together (a transaction that took effect half) may escape.
* As a whole (`whole=True`): one part with everything. Exact, and for small histories: a few
  hundred operations, or many more where few are of unknown outcome.

Attempts under one transaction id are one operation: it takes effect at most once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import partial
from typing import NamedTuple

import attrs

from federlib.storage import META_KEY
from federlib.testing.history._commits import Plan, check_get, joined, read_commit
from federlib.testing.history.model import MAX_RANK, Model, Move, Part
from federlib.testing.history.records import History, Operation, Word

__all__ = ["Kept", "StoreModel", "StoreState"]

_TOP = 2**63


class Kept(NamedTuple):
    """A record, as far as it is known.

    A commit of unknown outcome has an unknown revision; so each number is a range, both
    ends included, until an answer names it.

    Attributes:
        value: Its value as a word; None where it is not known.
        low: Its revision is this or above.
        high: Its revision is this or below.
        born_low: `Record.created` is this or above.
        born_high: `Record.created` is this or below.
        is_first: Created by the commit that last wrote it: both revisions are one.
        is_later: Created by an earlier one.
    """

    value: str | None
    low: int
    high: int
    born_low: int
    born_high: int
    is_first: bool
    is_later: bool


class StoreState(NamedTuple):
    """A store, as far as one part of a check knows it.

    Attributes:
        floor: The last revision is this or above.
        records: By key, in order; None for absent. Of a key that is missing, nothing is known.
        spent: Ids of transactions that took effect, where another attempt must know it.
    """

    floor: int
    records: tuple[tuple[str, Kept | None], ...]
    spent: frozenset[str]


class StoreModel(Model[StoreState]):
    """A record store.

    Args:
        is_new: False where the store was in use before the history began: then whatever is
            read first is taken for what was there.
        whole: Check everything together instead of key by key.
    """

    def __init__(self, *, is_new: bool = True, whole: bool = False) -> None:
        self._is_new = is_new
        self._whole = whole

    @property
    def initial(self) -> StoreState:
        """A store of which nothing is known; `parts` knows the keys."""
        return StoreState(0, (), frozenset())

    def step(self, state: StoreState, operation: Operation) -> StoreState | None:
        """Return the store after an operation."""
        if operation.verb == "get":
            return _get(state, operation.key, operation.result, frozenset())
        plan = read_commit(operation)
        return _step(state, plan, plan.keys, frozenset())

    def is_read(self, operation: Operation) -> bool:
        """Reads are, and commits that met a conflict."""
        if operation.verb == "get":
            return True
        return operation.outcome == "ok" and operation.result[:1] == ("conflicted",)

    def show(self, state: StoreState) -> str:
        """Say what is stored."""
        told = [f"{key!r} {_tell(record)}" for key, record in state.records]
        return ", ".join(told) if told else f"the last revision is {state.floor} or above"

    def parts(self, history: History) -> list[Part[StoreState]]:
        """Divide a history by key, and by revision; or not at all.

        Raises:
            InvalidInput: An operation is not one that `Recorder.store` records.
        """
        gets = [one for one in history if one.verb == "get" and one.outcome == "ok"]
        for get in gets:
            check_get(get)
        others = [one for one in history if one.verb != "get" and one.outcome != "fail"]
        commits, spent = joined([(one, read_commit(one)) for one in others])
        taken = frozenset(plan.revision for _, plan in commits if plan.revision is not None)
        commits = [(one, attrs.evolve(plan, taken=taken)) for one, plan in commits]
        keys = {one.key: None for one in gets}
        for _, plan in commits:
            keys |= dict.fromkeys(plan.keys)
        if self._whole:
            moves = [
                *(_get_move(get, taken) for get in gets),
                *(_move(*c, c[1].keys, spent) for c in commits),
            ]
            return [self._part(None, list(keys), moves)]
        by_key: dict[str, list[Move[StoreState]]] = {key: [] for key in keys}
        for get in gets:
            by_key[get.key].append(_get_move(get, taken))
        for operation, plan in commits:
            for key in plan.keys:
                if plan.found is None or key in plan.checks:
                    by_key[key].append(_move(operation, plan, [key], spent))
        known = [_move(*one, [], spent) for one in commits if one[1].revision or one[1].is_false]
        revisions = self._part(None, [], known)
        return [revisions, *(self._part(key, [key], moves) for key, moves in by_key.items())]

    def _part(
        self, key: str | None, keys: Iterable[str], moves: list[Move[StoreState]]
    ) -> Part[StoreState]:
        # The driver itself writes the record that names the store.
        absent = sorted(key for key in keys if key != META_KEY) if self._is_new else ()
        records = tuple((one, None) for one in absent)
        initial = StoreState(0, records, frozenset())
        return Part(key, initial, self.initial, moves, self.show, _covers)


def _get_move(operation: Operation, taken: frozenset[int]) -> Move[StoreState]:
    step = partial(_get, key=operation.key, result=operation.result, taken=taken)
    return Move(
        operation, step, is_read=True, rank=MAX_RANK, returned=operation.returned, kind=operation
    )


def _move(
    operation: Operation, plan: Plan, keys: list[str], spent: frozenset[str]
) -> Move[StoreState]:
    ends = operation.returned if operation.outcome == "ok" else None
    return Move(
        operation,
        partial(_step, plan=plan, keys=keys, spent=spent),
        is_read=plan.found is not None,
        # What names its revision gives its place away.
        rank=MAX_RANK if plan.revision is None else plan.revision,
        returned=ends,
        kind=operation if plan.id in spent or ends is not None else _kind(plan, keys),
    )


def _kind(plan: Plan, keys: list[str]) -> Hashable:
    """Tell what a commit of unknown outcome does to these keys."""
    checks = tuple((key, plan.checks[key]) for key in keys if key in plan.checks)
    return checks, tuple((key, plan.writes[key]) for key in keys if key in plan.writes)


def _get(
    state: StoreState, key: str, result: tuple[Word, ...], taken: frozenset[int]
) -> StoreState | None:
    records = dict(state.records)
    if not result:
        if records.get(key) is not None:
            return None
        return state if key in records else _with(state, state.floor, {key: None})
    value, revision, created = result
    assert isinstance(value, str)
    assert isinstance(revision, int)
    assert isinstance(created, int)
    known = Kept(
        value, revision, revision, created, created, created == revision, created < revision
    )
    if key not in records:
        return _with(state, max(state.floor, revision), {key: known})
    kept = records[key]
    if kept == known:
        return state
    if kept is None or kept.value not in {None, value} or not kept.low <= revision <= kept.high:
        return None
    if kept.low < kept.high and revision in taken:
        return None
    is_wrong = (kept.is_first and created < revision) or (kept.is_later and created == revision)
    if is_wrong or not (kept.is_first or kept.born_low <= created <= kept.born_high):
        return None
    return _with(state, max(state.floor, revision), {key: known})


def _step(
    state: StoreState, plan: Plan, keys: list[str], spent: frozenset[str]
) -> StoreState | None:
    if plan.is_false:
        return None
    records = dict(state.records)
    is_remembered = plan.id is not None and plan.id in spent
    if is_remembered and plan.id in state.spent:
        return state if plan.revision is None and plan.found is None else None
    changed: dict[str, Kept | None] = {}
    for key in keys:
        if key in plan.checks and not _holds(records, changed, plan, key):
            return None
    floor = max([state.floor, *(kept.low for kept in changed.values() if kept is not None)])
    if plan.found is not None:
        return _with(state, floor, changed) if changed else state
    if plan.revision is not None and plan.revision <= floor:
        return None
    low = floor + 1 if plan.revision is None else plan.revision
    high = _TOP if plan.revision is None else plan.revision
    for key in keys:
        if key in plan.writes:
            is_known = key in changed or key in records
            before = changed.get(key, records.get(key))
            changed[key] = _written(before, plan.writes[key], low, high, is_known=is_known)
    after = _with(state, low, changed)
    assert plan.id is not None or not is_remembered
    return after._replace(spent=after.spent | {plan.id or ""}) if is_remembered else after


def _holds(
    records: dict[str, Kept | None],
    changed: dict[str, Kept | None],
    plan: Plan,
    key: str,
) -> bool:
    """Say whether a checked key is as the outcome says; note in `changed` what that tells."""
    expected = plan.checks[key]
    if plan.found is not None and key in plan.found:
        expected = plan.found[key]
    if key not in records:
        changed[key] = None
        if expected is not None:
            changed[key] = Kept(None, expected, expected, 1, expected, False, False)  # noqa: FBT003
        return True
    kept = records[key]
    if expected is None or kept is None:
        return expected is None and kept is None
    if not kept.low <= expected <= kept.high:
        return False
    if kept.low < kept.high:
        if expected in plan.taken:
            return False
        high = min(kept.born_high, expected - kept.is_later)
        changed[key] = kept._replace(low=expected, high=expected, born_high=high)
    return True


def _written(
    before: Kept | None, value: str | None, low: int, high: int, *, is_known: bool
) -> Kept | None:
    """Return the record after a write; None for a delete."""
    if value is None:
        return None
    if not is_known:
        return Kept(value, low, high, 1, high, is_first=False, is_later=False)
    if before is None:
        return Kept(value, low, high, low, high, is_first=True, is_later=False)
    born_low, born_high = before.born_low, before.born_high
    if before.is_first:
        born_low, born_high = before.low, before.high
    return Kept(value, low, high, born_low, min(born_high, high - 1), False, True)  # noqa: FBT003


def _with(state: StoreState, floor: int, changed: dict[str, Kept | None]) -> StoreState:
    if len(state.records) == 1 and changed.keys() == {state.records[0][0]}:
        return StoreState(floor, tuple(changed.items()), state.spent)
    return StoreState(floor, tuple(sorted({**dict(state.records), **changed}.items())), state.spent)


def _covers(one: StoreState, other: StoreState) -> bool:
    """Say whether two states are one, but for revisions of which less is known in the first."""
    if one.floor > other.floor or one.spent != other.spent:
        return False
    if len(one.records) != len(other.records):
        return False
    for (key, kept), (same, record) in zip(one.records, other.records, strict=True):
        if key != same or (kept is None) != (record is None):
            return False
        if kept is None or record is None or kept == record:
            continue
        if kept.value != record.value or kept.low > record.low or kept.high != record.high:
            return False
        if kept[3:] != record[3:]:
            return False
    return True


def _tell(record: Kept | None) -> str:
    if record is None:
        return "is absent"
    value = "any value" if record.value is None else repr(record.value)
    if record.low == record.high:
        return f"is {value} at revision {record.low}"
    return f"is {value} at revision {record.low} or above"
