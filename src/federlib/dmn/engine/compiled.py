"""`Model`: a decision model, compiled once and asked many times.

    model = compile_model(parse_model(data, "yaml"))
    model.outputs({"queue depth": 120, "pool": "batch"})

Values that conform to no type, missing inputs and errors of expressions give null and are
told among the problems of the decision; only facts that FEEL cannot hold are refused.

Source: DMN 1.5, clause 10.4 (decision logic and requirements).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from hashlib import sha256

from federlib.dmn.documents.forms import content_hash
from federlib.dmn.engine.asking import evaluation_of, guarded, make_decider
from federlib.dmn.engine.decider import Decider
from federlib.dmn.engine.decision import Decision
from federlib.dmn.engine.nodes import GraphNode, Values, build_nodes, run_service
from federlib.dmn.feel.calls import invoke_named
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.types import ANY, FeelType
from federlib.dmn.feel.values import Value
from federlib.dmn.model import (
    DecisionNode,
    DecisionService,
    Definitions,
    InputData,
    KnowledgeModel,
)
from federlib.dmn.model.item_types import adapt
from federlib.dmn.model.problems import ModelProblem, ModelProblems
from federlib.dmn.model.requirements import Element, Graph, link
from federlib.dmn.model.validate import check_structure
from federlib.dmn.tables.plain import copied
from federlib.dmn.tables.table import CompiledTable
from federlib.errors import InvalidInput

__all__ = ["Model", "compile_model", "find_problems"]


class Model:
    """A decision model that can be asked; safe to share between threads.

    Attributes:
        definitions: As it is written.
    """

    def __init__(
        self, definitions: Definitions, graph: Graph, nodes: Mapping[Element, GraphNode]
    ) -> None:
        """Not for callers: see `compile_model`."""
        self.definitions: Definitions = definitions
        self._graph = graph
        self._nodes = nodes
        # The nearest first: a name of the model itself comes before one of an imported model.
        self._asked: dict[str, GraphNode] = {}
        # What is given by its name only is given on every way on which it is imported, unless
        # the model itself has something of that name.
        self._by_name: dict[str, list[GraphNode]] = {}
        self._by_path: dict[tuple[str, ...], GraphNode] = {}
        self._deciders: dict[str | None, Decider] = {}
        for path, unit in (((), graph.unit), *graph.unit.imported()):
            for element in unit.elements:
                if isinstance(element.record, InputData | DecisionNode):
                    node = nodes[element]
                    qualified = f"{unit.definitions.namespace}#{element.name}"
                    for name in (element.name, qualified):
                        self._asked.setdefault(name, node)
                    self._by_name.setdefault(qualified, []).append(node)
                    if element.name not in graph.unit.by_name or unit is graph.unit:
                        self._by_name.setdefault(element.name, []).append(node)
                    self._by_path[*path, element.name] = node

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 in hex of its content, and of what it imports: it tells versions apart."""
        hashes = [content_hash(unit.definitions) for unit in reversed(self._graph.units)]
        return hashes[0] if len(hashes) == 1 else sha256(":".join(hashes).encode()).hexdigest()

    @cached_property
    def default_decision(self) -> str:
        """The decision that is meant where none is named: the only one that no other requires.

        Raises:
            InvalidInput: There is none, or more than one.
        """
        unit = self._graph.unit
        decisions = [each for each in unit.elements if isinstance(each.record, DecisionNode)]
        needed = {each for decision in decisions for each in decision.needs.values()}
        last = [each.name for each in decisions if each not in needed]
        if len(last) != 1:
            expected = f"a name, one of {', '.join(last) or 'none'}"
            raise InvalidInput("decision", expected=expected, found=None)
        return last[0]

    def outputs(
        self, facts: Mapping[str, object], decision: str | None = None, *, now_ns: int | None = None
    ) -> object:
        """Decide, and return nothing but what was decided.

        Args:
            facts: Values of inputs by name, as Python has them.
            decision: Which; None: the only one that no other requires.
            now_ns: What `now()` and `today()` say; Unix nanoseconds.
        Returns:
            As Python has it: of a table with several outputs a mapping.
        Raises:
            InvalidInput: There is no such decision, or a fact is nothing that FEEL can hold.
        """
        decider = self._deciders.get(decision) or self._decider(decision)
        # The first lines of `Decider.outputs`: on the short way every call counts.
        answer = decider.answer(facts)
        if answer is None:
            return decider.outputs_of(facts, now_ns)
        outputs = answer[0]
        return outputs.copy() if outputs.__class__ is dict else copied(outputs)

    def decide(
        self,
        facts: Mapping[str, object],
        decision: str | None = None,
        *,
        trace: bool = False,
        now_ns: int | None = None,
    ) -> Decision:
        """Decide, and keep what was decided, from what, and by which rules of which version.

        Args:
            facts: Values of inputs by name, as Python has them. What the decision does not
                require is left out; what it requires and is missing is null, and a problem. The
                value of a decision that it requires may be given too: its logic is not asked.
            decision: Which; None: the only one that no other requires.
            trace: Whether the record says of each cell of each table whether it holds.
            now_ns: What `now()` and `today()` say, and when it was decided; Unix nanoseconds.
        Raises:
            InvalidInput: There is no such decision, or a fact is nothing that FEEL can hold.
        """
        return self._decider(decision).decide(facts, trace=trace, now_ns=now_ns)

    def decider(self, decision: str | None = None) -> Decider:
        """Return one decision, ready to be asked many times.

        Args:
            decision: Which; None: the only one that no other requires.
        Raises:
            InvalidInput: There is no such decision.
        """
        return self._decider(decision)

    def _decider(self, decision: str | None) -> Decider:
        found = self._deciders.get(decision)
        if found is None:
            name = self.default_decision if decision is None else decision
            node = self._find(name, "", DecisionNode, "decision")
            found = self._deciders[decision] = make_decider(
                node, self.definitions, self.content_hash, self._fact_names(), self._given
            )
        return found

    def _fact_names(self) -> Mapping[str, frozenset[GraphNode]]:
        """Say what facts may be called, and which nodes each is of."""
        names = {name: set(nodes) for name, nodes in self._by_name.items()}
        for path, node in self._by_path.items():
            if len(path) > 1:
                names.setdefault(path[0], set()).add(node)
        return {name: frozenset(nodes) for name, nodes in names.items()}

    def evaluate(
        self, ev: Evaluation, name: str, values: Mapping[str, Value], *, namespace: str = ""
    ) -> Value:
        """Evaluate one decision on values of FEEL.

        Args:
            ev: Its clock, limits and problems.
            name: The decision.
            values: Of inputs, by name or by `namespace#name`; of decisions too, whose logic is
                then not asked.
            namespace: Of the model that the decision is in; empty: this one.
        Raises:
            InvalidInput: There is no such decision.
        """
        node = self._find(name, namespace, DecisionNode, "decision")
        return evaluation_of(node, self._given)(ev, values)

    def evaluate_service(
        self, ev: Evaluation, name: str, values: Mapping[str, Value], *, namespace: str = ""
    ) -> dict[str, Value]:
        """Evaluate a decision service on values of FEEL.

        Args:
            ev: Its clock, limits and problems.
            name: The service.
            values: Of its inputs and input decisions, by name; what is missing is null.
            namespace: Of the model that the service is in; empty: this one.
        Returns:
            Its outputs, by the names of their decisions.
        Raises:
            InvalidInput: There is no such service.
        """
        node = self._find(name, namespace, DecisionService, "service")

        def decide() -> dict[str, Value]:
            given: Values = {
                parameter: adapt(
                    ev, values.get(parameter.name), parameter.kind, parameter.element.title
                )
                for parameter in node.parameters
            }
            found = run_service(ev, node, given)
            if len(node.outputs) == 1:
                return {node.outputs[0].name: found}
            return found if isinstance(found, dict) else nothing

        nothing: dict[str, Value] = {output.name: None for output in node.outputs}
        return guarded(ev, decide, nothing)

    def call(
        self, ev: Evaluation, name: str, arguments: Mapping[str, Value], *, namespace: str = ""
    ) -> Value:
        """Call a knowledge model on values of FEEL.

        Args:
            ev: Its clock, limits and problems.
            name: The knowledge model.
            arguments: Its parameters, by name.
            namespace: Of the model that it is in; empty: this one.
        Raises:
            InvalidInput: There is no such knowledge model.
        """
        node = self._find(name, namespace, KnowledgeModel, "knowledge model")
        return guarded(ev, lambda: invoke_named(ev, node.value, arguments), None)

    def tables(self) -> Mapping[str, tuple[CompiledTable, ...]]:
        """Return the decision tables of each decision and knowledge model that has any.

        Those of imported models are named with their namespace: `namespace#name`.
        """
        found: dict[str, tuple[CompiledTable, ...]] = {}
        for element, node in self._nodes.items():
            if node.tables:
                is_own = element.unit is self._graph.unit
                name = "" if is_own else f"{element.unit.definitions.namespace}#"
                found[name + element.name] = node.tables
        return found

    def type_of(self, name: str) -> FeelType:
        """Return the type of an input or a decision, as far as it is known.

        Args:
            name: Its name, or `namespace#name`.
        """
        node = self._asked.get(name)
        return ANY if node is None else node.type

    def _find(self, name: str, namespace: str, kind: type, what: str) -> GraphNode:
        for unit in reversed(self._graph.units):
            if namespace and unit.definitions.namespace != namespace:
                continue
            element = unit.by_name.get(name) or unit.by_id.get(name)
            if element is not None and isinstance(element.record, kind):
                return self._nodes[element]
        known = sorted(
            element.name
            for element in self._graph.unit.elements
            if isinstance(element.record, kind)
        )
        raise InvalidInput(what, expected=f"one of {', '.join(known) or 'none'}", found=name)

    def _given(self, ev: Evaluation, values: Mapping[str, Value]) -> Values:
        """Sort values to the nodes that they are of; those that are of none are left out."""
        given: Values = {}
        by_path: Values = {}
        waiting: list[tuple[tuple[str, ...], Value]] = [((name,), values[name]) for name in values]
        while waiting:
            path, value = waiting.pop()
            node = self._by_path.get(path)
            if node is not None:
                by_path[node] = self._adapted(ev, node, value)
            elif isinstance(value, dict) and path[0] in self._graph.unit.imports:
                waiting += [((*path, name), inner) for name, inner in value.items()]
        for name, value in values.items():
            for node in self._by_name.get(name, ()):
                if node not in by_path:
                    given[node] = self._adapted(ev, node, value)
        return {**given, **by_path}

    def _adapted(self, ev: Evaluation, node: GraphNode, value: Value) -> Value:
        return adapt(ev, value, node.kind, node.element.title)


def compile_model(
    definitions: Definitions, imported: Iterable[Definitions] = (), *, strict: bool = True
) -> Model:
    """Compile a model.

    Args:
        definitions: The model.
        imported: The models that it may import, found by their namespaces.
        strict: Refuse a model with problems. Otherwise whatever has one is null in every
            evaluation, with the problem: as the standard's test kit has it.
    Returns:
        What can be asked.
    Raises:
        ModelProblems: Something is wrong with the model; every problem at once.
    """
    model, problems = _compile(definitions, imported, strict=strict)
    if strict and problems:
        raise ModelProblems(definitions.name, problems)
    return model


def find_problems(
    definitions: Definitions, imported: Iterable[Definitions] = ()
) -> tuple[ModelProblem, ...]:
    """Say everything that is wrong with a model: what `compile_model` would refuse it for.

    Names and references, cycles, types, tables, and every text of every cell are looked at.

    Args:
        definitions: The model.
        imported: The models that it may import, found by their namespaces.
    """
    return tuple(_compile(definitions, imported, strict=True)[1])


def _compile(
    definitions: Definitions, imported: Iterable[Definitions], *, strict: bool
) -> tuple[Model, list[ModelProblem]]:
    problems: dict[ModelProblem, None] = {}

    def report(element: str, text: str, *, rule: int | None = None, column: str = "") -> None:
        problems[ModelProblem(element, text, rule, column)] = None

    check_structure(definitions, report)
    graph = link(definitions, imported, report)
    nodes = build_nodes(graph, report, strict=strict)
    return Model(definitions, graph, nodes), list(problems)
