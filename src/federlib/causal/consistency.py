"""`examine`: whether a hypothesis agrees with its own graph; every fault at once.

A graph of causes says what has to be taken out before two things are compared. A hypothesis
that states a graph and an adjustment set can therefore be wrong by its own words, and that
needs no data to be seen.

Source: Pearl, Causality, 2nd ed., definition 3.3.1 (back-door criterion).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import pairwise

import attrs

from federlib.causal.records import Hypothesis
from federlib.errors import InvalidInput
from federlib.graph import (
    Graph,
    backdoor_sets,
    descendants,
    directed_path,
    open_backdoor,
)

__all__ = ["Examined", "examine"]

_SHOWN = 4
"""Sets that are shown where the stated one fails."""


@attrs.frozen(kw_only=True)
class Examined:
    """What came of examining a hypothesis.

    Attributes:
        faults: What is inconsistent, in words; none is well.
        open_trail: A trail that the stated adjustment leaves open, as
            ``restart <- load -> latency``; None where all are blocked.
        valid_sets: Minimal adjustment sets that would do, the smallest first, without
            unobserved nodes; the empty set where nothing needs adjusting.
    """

    faults: tuple[str, ...] = ()
    open_trail: str | None = None
    valid_sets: tuple[tuple[str, ...], ...] = ()

    @property
    def is_consistent(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def examine(hypothesis: Hypothesis) -> Examined:
    """Check a hypothesis against the graph that it states."""
    faults: list[str] = []
    try:
        graph = Graph.build(hypothesis.graph)
    except InvalidInput as error:
        return Examined(faults=tuple(f"graph: {each}"[:500] for each in error.problems))
    for field, names in _named(hypothesis):
        faults += [f"{field}: the graph has no node {each!r}" for each in _unknown(graph, names)]
    if hypothesis.treatment == hypothesis.outcome:
        faults.append(f"treatment and outcome are both {hypothesis.treatment!r}")
    if faults:
        return Examined(faults=tuple(faults))
    return _Examination(graph, hypothesis).result()


def _named(hypothesis: Hypothesis) -> Iterable[tuple[str, tuple[str, ...]]]:
    return (
        ("treatment", (hypothesis.treatment,)),
        ("outcome", (hypothesis.outcome,)),
        ("through", hypothesis.through),
        ("unobserved", hypothesis.unobserved),
        ("confounders", hypothesis.confounders),
        ("adjustment", hypothesis.adjustment),
    )


def _unknown(graph: Graph, names: Iterable[str]) -> list[str]:
    known = set(graph.ids)
    return [name for name in names if name not in known]


class _Examination:
    def __init__(self, graph: Graph, hypothesis: Hypothesis) -> None:
        self._graph = graph
        self._stated = hypothesis
        self._treatment = graph.index(hypothesis.treatment)
        self._outcome = graph.index(hypothesis.outcome)
        self._below = descendants(graph, (self._treatment,))
        self._faults: list[str] = []

    def result(self) -> Examined:
        self._see_path()
        self._see_through()
        self._see_confounders()
        trail, sets = self._see_adjustment()
        return Examined(faults=tuple(self._faults), open_trail=trail, valid_sets=sets)

    def _see_path(self) -> None:
        if directed_path(self._graph, self._treatment, self._outcome) is None:
            treatment, outcome = self._stated.treatment, self._stated.outcome
            self._faults.append(
                f"no path of arrows leads from {treatment!r} to {outcome!r}: "
                "by this graph the action cannot change the outcome"
            )

    def _see_through(self) -> None:
        steps = (self._stated.treatment, *self._stated.through, self._stated.outcome)
        if len(steps) == 2:
            return
        for cause, effect in pairwise(steps):
            if cause not in self._stated.graph[effect]:
                self._faults.append(f"through: the graph has no arrow {cause} -> {effect}")

    def _see_confounders(self) -> None:
        for name in self._stated.confounders:
            node = self._graph.index(name)
            if node in self._below:
                self._faults.append(
                    f"confounders: {name!r} comes after {self._stated.treatment!r}, "
                    "so it is no cause of it"
                )
            elif not self._is_common_cause(node):
                self._faults.append(
                    f"confounders: in the graph {name!r} is no cause of both "
                    f"{self._stated.treatment!r} and {self._stated.outcome!r}"
                )

    def _is_common_cause(self, node: int) -> bool:
        reached = self._reached_avoiding(node, self._treatment)
        return self._treatment in reached and self._outcome in reached

    def _reached_avoiding(self, start: int, wall: int) -> set[int]:
        """Return what arrows lead to from a node, not going on beyond `wall`."""
        found, waiting = {start}, [start]
        while waiting:
            node = waiting.pop()
            if node == wall:
                continue
            for child in self._graph.children_of(node):
                if child not in found:
                    found.add(child)
                    waiting.append(child)
        return found

    def _see_adjustment(self) -> tuple[str | None, tuple[tuple[str, ...], ...]]:
        stated, graph = self._stated, self._graph
        before = len(self._faults)
        for name in stated.adjustment:
            node = graph.index(name)
            if name in {stated.treatment, stated.outcome}:
                self._faults.append(f"adjustment: {name!r} is itself treatment or outcome")
            elif node in self._below:
                self._faults.append(
                    f"adjustment: {name!r} comes after {stated.treatment!r}: "
                    "to adjust for it takes away part of the effect, or makes one up"
                )
            if name in stated.unobserved:
                self._faults.append(f"adjustment: {name!r} is stated as unobserved")
        given = {graph.index(name) for name in stated.adjustment}
        given -= {self._treatment, self._outcome}
        trail = open_backdoor(graph, self._treatment, self._outcome, given)
        text = None if trail is None else trail.text(graph)
        if text is not None:
            self._faults.append(f"adjustment: {_shown(stated.adjustment)} leaves open {_cut(text)}")
        if len(self._faults) == before:
            return None, ()
        sets = self._valid_sets()
        self._faults.append(_advice(sets))
        return text, sets

    def _valid_sets(self) -> tuple[tuple[str, ...], ...]:
        hidden = {self._graph.index(name) for name in self._stated.unobserved}
        allowed: Collection[int] = set(range(len(self._graph))) - hidden
        found = backdoor_sets(self._graph, self._treatment, self._outcome, allowed=allowed)
        return tuple(tuple(self._graph.ids[node] for node in each) for each in found)


def _advice(sets: tuple[tuple[str, ...], ...]) -> str:
    if not sets:
        return (
            "no set of observed nodes would do: measure one more, or try the action "
            "on machines drawn by lot"
        )
    shown = " or ".join(_shown(each) for each in sets[:_SHOWN])
    return _cut(f"adjust for {shown}", 500)


def _shown(names: Iterable[str]) -> str:
    return "{" + ", ".join(names) + "}"


def _cut(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
