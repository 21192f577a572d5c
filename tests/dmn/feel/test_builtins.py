"""Built-in functions beyond the examples of the standard: domains, names, limits."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn.feel.samples import DATES, RANGES
from federlib.dmn.feel import Scope, compile_expression, evaluate
from federlib.dmn.feel.builtins import BUILTINS
from federlib.dmn.feel.calls import invoke, invoke_named
from federlib.dmn.feel.evaluation import Evaluation, Exhausted
from federlib.dmn.feel.temporal import Date, DateTime, Time
from federlib.dmn.feel.values import Function, Value

TRUE = r"""
date(from: "2012-12-25") = date(year: 2012, month: 12, day: 25)
date(date("2012-12-25")) = date("2012-12-25")
date and time(date("2012-12-25")) = date and time("2012-12-25T00:00:00Z")
date and time(date and time("2012-12-25T01:00:00")) = date and time("2012-12-25T01:00:00")
string(date and time(date("2017-01-01"), time("23:59:01@UTC"))) = "2017-01-01T23:59:01@UTC"
time(time("10:00:00")) = time("10:00:00")
time(date("2017-08-10")) = time("00:00:00Z")
time(hour: 11, minute: 59, second: 0) = time("11:59:00")
string(time(12, 59, 1.3, duration("-PT1H"))) = "12:59:01.3-01:00"
number("1", null, null) = 1
number("1.5", " ", ",") = 1.5
number(from: "1,000.5", decimal separator: ".", grouping separator: ",") = 1000.5
number("-1,000,000", ",", ".") = -1000000
string("text") = "text"
string(true) = "true"
string([1, "a", null, {b: "c", "d:e": [ ]}]) = "[1, \"a\", null, {b: \"c\", \"d:e\": []}]"
string([1..2)) = "[1..2)"
string([(< 5)]) = "[(< 5)]"
string([(>= 5)]) = "[(>= 5)]"
string([(= 5)]) = "[(= 5)]"
string([abs, before]) = "[function(n), function before]"
years and months duration(date("2011-12-22"), date("2013-08-21")) = duration("P1Y7M")
years and months duration(date("2013-08-21"), date("2011-12-22")) = duration("-P1Y7M")
string(date("2012-12-25")) = "2012-12-25"
string(duration("P1DT25H")) = "P2DT1H"
duration(duration("P1D")) = duration("P1D")
years and months duration(date("2013-08-24"), date("2011-12-22")) = duration("-P1Y8M")
not(negand: true) = false
substring("foobar", 3, 3.8) = "oba"
substring("foobar", 6, 1) = "r"
substring before("foobar", "f") = ""
substring after("foobar", "") = "foobar"
contains(["foobar"], "oba")
upper case("ß") = "SS"
matches("ab", "A.", "i")
matches("ab", "a", null)
replace("abc", "b", "[$0]") = "a[b]c"
replace("abc", "(b)", "\\$1\\\\") = "a$1\\c"
replace("abc", "(b)", "$12") = "ab2c"
replace("abc", "b", "$1") = "ac"
replace("abcdefghijk", "(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)", "$11$1") = "ka"
replace("aba", "^a|a$", "x") = "xbx"
replace("a\nb", "$", "x", "m") = null
split("abc", "(^)b") = ["abc"]
split("", ";") = [""]
string join("a", "X") = "a"
string join(list: ["a", "b"], delimiter: "X") = "aXb"
list contains([1, null], null)
list contains([1, "2"], 2) = false
list contains(1, 1)
count(list: [1]) = 1
count(5) = 1
min("b", "a") = "a"
max(date("2012-01-01"), date("2013-01-01")) = date("2013-01-01")
min(list: [2, 1]) = 1
sum(list: [0.1, 0.2]) = 0.3
mean(1, 2) = 1.5
mode([1, 1.0, 2]) = [1]
all(list: [true])
sublist([1, 2, 3], -2) = [2, 3]
sublist(list: [1, 2, 3], start position: 2, length: 1) = [2]
append([], null) = [null]
append(1, 2) = [1, 2]
concatenate([1], 2) = [1, 2]
insert before([1, 2], -1, 3) = [1, 3, 2]
remove([1, 2], -1) = [1]
list replace([1, 2], -1, null) = [1, null]
list replace(list: [1, 2], position: 1, newItem: 3) = [3, 2]
list replace(list: [1, 2], match: function(i, n) i = 2, newItem: 3) = [1, 3]
list replace([], function(i, n) true, 3) = []
index of([1, null, 1], null) = [2]
union([1], [1, "1"], [null, null]) = [1, "1", null]
distinct values([{a: 1}, {a: 1.0}, [1], [1], true, 1]) = [{a: 1}, [1], true, 1]
flatten([]) = []
sort([3, 1, 2]) = [1, 2, 3]
sort(["b", "a"], function(x, y) x < y) = ["a", "b"]
sort([{k: 2, v: 1}, {k: 1, v: 2}, {k: 1, v: 3}], function(x, y) x.k < y.k).v = [2, 3, 1]
decimal(2.5, 0) = 2
decimal(123.456, -2) = 100
decimal(1, 6176) = 1
string(decimal(1.1, 2)) = "1.10"
floor(n: 1.56, scale: 1) = 1.5
round up(0.0003, 0) = 1
round half down(0.5, 0) = 0
round half up(-0.5, 0) = -1
abs(duration("-P1Y")) = duration("P1Y")
modulo(1e40, 3) = 1e40 - 3 * floor(1e40 / 3)
modulo(0, -5) = 0
odd(-3)
even(1e40)
decimal(log(number: exp(number: 1)), 30) = 1
is([1, {a: "x"}], [1, {a: "x"}])
is([1], [1, 2]) = false
is({a: 1}, {a: 2}) = false
is("1", 1) = false
is(null, null)
is(abs, abs)
is(time("10:00:00@Etc/UTC"), time("10:00:00Z")) = false
is(time("10:00:00.5"), time("10:00:00")) = false
before(point: 1, range: [2..3])
after(range: [2..3], point: 1)
coincides(point1: 1, point2: 1)
includes(range: [1..3], point: 2)
during(range1: [2..3], range2: [1..4])
before((< 5), 5)
before((< 5), (> 5))
before((<= 5), 5) = false
includes((> 5), [6..7])
includes((> 5), (> 6))
includes((< 5), [1..3])
includes([1..3], (< 5)) = false
includes([1..3], (> 1)) = false
during([6..7], (> 5))
starts((< 5), (< 9))
coincides((< 5), (< 5))
coincides((< 5), [1..5)) = false
finishes((> 5), (> 3))
meets((<= 5), [5..6])
meets((< 5), [5..6]) = false
overlaps((> 5), [1..6])
starts(5, (>= 5))
finishes(5, (> 5)) = false
overlaps before((< 5), [3..9])
range("[.5..1.5]") = [.5..1.5]
range("(\"a\\\"..b\"..\"z\")") = ("a\"..b".."z")
range("[\"\\u0041\"..\"\\U000042\"]") = ["A".."B"]
get entries({}) = []
get value(key: "a", m: {a: 1}) = 1
context([]) = {}
context({key: "a", value: null}) = {a: null}
context put(context: {}, keys: ["a"], value: 1) = {a: 1}
context put({a: null}, "a", 1) = {a: 1}
context merge({a: 1}) = {a: 1}
day of week(date: date and time("2019-09-17T10:00:00")) = "Tuesday"
day of year(date(-999999999, 12, 31)) = 365
""".strip().split("\n")


@pytest.mark.parametrize("text", TRUE)
def test_this_is_true(text: str) -> None:
    assert evaluate(text) is True


NULL = r"""
date("")
date(null)
date(2017, 2, 29)
date(2017.5, 1, 1)
date(1000000000, 1, 1)
date(2017, 1)
date(year: 2017)
date and time(null, null)
date and time(date("2017-08-10"), null)
time("x")
time(24, 0, 0)
time(-1, 0, 0)
time(1, 60, 0)
time(1, 0, 60)
time(1, 1.5, 0)
time(1, 0, 0, duration("PT15H"))
time(1, 0, 0, duration("PT0.5S"))
number("1")
number("1", "#", ".")
number("1", ",", "#")
number("1", ",", ",")
number("x", ",", ".")
number(null, ",", ".")
number("1e999999", ",", ".")
string(null)
duration("P1Y1D")
duration(1)
years and months duration(date("2017-01-01"), null)
not(1)
substring("foobar", 0)
substring("foobar", 7)
substring("foobar", -7)
substring("foobar", 1.5)
substring("foobar", 3, 0)
substring("foobar", 3, 5)
substring("foobar", 1, null)
matches("a", "[")
matches(["a", "b"], "a")
replace("abc", "x*", "y")
replace("abc", "b", "$")
replace("abc", "b", "\\")
replace("abc", "b", "\\x")
replace("abc", "[", "x")
split("abc", "x*")
split("abc", "[")
string join([1], "X")
string join(null)
list contains(null, 1)
count(null)
min([1, "a"])
min([true])
max(null)
min([null, 1])
sum([1, "a"])
sum(null)
stddev([1])
mode([1, "a"])
all(1)
any([1, true])
sublist([1, 2], 0)
sublist([1, 2], 3)
sublist([1, 2], 1, 3)
append(null, 1)
concatenate([1], null)
union([1], null)
insert before([1], 0, 1)
insert before([], 1, 1)
remove([1], 2)
list replace([1], 2, 1)
list replace([1], 0, 1)
list replace([1], "1", 1)
list replace([1], function(i, n) 5, 1)
list replace([1], function(i) true, 1)
sort([1, "a"])
sort([1, 2], function(x) x)
sort([1, 2], function(x, y) "no")
decimal(1, 6177)
decimal(1, -6112)
decimal(null, 1)
floor("1")
modulo(1, 0)
sqrt(-1)
log(0)
exp(100000)
odd(1.5)
abs("1")
before(1, "a")
before([1..2], ["a".."b"])
starts(1, 2)
starts("a", [1..2])
coincides(1, "a")
coincides(1, [1..2])
meets(1, [1..2])
includes(1, [1..2])
starts([1..2], 1)
finished by(1, [1..2])
during([1..2], 1)
range("")
range("[1..2")
range("[1,2]")
range("[2..1]")
range("[1..\"a\"]")
range("[null..2]")
range("[date \"2012-01-01\"..@\"2012-01-02\"]")
range("[@(\"2012-01-01\")..@\"2012-01-02\"]")
range("[date(\"2012-01-01\"..@\"2012-01-02\"]")
get value({a: 1}, 1)
get value(null, "a")
get entries(1)
context([{key: 1, value: 2}])
context([{key: "a", value: 1}, {key: "a", value: 2}])
context([1])
context put({}, [], 1)
context put({}, ["a", 1], 1)
context put({}, ["a", "b"], 1)
context put({}, 1, 1)
context put(context: {}, key: ["a", "b"], value: 1)
context merge([1])
day of year("x")
week of year(null)
abs()
abs(1, 2)
abs(x: 1)
now(1)
is(1)
""".strip().split("\n")


@pytest.mark.parametrize("text", NULL)
def test_what_is_outside_the_domain_is_null_and_told(text: str) -> None:
    ev = Evaluation(now_ns=0)
    expression = compile_expression(text, Scope({}))
    assert expression.evaluate(ev, {}) is None
    assert ev.problems


def test_the_clock_is_what_the_evaluation_says() -> None:
    ev = Evaluation(now_ns=1_767_225_600_000_000_001)
    now = invoke(ev, BUILTINS["now"], [])
    assert now == DateTime(Date(2026, 1, 1), Time(1, 0))
    assert invoke(ev, BUILTINS["today"], []) == Date(2026, 1, 1)
    for now_ns in (None, 10**30):
        blind = Evaluation(now_ns=now_ns)
        assert invoke(blind, BUILTINS["now"], []) is None
        assert invoke(blind, BUILTINS["today"], []) is None
        assert len(blind.problems) == 2


def test_calls_by_position_and_by_name() -> None:
    def sees(_ev: Evaluation, arguments: object) -> Value:
        assert isinstance(arguments, list)
        return list(arguments)

    ev = Evaluation()
    plain = Function("plain", ("a", "b"), sees, optional=1)
    many = Function("many", ("a", "rest"), sees, is_variadic=True)
    assert invoke(ev, plain, [Decimal(1)]) == [Decimal(1), None]
    assert invoke_named(ev, plain, {"b": Decimal(1)}) == [None, Decimal(1)]
    assert invoke(ev, many, [True, Decimal(1), Decimal(2)]) == [True, [Decimal(1), Decimal(2)]]
    assert invoke_named(ev, many, {"a": True, "rest": Decimal(1)}) == [True, [Decimal(1)]]
    assert invoke_named(ev, many, {"a": True, "rest": [Decimal(1)]}) == [True, [Decimal(1)]]
    assert not ev.problems
    assert invoke(ev, plain, []) is None
    assert invoke(ev, many, [True]) is None
    assert invoke(ev, "text", []) is None
    assert invoke_named(ev, None, {}) is None
    assert invoke_named(ev, plain, {"c": None}) is None
    assert len(ev.problems) == 5


BIG = "$0" * 300_000
LONG: list[Value] = [Decimal(1)] * 400_000
TOO_LARGE: list[tuple[str, list[Value]]] = [
    ("replace", ["ab" * 500, "[ab]", "x" * 2000]),
    ("string", [[BIG, BIG]]),
    ("string join", [[BIG, BIG]]),
    ("flatten", [[LONG, LONG, LONG]]),
    ("concatenate", [LONG, LONG, LONG]),
    ("sum", [[*LONG, *LONG, *LONG]]),
]


@pytest.mark.parametrize(("name", "arguments"), TOO_LARGE, ids=[name for name, _ in TOO_LARGE])
def test_what_would_grow_too_large_ends_the_evaluation(name: str, arguments: list[Value]) -> None:
    with pytest.raises(Exhausted):
        invoke(Evaluation(), BUILTINS[name], arguments)


def test_what_is_nested_too_deep_ends_the_evaluation() -> None:
    deep: list[Value] = []
    for _ in range(1000):
        deep = [deep]
    calls: list[tuple[str, list[Value]]] = [
        ("flatten", [[deep, deep]]),
        ("string", [deep]),
        ("is", [deep, deep]),
    ]
    for name, arguments in calls:
        with pytest.raises(Exhausted):
            invoke(Evaluation(), BUILTINS[name], arguments)
    keys: list[Value] = ["a"] * 1000
    assert invoke(Evaluation(), BUILTINS["context put"], [{}, keys, None]) is None


@given(st.lists(DATES | st.integers(0, 9).map(Decimal) | st.text("ab", max_size=2), max_size=8))
def test_distinct_values_are_those_that_one_by_one_remain(values: list[Value]) -> None:
    ev = Evaluation()
    kept: list[Value] = []
    for each in values:
        if invoke(ev, BUILTINS["list contains"], [kept, each]) is False:
            kept.append(each)
    assert invoke(ev, BUILTINS["distinct values"], [values]) == kept


ANYTHING: st.SearchStrategy[Value] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3).map(Decimal)
    | st.sampled_from([Decimal("1e6000"), Decimal("1e-6000"), Decimal("1.5")])
    | st.text("a(*1.,\\$", max_size=4)
    | DATES
    | RANGES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["key", "value", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(st.sampled_from(sorted(BUILTINS)), st.lists(ANYTHING, max_size=4))
def test_no_function_fails_other_than_by_null(name: str, arguments: list[Value]) -> None:
    ev = Evaluation(now_ns=0)
    try:
        invoke(ev, BUILTINS[name], arguments)
    except Exhausted:
        return
