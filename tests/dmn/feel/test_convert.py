"""Values of Python and of FEEL, and the one spelling of each."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import IntEnum, StrEnum
from itertools import count
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn.feel.samples import DATE_TIMES, DATES, DURATIONS, TIMES
from federlib.dmn.feel.builtins import BUILTINS
from federlib.dmn.feel.calls import invoke
from federlib.dmn.feel.convert import canonical, from_python, to_python
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.temporal import Date, DateTime, Days, Months, Time
from federlib.dmn.feel.values import Range, Value
from federlib.errors import InvalidInput

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=4),
    st.decimals(-(10**20), 10**20, places=3),
    DATES,
    TIMES,
    DATE_TIMES,
    DURATIONS,
)
VALUES: st.SearchStrategy[Value] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("given_value", "value"),
    [
        (None, None),
        (True, True),
        (3, Decimal(3)),
        (0.1, Decimal("0.1")),
        (1e300, Decimal("1e300")),
        (-0.0, Decimal(0)),
        (
            Decimal("1.23456789012345678901234567890123456"),
            Decimal("1.234567890123456789012345678901235"),
        ),
        ("text", "text"),
        (Colour.RED, "red"),
        (Level.HIGH, Decimal(3)),
        ((1, [2]), [Decimal(1), [Decimal(2)]]),
        (range(2), [Decimal(0), Decimal(1)]),
        (OrderedDict(b=1, a=None), {"b": Decimal(1), "a": None}),
        (dt.date(2024, 2, 29), Date(2024, 2, 29)),
        (dt.time(1, 2, 3, 4), Time((3723 * 1_000_000 + 4) * 1000)),
        (dt.time(1, tzinfo=dt.UTC), Time(3600 * 10**9, 0)),
        (
            dt.datetime(2024, 2, 29, 12, tzinfo=ZoneInfo("Europe/Paris")),
            DateTime(Date(2024, 2, 29), Time(12 * 3600 * 10**9, None, "Europe/Paris")),
        ),
        (dt.timedelta(days=-1, microseconds=1), Days(-86_400 * 10**9 + 1000)),
        (Months(3), Months(3)),
    ],
)
def test_python_values_become_those_of_feel(given_value: object, value: Value) -> None:
    made = from_python(given_value)
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("given_value", "where"),
    [
        (float("nan"), "value"),
        (float("-inf"), "value"),
        (Decimal("NaN"), "value"),
        (Decimal("Infinity"), "value"),
        ([10**7000], "value[0]"),
        ({"a": [1, {2}]}, "value.a[1]"),
        ({"a": b"x"}, "value.a"),
        (memoryview(b"x"), "value"),
        ({1: 2}, "value"),
        (object(), "value"),
        (dt.time(1, tzinfo=dt.timezone(dt.timedelta(hours=15))), "offset"),
    ],
)
def test_what_feel_has_not_is_refused_with_its_path(given_value: object, where: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_python(given_value)
    assert caught.value.field == where
    assert str(caught.value)


def test_nesting_and_size_are_bounded() -> None:
    deep: object = 1
    for _ in range(150):
        deep = [deep]
    for bad in (deep, range(2_000_000)):
        with pytest.raises(InvalidInput):
            from_python(bad, where="facts")


class _EndlessList(list[int]):
    def __iter__(self) -> Iterator[int]:
        return count()


class _EndlessMapping(Mapping[str, int]):
    def __init__(self, said: int) -> None:
        self.said = said

    def __getitem__(self, key: str) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        return map(str, count())

    def __len__(self) -> int:
        return self.said


@pytest.mark.parametrize("bad", [_EndlessList([1]), _EndlessMapping(2), _EndlessMapping(2**40)])
def test_what_never_ends_is_refused(bad: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_python({"a": bad})
    assert caught.value.field == "value.a"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Decimal("3.00"), 3),
        (Decimal("0.1"), 0.1),
        (
            Decimal("0.1000000000000000000000000000000001"),
            Decimal("0.1000000000000000000000000000000001"),
        ),
        (Decimal("1e6000"), Decimal("1e6000")),
        (Decimal("1.5e-6000"), Decimal("1.5e-6000")),
        ([Decimal(1), {"a": "b"}], [1, {"a": "b"}]),
        (Date(-5, 1, 1), Date(-5, 1, 1)),
        (Time(1), Time(1)),
        (DateTime(Date(10_000, 1, 1), Time(0)), DateTime(Date(10_000, 1, 1), Time(0))),
        (Days(1), Days(1)),
        (Days(10**30), Days(10**30)),
        (Days(-86_400 * 10**9), dt.timedelta(days=-1)),
        (Months(1), Months(1)),
        (None, None),
        ("text", "text"),
    ],
)
def test_feel_values_become_what_python_holds_without_loss(value: Value, plain: object) -> None:
    result = to_python(value)
    assert result == plain
    assert type(result) is type(plain)


@given(VALUES)
def test_there_and_back_changes_nothing(value: Value) -> None:
    assert canonical(from_python(to_python(value))) == canonical(value)


@given(st.datetimes(timezones=st.sampled_from([None, dt.UTC, ZoneInfo("Europe/Paris")])))
def test_python_dates_and_times_come_back(moment: dt.datetime) -> None:
    back = to_python(from_python(moment))
    assert isinstance(back, dt.datetime)
    assert back == moment
    assert back.utcoffset() == moment.utcoffset()


def shuffled(value: Value, rng: random.Random) -> Value:
    """Spell a value otherwise: keys in another order, numbers with zeros."""
    if isinstance(value, Decimal):
        return value.quantize(Decimal("0.00000")) if rng.random() < 0.5 else value.normalize()
    if isinstance(value, list):
        return [shuffled(each, rng) for each in value]
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {key: shuffled(value[key], rng) for key in keys}
    return value


@given(VALUES, st.randoms(use_true_random=False))
def test_the_spelling_is_one_for_every_order_and_zero(value: Value, rng: random.Random) -> None:
    spelled = canonical(value)
    assert canonical(shuffled(value, rng)) == spelled
    json.loads(spelled)


@given(VALUES, VALUES)
def test_two_values_have_one_spelling_only_if_they_are_one(a: Value, b: Value) -> None:
    one = invoke(Evaluation(), BUILTINS["is"], [a, b])
    assert (canonical(a) == canonical(b)) is one


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (Decimal("1e0"), b"1"),
        (Decimal("1.0"), b"1"),
        ("1", b'"1"'),
        (Decimal("-0.0"), b"0"),
        (Decimal("-0.50"), b"-0.5"),
        (Decimal("1e3"), b"1000"),
        (Decimal("12e99"), b"12e99"),
        (Decimal("120e98"), b"12e99"),
        (Decimal("-1e-99"), b"-1e-99"),
        ([], b'["list"]'),
        ({}, b"{}"),
        ({"b": True, "a": None}, b'{"a":null,"b":true}'),
        (Date(2024, 1, 2), b'["date","2024-01-02"]'),
        ("2024-01-02", b'"2024-01-02"'),
        (Months(1), b'["months","P1M"]'),
        ('a"\\\n\ud800é', '"a\\"\\\\\\u000a\\ud800é"'.encode()),
        (
            Range(Decimal(1), None, has_low=False, has_high=False, operator=">"),
            b'["range",">",false,false,1,null]',
        ),
        (
            Range(Decimal(1), Decimal(2), has_low=True, has_high=False),
            b'["range","",true,false,1,2]',
        ),
    ],
)
def test_spellings(value: Value, spelled: bytes) -> None:
    assert canonical(value) == spelled


def test_functions_and_bottomless_values_have_no_spelling() -> None:
    deep: Value = []
    for _ in range(150):
        deep = [deep]
    for bad in (BUILTINS["abs"], deep):
        with pytest.raises(InvalidInput):
            canonical(bad)
    with pytest.raises(InvalidInput):
        to_python(deep)
