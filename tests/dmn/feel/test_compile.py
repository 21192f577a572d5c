"""What expressions mean, scopes, closures and limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

import pytest

from federlib.dmn.feel import (
    ANY,
    LIST,
    NUMBER,
    STRING,
    ContextType,
    Evaluation,
    Exhausted,
    FeelSyntaxError,
    Function,
    FunctionType,
    ListType,
    Scope,
    UnknownName,
    Value,
    compile_expression,
    evaluate,
)

FACTS: Mapping[str, Value] = {
    "n": Decimal(3),
    "s": "text",
    "nothing": None,
    "xs": [Decimal(1), Decimal(2), Decimal(3)],
    "mixed": [Decimal(1), "a", None, {"n": Decimal(9)}],
    "people": [
        {"name": "Ann", "age": Decimal(30)},
        {"name": "Bob", "age": Decimal(20), "n": Decimal(0)},
        {"name": "Cy", "age": None},
    ],
}
SCOPE = Scope(dict.fromkeys(FACTS, ANY), strict=False)


def run(text: str, scope: Scope = SCOPE) -> tuple[Value, list[str]]:
    """Evaluate a text; give its value and its problems."""
    ev = Evaluation()
    return compile_expression(text, scope).evaluate(ev, FACTS), ev.problems


def check(text: str, expected: str) -> None:
    """See that two texts have one value."""
    assert run(text)[0] == run(expected)[0], text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # numbers
        ("1e3", "1000"),
        ("-.5", "0 - 0.5"),
        ("0.1 + 0.2", "0.3"),
        ("1 / 3 * 3", "0.9999999999999999999999999999999999"),
        ("10 / 0", "null"),
        ("1e9999", "null"),
        ("1 + null", "null"),
        # strings
        (r'"a\"b" + "\u0041"', r'"a\"bA"'),
        ('"a" + 1', "null"),
        ('"a" < "b"', "true"),
        # comparison
        ("1 = 1.00", "true"),
        ('1 = "1"', "null"),
        ("null = null", "true"),
        ("n != null", "true"),
        ("1 < null", "null"),
        ("1 < 2 and 2 < 3", "true"),
        ("[1, 2] = [1, 2]", "true"),
        ("{a: 1, b: 2} = {b: 2, a: 1}", "true"),
        # three values
        ("true and null", "null"),
        ("false and null", "false"),
        ("null or true", "true"),
        ("null or false", "null"),
        ('true and "a"', "null"),
        ('false and "a"', "false"),
        ("not(null)", "null"),
        # between and in
        ("n between 1 and 3", "true"),
        ("n between 4 and 5", "false"),
        ("null between 1 and 3", "null"),
        ("n in 3", "true"),
        ("n in (1, 2)", "false"),
        ("n in (1, > 2)", "true"),
        ("n in xs", "true"),
        ("n in [[1..2], [3..4]]", "true"),
        ("n in (3..4)", "false"),
        ("n in [3..4)", "true"),
        ("n in ]3..4]", "false"),
        ("n in (!= 3)", "false"),
        ("n in (>= 3)", "true"),
        ("n in (1 + 1) * 2", "false"),
        ("5 in [1..null]", "null"),
        ("null in (< 5)", "null"),
        # if
        ("if n > 2 then 1 else 2", "1"),
        ("if null then 1 else 2", "2"),
        ('if "a" then 1 else 2', "2"),
        # lists and filters
        ("xs[1]", "1"),
        ("xs[-1]", "3"),
        ("xs[0]", "null"),
        ("xs[4]", "null"),
        ("xs[1.5]", "null"),
        ("xs[n]", "3"),
        ("xs[n - 1]", "2"),
        ("xs[item > 1]", "[2, 3]"),
        ("xs[true]", "xs"),
        ("xs[false]", "[]"),
        ("xs[null]", "[]"),
        ("xs[item > n - 1]", "[3]"),
        ("[][1]", "null"),
        ("[3, 2, 1][item]", "null"),
        ("xs[2.0]", "2"),
        ("[][n]", "null"),
        ("[][item > 1]", "[]"),
        ("n[1]", "3"),
        ("n[2]", "null"),
        ("n[item = 3]", "[3]"),
        ("null[1]", "null"),
        ("null[true]", "null"),
        ("people[age > 25].name", '["Ann"]'),
        ("people[name = s]", "[]"),
        ("people[item.age = 20].name", '["Bob"]'),
        ("people[n = 0].name", '["Bob"]'),  # an entry hides what is outside
        ("people[2].n", "0"),
        ("people[age > 10][1].name", '"Ann"'),
        ("[[1, 2], [3]][item[1] = 3]", "[[3]]"),
        ('(for i in [{}] return i)[date("2020-01-01") > @"2019-01-01"]', "[{}]"),
        ("(for i in [{date: function(x) 1}] return i)[date(2) = 1][1].date(3)", "1"),
        ("[{a: 1}, {a: 2}][b = 1]", "[]"),
        ("[{item: 1}, {item: 2}][item >= 2]", "[{item: 2}]"),
        ("[{a: [1, 2]}][a[item = 2] = [2]]", "[{a: [1, 2]}]"),
        # paths
        ("people.age", "[30, 20, null]"),
        ("people[3].age", "null"),
        ("[[{a: 1}], {a: 2}].a", "[[1], 2]"),
        ("{a: {b: {c: 1}}}.a.b.c", "1"),
        ("{a: 1}.b", "null"),
        ("null.a", "null"),
        ("n.a", "null"),
        ('@"2020-02-29".month', "2"),
        ('@"P1DT2H".hours', "2"),
        ("[1..3].end", "3"),
        ("(1..3).start included", "false"),
        # contexts
        ("{a: 1, b: a + 1}", "{a: 1, b: 2}"),
        ("{n: n + 1, m: n}", "{n: 4, m: 4}"),  # the entry hides what is outside, from then on
        ("{a: 1, a: 2}", "null"),
        ('{"a b": 1, c: a b}.c', "1"),
        ("{a: 1, b: {a: 2, c: a}}.b.c", "2"),
        # for
        ("for i in xs return i * 2", "[2, 4, 6]"),
        ("for i in xs, j in [10, 20] return i + j", "[11, 21, 12, 22, 13, 23]"),
        ("for i in [[1], [2, 3]], j in i return j", "[1, 2, 3]"),
        ("for i in 3..1 return i", "[3, 2, 1]"),
        ("for i in n..n return i", "[3]"),
        ("for i in [1..3] return i", "[1, 2, 3]"),
        ("for i in (1..3] return i", "[2, 3]"),
        ("for i in (1..2) return i", "[]"),
        ("for i in [3..1] return i", "null"),
        ("for i in (< 3) return i", "null"),
        ('for i in ["a".."b"] return i', "null"),
        ("for i in [1..null] return i", "null"),
        ("for i in 1.5..3 return i", "null"),
        ("for i in null return i", "null"),
        ("for i in 7 return i", "[7]"),
        ("for i in [] return i", "[]"),
        ("for i in [1], j in null return i", "null"),
        ("for i in [], j in null return i", "[]"),
        ('for d in @"2020-02-28"..@"2020-03-01" return d.day', "[28, 29, 1]"),
        ("for i in 1..5 return if i < 3 then 1 else partial[-1] + partial[-2]", "[1, 1, 2, 3, 5]"),
        ("for i in 1..3 return count(partial)", "[0, 1, 2]"),
        ("for i in 1..3 return partial", "[[], [[]], [[], [[]]]]"),
        ("for i in 1..2 return for j in 1..2 return count(partial)", "[[0, 1], [0, 1]]"),
        ("for i in 1..2 return sum(for j in 1..i return j) + count(partial)", "[1, 4]"),
        ("for i in [1, 2], j in (for k in 1..i return k) return j", "[1, 1, 2]"),
        ("for i in [1, 2], j in (for k in 1..i return partial) return count(partial)", "[0, 1, 2]"),
        ("for the item in xs return the item + 1", "[2, 3, 4]"),
        # some and every
        ("some i in xs satisfies i > 2", "true"),
        ("some i in xs satisfies i > 3", "false"),
        ("every i in xs satisfies i > 0", "true"),
        ("every i in xs satisfies i > 1", "false"),
        ("some i in [] satisfies true", "false"),
        ("every i in [] satisfies false", "true"),
        ("some i in [1, null] satisfies i > 1", "null"),
        ("some i in [null, 2] satisfies i > 1", "true"),
        ("every i in [null, 0] satisfies i > 1", "false"),
        ("every i in [null, 2] satisfies i > 1", "null"),
        ('every i in xs satisfies "a"', "null"),
        ("some i in null satisfies true", "null"),
        ("every i in null satisfies true", "null"),
        ("some i in xs, j in xs satisfies i + j = 6", "true"),
        ("every i in xs, j in [i] satisfies i = j", "true"),
        ("some i in [1, 2], j in (if i = 1 then null else [1]) satisfies true", "null"),
        # functions
        ("(function(a, b) a - b)(5, 3)", "2"),
        ("(function(a, b) a - b)(b: 5, a: 3)", "-2"),
        ("(function(a) a)()", "null"),
        ("(function(a) a)(1, 2)", "null"),
        ("(function(a) a)(b: 1)", "null"),
        ("(function(a) a)(a: 1, a: 2)", "null"),
        ("(function(a: number) a + 1)([1])", "2"),  # a list of one adapts
        ('(function(a: number) 1)("a")', "null"),
        ("(function(a: number) a = null)(null)", "true"),
        ("(function(a: list<number>) a)(1)", "[1]"),
        ("{add: function(x) function(y) x + y, r: add(1)(2)}.r", "3"),
        ("{f: function(n) if n = 0 then 1 else n * f(n - 1), r: f(5)}.r", "120"),
        ("(for i in xs return function() i)[2]()", "2"),  # each sees its own round
        ("{f: for i in xs return function(j) i * j, r: f[3](2)}.r", "6"),
        ("sort(xs, function(a, b) a > b)", "[3, 2, 1]"),
        ("(function(x) external {java: {class: 1}})(1)", "null"),
        ("n(1)", "null"),
        ("unknown function(1)", "null"),
        ("[abs][1](-1)", "1"),
        # instance of
        ("n instance of number", "true"),
        ("[1, 2] instance of list<number>", "true"),
        ("-1 instance of number", "true"),
        ("n instance of what nobody knows", "null"),
        ("{a: 1} instance of context<a: what nobody knows>", "null"),
        # literals after @
        ('@"2020-01-01" < @"2020-01-02"', "true"),
        ('@"nothing"', "null"),
        ('@"2021-02-29"', "null"),
        # ranges as values
        ("(< 5) = (< 5)", "true"),
        ("(< 5) = (null..5)", "false"),
        ("(>= 5).start", "5"),
        ("(> 5).start included", "false"),
        ("(= 5) = (= 5)", "true"),
        ("(= 5) = [5..5]", "false"),
        ("(!= 5) = (!= 5)", "true"),
        ("(<= 5).end included", "true"),
        ("[1..2] = [1..2]", "true"),
        ("[1..2] = [1..2)", "false"),
        ('[1.."a"]', "null"),
    ],
)
def test_expression_row(text: str, expected: str) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nobody", "nothing is called nobody"),
        ("{a: 1}.b", "a context has no entry b"),
        ("n.weekday", "number has no property weekday"),
        ("xs[7]", "a list of 3 has no element 7"),
        ("null[1]", "null cannot be filtered"),
        ("n(1)", "number is no function"),
        ("for i in null return i", "null cannot be run over"),
        ('for i in "a".."b" return i', "from string to string there are no steps of one"),
        ("{a: 1, a: 1}", "a context has two entries 'a'"),
        ('(function(a: number) 1)("a")', "a function takes number, not string"),
        ("function(a: number) external 1", None),
        ("(function(a: number) external 1)(1)", "functions in Java and PMML are not supported"),
        ("1 instance of foo", "there is no type foo"),
        ('@"x"', '@"x" is no date, time or duration'),
        ("1e9999", "1e9999 is larger than a number may be"),
    ],
)
def test_an_error_is_null_and_told(text: str, problem: str | None) -> None:
    value, problems = run(text)
    if problem is None:
        assert isinstance(value, Function)
        assert problems == []
    else:
        assert value is None
        assert problem in "; ".join(problems)


def test_a_fact_that_is_missing_is_null_and_told() -> None:
    ev = Evaluation()
    assert compile_expression("cpu", Scope({"cpu": NUMBER})).evaluate(ev, {}) is None
    assert ev.problems == ["there is no fact cpu"]


def test_only_facts_that_are_used_are_looked_up() -> None:
    class Facts(Mapping[str, Value]):
        def __getitem__(self, name: str) -> Value:
            asked.append(name)
            return Decimal(1)

        def __iter__(self) -> Iterator[str]:
            return iter(())

        def __len__(self) -> int:
            return 0

    asked: list[str] = []
    expression = compile_expression("if a = 1 then b else c", Scope(dict.fromkeys("abc", ANY)))
    assert expression.evaluate(Evaluation(), Facts()) == Decimal(1)
    assert asked == ["a", "b"]


def test_inner_scopes_hide_outer_ones() -> None:
    outer = Scope({"a": NUMBER, "b": NUMBER}, {"tA": NUMBER})
    inner = outer.nested({"a": STRING, "a b": NUMBER})
    assert inner.all_names == {"a": STRING, "b": NUMBER, "a b": NUMBER}
    expression = compile_expression("a b + b instance of tA", inner)
    assert expression.text == "a b + b instance of tA"
    with pytest.raises(FeelSyntaxError):
        compile_expression("a b", outer)


def test_a_context_may_have_more_entries_than_its_type_says() -> None:
    names = {"pools": ListType(ContextType({"name": STRING}))}
    facts: Mapping[str, Value] = {"pools": [{"name": "a", "load": Decimal(1)}]}
    lax = compile_expression("pools[load = 1].load", Scope(names, strict=False))
    assert lax.evaluate(Evaluation(), facts) == [Decimal(1)]
    with pytest.raises(UnknownName):
        compile_expression("pools[load = 1]", Scope(names))


def test_a_fact_may_have_the_name_of_a_function() -> None:
    assert evaluate("count + 1", {"count": 1}) == Decimal(2)
    assert evaluate("count([1, 2]) + count", {"count": 1}) == Decimal(3)
    assert evaluate("date and time(date)", {"date": "2020-01-01T00:00:00"}) == evaluate(
        '@"2020-01-01T00:00:00"'
    )


def test_facts_of_python_are_taken_as_they_are() -> None:
    facts: dict[str, object] = {
        "queue depth": 7,
        "pools": [{"pool name": "a", "load": 0.1}, {"pool name": "b", "load": 0.7}],
    }
    assert evaluate("pools[load > 0.5].pool name", facts) == ["b"]
    assert evaluate("queue depth + sum(pools.load)", facts) == Decimal("7.8")
    with pytest.raises(UnknownName, match="queue depth"):
        evaluate("queue dept", facts)
    assert evaluate('now() > @"1970-01-01T00:00:00Z"', now_ns=10**9) is True
    assert evaluate("now()") is None


def test_the_clock_is_that_of_the_evaluation() -> None:
    today = compile_expression("today()")
    assert today.evaluate(Evaluation(now_ns=0), {}) == evaluate('@"1970-01-01"')
    ev = Evaluation()
    assert today.evaluate(ev, {}) is None
    assert ev.problems


@pytest.mark.parametrize(
    "text",
    [
        "for i in 1..100000000 return i",
        "for i in 1..1000, j in 1..1000, k in 1..1000 return 1",
        "some i in 1..1000, j in 1..10000 satisfies i < 0",
        "count((for i in 1..2000 return i)[count((for j in 1..2000 return j)[item > 0]) > 0])",
        "{f: function(n) f(n - 1) + f(n - 2), r: f(30)}.r",
        "{f: function(n) f(n), r: f(1)}.r",
        "{f: function(n) if n = 0 then 0 else f(n - 1) + f(n - 1), r: f(40)}.r",
        "for i in 1..100000 return partial",
        "(for i in 1..60 return if i = 1 then [1, 1] else concatenate(partial[-1], partial[-1]))",
        '(for i in 1..60 return if i = 1 then "ab" else partial[-1] + partial[-1])',
    ],
)
def test_an_evaluation_ends_in_time(text: str) -> None:
    with pytest.raises(Exhausted):
        compile_expression(text).evaluate(Evaluation(steps=200_000), {})
    assert evaluate("1") == Decimal(1)


def test_what_takes_too_much_is_null_when_it_is_evaluated_at_once() -> None:
    assert evaluate("for i in 1..100000000 return i") is None


def test_calls_of_calls_have_a_limit_of_their_own() -> None:
    text = "{f: function(n) if n = 0 then 0 else 1 + f(n - 1), r: f(depth)}.r"
    expression = compile_expression(text, Scope({"depth": NUMBER}))
    assert expression.evaluate(Evaluation(), {"depth": Decimal(99)}) == Decimal(99)
    with pytest.raises(Exhausted, match="100 functions"):
        expression.evaluate(Evaluation(), {"depth": Decimal(100)})


def test_a_deep_body_that_calls_itself_ends_as_well() -> None:
    body = "(" * 50 + "1 + if true then f(n) else 0" + ")" * 50
    with pytest.raises(Exhausted):
        compile_expression(f"{{f: function(n) {'1 + (' * 50}f(n){')' * 50}, r: f(1)}}.r").evaluate(
            Evaluation(), {}
        )
    with pytest.raises(Exhausted):
        compile_expression(f"{{f: function(n) {body}, r: f(1)}}.r").evaluate(Evaluation(), {})


def test_values_are_never_changed_once_built() -> None:
    expression = compile_expression("[1, 2]")
    first = expression.evaluate(Evaluation(), {})
    append = compile_expression("append(xs, 4)", Scope({"xs": LIST}))
    xs: list[Value] = [Decimal(1)]
    assert append.evaluate(Evaluation(), {"xs": xs}) == [Decimal(1), Decimal(4)]
    assert xs == [Decimal(1)]
    assert expression.evaluate(Evaluation(), {}) == first


def test_functions_know_their_types() -> None:
    value, _ = run("function(a: number, b: list<string>) a + 1")
    assert isinstance(value, Function)
    assert value.parameters == ("a", "b")
    assert value.type == FunctionType((NUMBER, ListType(STRING)), NUMBER)


def test_expressions_know_their_types() -> None:
    scope = Scope({"n": NUMBER, "who": ContextType({"name": STRING})})
    for text, kind in {
        "n + 1": NUMBER,
        'who.name + "a"': STRING,
        "[n, 1]": ListType(NUMBER),
        "[n, 1][1]": NUMBER,
        "{a: n}": ContextType({"a": NUMBER}),
        "for i in [who] return i.name": ListType(STRING),
        "for i in 1..2 return i": ListType(NUMBER),
        "if true then n else null": NUMBER,
        'if true then n else "a"': ANY,
        "(function(a: number) a)(1)": NUMBER,
    }.items():
        assert compile_expression(text, scope).tree.type == kind, text


def test_values_and_types_that_stand_in_very_many_places_are_looked_at_once() -> None:
    doubled = ", ".join(f"x{i}: [x{i - 1}, x{i - 1}]" for i in range(1, 60))
    twins = ", ".join(
        f"p{i}: {{x: p{i - 1}, y: p{i - 1}}}, q{i}: {{x: q{i - 1}, y: q{i - 1}}}"
        for i in range(1, 60)
    )
    lists = "list<" * 50 + "number" + ">" * 50
    for text, value in {
        f"{{x0: 1, {doubled}, r: x50 instance of {lists}}}.r": True,
        f"{{x0: 1, {doubled}, r: (function(a: {lists}) 1)(x50)}}.r": Decimal(1),
        f"{{p0: 1, q0: 1, {twins}, r: count([p59, q59])}}.r": Decimal(2),
        f"{{p0: 1, q0: 1, {twins}, r: if true then p59.x.x.x.x else q59}}.r = null": False,
        f"{{p0: 1, q0: 1, {twins}, r: (function() p59)().x.y = null}}.r": False,
    }.items():
        assert compile_expression(text).evaluate(Evaluation(), {}) == value
    equal = compile_expression(f"{{p0: 1, q0: 1, {twins}, r: p59 = q59}}.r")
    with pytest.raises(Exhausted):
        equal.evaluate(Evaluation(), {})
