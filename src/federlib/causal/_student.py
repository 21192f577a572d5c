"""Quantiles of Student's t, which the standard library does not have.

Source: the incomplete beta function by its continued fraction (DLMF 8.17.22), evaluated by
Lentz's method; the quantile by halving.
"""

from __future__ import annotations

from math import exp, lgamma, log, log1p

__all__ = ["t_quantile", "t_tail"]

_TINY = 1e-300


def t_tail(value: float, freedom: float) -> float:
    """Return the chance that a t variable lies above `value`, which is 0 or more.

    Args:
        value: 0 or more.
        freedom: Degrees of freedom, above 0; need not be whole.
    """
    if value > 1e150:
        return 0.0
    square = value * value
    # Both shares, as near 0 one minus the other would have no digits left.
    total = freedom + square
    return 0.5 * _beta(freedom / 2, 0.5, freedom / total, square / total)


def t_quantile(share: float, freedom: float) -> float:
    """Return what a t variable stays below with chance `share`, 0.5 or more and below 1."""
    tail = 1.0 - share
    low, high = 0.0, 1.0
    while t_tail(high, freedom) > tail and high < 1e12:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        if t_tail(middle, freedom) > tail:
            low = middle
        else:
            high = middle
    return high


def _beta(a: float, b: float, x: float, y: float) -> float:
    """Return the regularised incomplete beta function at x, which is 1 - y."""
    if y <= 0.0:
        return 1.0
    log_x = log(x) if x < y else log1p(-y)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log_x + b * log(y))
    # The fraction converges fast on one side of the mean only.
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1.0 - front * _fraction(b, a, y) / b


def _fraction(a: float, b: float, x: float) -> float:
    value, c, d = 1.0, 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    value = d
    for m in range(1, 300):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + term / c
            c = c if abs(c) > _TINY else _TINY
            value *= c * d
        if abs(c * d - 1.0) < 1e-13:
            break
    return value
