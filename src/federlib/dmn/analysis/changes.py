"""What is written differently in two versions of a model, rule by rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

import msgspec

from federlib.dmn.model import (
    DecisionNode,
    DecisionTable,
    Definitions,
    KnowledgeModel,
    LiteralExpression,
    Rule,
)

__all__ = ["ModelChange", "changes_between"]


class ModelChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that is written differently.

    Attributes:
        element: The decision, knowledge model or input.
        what: `added`, `removed` or `changed`.
        rule: Of a table, the rule: its id, or its number from 1.
        before: How it was written; empty where it was not there.
        after: How it is written.
    """

    element: str
    what: Literal["added", "removed", "changed"]
    rule: str = ""
    before: str = ""
    after: str = ""


def changes_between(old: Definitions, new: Definitions) -> Iterator[ModelChange]:
    """Say what is written differently in two versions, rule by rule.

    Args:
        old: The one.
        new: The other.
    """
    yield from _element_changes(
        {each.name: each for each in old.decisions},
        {each.name: each for each in new.decisions},
    )
    yield from _element_changes(
        {each.name: each for each in old.knowledge_models},
        {each.name: each for each in new.knowledge_models},
    )
    before = {each.name: each.type_ref for each in old.inputs}
    after = {each.name: each.type_ref for each in new.inputs}
    for name in sorted({*before, *after}):
        if name not in after:
            yield ModelChange(name, "removed", before=before[name])
        elif name not in before:
            yield ModelChange(name, "added", after=after[name])
        elif before[name] != after[name]:
            yield ModelChange(name, "changed", before=before[name], after=after[name])


_Element: TypeAlias = DecisionNode | KnowledgeModel


def _element_changes(
    before: Mapping[str, _Element], after: Mapping[str, _Element]
) -> Iterator[ModelChange]:
    for name, element in before.items():
        if name not in after:
            yield ModelChange(name, "removed")
            continue
        first = element.logic if isinstance(element, DecisionNode) else element.function
        second_element = after[name]
        second = (
            second_element.logic
            if isinstance(second_element, DecisionNode)
            else second_element.function
        )
        if first == second:
            continue
        if isinstance(first, DecisionTable) and isinstance(second, DecisionTable):
            yield from _table_changes(name, first, second)
        elif isinstance(first, LiteralExpression) and isinstance(second, LiteralExpression):
            yield ModelChange(name, "changed", before=first.text, after=second.text)
        else:
            yield ModelChange(name, "changed")
    yield from (ModelChange(name, "added") for name in after if name not in before)


def _table_changes(
    element: str, before: DecisionTable, after: DecisionTable
) -> Iterator[ModelChange]:
    for name in ("hit_policy", "aggregator", "inputs", "outputs"):
        first, second = getattr(before, name), getattr(after, name)
        if first != second:
            shown = ("", "") if isinstance(first, tuple) else (str(first), str(second))
            yield ModelChange(f"{element}: {name}", "changed", "", *shown)
    first_rules = [(rule.conditions, rule.conclusions) for rule in before.rules]
    second_rules = [(rule.conditions, rule.conclusions) for rule in after.rules]
    from difflib import SequenceMatcher  # of no use to whoever only decides

    matcher = SequenceMatcher(a=first_rules, b=second_rules, autojunk=False)
    for kind, low, high, start, end in matcher.get_opcodes():
        if kind == "equal":
            continue
        gone, come = before.rules[low:high], after.rules[start:end]
        for number in range(max(len(gone), len(come))):
            old = gone[number] if number < len(gone) else None
            new = come[number] if number < len(come) else None
            place = start + number if new is not None else low + number
            rule = (new or old or Rule((), ())).id or str(place + 1)
            what: Literal["added", "removed", "changed"] = (
                "added" if old is None else "removed" if new is None else "changed"
            )
            yield ModelChange(element, what, rule, _rule_text(old), _rule_text(new))


def _rule_text(rule: Rule | None) -> str:
    if rule is None:
        return ""
    conditions = " | ".join(text or "-" for text in rule.conditions)
    return f"{conditions} || {' | '.join(rule.conclusions)}"
