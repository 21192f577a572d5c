"""Histories as values and as lines of JSON."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import CorruptRecord, InvalidInput
from federlib.testing.history import History, Operation

WORDS = st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8), max_size=3)


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    begin = draw(st.integers(-1_000, 1_000))
    outcome: Any = draw(st.sampled_from(["ok", "fail", "info", "open"]))
    end = None if outcome == "open" else begin + draw(st.integers(0, 100))
    return Operation(
        process=draw(st.text(max_size=3)),
        verb=draw(st.text(max_size=3)),
        key=draw(st.text(max_size=3)),
        arguments=tuple(draw(WORDS)),
        invoked=begin,
        returned=end,
        outcome="info" if outcome == "open" else outcome,
        result=() if end is None else tuple(draw(WORDS)),
    )


def ordered(history: History) -> list[str]:
    return sorted(map(repr, history))


@given(st.lists(operations(), max_size=8))
def test_a_history_comes_back_from_its_lines(found: list[Operation]) -> None:
    history = History(found)
    lines = list(history.to_lines())
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    assert ordered(History.from_lines(lines)) == ordered(history)


ONE = Operation(
    process="a",
    verb="write",
    key="x",
    arguments=(1, "two words", None),
    invoked=3,
    returned=5,
    outcome="ok",
    result=("done",),
)


def test_lines_are_made_to_be_read() -> None:
    assert list(History([ONE]).to_lines()) == [
        (
            b'{"event":"invoke","process":"a","call":0,"time":3,'
            b'"verb":"write","key":"x","arguments":[1,"two words",null]}\n'
        ),
        b'{"event":"ok","process":"a","call":0,"time":5,"result":["done"]}\n',
    ]
    assert str(ONE) == "a: write 1 'two words' nothing -> done"


def test_a_beginning_without_an_end_is_of_unknown_outcome() -> None:
    (found,) = History.from_lines(list(History([ONE]).to_lines())[:1])
    assert (found.outcome, found.returned, found.result) == ("info", None, ())
    assert str(found) == "a: write 1 'two words' nothing -> unknown"


BEGIN = '{"event":"invoke","process":"a","call":0,"time":3,"verb":"w","key":"x"}'
END = '{"event":"ok","process":"a","call":0,"time":5}'


@pytest.mark.parametrize(
    ("lines", "where", "expected"),
    [
        (["nonsense"], "line 1", "an event"),
        ([BEGIN, "{}"], "line 2", "an event"),
        ([BEGIN, END[:20]], "line 2", "an event"),
        ([BEGIN[:20], BEGIN], "line 1", "an event"),
        ([b"\xff"], "line 1", "an event"),
        ([END], "line 1", "a call that has begun and not ended"),
        ([BEGIN, END, END], "line 3", "a call that has begun and not ended"),
        ([BEGIN, BEGIN], "line 2", "a call that has not begun"),
        ([BEGIN, END.replace("5", "2")], "line 2", "an end at 3 or later"),
        ([BEGIN.replace('"x"', "true")], "line 1", "`str`"),
        ([BEGIN.replace('"x"}', '"x","arguments":[true]}')], "line 1", "`bool`"),
        ([BEGIN.replace('"x"}', '"x","more":1}')], "line 1", "more"),
        ([BEGIN.replace('"invoke"', '"begin"')], "line 1", "begin"),
    ],
)
def test_a_line_that_is_wrong_is_named(lines: list[str | bytes], where: str, expected: str) -> None:
    with pytest.raises(CorruptRecord) as caught:
        History.from_lines(lines)
    assert caught.value.where == f"{where} of the history"
    assert expected in caught.value.expected


def test_a_torn_last_line_is_overlooked_on_request_and_only_the_last() -> None:
    history = History.from_lines([BEGIN, END[:20]], drop_torn_end=True)
    assert [one.outcome for one in history] == ["info"]
    with pytest.raises(CorruptRecord, match="line 1"):
        History.from_lines([BEGIN[:20], END], drop_torn_end=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("process", 7),
        ("verb", None),
        ("key", b"x"),
        ("key", "\udc80"),
        ("arguments", [1]),
        ("arguments", (True,)),
        ("arguments", (1.5,)),
        ("arguments", (2**63,)),
        ("result", ((1,),)),
        ("invoked", 1.0),
        ("invoked", 9),
        ("returned", 2),
        ("returned", "5"),
        ("returned", None),
        ("outcome", "perhaps"),
    ],
)
def test_an_operation_that_cannot_be_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        History([msgspec.structs.replace(ONE, **{field: value})])
    assert caught.value.field == ("returned" if value == 9 else field)


def test_what_is_no_operation_is_refused() -> None:
    something: Any = [{"process": "a"}]
    with pytest.raises(InvalidInput, match="Operation values"):
        History(something)


def test_histories_are_put_together_in_the_order_of_time() -> None:
    early, late = (
        msgspec.structs.replace(ONE, process=p, invoked=t) for p, t in (("b", 1), ("c", 4))
    )
    merged = History.merge([History([late]), History([ONE, early])])
    assert merged == History([early, ONE, late])
    assert merged != History([ONE])
    assert len({merged, History([ONE]), History([late, early, ONE])}) == 2
    assert [one.process for one in merged] == ["b", "a", "c"]
    assert (len(merged), repr(merged)) == (3, "<History of 3 operations>")


def test_a_widened_history_has_wider_operations() -> None:
    begun = msgspec.structs.replace(ONE, returned=None, outcome="info", result=())
    wide = History([ONE, begun]).widened(2)
    assert [(one.invoked, one.returned) for one in wide] == [(1, 7), (1, None)]
    for wrong in (-1, 1.5, True):
        with pytest.raises(InvalidInput, match="by"):
            wide.widened(wrong)  # type: ignore[arg-type] # what a caller may do
