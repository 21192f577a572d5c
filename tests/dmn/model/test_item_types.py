"""Types that models define: what a value must be, and what it must pass."""

from __future__ import annotations

import pytest

from dmn.models import ask, decision, model, number
from federlib.dmn.engine.compiled import find_problems
from federlib.dmn.model import ItemDefinition, Parameter


def _ask(kind: str, value: object, *definitions: ItemDefinition) -> object:
    found = model(decision("d", "a", "a"), inputs={"a": kind}, item_definitions=definitions)
    return ask(found, "d", {"a": value})[0]


_SMALL = ItemDefinition("small", "number", allowed="[0..9]")
_SMALLS = ItemDefinition("smalls", "small", is_collection=True)
_EVEN = ItemDefinition("pairs", "smalls", constraint="even(count(?))")
_PERSON = ItemDefinition(
    "person",
    components=(
        ItemDefinition("first name", "string"),
        ItemDefinition("digits", "small", is_collection=True),
    ),
)
_ALL = (_EVEN, _SMALLS, _PERSON, _SMALL)


@pytest.mark.parametrize(
    ("kind", "value", "is_kept"),
    [
        ("small", 5, True),
        ("small", 10, False),
        ("small", None, True),
        ("smalls", [1, 2], True),
        ("smalls", [1, 12], False),
        ("smalls", [1, None], True),
        ("pairs", [1, 2], True),
        ("pairs", [1, 2, 3], False),
        ("pairs", [1, 12], False),
        ("person", {"first name": "Ann", "digits": [1]}, True),
        ("person", {"first name": "Ann", "digits": [1], "more": 1}, True),
        ("person", {"first name": "Ann", "digits": [10]}, False),
        ("person", {"first name": "Ann"}, False),
        ("person", {"first name": 1, "digits": []}, False),
        ("Any", 10, True),
        ("feel:number", 10, True),
        ("date and time", 10, False),
    ],
)
def test_a_value_is_kept_if_its_type_allows_it(kind: str, value: object, is_kept: bool) -> None:
    assert (_ask(kind, value, *_ALL) is not None) is (is_kept and value is not None)


def test_a_problem_says_which_part_is_not_allowed() -> None:
    found = model(decision("d", "a", "a"), inputs={"a": "person"}, item_definitions=_ALL)
    _, problems = ask(found, "d", {"a": {"first name": "Ann", "digits": [1, 10]}})
    assert problems == [
        (
            "input 'a' has an entry 'digits' that has an element 2 that is not an allowed value: "
            "[0..9], so it is null"
        )
    ]


def test_instance_of_asks_for_the_type_and_not_for_allowed_values() -> None:
    found = model(
        decision("d", "[256 instance of small, 1 instance of person]"), item_definitions=_ALL
    )
    assert ask(found, "d")[0] == [True, False]


def test_names_of_components_are_known_in_expressions() -> None:
    found = model(decision("d", "a.first name", "a"), inputs={"a": "person"}, item_definitions=_ALL)
    assert ask(found, "d", {"a": {"first name": "Ann", "digits": []}}) == ("Ann", [])


def test_a_function_type_says_what_a_function_takes_and_gives() -> None:
    kind = ItemDefinition("f", parameters=(Parameter("n", "number"),), result_type="number")
    found = model(
        decision("g", "function(n: number) n + 1", type_ref="f"),
        decision("d", "g(1)", decisions=("g",)),
        decision("w", 'function(n: number) "x"', type_ref="f"),
        item_definitions=(kind,),
    )
    assert ask(found, "d")[0] == number(2)
    assert ask(found, "w")[0] is None


@pytest.mark.parametrize(
    ("definitions", "expected"),
    [
        ((ItemDefinition("t", "nowhere"),), "the type 'nowhere' is defined nowhere"),
        ((ItemDefinition("t", "t"),), "it is defined by itself: t → t"),
        (
            (ItemDefinition("t", "u"), ItemDefinition("u", "t")),
            "it is defined by itself: t → u → t",
        ),
        ((ItemDefinition("t", "number", allowed="> >"),), "allowed values: FEEL"),
        (
            (ItemDefinition("t", "number", components=(ItemDefinition("c"),)),),
            "it is more than one of",
        ),
        (
            (ItemDefinition("t", components=(ItemDefinition("c"), ItemDefinition("c"))),),
            "the component 'c' is there 2 times",
        ),
        ((ItemDefinition("t"), ItemDefinition("t")), "the name 't' is there 2 times"),
    ],
)
def test_what_is_wrong_with_types_is_told(
    definitions: tuple[ItemDefinition, ...], expected: str
) -> None:
    found = find_problems(model(item_definitions=definitions))
    assert any(expected in str(problem) for problem in found)


def test_long_chains_and_deep_trees_of_types_end() -> None:
    chain = tuple(ItemDefinition(f"t{n}", f"t{n + 1}") for n in range(100))
    assert any(
        "more than 64 types" in str(each) for each in find_problems(model(item_definitions=chain))
    )
    deep = ItemDefinition("c")
    for _ in range(100):
        deep = ItemDefinition("c", components=(deep,))
    found = find_problems(model(item_definitions=(deep,)))
    assert any("more than 64 components" in str(each) for each in found)
