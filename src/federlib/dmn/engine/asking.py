"""One decision of a model, made ready to be asked: which facts matter to it, and in which order.

Source: DMN 1.5, 10.4 (decision logic sees what it requires).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

from federlib.dmn.engine.decider import Decider, Evaluate
from federlib.dmn.engine.decision import DecisionSource
from federlib.dmn.engine.nodes import GraphNode, Values, evaluate_node, plan_of
from federlib.dmn.feel.evaluation import Evaluation, Exhausted
from federlib.dmn.feel.values import Value
from federlib.dmn.model import DecisionNode, DecisionTable, Definitions, InputData
from federlib.dmn.model.item_types import ItemType, adapt
from federlib.dmn.tables.plain import PlainTable, plain_table
from federlib.dmn.tables.trace import TableWitness

__all__ = ["Sorter", "evaluation_of", "guarded", "make_decider"]

_T = TypeVar("_T")

Sorter: TypeAlias = Callable[[Evaluation, Mapping[str, Value]], Values]
"""Finds the nodes that values are of."""


def make_decider(
    node: GraphNode,
    model: Definitions,
    content_hash: str,
    names: Mapping[str, frozenset[GraphNode]],
    sort: Sorter,
) -> Decider:
    """Make a decision ready to be asked.

    Args:
        node: The decision.
        model: What it is a decision of.
        content_hash: Of that.
        names: What facts may be called, and the nodes that each is of.
        sort: Finds the nodes that values are of.
    """
    needed = frozenset(plan_of(node, (node,), frozenset())) - {node}
    own = {
        each.name
        for each in needed
        if isinstance(each.element.record, InputData) and each.element.unit is node.element.unit
    }
    others = sorted(name for name, nodes in names.items() if nodes & needed and name not in own)
    record = node.element.record
    logic = record.logic if isinstance(record, DecisionNode) else None
    table = logic.id if isinstance(logic, DecisionTable) else ""
    source = DecisionSource(
        model=model.name,
        decision=node.name,
        version=model.version,
        content_hash=content_hash,
        namespace=model.namespace,
        table=table or record.id,
    )
    evaluate = evaluation_of(node, sort)
    return Decider(source, evaluate, sorted(own), others, _short_way(node, needed))


def evaluation_of(node: GraphNode, sort: Sorter) -> Evaluate:
    """Make the way through the requirement graph.

    A witness forgets the tables of what the decision requires, so that the last one is of its
    own logic.

    Args:
        node: The decision.
        sort: Finds the nodes that values are of.
    """

    def evaluate(ev: Evaluation, given: Mapping[str, Value]) -> Value:
        values = sort(ev, given)
        values.pop(node, None)
        for each in plan_of(node, (node,), frozenset(values)):
            if each is node and isinstance(ev.witness, TableWitness):
                ev.witness.last = None
            values[each] = evaluate_node(ev, each, values)
        return values[node]

    return lambda ev, given: guarded(ev, lambda: evaluate(ev, given), None)


def _short_way(node: GraphNode, needed: frozenset[GraphNode]) -> PlainTable | None:
    """Prepare the table of a decision that is one, where it tests all of its inputs."""
    record = node.element.record
    if not isinstance(record, DecisionNode) or not isinstance(record.logic, DecisionTable):
        return None
    kinds: dict[str, ItemType] = {}
    for path, each in node.variable:
        if len(path) > 1 or not isinstance(each.element.record, InputData):
            return None
        kinds[path[0]] = each.kind
    table = node.tables[-1]
    # An input that no column tests may be missing, or of another type: that is a problem too.
    if kinds.keys() != {column.name for column in table.columns} or len(kinds) != len(needed):
        return None
    kind, of_table = node.kind, node.logic_kind

    def finish(ev: Evaluation, value: Value) -> Value:
        return adapt(ev, adapt(ev, value, of_table, "its table"), kind, "its result")

    return plain_table(table, kinds, finish)


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
