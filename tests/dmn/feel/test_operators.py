"""What the operators mean, type by type."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn.feel.samples import DATE_TIMES, DATES, TIMES
from federlib.dmn.feel import operators as op
from federlib.dmn.feel.builtins import BUILTINS
from federlib.dmn.feel.evaluation import Evaluation, Exhausted
from federlib.dmn.feel.lexical import parse_temporal
from federlib.dmn.feel.temporal import Days, Months, Time
from federlib.dmn.feel.values import Range, RangeOperator, Value

Operator = Callable[[Evaluation, Value, Value], Value]


def at(text: str) -> Value:
    """Read what stands in an at-literal."""
    value = parse_temporal(text)
    assert value is not None
    return value


ONE_OF_EACH: list[Value] = [
    None,
    True,
    Decimal(1),
    "text",
    at("2021-01-01"),
    at("10:10:10"),
    at("2021-01-01T10:10:10"),
    at("P1D"),
    at("P1Y"),
    [Decimal(1)],
    {"a": Decimal(1)},
    Range(Decimal(1), Decimal(2), has_low=True, has_high=True),
    BUILTINS["abs"],
    BUILTINS["date"],
]
KINDS = [op.kind_of(each) for each in ONE_OF_EACH]

DATE, DATE_TIME = "date", "date and time"
DAYS, MONTHS = "days and time duration", "years and months duration"
SUMS = {
    ("number", "number"), ("string", "string"), (DATE_TIME, MONTHS), (MONTHS, DATE_TIME),
    (DATE_TIME, DAYS), (DAYS, DATE_TIME), ("time", DAYS), (DAYS, "time"), (DATE, MONTHS),
    (MONTHS, DATE), (DATE, DAYS), (DAYS, DATE), (MONTHS, MONTHS), (DAYS, DAYS),
}  # fmt: skip
DIFFERENCES = {
    ("number", "number"), (DATE, DATE), (DATE_TIME, DATE_TIME), ("time", "time"),
    (DATE_TIME, MONTHS), (DATE_TIME, DAYS), ("time", DAYS), (DATE, MONTHS), (DATE, DAYS),
    (MONTHS, MONTHS), (DAYS, DAYS),
}  # fmt: skip
PRODUCTS = {
    ("number", "number"), ("number", DAYS), (DAYS, "number"), ("number", MONTHS),
    (MONTHS, "number"),
}  # fmt: skip
QUOTIENTS = {
    ("number", "number"), (DAYS, "number"), (MONTHS, "number"), (DAYS, DAYS), (MONTHS, MONTHS),
}  # fmt: skip
POWERS = {("number", "number")}
ORDERED = {(each, each) for each in (*KINDS,)} - {
    (each, each) for each in ("null", "boolean", "list", "context", "range", "function")
}


@pytest.mark.parametrize(
    ("operator", "defined"),
    [
        (op.add, SUMS),
        (op.subtract, DIFFERENCES),
        (op.multiply, PRODUCTS),
        (op.divide, QUOTIENTS),
        (op.power, POWERS),
        (op.compare, ORDERED),
    ],
    ids=["add", "subtract", "multiply", "divide", "power", "compare"],
)
def test_an_operator_is_defined_for_the_types_of_its_table_and_no_others(
    operator: Operator, defined: set[tuple[str, str]]
) -> None:
    for a, b in product(ONE_OF_EACH, repeat=2):
        ev = Evaluation()
        result = operator(ev, a, b)
        # One of the two is local, so their difference is an error of its own.
        expected = (op.kind_of(a), op.kind_of(b)) in defined
        assert (result is not None) is expected, (op.kind_of(a), op.kind_of(b))
        assert bool(ev.problems) is not expected


def test_values_of_different_types_are_neither_equal_nor_not() -> None:
    for a, b in product(ONE_OF_EACH, repeat=2):
        ev = Evaluation()
        result = op.equal(ev, a, b)
        if a is None or b is None or op.kind_of(a) == op.kind_of(b):
            assert result is (a is b)
        else:
            assert result is None
            assert ev.problems


TRUTHS: list[Value] = [True, False, None, Decimal(1)]


@pytest.mark.parametrize(("a", "b"), list(product(TRUTHS, repeat=2)))
def test_logic_has_three_values(a: Value, b: Value) -> None:
    known_a, known_b = (each if isinstance(each, bool) else None for each in (a, b))
    conjunction = False if False in {known_a, known_b} else None
    disjunction = True if True in {known_a, known_b} else None
    assert op.and_(a, b) is (True if known_a and known_b else conjunction)
    assert op.or_(a, b) is (False if (known_a, known_b) == (False, False) else disjunction)
    assert op.not_(a) is {True: False, False: True, None: None}[known_a]


@pytest.mark.parametrize(
    ("operator", "a", "b", "result"),
    [
        (op.add, "2021-01-01T24:00:00", "-PT1S", "2021-01-01T23:59:59"),
        (op.add, "2021-01-01", "PT36H", "2021-01-02"),
        (op.subtract, "2021-01-01", "PT36H", "2020-12-30"),
        (op.add, "P1M", "2021-01-31", "2021-02-28"),
        (op.subtract, "2021-03-31T10:00:00Z", "P1M", "2021-02-28T10:00:00Z"),
        (op.add, "2021-10-30T02:30:00@Europe/Paris", "P1D", "2021-10-31T02:30:00@Europe/Paris"),
        (op.add, "2021-10-30T04:30:00@Europe/Paris", "P1D", "2021-10-31T03:30:00@Europe/Paris"),
        (op.add, "23:30:00@Europe/Paris", "PT1H", "00:30:00@Europe/Paris"),
        (op.subtract, "00:30:00+02:00", "PT1H", "23:30:00+02:00"),
        (op.subtract, "10:00:00", "11:00:00", "-PT1H"),
        (op.subtract, "10:00:00Z", "11:00:00+01:00", "PT0S"),
        (op.subtract, "10:00:00@Europe/Paris", "09:00:00@Europe/Paris", "PT1H"),
        (op.subtract, "10:00:00@Asia/Dhaka", "04:00:00Z", "PT0S"),
        (op.subtract, "2021-01-02T00:00:00Z", "2021-01-02", "PT0S"),
        (op.subtract, "2021-01-02", "2021-01-01T00:00:00+02:00", "P1DT2H"),
        (op.subtract, "2021-01-02T00:00:00", "2021-01-01T23:59:59.999999999", "PT0.000000001S"),
        (op.subtract, "P1Y", "P13M", "-P1M"),
        (op.subtract, "PT1S", "PT2S", "-PT1S"),
    ],
)
def test_dates_times_and_durations_add_up(operator: Operator, a: str, b: str, result: str) -> None:
    ev = Evaluation()
    assert str(operator(ev, at(a), at(b))) == result
    assert not ev.problems


@pytest.mark.parametrize(
    ("operator", "a", "b"),
    [
        (op.subtract, at("2021-01-01T00:00:00"), at("2021-01-02")),
        (op.subtract, at("2021-01-01T00:00:00Z"), at("2021-01-02T00:00:00")),
        (op.add, at("999999999-12-31"), at("P1D")),
        (op.subtract, at("-999999999-01-01T00:00:00"), at("P1M")),
        (op.subtract, at("-999999999-01-01"), at("P1M")),
        (op.add, at("2021-01-01"), Days(10**41)),
        (op.add, Days(10**40), Days(10**40)),
        (op.add, Months(10**40), Months(10**40)),
        (op.multiply, at("P1D"), Decimal("1e6000")),
        (op.multiply, at("P1D"), Decimal("1e6140")),
        (op.divide, at("P1D"), Decimal(0)),
        (op.divide, at("P1D"), at("P0D")),
        (op.divide, at("P1Y"), at("P0M")),
    ],
)
def test_what_leaves_the_range_is_null_and_told(operator: Operator, a: Value, b: Value) -> None:
    ev = Evaluation()
    assert operator(ev, a, b) is None
    assert ev.problems


@pytest.mark.parametrize(
    ("operator", "a", "b", "result"),
    [
        (op.multiply, at("P1Y11M"), Decimal("-2.5"), at("-P4Y9M")),
        (op.multiply, Decimal("1.5"), at("P4DT1H"), at("P6DT1H30M")),
        (op.divide, at("P10Y11M"), Decimal("2.5"), at("P4Y4M")),
        (op.divide, at("P1D"), at("PT8H"), Decimal(3)),
        (op.divide, at("P1Y"), at("P5M"), Decimal("2.4")),
        (op.divide, Days(10), Decimal(3), Days(3)),
    ],
)
def test_durations_are_multiplied_and_divided(
    operator: Operator, a: Value, b: Value, result: Value
) -> None:
    assert operator(Evaluation(), a, b) == result


def test_negation_is_of_numbers_and_durations() -> None:
    ev = Evaluation()
    assert op.negate(ev, Decimal(1)) == -1
    assert str(op.negate(ev, Decimal(0))) == "0"
    assert op.negate(ev, Days(1)) == Days(-1)
    assert op.negate(ev, Months(1)) == Months(-1)
    assert not ev.problems
    assert op.negate(ev, "1") is None
    assert ev.problems


@pytest.mark.parametrize(
    ("a", "b", "order"),
    [
        ("10:30:00.0001", "10:30:00.0002", 0),
        ("10:30:00", "10:30:00Z", 0),
        ("10:30:00Z", "11:30:00+01:00", 0),
        ("10:30:00@Europe/Paris", "10:30:00@Asia/Dhaka", 1),
        ("2018-10-08T00:00:00+02:00", "2018-10-08T00:00:00@Europe/Paris", 0),
        ("2018-12-08T00:00:00@Europe/Paris", "2018-12-08T00:00:00@Asia/Dhaka", 1),
        ("2018-12-08T00:00:00", "2018-12-08T01:00:00Z", -1),
        ("2018-12-08T00:00:00.9", "2018-12-08T00:00:00.1", 0),
        ("2018-12-08", "2018-12-09", -1),
        ("P1D", "PT24H", 0),
        ("P1Y", "P13M", -1),
    ],
)
def test_times_compare_by_whole_seconds_of_one_clock(a: str, b: str, order: int) -> None:
    ev = Evaluation()
    assert op.compare(ev, at(a), at(b)) == order
    assert op.compare(ev, at(b), at(a)) == -order
    assert op.equal(ev, at(a), at(b)) is (order == 0)


FINITE = st.decimals(allow_nan=False, allow_infinity=False)
ORDERABLE = (DATES, TIMES, DATE_TIMES, st.text(max_size=3), FINITE)


@given(st.one_of(*(st.tuples(each, each) for each in ORDERABLE)))
def test_order_and_equality_agree(pair: tuple[Value, Value]) -> None:
    a, b = pair
    ev = Evaluation()
    order, reverse = op.compare(ev, a, b), op.compare(ev, b, a)
    assert order is not None
    assert reverse == -order
    assert op.equal(ev, a, b) is (order == 0)
    assert op.compare(ev, a, a) == 0


def rng(low: int, high: int, *, ends: str = "[]") -> Range:
    return Range(Decimal(low), Decimal(high), has_low=ends[0] == "[", has_high=ends[1] == "]")


def one_sided(operator: RangeOperator, value: Value) -> Range:
    """Make what `(< 10)` and the like give."""
    if operator in {"<", "<="}:
        return Range(None, value, has_low=False, has_high=operator == "<=", operator=operator)
    if operator in {">", ">="}:
        return Range(value, None, has_low=operator == ">=", has_high=False, operator=operator)
    has_ends = operator == "="
    return Range(value, value, has_low=has_ends, has_high=has_ends, operator=operator)


@pytest.mark.parametrize(
    ("test", "inside"),
    [
        (rng(1, 3), [1, 2, 3]),
        (rng(1, 3, ends="()"), [2]),
        (rng(1, 3, ends="(]"), [2, 3]),
        (rng(1, 3, ends="[)"), [1, 2]),
        (one_sided("<", Decimal(2)), [0, 1]),
        (one_sided("<=", Decimal(2)), [0, 1, 2]),
        (one_sided(">", Decimal(2)), [3, 4]),
        (one_sided(">=", Decimal(2)), [2, 3, 4]),
        (one_sided("=", Decimal(2)), [2]),
        (one_sided("!=", Decimal(2)), [0, 1, 3, 4]),
        (Decimal(2), [2]),
        ([Decimal(1), Decimal(4)], [1, 4]),
        ([rng(0, 1), rng(3, 4)], [0, 1, 3, 4]),
        ([Decimal(0), "text", None], [0]),
    ],
)
def test_a_number_is_in_a_test_or_not(test: Value, inside: list[int]) -> None:
    ev = Evaluation()
    assert [each for each in range(5) if op.is_in(ev, Decimal(each), test)] == inside
    assert not ev.problems


@pytest.mark.parametrize(
    ("value", "test", "result"),
    [
        (None, rng(1, 10), None),
        (Decimal(5), Range(None, Decimal(10), has_low=False, has_high=True), None),
        (Decimal(5), Range(Decimal(1), None, has_low=True, has_high=False), None),
        ("a", rng(1, 10), None),
        ("a", [rng(1, 10)], None),
        ("a", ["a", rng(1, 10)], True),
        ("a", Decimal(1), None),
        (Decimal(1), one_sided("=", "a"), None),
        (Decimal(1), one_sided("!=", "a"), None),
        (True, [False, Decimal(2)], False),
        (None, [Decimal(1), None], True),
        (None, None, True),
        ([Decimal(1)], [[Decimal(1)], [Decimal(2)]], True),
        ([Decimal(1), Decimal(2)], [Decimal(1), Decimal(2)], True),
        (rng(1, 2), rng(1, 2), True),
        (rng(1, 2), rng(1, 3), False),
        (rng(1, 2), [rng(1, 2)], True),
        ({"a": Decimal(1)}, [{"a": Decimal(1)}], True),
    ],
)
def test_membership_where_types_differ_or_values_are_many(
    value: Value, test: Value, result: bool | None
) -> None:
    assert op.is_in(Evaluation(), value, test) is result


@pytest.mark.parametrize(
    ("a", "b", "result"),
    [
        ([Decimal(1), None], [Decimal(1), None], True),
        ([Decimal(1)], [Decimal(1), Decimal(1)], False),
        ([Decimal(1), "a"], ["a", Decimal(1)], None),
        (["a", Decimal(1)], [Decimal(1), Decimal(2)], False),
        ({"a": Decimal(1), "b": None}, {"b": None, "a": Decimal("1.0")}, True),
        ({"a": Decimal(1)}, {"b": Decimal(1)}, False),
        (rng(1, 2), rng(1, 2, ends="[)"), False),
        (one_sided("<", Decimal(1)), Range(None, Decimal(1), has_low=False, has_high=False), False),
        (one_sided("=", Decimal(1)), one_sided("=", Decimal(1)), True),
        (one_sided("=", Decimal(1)), rng(1, 1), False),
        (BUILTINS["abs"], BUILTINS["abs"], True),
        (BUILTINS["abs"], BUILTINS["date"], False),
        (Time(0, 0), Time(0, 0), True),
    ],
)
def test_equality_goes_into_lists_contexts_and_ranges(
    a: Value, b: Value, result: bool | None
) -> None:
    assert op.same(Evaluation(), a, b) is result


def test_values_that_are_nested_too_deep_end_the_evaluation() -> None:
    deep: Value = []
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(Exhausted):
        op.equal(Evaluation(), deep, [deep])


def test_adding_strings_is_bounded() -> None:
    with pytest.raises(Exhausted):
        op.add(Evaluation(), "a" * 600_000, "a" * 600_000)


def test_reading_a_long_string_takes_steps() -> None:
    long = "a" * 500_000
    for operator in (op.equal, op.compare, op.add):
        ev = Evaluation()
        assert operator(ev, long, long) is not None
        assert ev.steps < Evaluation().steps - 400
