"""Student's t against printed tables."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from federlib.causal._student import t_quantile, t_tail


@pytest.mark.parametrize(
    ("share", "freedom", "expected"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 5, 2.571),
        (0.975, 10, 2.228),
        (0.975, 30, 2.042),
        (0.975, 1e6, 1.960),
        (0.95, 4, 2.132),
        (0.995, 8, 3.355),
        (0.75, 3, 0.765),
    ],
)
def test_quantiles_are_those_of_the_tables(share: float, freedom: float, expected: float) -> None:
    assert t_quantile(share, freedom) == pytest.approx(expected, abs=6e-4)


def test_with_one_degree_of_freedom_it_is_cauchys() -> None:
    assert t_tail(1.0, 1.0) == pytest.approx(0.25)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.5, 0.9995), st.floats(0.5, 500))
@example(0.5000000000000001, 1.0)
def test_tail_and_quantile_undo_each_other(share: float, freedom: float) -> None:
    assert t_tail(t_quantile(share, freedom), freedom) == pytest.approx(1 - share, abs=1e-9)


def test_far_out_nothing_is_left() -> None:
    assert t_tail(1e200, 3.0) == 0.0
    assert t_tail(0.0, 3.0) == pytest.approx(0.5)
    # So many degrees that the fraction is cut short: still good to four digits.
    assert t_tail(1.0, 1e12) == pytest.approx(0.15866, abs=1e-4)
    assert t_quantile(0.5, 3.0) == pytest.approx(0.0, abs=1e-9)
