"""`Rota`: what is due when, against a plain dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from federlib.blocking._rota import Rota


def test_what_is_due_comes_earliest_first_and_once() -> None:
    rota: Rota[str] = Rota()
    rota.put("late", 30)
    rota.put("early", 10)
    rota.put("later", 40)
    assert rota.next_ns() == 10
    assert rota.take_due(30) == [("early", 10), ("late", 30)]
    assert rota.take_due(30) == []
    assert rota.next_ns() == 40


def test_what_is_put_again_is_moved() -> None:
    rota: Rota[str] = Rota()
    rota.put("a", 10)
    rota.put("a", 50)
    assert len(rota) == 1
    assert rota.take_due(49) == []
    assert rota.take_due(50) == [("a", 50)]


def test_what_was_dropped_is_never_due() -> None:
    rota: Rota[str] = Rota()
    rota.put("a", 10)
    rota.drop("a")
    rota.drop("unknown")
    assert rota.next_ns() is None
    assert rota.take_due(99) == []


def test_a_million_short_stays_leave_little_behind() -> None:
    rota: Rota[int] = Rota()
    rota.put(-1, 10**12)
    for number in range(20_000):
        rota.put(number, 10**9 + number)
        rota.drop(number)
    assert len(rota._entries) < 200
    assert rota.next_ns() == 10**12


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "drop", "take"]), st.integers(0, 9), st.integers(0, 50)),
        max_size=60,
    )
)
def test_it_agrees_with_a_dictionary(steps: list[tuple[str, int, int]]) -> None:
    rota: Rota[int] = Rota()
    model: dict[int, int] = {}
    for verb, item, at_ns in steps:
        if verb == "put":
            rota.put(item, at_ns)
            model[item] = at_ns
        elif verb == "drop":
            rota.drop(item)
            model.pop(item, None)
        else:
            due = sorted((d, i) for i, d in model.items() if d <= at_ns)
            assert sorted((d, i) for i, d in rota.take_due(at_ns)) == due
            for _, gone in due:
                del model[gone]
        assert len(rota) == len(model)
        assert rota.next_ns() == min(model.values(), default=None)
