"""The elements of a requirement graph, compiled, and how they are evaluated together.

A decision sees nothing but what it requires (DMN 1.5, 10.4): its logic is given exactly those
names. Functions are the same in every evaluation and are made once; inputs and decisions are
evaluated in an order that is planned before, so that a long chain needs no deep stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import attrs

from federlib.dmn.boxed.compiler import Compiler
from federlib.dmn.boxed.functions import Code, function_of
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.scope import Scope
from federlib.dmn.feel.types import ANY, NULL, ContextType, FeelType, FunctionType
from federlib.dmn.feel.values import Value
from federlib.dmn.model import DecisionNode, DecisionService, InputData, KnowledgeModel
from federlib.dmn.model.item_types import ANY_ITEM, ItemType, ItemTypes, adapt
from federlib.dmn.model.problems import Report
from federlib.dmn.model.requirements import Element, Graph, Unit
from federlib.dmn.tables.table import CompiledTable

__all__ = ["GraphNode", "Values", "build_nodes", "evaluate_node", "plan_of", "run", "run_service"]


@attrs.define(eq=False)
class GraphNode:
    """An element, compiled.

    Attributes:
        element: What it is.
        kind: What its value must be; of a function, its result.
        logic_kind: What the logic of a decision says of its own value.
        type: Of its value, as far as it is known.
        code: Of a decision.
        constant: What its logic sees in every evaluation: functions.
        variable: What it sees of one evaluation: the path of each name, and which node it is.
        value: Of a function: itself.
        parameters: Of a service.
        outputs: Of a service.
        tables: The decision tables in its logic, in their order.
        plans: The orders in which what it needs is evaluated, by what is given instead.
    """

    element: Element
    kind: ItemType = ANY_ITEM
    logic_kind: ItemType = ANY_ITEM
    type: FeelType = ANY
    code: Code | None = None
    constant: dict[str, Value] = attrs.field(factory=dict)
    variable: list[tuple[tuple[str, ...], GraphNode]] = attrs.field(factory=list)
    value: Value = None
    parameters: tuple[GraphNode, ...] = ()
    outputs: tuple[GraphNode, ...] = ()
    tables: tuple[CompiledTable, ...] = ()
    plans: dict[frozenset[GraphNode], tuple[GraphNode, ...]] = attrs.field(factory=dict)

    @property
    def name(self) -> str:
        """How it is called in its own model."""
        return self.element.name


Values: TypeAlias = dict[GraphNode, Value]
"""What is known in one evaluation."""


class _Builder:
    def __init__(self, graph: Graph, report: Report, *, strict: bool) -> None:
        self.report = report
        self.strict = strict
        self.nodes: dict[Element, GraphNode] = {}
        self.types: dict[Unit, ItemTypes] = {}
        for unit in graph.units:
            imported = {name: self.types[other] for name, other in unit.imports.items()}
            self.types[unit] = ItemTypes(unit.definitions.item_definitions, imported, report)
        self.compilers = {unit: Compiler(types, report) for unit, types in self.types.items()}
        for element in graph.order:
            self.nodes[element] = self.build(element)

    def build(self, element: Element) -> GraphNode:
        record = element.record
        types = self.types[element.unit]
        node = GraphNode(element, types.resolve(record.type_ref, element.title))
        node.type = node.kind.feel
        if isinstance(record, InputData):
            return node
        known = self.connect(node)
        scope = Scope(known, types.named, strict=self.strict)
        compiler = self.compilers[element.unit]
        known_tables = len(compiler.tables)
        if isinstance(record, DecisionNode):
            found = compiler.compile(record.logic, scope, element.title)
            node.code = found.code
            if record.logic is not None:
                node.logic_kind = types.resolve(record.logic.type_ref, element.title)
            if node.kind is ANY_ITEM:
                node.type = found.type
        elif isinstance(record, KnowledgeModel):
            self.build_function(node, record, scope, compiler)
        else:
            self.build_service(node, record)
        node.tables = tuple(compiler.tables[known_tables:])
        return node

    def connect(self, node: GraphNode) -> dict[str, FeelType]:
        """Give a node what it needs, and return the types of those names."""
        known: dict[str, FeelType] = {}
        for path, element in node.element.needs.items():
            needed = self.nodes[element]
            _put_type(known, path, needed.type)
            if isinstance(element.record, InputData | DecisionNode):
                node.variable.append((path, needed))
            else:
                _put(node.constant, path, needed.value)
        return known

    def build_function(
        self, node: GraphNode, record: KnowledgeModel, scope: Scope, compiler: Compiler
    ) -> None:
        if record.function is None:
            node.type = NULL
            return
        if record.name not in node.constant:
            scope = scope.nested({record.name: ANY})
        found = compiler.function(record.function, scope, node.element.title, node.kind)
        node.type = found.type
        node.value = found.code(Evaluation(), node.constant)
        # It sees itself, so that it can call itself; nobody sees the evaluation that made it.
        node.constant.setdefault(record.name, node.value)

    def build_service(self, node: GraphNode, record: DecisionService) -> None:
        find = node.element.unit.find

        def nodes(references: Iterable[str]) -> list[GraphNode]:
            found = [find(reference) for reference in references]
            needed = [self.nodes.get(each[1]) for each in found if each is not None]
            return [each for each in needed if each is not None]

        node.parameters = (*nodes(record.inputs), *nodes(record.input_decisions))
        node.outputs = tuple(nodes(record.outputs))
        node.variable = []
        if not record.outputs:
            self.report(node.element.title, "it has no output decisions")
        known = frozenset(node.parameters)
        for each in _plan(node.outputs, known):
            if isinstance(each.element.record, InputData):
                needed = f"it needs {each.element.title}, which is none of its inputs"
                self.report(node.element.title, needed)
        kind = node.kind
        if isinstance(kind.feel, FunctionType):
            kind = ItemType(kind.feel.result)
        if len(node.outputs) == 1:
            result = node.outputs[0].type
        else:
            result = ContextType({output.name: output.type for output in node.outputs})
        if kind is not ANY_ITEM:
            result = kind.feel
        node.kind = kind
        names = tuple(parameter.name for parameter in node.parameters)
        node.type = FunctionType(tuple(each.type for each in node.parameters), result, names)

        def call(ev: Evaluation, arguments: Mapping[str, Value]) -> Value:
            return run_service(ev, node, {each: arguments[each.name] for each in node.parameters})

        parameters = [(each.name, each.kind) for each in node.parameters]
        node.value = function_of(node.element.title, parameters, call, node.type)


def build_nodes(graph: Graph, report: Report, *, strict: bool) -> Mapping[Element, GraphNode]:
    """Compile every element of a graph.

    Args:
        graph: What.
        report: Told what is wrong.
        strict: An unknown name is a problem of the model; otherwise of each evaluation.
    """
    return _Builder(graph, report, strict=strict).nodes


def run_service(ev: Evaluation, service: GraphNode, given: Values) -> Value:
    """Evaluate the outputs of a service on its own inputs, and on nothing else.

    Args:
        ev: Its clock, limits and problems.
        service: Which.
        given: The values of its parameters.
    Returns:
        What its one output gave, or a context of its outputs by name.
    """
    values = run(ev, service, service.outputs, dict(given))
    found: Value = {output.name: values[output] for output in service.outputs}
    if len(service.outputs) == 1:
        found = values[service.outputs[0]]
    return adapt(ev, found, service.kind, service.element.title)


def run(ev: Evaluation, asked: GraphNode, targets: Sequence[GraphNode], values: Values) -> Values:
    """Evaluate some nodes, and all that they need.

    Args:
        ev: Its clock, limits and problems.
        asked: What keeps the plans: a decision, or a service.
        targets: The decisions.
        values: What is given: of inputs, and of decisions that are not to be evaluated.
    Returns:
        `values`, with all that was evaluated.
    """
    for node in plan_of(asked, targets, frozenset(values)):
        values[node] = evaluate_node(ev, node, values)
    return values


def plan_of(
    asked: GraphNode, targets: Sequence[GraphNode], given: frozenset[GraphNode]
) -> tuple[GraphNode, ...]:
    """Return the nodes that must be evaluated, each after those that it needs.

    Args:
        asked: What keeps the plans: a decision, or a service.
        targets: The decisions; the last of the plan is the last of them.
        given: What is known without.
    """
    plan = asked.plans.get(given)
    if plan is None:
        if len(asked.plans) >= _MAX_PLANS:
            asked.plans.clear()
        plan = asked.plans[given] = _plan(targets, given)
    return plan


_MAX_PLANS = 64


def _plan(targets: Sequence[GraphNode], given: frozenset[GraphNode]) -> tuple[GraphNode, ...]:
    """Put what must be evaluated in an order; the graph has no cycles."""
    order: list[GraphNode] = []
    seen = set(given)
    stack = [(target, False) for target in reversed(targets)]
    while stack:
        node, is_ready = stack.pop()
        if is_ready:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(needed, False) for _, needed in reversed(node.variable)]
    return tuple(order)


def evaluate_node(ev: Evaluation, node: GraphNode, values: Values) -> Value:
    """Evaluate one node; what it needs is among the values.

    Args:
        ev: Its clock, limits and problems.
        node: A decision, or an input that was not given.
        values: What is known.
    """
    ev.spend()
    title = node.element.title
    if node.code is None:
        return ev.fail(f"{title} is not given, so it is null")
    names = dict(node.constant)
    for path, needed in node.variable:
        _put(names, path, values[needed])
    before = len(ev.problems)
    found = adapt(ev, node.code(ev, names), node.kind, "its result")
    # Whoever reads a problem wants to know which of many decisions it is in.
    ev.problems[before:] = [
        text if text.startswith(title) else f"{title}: {text}" for text in ev.problems[before:]
    ]
    return found


def _put(names: dict[str, Value], path: tuple[str, ...], value: Value) -> None:
    if len(path) == 1:
        names[path[0]] = value
        return
    around = names.get(path[0])
    # A new context each time: values are never changed once they are seen.
    inner = dict(around) if isinstance(around, dict) else {}
    _put(inner, path[1:], value)
    names[path[0]] = inner


def _put_type(names: dict[str, FeelType], path: tuple[str, ...], kind: FeelType) -> None:
    if len(path) == 1:
        names[path[0]] = kind
        return
    around = names.get(path[0])
    inner: dict[str, FeelType] = dict(around.entries) if isinstance(around, ContextType) else {}
    _put_type(inner, path[1:], kind)
    names[path[0]] = ContextType(inner)
