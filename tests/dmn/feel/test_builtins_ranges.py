"""Relations of ranges, against each other and against their points."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from dmn.feel.samples import RANGES
from federlib.dmn.feel.builtins import BUILTINS
from federlib.dmn.feel.calls import invoke
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.values import Range

PAIRS = [
    ("before", "after"),
    ("meets", "met by"),
    ("overlaps before", "overlaps after"),
    ("finishes", "finished by"),
    ("starts", "started by"),
    ("during", "includes"),
    ("overlaps", "overlaps"),
    ("coincides", "coincides"),
]


@given(RANGES, RANGES, st.sampled_from(PAIRS))
def test_each_relation_of_ranges_is_another_turned_round(
    a: Range, b: Range, pair: tuple[str, str]
) -> None:
    ev = Evaluation()
    assert invoke(ev, BUILTINS[pair[0]], [a, b]) is invoke(ev, BUILTINS[pair[1]], [b, a])


@given(RANGES, RANGES)
def test_two_ranges_are_apart_or_overlap(a: Range, b: Range) -> None:
    ev = Evaluation()
    holds = [invoke(ev, BUILTINS[name], [a, b]) for name in ("before", "after", "overlaps")]
    assert holds.count(True) == 1


@given(RANGES, RANGES)
def test_what_lies_in_the_inner_range_lies_in_the_outer(a: Range, b: Range) -> None:
    ev = Evaluation()
    if invoke(ev, BUILTINS["includes"], [a, b]):
        for quarter in range(17):
            point = Decimal(quarter) / 4
            if invoke(ev, BUILTINS["includes"], [b, point]):
                assert invoke(ev, BUILTINS["includes"], [a, point])
