"""Histories of a record store: key by key, and as a whole."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.storage import META_KEY
from federlib.testing.history import (
    History,
    Operation,
    StoreModel,
    Word,
    linearizability,
    samples,
)

Held = dict[str, tuple[str, int, int]]


def get(begin: int, end: int, *result: Word, key: str = "x") -> Operation:
    return Operation(
        process=f"p{begin}",
        verb="get",
        key=key,
        invoked=begin,
        returned=end,
        outcome="ok",
        result=result,
    )


def commit(begin: int, end: int | None, words: str, *result: Word) -> Operation:
    """Make a commit of words such as ``at x 3 put x 5``; `#t` names it."""
    first, _, rest = words.partition(" ")
    identity, rest = (first[1:], rest) if first[:1] == "#" else (None, words)
    parts = [int(p) if before == "at" else p for before, p in pairs(rest.split())]
    if len(result) == 1:
        result = ("committed", *result)
    return Operation(
        process=f"p{begin}",
        verb="commit",
        key="",
        arguments=("id", identity, *parts),
        invoked=begin,
        returned=end,
        outcome="ok" if result else "info",
        result=result,
    )


def pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    """Give each word with the one two before it."""
    return zip(["", "", *words], words, strict=False)


NO = "conflicted"

WRONG = {
    "a stale read": [
        commit(0, 1, "put x a", 2),
        commit(2, 3, "put x b", 3),
        get(4, 5, "a", 2, 2),
    ],
    "a read of absence after a put": [commit(0, 1, "put x a", 2), get(2, 3)],
    "a read after a delete": [
        commit(0, 1, "put x a", 2),
        commit(2, 3, "delete x", 3),
        get(4, 5, "a", 2, 2),
    ],
    "a value that was never put": [commit(0, 1, "put x a", 2), get(2, 3, "b", 2, 2)],
    "a revision that was never given": [commit(0, 1, "put x a", 2), get(2, 3, "a", 9, 2)],
    "a record created at another revision": [
        commit(0, 1, "put x a", 2),
        commit(2, 3, "put x b", 3),
        get(4, 5, "b", 3, 3),
    ],
    "two commits on one revision of a key": [
        commit(0, 1, "put x a", 2),
        commit(2, 9, "at x 2 put x b", 3),
        commit(2, 9, "at x 2 put x c", 4),
    ],
    "two that made one key": [
        commit(0, 9, "absent x put x a", 2),
        commit(0, 9, "absent x put x b", 3),
    ],
    "a lost update": [
        commit(0, 1, "put x a", 2),
        commit(2, 3, "at x 2 put x b", 3),
        get(4, 5, "a", 2, 2),
    ],
    "a conflict that was none": [
        commit(0, 1, "put x a", 2),
        commit(2, 3, "at x 2 put x b", NO, "x", 2, 1),
    ],
    "a conflict with absence where there is a record": [
        commit(0, 1, "put x a", 2),
        commit(2, 3, "at x 1 put x b", NO, "x", 1, None),
    ],
    "a conflict that does not tell of a failed check": [
        commit(0, 1, "put x a put y a", 2),
        commit(2, 3, "at x 2 absent y put x b", NO, "x", 2, 1),
    ],
    "a conflict on a key that was not checked": [
        commit(0, 1, "put x a", 2),
        commit(2, 3, "put x b", NO, "x", None, 2),
    ],
    "a conflict with another check than was made": [
        commit(0, 1, "put x a", 2),
        commit(2, 3, "at x 1 put x b", NO, "x", None, 2),
    ],
    "a conflict with just what was expected": [
        commit(0, 1, "put x a", 2),
        commit(2, 3, "at x 2 put x b", NO, "x", 2, 2),
    ],
    "a refused commit that took effect": [
        commit(0, 1, "put x a", 2),
        commit(2, 3, "absent x put x b", NO, "x", None, 2),
        get(4, 5, "b", 3, 2),
    ],
    "one revision for two commits": [commit(0, 9, "put x a", 2), commit(0, 9, "put y a", 2)],
    "revisions that go back": [commit(0, 1, "put x a", 3), commit(2, 3, "put y a", 2)],
    "an unknown put seen, then unseen": [
        commit(0, 1, "put x a", 2),
        commit(2, None, "put x b"),
        get(3, 4, "b", 3, 2),
        get(5, 6, "a", 2, 2),
    ],
    "an unknown put seen at two revisions": [
        commit(0, 1, "put x a", 2),
        commit(2, None, "put x b"),
        get(3, 4, "b", 3, 2),
        get(5, 6, "b", 4, 2),
    ],
    "an unknown put seen at a revision of another's": [
        commit(0, None, "put x b"),
        commit(1, 2, "put y a", 2),
        get(3, 4, "b", 2, 2),
    ],
    "an unknown put whose check never held": [
        commit(0, 1, "put x a", 2),
        commit(2, None, "at x 7 put x b"),
        get(3, 4, "b", 3, 2),
    ],
    "one id that took effect twice": [
        commit(0, 1, "#t put x a", 2),
        commit(2, 3, "put x b", 3),
        commit(4, 5, "#t put x a", 4),
    ],
    "one id for two transactions": [
        commit(0, 1, "#t put x a", 2),
        commit(2, 3, "#t put x b", 3),
    ],
    "an id refused after it took effect": [
        commit(0, 1, "#t absent x put x a", 2),
        commit(2, 3, "#t absent x put x a", NO, "x", None, 2),
    ],
    "a repeated id, and its effect later than its first answer": [
        commit(0, 1, "#t put x a", 2),
        get(2, 3),
        commit(4, 5, "#t put x a", 2),
    ],
}

ONLY_AS_A_WHOLE = {
    "a transaction seen half": [
        commit(0, None, "put x a put y a"),
        get(1, 2, "a", 2, 2, key="x"),
        get(3, 4, key="y"),
        get(5, 6, "a", 2, 2, key="y"),
    ],
    "two keys that were never so together": [
        commit(0, 9, "put x a", 2),
        commit(0, 9, "put y a", 3),
        get(1, 2, "a", 3, 3, key="y"),
        get(3, 4, key="x"),
    ],
}

RIGHT = {
    "nothing": [],
    "one life after the other": [
        get(0, 1),
        commit(2, 3, "absent x put x a", 2),
        commit(4, 5, "at x 2 put x b", 3),
        get(6, 7, "b", 3, 2),
        commit(8, 9, "at x 3 delete x", 4),
        commit(10, 11, "put x c", 6),
        get(12, 13, "c", 6, 6),
    ],
    "a conflict with what came meanwhile": [
        commit(0, 1, "put x a", 2),
        commit(2, 9, "put x b", 3),
        commit(3, 8, "at x 2 absent y put x c", NO, "x", 2, 3),
    ],
    "an unknown put that was seen late": [
        commit(0, None, "put x b"),
        commit(1, 2, "put x a", 2),
        get(3, 4, "a", 2, 2),
        get(5, 6, "b", 4, 2),
        commit(7, 8, "at x 4 put x c", 5),
        get(9, 10, "c", 5, 2),
    ],
    "an unknown put that was overwritten unseen": [
        commit(0, None, "put x a"),
        commit(1, 2, "put x b", 5),
        get(3, 4, "b", 5, 3),
    ],
    "an unknown chain": [
        commit(0, None, "absent x put x a"),
        commit(1, None, "at x 4 put x b"),
        get(2, 3, "b", 6, 4),
    ],
    "an id repeated until it was answered": [
        commit(0, None, "#t put x a"),
        commit(1, 2, "#t put x a", 2),
        commit(3, 4, "put x b", 3),
        commit(5, 6, "#t put x a", 2),
        get(7, 8, "b", 3, 2),
    ],
    "an id refused, and then not": [
        commit(0, 1, "put x a", 2),
        commit(2, 3, "#t absent x put x b", NO, "x", None, 2),
        commit(4, 5, "delete x", 3),
        commit(6, 7, "#t absent x put x b", 4),
        get(8, 9, "b", 4, 4),
    ],
    "checks alone take a revision": [
        commit(0, 1, "put x a", 2),
        commit(2, 3, "at x 2", 3),
        get(4, 5, "a", 2, 2),
    ],
    "the record of the store itself": [get(0, 1, "{}", 1, 1, key=META_KEY)],
}


def answers(operations: list[Operation]) -> list[str]:
    models = [StoreModel(), StoreModel(whole=True)]
    return [linearizability.check(History(operations), model).answer for model in models]


@pytest.mark.parametrize("operations", WRONG.values(), ids=WRONG)
def test_a_wrong_history_is_a_violation(operations: list[Operation]) -> None:
    assert answers(operations) == ["violation", "violation"]


@pytest.mark.parametrize("operations", ONLY_AS_A_WHOLE.values(), ids=ONLY_AS_A_WHOLE)
def test_what_only_several_keys_together_show_needs_the_whole(
    operations: list[Operation],
) -> None:
    assert answers(operations) == ["linearizable", "violation"]


@pytest.mark.parametrize("operations", RIGHT.values(), ids=RIGHT)
def test_a_right_history_is_none(operations: list[Operation]) -> None:
    assert answers(operations) == ["linearizable", "linearizable"]


def test_a_violation_names_its_key_and_says_what_is_stored() -> None:
    verdict = linearizability.check(History(WRONG["a stale read"]), StoreModel())
    assert str(verdict).splitlines()[1:] == [
        "key 'x': no order of these 2 operations is possible:",
        "    [2 to 3] p2: commit id nothing put x b -> committed 3",
        "    [4 to 5] p4: get -> a 2 2",
        "  has no place: p4: get -> a 2 2",
        "  by 5, 'x' is 'b' at revision 3",
    ]
    verdict = linearizability.check(History(WRONG["revisions that go back"]), StoreModel())
    (violation,) = verdict.violations
    assert violation.key is None
    assert "the last revision is 3 or above" in str(violation)


def test_a_store_in_use_before_may_have_held_anything() -> None:
    operations = [
        get(0, 1, "a", 9, 4),
        commit(2, 3, "at y 7 put y b", 12),
        commit(4, 5, "put z c", 13),
        get(6, 7, "c", 13, 3, key="z"),
    ]
    for whole in (False, True):
        found = linearizability.check(History(operations), StoreModel(whole=whole))
        assert found.answer == "violation"
        found = linearizability.check(History(operations), StoreModel(whole=whole, is_new=False))
        assert found.is_linearizable, found


def test_a_model_may_be_stepped_by_hand() -> None:
    model = StoreModel()
    state = model.step(model.initial, commit(0, 1, "put x a", 2))
    assert state is not None
    assert "'x' is 'a' at revision 2" in model.show(state)
    assert model.step(state, get(2, 3)) is None
    assert model.step(state, commit(2, 3, "put x a", 2)) is None
    assert model.step(state, commit(2, 3, "at x 1 put x a", 3)) is None
    after = model.step(state, commit(2, None, "put x b"))
    assert after is not None
    assert "'x' is 'b' at revision 3 or above" in model.show(after)
    assert model.is_read(get(2, 3))
    assert model.is_read(commit(2, 3, "at x 1", NO, "x", 1, 2))
    assert not model.is_read(commit(2, 3, "at x 2", 3))


# Every small history, against every order and every revision that fits.


def plays(order: Sequence[Operation], held: Held, last: int) -> bool:
    if not order:
        return True
    one, rest = order[0], order[1:]
    if one.verb == "get":
        return held.get(one.key, ()) == one.result and plays(rest, held, last)
    words, failed, after = list(one.arguments[2:]), [], dict(held)
    writes: list[tuple[str, Word]] = []
    while words:
        verb, key = words.pop(0), str(words.pop(0))
        if verb in {"at", "absent"}:
            expected = words.pop(0) if verb == "at" else None
            found = held[key][1] if key in held else None
            failed += [] if found == expected else [key, expected, found]
        else:
            writes.append((key, words.pop(0) if verb == "put" else None))
    if failed or one.result[:1] == (NO,):
        return bool(failed) and one.result in {(), (NO, *failed)} and plays(rest, held, last)
    revisions = [one.result[1]] if one.result else range(last + 1, 8)
    for revision in revisions:
        assert isinstance(revision, int)
        after = dict(held)
        for key, value in writes:
            before = after.pop(key, None)
            if value is not None:
                after[key] = (str(value), revision, revision if before is None else before[2])
        if revision > last and plays(rest, after, revision):
            return True
    return False


def is_right(operations: Sequence[Operation]) -> bool:
    musts = [one for one in operations if one.outcome == "ok"]
    mays = [one for one in operations if one.outcome == "info"]
    for count in range(len(mays) + 1):
        for chosen in itertools.combinations(mays, count):
            for order in itertools.permutations([*musts, *chosen]):
                if not any(
                    later.outcome == "ok" and (later.returned or 0) < one.invoked
                    for one, later in itertools.combinations(order, 2)
                ) and plays(order, {}, 0):
                    return True
    return False


@st.composite
def small_histories(draw: st.DrawFn) -> list[Operation]:
    """Draw a right history, and break some of its answers."""
    seed = draw(st.integers(0, 2**32))
    history = samples.store_history(
        random.Random(seed).randrange,
        operations=draw(st.integers(2, 6)),
        processes=3,
        keys=2,
        unknown_per_mille=draw(st.sampled_from([0, 100, 300])),
    )
    found = list(history)
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(found) - 1))
        one, other = found[place], draw(st.sampled_from(found))
        if one.outcome == other.outcome == "ok" and one.verb == other.verb == "get":
            found[place] = msgspec.structs.replace(one, result=other.result)
        elif one.outcome == "ok" and one.result[:1] == ("committed",):
            number = draw(st.integers(1, 5))
            found[place] = msgspec.structs.replace(one, result=("committed", number))
    return found


@given(small_histories())
@settings(max_examples=600, deadline=None)
def test_as_a_whole_the_answer_is_that_of_trying_every_order(operations: list[Operation]) -> None:
    counted = [one for one in operations if not (one.verb == "get" and one.outcome == "info")]
    expected = "linearizable" if is_right(counted) else "violation"
    by_key, whole = answers(operations)
    assert whole == expected
    # Key by key a violation is one; what is none may still be one as a whole.
    assert by_key == "linearizable" or expected == "violation"


@given(st.integers(0, 2**32), st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_what_was_made_right_is_found_right(seed: int, unknown: int) -> None:
    history = samples.store_history(
        random.Random(seed).randrange, operations=150, keys=3, unknown_per_mille=unknown
    )
    assert answers(list(history)) == ["linearizable", "linearizable"]


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        (Operation(process="p", verb="scan", key="x", invoked=0), "verb"),
        (
            Operation(process="p", verb="commit", key="x", invoked=0, arguments=("put",)),
            "arguments",
        ),
        (commit(0, 1, "put x a", "done", 2), "result"),
        (commit(0, 1, "put x a", NO), "result"),
        (commit(0, 1, "absent x put x a", NO, "x", None, "2"), "result"),
        (get(0, 1, "a"), "result"),
        (get(0, 1, 1, 2, 3), "result"),
    ],
)
def test_what_no_recorder_wrote_is_refused(operation: Operation, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        linearizability.check(History([operation]), StoreModel())
    assert caught.value.field == field
