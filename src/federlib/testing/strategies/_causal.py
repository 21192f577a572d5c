"""Hypotheses, what speaks for them, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from hypothesis import strategies as st

from federlib.causal import (
    Evidence,
    ExpectedEffect,
    Hypothesis,
    Measured,
    Result,
    TrackRecord,
    Verdict,
)
from federlib.causal.records import Design, Direction, Finding, Mode, Ruling
from federlib.testing.strategies._fencing import command_ids
from federlib.testing.strategies._plain import any_text, counts, plain_text
from federlib.testing.strategies._storage import names

__all__ = ["STRATEGIES"]

_numbers = st.floats(-1e300, 1e300)
_positive = st.floats(0, 1e300, exclude_min=True)
_words = any_text(min_size=1, max_size=200)
_nodes = plain_text(min_size=1, max_size=20, max_bytes=60)

_expected = st.builds(
    ExpectedEffect,
    direction=st.sampled_from(get_args(Direction)),
    at_least=_positive,
    unit=_words,
    within_s=_positive,
)


@st.composite
def _hypotheses(draw: st.DrawFn) -> Hypothesis:
    """Generate hypotheses whose names are nodes of their graph; not all are consistent."""
    nodes = draw(st.lists(_nodes, min_size=2, max_size=6, unique=True))
    graph = {
        # Arrows go from earlier nodes to later ones: no cycle.
        node: tuple(draw(st.lists(st.sampled_from(nodes[:k]), unique=True))) if k else ()
        for k, node in enumerate(nodes)
    }
    some = st.lists(st.sampled_from(nodes), unique=True, max_size=3).map(tuple)
    return Hypothesis(
        hypothesis_id=draw(command_ids()),
        action=draw(_words),
        treatment=draw(st.sampled_from(nodes)),
        outcome=draw(st.sampled_from(nodes)),
        mechanism=draw(_words),
        graph=graph,
        expected=draw(_expected),
        rollback=draw(_words),
        through=draw(some),
        unobserved=draw(some),
        confounders=draw(some),
        adjustment=draw(some),
        author=draw(_words),
        stated_at_ns=draw(counts()),
        expires_at_ns=draw(st.none() | counts()),
    )


@st.composite
def _measured(draw: st.DrawFn) -> Measured:
    low, effect, high = sorted(draw(st.tuples(_numbers, _numbers, _numbers)))
    placebo = draw(st.none() | st.tuples(_numbers, _numbers).map(sorted))
    return Measured(
        design=draw(st.sampled_from(get_args(Design))),
        effect=effect,
        low=low,
        high=high,
        level=draw(st.floats(0.5, 0.999)),
        before=draw(counts()),
        after=draw(counts()),
        adjusted_for=tuple(draw(st.lists(_words, max_size=3, unique=True))),
        placebo_low=None if placebo is None else placebo[0],
        placebo_high=None if placebo is None else placebo[1],
    )


_evidence = st.builds(
    Evidence,
    hypothesis_id=command_ids(),
    measured=_measured(),
    source=any_text(max_size=200),
    observed_at_ns=counts(),
    recorded_at_ns=counts(),
    author=_words,
)
_tracks = st.builds(
    TrackRecord,
    hypothesis_id=command_ids(),
    supported=counts(),
    refuted=counts(),
    inconclusive=counts(),
    last_command_id=any_text(max_size=200),
    last_at_ns=counts(),
)

STRATEGIES: Mapping[type, st.SearchStrategy[object]] = {
    Evidence: _evidence,
    ExpectedEffect: _expected,
    Hypothesis: _hypotheses(),
    Measured: _measured(),
    Result: st.builds(
        Result,
        hypothesis_id=command_ids(),
        scope=names(),
        command_id=command_ids(),
        expected=_expected,
        measured=_measured(),
        finding=st.sampled_from(get_args(Finding)),
        recorded_at_ns=counts(),
        author=_words,
    ),
    TrackRecord: _tracks,
    Verdict: st.builds(
        Verdict,
        ruling=st.sampled_from(get_args(Ruling)),
        mode=st.sampled_from(get_args(Mode)),
        reasons=st.lists(any_text(max_size=500), max_size=3).map(tuple),
        hypothesis_id=st.none() | any_text(max_size=200),
        digest=any_text(max_size=200),
        evidence=st.none() | _evidence,
        track=st.none() | _tracks,
    ),
}
