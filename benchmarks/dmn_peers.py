"""Other rule engines for Python, each given the table of `dmn_tables`.

Each is told the table in the way that suits it best: constants where it takes constants, the
first rule that matches, and no work that it need not do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from benchmarks.dmn_tables import Facts, Row, as_model, as_zen
from federlib.dmn import dump_xml

__all__ = ["PEERS", "Engine", "zen_static"]

# Peers have no types that are worth following.
Engine = Callable[[Facts], Any]

_EVERY_DEPTH = -(10**9)


def zen_static(rows: Sequence[Row], *, trace: bool = False) -> Engine:
    """Load the table once, which is the fast way; `create_decision` is some 30 times slower."""
    import zen

    engine = zen.ZenEngine({"loader": {"type": "static", "content": {"table": as_zen(rows)}}})
    if trace:
        return lambda facts: engine.evaluate("table", facts, {"trace": True})["result"]
    return lambda facts: engine.evaluate("table", facts)["result"]


def business_rules(rows: Sequence[Row]) -> Engine:
    """Rules as JSON; it stops at the first that fires."""
    from business_rules import run_all
    from business_rules.actions import BaseActions, rule_action
    from business_rules.fields import FIELD_NUMERIC, FIELD_TEXT
    from business_rules.variables import (
        BaseVariables,
        numeric_rule_variable,
        string_rule_variable,
    )

    class Variables(BaseVariables):  # type: ignore[misc]  # it has no types
        def __init__(self, facts: Facts) -> None:
            self.facts = facts

    for name, kind in (
        ("pool", string_rule_variable),
        ("queue_depth", numeric_rule_variable),
        ("cpu", numeric_rule_variable),
        ("tier", string_rule_variable),
    ):

        def read(self: Variables, name: str = name) -> object:
            return self.facts[name]

        setattr(Variables, name, kind(label=name)(read))

    class Actions(BaseActions):  # type: ignore[misc]  # it has no types
        outputs: Facts | None = None

        @rule_action(params={"action": FIELD_TEXT, "delta": FIELD_NUMERIC})  # type: ignore[untyped-decorator]
        def give(self, action: str, delta: int) -> None:
            self.outputs = {"action": action, "delta": delta}

    rules = [
        {
            "conditions": {"all": _business_conditions(row)},
            "actions": [{"name": "give", "params": row.outputs}],
        }
        for row in rows
    ]

    def ask(facts: Facts) -> Facts | None:
        actions = Actions()
        run_all(rules, Variables(facts), actions, stop_on_first_trigger=True)
        return actions.outputs

    return ask


def _business_conditions(row: Row) -> list[dict[str, object]]:
    def one(name: str, operator: str, value: object) -> dict[str, object]:
        return {"name": name, "operator": operator, "value": value}

    low, high = row.depth or (_EVERY_DEPTH, None)
    found = [one("queue_depth", "greater_than_or_equal_to", low)]
    if row.pool is not None:
        found.insert(0, one("pool", "equal_to", row.pool))
    if high is not None:
        found.append(one("queue_depth", "less_than", high))
    if row.cpu is not None:
        operator = {">=": "greater_than_or_equal_to", "<": "less_than"}[row.cpu[0]]
        found.append(one("cpu", operator, row.cpu[1]))
    if row.tiers is not None:
        found.append({"any": [one("tier", "equal_to", tier) for tier in row.tiers]})
    return found


_rule_sets = itertools.count()


def durable_rules(rows: Sequence[Row]) -> Engine:
    """A Rete network; each fact is an event that the first rule of its priority takes."""
    from durable.lang import m, post, pri, ruleset, when_all

    found: list[Facts] = []
    name = f"table-{next(_rule_sets)}"
    with ruleset(name):
        for number, row in enumerate(rows):
            test = m.queue_depth >= (row.depth or (_EVERY_DEPTH, 0))[0]
            if row.pool is not None:
                test = (m.pool == row.pool) & test & (m.queue_depth < (row.depth or (0, 0))[1])
            if row.cpu is not None:
                than, bound = row.cpu
                test = test & (m.cpu >= bound if than == ">=" else m.cpu < bound)
            if row.tiers is not None:
                test = test & ((m.tier == row.tiers[0]) | (m.tier == row.tiers[1]))

            when_all(pri(number), test)(_giving(found, row.outputs))

    def ask(facts: Facts) -> Facts | None:
        post(name, facts)
        return found.pop() if found else None

    return ask


def _giving(found: list[Facts], outputs: Facts) -> Callable[[object], None]:
    # It counts parameters: one of them only, or it waits for an answer.
    return lambda _: found.append(outputs)


def spiff_workflow(rows: Sequence[Row]) -> Engine:
    """Its table engine without a workflow around it; cells are Python."""
    from SpiffWorkflow.bpmn.script_engine import PythonScriptEngine
    from SpiffWorkflow.dmn.engine.DMNEngine import DMNEngine
    from SpiffWorkflow.dmn.specs.model import (
        DecisionTable,
        Input,
        InputEntry,
        Output,
        OutputEntry,
        Rule,
    )

    table = DecisionTable("table", "table", "UNIQUE")  # its UNIQUE takes the first
    names = ("pool", "queue_depth", "cpu", "tier")
    inputs = [Input(name, name, name, name, "") for name in names]
    outputs = [Output(name, name, name, "") for name in ("action", "delta")]
    for number, row in enumerate(rows):
        rule = Rule(f"rule-{number}")
        rule.row_number = number
        for column, text in zip(inputs, _python_cells(row), strict=True):
            entry = InputEntry(column.id, column)
            entry.lhs.append(text)
            rule.inputEntries.append(entry)
        for column, value in zip(outputs, row.outputs.values(), strict=True):
            conclusion = OutputEntry(column.id, column)
            conclusion.text = repr(value)
            rule.outputEntries.append(conclusion)
        table.rules.append(rule)
    engine = DMNEngine(table)
    workflow = SimpleNamespace(script_engine=PythonScriptEngine())

    def ask(facts: Facts) -> Facts:
        return dict(engine.result(SimpleNamespace(workflow=workflow, data=dict(facts))))

    return ask


def _python_cells(row: Row) -> tuple[str | None, ...]:
    return (
        None if row.pool is None else repr(row.pool),
        None if row.depth is None else f"{row.depth[0]} <= ? < {row.depth[1]}",
        None if row.cpu is None else f"{row.cpu[0]} {row.cpu[1]}",
        None if row.tiers is None else f"? in {row.tiers!r}",
    )


def pydmn_rules(rows: Sequence[Row]) -> Engine:
    """The same model as XML; its import alone takes many seconds."""
    import pyDMNrules

    engine = pyDMNrules.DMN()
    status = engine.useXML(dump_xml(as_model(rows)).decode())
    if "errors" in status:
        raise RuntimeError(str(status["errors"]))

    def ask(facts: Facts) -> Facts:
        result = engine.decide(dict(facts))[1]["Result"]
        return {"action": result["action"], "delta": result["delta"]}

    return ask


PEERS: Mapping[str, Callable[[Sequence[Row]], Engine]] = {
    "business-rules": business_rules,
    "durable-rules": durable_rules,
    "SpiffWorkflow": spiff_workflow,
    "pyDMNrules": pydmn_rules,
}
"""By name; each raises `ImportError` where it is not installed."""
