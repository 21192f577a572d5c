"""Decisions decided again: by the version that decided, or by a newer one.

Source: HA plan §3 (versioned decision tables, decision trace).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from federlib.dmn.engine.compiled import Model
from federlib.dmn.engine.decision import Decision, hash_inputs
from federlib.dmn.feel.convert import canonical, from_python
from federlib.dmn.tables.trace import RuleTrace, TableTrace
from federlib.errors import InvalidInput

__all__ = ["Replay", "replay"]

_SHOWN = 60


class Replay(msgspec.Struct, frozen=True):
    """A decision, decided again.

    Attributes:
        before: As it was recorded.
        now: As it would be decided now, with its trace; None: the model has no such decision.
        is_same_version: Whether the model is the one that decided, by its content.
        is_same_inputs: Whether it was asked with the inputs of the record.
        is_different: Whether the outputs differ.
        reasons: Why, in words; beside that whatever else is not as it was.
    """

    before: Decision
    now: Decision | None
    is_same_version: bool
    is_same_inputs: bool
    is_different: bool
    reasons: tuple[str, ...]


def replay(decision: Decision, model: Model, facts: Mapping[str, object] | None = None) -> Replay:
    """Decide again, at the time of the record, and say what is different and why.

    Args:
        decision: The record.
        model: The version that decided, or another.
        facts: What to decide on; None: the inputs of the record.
    Raises:
        InvalidInput: A fact is nothing that FEEL can hold.
    """
    given = decision.inputs if facts is None else facts
    source = decision.source
    is_same_version = model.content_hash == source.content_hash
    is_same_inputs = facts is None or _inputs(decision, facts) == _inputs(decision, decision.inputs)
    try:
        decider = model.decider(source.decision)
    except InvalidInput as error:
        return Replay(
            before=decision,
            now=None,
            is_same_version=is_same_version,
            is_same_inputs=is_same_inputs,
            is_different=True,
            reasons=(str(error),),
        )
    now = decider.decide(given, trace=True, now_ns=decision.decided_at_ns)
    is_different = not _is_same(decision.outputs, now.outputs)
    reasons = [
        *_odd(decision, now, is_same_version=is_same_version, is_same_inputs=is_same_inputs),
        *_differences(decision, now),
    ]
    if is_different and is_same_version and is_same_inputs:
        reasons.append("the same version on the same inputs: was the record changed?")
    return Replay(decision, now, is_same_version, is_same_inputs, is_different, tuple(reasons))


def _inputs(decision: Decision, facts: Mapping[str, object]) -> str:
    return hash_inputs({name: from_python(facts.get(name), where=name) for name in decision.inputs})


def _is_same(before: object, now: object) -> bool:
    try:
        return canonical(from_python(before)) == canonical(from_python(now))
    except InvalidInput:
        return before == now  # a function is the same as itself only


def _odd(
    before: Decision, now: Decision, *, is_same_version: bool, is_same_inputs: bool
) -> Iterator[str]:
    if not is_same_inputs:
        yield "the facts are not those of the record"
    elif is_same_version and before.inputs_hash != now.inputs_hash:
        yield "the hash of the record is not that of its inputs"
    added = sorted(now.inputs.keys() - before.inputs.keys())
    if added:
        yield f"it depends on {', '.join(added)} now"


def _differences(before: Decision, now: Decision) -> Iterator[str]:
    if not _is_same(before.outputs, now.outputs):
        yield from _outputs(before.outputs, now.outputs)
    rules = _rules(now)
    for rule in before.matched:
        if rule not in now.matched:
            yield _lost(rule, rules.get(rule), now)
    for rule in now.matched:
        if rule not in before.matched:
            yield f"rule {rule} matches now"
    if before.matched == now.matched and before.applied != now.applied:
        yield f"of the rules that match, {', '.join(now.applied) or 'none'} applies now"
    for problem in now.problems:
        if problem not in before.problems:
            yield f"a problem: {problem}"


def _outputs(before: object, now: object) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*before, *now]):
            if name not in now:
                yield f"output {name} is gone"
            elif name not in before:
                yield f"output {name} is new: {_show(now[name])}"
            elif not _is_same(before[name], now[name]):
                yield f"output {name}: {_show(before[name])} before, {_show(now[name])} now"
    else:
        yield f"outputs: {_show(before)} before, {_show(now)} now"


def _rules(decision: Decision) -> dict[str, RuleTrace]:
    table = _last_table(decision)
    return {} if table is None else {rule.id: rule for rule in table.rules}


def _last_table(decision: Decision) -> TableTrace | None:
    return decision.trace[-1] if decision.trace else None


def _lost(rule: str, trace: RuleTrace | None, now: Decision) -> str:
    """Say why a rule that matched does not match any more."""
    table = _last_table(now)
    if trace is None or table is None:
        return f"rule {rule} is gone"
    if trace.matched:
        # Under FIRST one above it came first.
        return f"rule {rule} still holds, but is not asked: {', '.join(now.matched)} comes first"
    for column, value, cell in zip(table.columns, table.values, trace.cells, strict=False):
        if cell.matched is not True:
            return f"rule {rule} does not match: {column} is {_show(value)}, not {cell.text}"
    return f"rule {rule} does not match"


def _show(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
