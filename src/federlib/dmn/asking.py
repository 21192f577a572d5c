"""One decision of a model, ready to be asked: which facts matter to it, and in which order.

Facts that a decision does not require are not looked at at all: whoever has a large event
passes it as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

import attrs

from federlib.dmn.decision import DecisionSource
from federlib.dmn.feel.convert import from_python
from federlib.dmn.feel.evaluation import Evaluation, Exhausted
from federlib.dmn.feel.values import Value
from federlib.dmn.model import DecisionNode, DecisionTable, InputData
from federlib.dmn.nodes import GraphNode, Values, evaluate_node, plan_of
from federlib.dmn.trace import TableWitness
from federlib.errors import InvalidInput

__all__ = ["Answer", "Asking", "Sorter", "guarded", "table_id"]

_T = TypeVar("_T")

Sorter: TypeAlias = Callable[[Evaluation, Mapping[str, Value]], Values]
"""Finds the nodes that values are of."""


@attrs.frozen
class Answer:
    """What a decision came to.

    Attributes:
        value: The decision.
        given: The facts that it was made from, as FEEL has them.
    """

    value: Value
    given: dict[str, Value]


class Asking:
    """A decision that can be asked.

    Args:
        node: The decision.
        source: What decides, for records.
        names: What facts may be called, and the nodes that each is of.
        sort: Finds the nodes that values are of.

    Attributes:
        source: What decides, for records.
        nothing: Null for each input that the decision requires, by name.
    """

    def __init__(
        self,
        node: GraphNode,
        source: DecisionSource,
        names: Mapping[str, frozenset[GraphNode]],
        sort: Sorter,
    ) -> None:
        self.source: DecisionSource = source
        self._node = node
        self._sort = sort
        needed = frozenset(plan_of(node, (node,), frozenset())) - {node}
        self._names = tuple(name for name, nodes in names.items() if nodes & needed)
        inputs = {each for each in needed if isinstance(each.element.record, InputData)}
        own = {each.name for each in inputs if each.element.unit is node.element.unit}
        self.nothing: Mapping[str, Value] = dict.fromkeys(sorted(own))

    def ask(self, facts: Mapping[str, object], ev: Evaluation) -> Answer:
        """Decide.

        Args:
            facts: As Python has them.
            ev: Its clock, limits and problems. Its witness forgets the tables of what the
                decision requires, so that the last one is of its own logic.
        Raises:
            InvalidInput: A fact is nothing that FEEL can hold.
        """
        if not isinstance(facts, Mapping):
            raise InvalidInput("facts", expected="a mapping of values by name", found=facts)
        given = {
            name: from_python(facts[name], where=name) for name in self._names if name in facts
        }
        return Answer(guarded(ev, lambda: self._evaluate(ev, given), None), given)

    def _evaluate(self, ev: Evaluation, given: Mapping[str, Value]) -> Value:
        node = self._node
        values = self._sort(ev, given)
        values.pop(node, None)
        for each in plan_of(node, (node,), frozenset(values)):
            if each is node and isinstance(ev.witness, TableWitness):
                ev.witness.last = None
            values[each] = evaluate_node(ev, each, values)
        return values[node]


def table_id(record: DecisionNode) -> str:
    """Return the id of the table that a decision is, or else its own.

    Args:
        record: The decision.
    """
    logic = record.logic
    return (logic.id if isinstance(logic, DecisionTable) else "") or record.id


def guarded(ev: Evaluation, act: Callable[[], _T], otherwise: _T) -> _T:
    """Do something that takes steps; what takes too many is a problem, not an exception.

    Args:
        ev: Told what went wrong.
        act: What to do.
        otherwise: What it gives then.
    """
    try:
        return act()
    except Exhausted as error:
        ev.fail(str(error))
    except RecursionError:
        ev.fail("functions call one another more deeply than they may")
    return otherwise
