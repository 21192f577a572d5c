"""The types that models define, resolved: what a value must be, and what it must pass.

A type of FEEL says what a value is; an item definition may say beside that which values are
allowed (`allowed`, for a collection of each element) and what the whole must satisfy
(`constraint`). `instance of` asks only the first question, so the two are kept apart.

Source: DMN 1.5, 7.3.3 (item definitions), 10.3.2.9.4 (conversions), 10.3.2.10 (instance of).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import attrs

from federlib.dmn.feel import compile_unary_tests
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.scope import Scope
from federlib.dmn.feel.types import (
    ANY,
    NAMED_TYPES,
    ContextType,
    FeelType,
    FunctionType,
    ListType,
    coerce,
)
from federlib.dmn.feel.values import Value
from federlib.dmn.model import ItemDefinition
from federlib.dmn.model.problems import Report
from federlib.errors import InvalidInput

__all__ = ["ANY_ITEM", "ItemType", "ItemTypes", "adapt"]

Check: TypeAlias = Callable[[Evaluation, Value], "str | None"]
"""Says in words which constraint a value does not pass, or None."""


@attrs.frozen
class ItemType:
    """What a value must be.

    Attributes:
        feel: Its type in FEEL.
        check: What it must pass beside that; None: nothing.
        allowed: The allowed values, as the type or the one that it restricts has them written;
            empty for a collection, whose elements they are of.
    """

    feel: FeelType
    check: Check | None = None
    allowed: str = ""


ANY_ITEM = ItemType(ANY)
"""What nothing is said about."""


def adapt(ev: Evaluation, value: Value, kind: ItemType, what: str) -> Value:
    """Adapt a value to a type: itself, converted where the standard converts, or null.

    Args:
        ev: Told when the value does not conform.
        value: Any value; null conforms to every type.
        kind: What is wanted.
        what: What the value is, for the problem.
    """
    if value is None or kind is ANY_ITEM:
        return value
    found = coerce(value, kind.feel, spend=ev.spend)
    if found is None:
        return ev.fail(f"{what} is not of type {kind.feel}, so it is null")
    if kind.check is not None:
        fault = kind.check(ev, found)
        if fault is not None:
            return ev.fail(f"{what} {fault}, so it is null")
    return found


class ItemTypes:
    """The types of one model, and of the models that it imports.

    Attributes:
        named: Every type that it defines, by name, resolved; for scopes.
    """

    def __init__(
        self,
        definitions: Sequence[ItemDefinition],
        imported: Mapping[str, ItemTypes],
        report: Report,
    ) -> None:
        """Resolve the types of a model.

        Args:
            definitions: What it defines, in any order.
            imported: The types of the models that it imports, by the name that each has here.
            report: Told what is wrong.
        """
        self._report = report
        self._definitions = {definition.name: definition for definition in definitions}
        self._resolved: dict[str, ItemType] = {}
        self._open: list[str] = []
        for prefix, types in imported.items():
            for name, kind in types._resolved.items():  # noqa: SLF001 (of the same class)
                self._resolved[f"{prefix}.{name}" if prefix else name] = kind
        for name in self._definitions:
            self._named(name)
        self.named: Mapping[str, FeelType] = {
            name: kind.feel for name, kind in self._resolved.items()
        }

    def resolve(self, type_ref: str, element: str) -> ItemType:
        """Return the type of this name.

        Args:
            type_ref: As the model spells it; empty: any.
            element: What refers to it, for problems.
        """
        name = " ".join(type_ref.split())
        if not name:
            return ANY_ITEM
        name = name.removeprefix("feel:")
        if name in self._resolved or name in self._definitions:
            return self._named(name)
        if name in NAMED_TYPES:
            kind = NAMED_TYPES[name]
            return ANY_ITEM if kind == ANY else ItemType(kind)
        self._report(element, f"the type {type_ref!r} is defined nowhere")
        return ANY_ITEM

    def _named(self, name: str) -> ItemType:
        found = self._resolved.get(name)
        if found is not None:
            return found
        element = f"type {name!r}"
        if name in self._open:
            path = " → ".join([*self._open[self._open.index(name) :], name])
            self._report(element, f"it is defined by itself: {path}")
            return ANY_ITEM
        if len(self._open) >= _MAX_DEPTH:
            self._report(element, f"more than {_MAX_DEPTH} types in one another")
            return ANY_ITEM
        self._open.append(name)
        try:
            found = self._build(self._definitions[name], element)
        finally:
            self._open.pop()
        self._resolved[name] = found
        return found

    def _build(self, definition: ItemDefinition, element: str, depth: int = 0) -> ItemType:
        if depth > _MAX_DEPTH:
            self._report(element, f"more than {_MAX_DEPTH} components in one another")
            return ANY_ITEM
        checks: list[Check] = []
        base = self._base(definition, element, depth)
        if base.check is not None:
            checks.append(base.check)
        if definition.allowed:
            checks.append(self._test(definition.allowed, element, "an allowed value"))
        feel, check = base.feel, _all_of(checks)
        allowed = definition.allowed.strip() or base.allowed
        if definition.is_collection:
            feel, allowed = ListType(feel), ""
            check = None if check is None else _each(check)
        if definition.constraint:
            whole = self._test(definition.constraint, element, "what its type allows")
            check = _all_of([whole] if check is None else [check, whole])
        return ItemType(feel, check, allowed)

    def _base(self, definition: ItemDefinition, element: str, depth: int) -> ItemType:
        if definition.parameters is not None:
            parameters = tuple(
                self.resolve(parameter.type_ref, element).feel
                for parameter in definition.parameters
            )
            names = tuple(parameter.name for parameter in definition.parameters)
            result = self.resolve(definition.result_type, element).feel
            return ItemType(FunctionType(parameters, result, names))
        if definition.components:
            parts = {
                part.name: self._build(part, f"{element}, component {part.name!r}", depth + 1)
                for part in definition.components
            }
            checked = {name: part.check for name, part in parts.items() if part.check is not None}
            feel = ContextType({name: part.feel for name, part in parts.items()})
            return ItemType(feel, _components(checked) if checked else None)
        if definition.type_ref:
            return self.resolve(definition.type_ref, element)
        return ANY_ITEM

    def _test(self, text: str, element: str, allowed: str) -> Check:
        try:
            tests = compile_unary_tests(text, Scope({}, {}))
        except InvalidInput as error:
            self._report(element, f"allowed values: {error}")
            return lambda _ev, _value: None

        def check(ev: Evaluation, value: Value) -> str | None:
            return None if tests.matches(ev, {}, value) is True else f"is not {allowed}: {text}"

        return check


_MAX_DEPTH = 64


def _all_of(checks: Sequence[Check]) -> Check | None:
    if len(checks) <= 1:
        return checks[0] if checks else None

    def check(ev: Evaluation, value: Value) -> str | None:
        return next((fault for one in checks if (fault := one(ev, value)) is not None), None)

    return check


def _each(check: Check) -> Check:
    def check_all(ev: Evaluation, value: Value) -> str | None:
        if not isinstance(value, list):
            return None
        for number, item in enumerate(value, 1):
            ev.spend()
            fault = None if item is None else check(ev, item)
            if fault is not None:
                return f"has an element {number} that {fault}"
        return None

    return check_all


def _components(checks: Mapping[str, Check]) -> Check:
    def check_all(ev: Evaluation, value: Value) -> str | None:
        if not isinstance(value, dict):
            return None
        for name, check in checks.items():
            item = value.get(name)
            fault = None if item is None else check(ev, item)
            if fault is not None:
                return f"has an entry {name!r} that {fault}"
        return None

    return check_all
