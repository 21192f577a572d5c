"""Models as plain objects: how JSON and YAML have them, and what is wrong with their shape.

msgspec reads models fast and stops at the first fault. Only where it stops is everything gone
through again, slowly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import msgspec
from msgspec import inspect

from federlib.dmn.model import Definitions
from federlib.dmn.model.problems import ModelProblem

__all__ = ["find_faults", "lean", "spell_out"]

# Where an expression stands, a text is one of FEEL.
_EXPRESSIONS = frozenset(
    {
        "logic",
        "value",
        "body",
        "function",
        "condition",
        "then",
        "otherwise",
        "source",
        "match",
        "result",
        "satisfies",
    }
)
_KINDS = {
    "imports": "import",
    "item_definitions": "type",
    "inputs": "input",
    "decisions": "decision",
    "knowledge_models": "knowledge model",
    "services": "service",
}
_LISTS = frozenset({"items", "rows"})


def spell_out(value: object, *, is_expression: bool = False) -> object:
    """Turn texts into literal expressions, where expressions stand.

    Args:
        value: What was read: objects, lists and scalars, at most 64 levels of them.
        is_expression: Whether an expression stands here.
    """
    if isinstance(value, str) and is_expression:
        return {"kind": "literal", "text": value}
    if isinstance(value, list):
        return [spell_out(item, is_expression=is_expression) for item in value]
    if isinstance(value, dict):
        return {
            key: spell_out(
                inner,
                is_expression=(isinstance(inner, str) and key in _EXPRESSIONS)
                or (isinstance(inner, list) and key in _LISTS),
            )
            for key, inner in value.items()
        }
    return value


def lean(value: object) -> object:
    """Turn records into objects without what has its default.

    msgspec leaves out only what *is* its default, so that equal models would differ.

    Args:
        value: A record of a model, or what is in one.
    """
    if isinstance(value, tuple):
        return [lean(item) for item in value]
    if not isinstance(value, msgspec.Struct):
        return value
    kind = type(value)
    found: dict[str, object] = {}
    tag = kind.__struct_config__.tag
    if tag is not None:
        found["kind"] = tag
    for name, default in _defaults(kind):
        inner: object = getattr(value, name)
        if default is _REQUIRED or inner != default:
            found[name] = lean(inner)
    return found


_REQUIRED = object()


@cache
def _defaults(kind: type[msgspec.Struct]) -> tuple[tuple[str, object], ...]:
    return tuple(
        (field.name, _REQUIRED if field.required else field.default)
        for field in msgspec.structs.fields(kind)
    )


def find_faults(value: object, *, is_strict: bool) -> list[ModelProblem]:
    """Say everything that keeps something from being a model by its shape.

    Args:
        value: What was read, spelt out.
        is_strict: A boolean is true or false, not the text of it.
    """
    walk = _Walk(is_strict=is_strict)
    walk.look(value, inspect.type_info(Definitions), ())
    return [ModelProblem(element, text, rule) for element, text, rule in walk.found]


class _Walk:
    def __init__(self, *, is_strict: bool) -> None:
        self.is_strict = is_strict
        self.found: list[tuple[str, str, int | None]] = []
        self.element = "definitions"
        self.rule: int | None = None

    def fault(self, path: tuple[str, ...], text: str) -> None:
        where = ".".join(path)
        self.found.append((self.element, f"{where}: {text}" if where else text, self.rule))

    def look(self, value: object, kind: inspect.Type, path: tuple[str, ...]) -> None:
        match kind:
            case inspect.StructType():
                self.look_at_struct(value, kind, path)
            case inspect.VarTupleType(item_type=item):
                self.look_at_list(value, item, path)
            case inspect.UnionType(types=kinds):
                self.look_at_union(value, kinds, path)
            case inspect.LiteralType(values=allowed):
                if value not in allowed:
                    self.fault(
                        path, f"expected one of {', '.join(map(str, allowed))}, {_seen(value)}"
                    )
            case inspect.BoolType():
                fits = isinstance(value, bool) or (
                    not self.is_strict and str(value).lower() in {"true", "false", "1", "0"}
                )
                if not fits:
                    self.fault(path, f"expected true or false, {_seen(value)}")
            case _:
                if not isinstance(value, str):
                    self.fault(path, f"expected text, {_seen(value)}")

    def look_at_list(self, value: object, item: inspect.Type, path: tuple[str, ...]) -> None:
        if not isinstance(value, list):
            self.fault(path, f"expected a list, {_seen(value)}")
            return
        for number, inner in enumerate(value, 1):
            is_rule = path[-1:] == ("rules",)
            is_element = len(path) == 1
            if is_rule:
                self.rule = number
            if is_element:
                name = inner.get("name") if isinstance(inner, dict) else None
                kind = _KINDS.get(path[0], path[0])
                self.element = f"{kind} {name!r}" if name else f"{kind} {number}"
            here = (
                ()
                if is_element
                else path[:-1]
                if is_rule
                else (*path[:-1], f"{path[-1]}[{number}]")
            )
            self.look(inner, item, here)
            if is_rule:
                self.rule = None
            if is_element:
                self.element = "definitions"

    def look_at_union(
        self, value: object, kinds: tuple[inspect.Type, ...], path: tuple[str, ...]
    ) -> None:
        if value is None and any(isinstance(kind, inspect.NoneType) for kind in kinds):
            return
        structs = [kind for kind in kinds if isinstance(kind, inspect.StructType)]
        if not structs:
            others = [kind for kind in kinds if not isinstance(kind, inspect.NoneType)]
            self.look(value, others[0], path)
            return
        if len(structs) == 1:
            self.look(value, structs[0], path)
            return
        tags = {str(kind.tag): kind for kind in structs}
        if not isinstance(value, dict):
            self.fault(path, f"expected an expression: text, or an object, {_seen(value)}")
        elif value.get("kind") not in tags:
            self.fault(path, f"kind: expected one of {', '.join(tags)}, {_seen(value.get('kind'))}")
        else:
            self.look(value, tags[value["kind"]], path)

    def look_at_struct(
        self, value: object, kind: inspect.StructType, path: tuple[str, ...]
    ) -> None:
        if not isinstance(value, dict):
            self.fault(path, f"expected an object, {_seen(value)}")
            return
        fields = {field.encode_name: field for field in kind.fields}
        for name, field in fields.items():
            if name in value:
                self.look(value[name], field.type, (*path, name))
            elif field.required:
                self.fault(path, f"{name} is missing")
        known = ", ".join(fields)
        for unknown in _unknown(value, fields, kind):
            self.fault(path, f"{unknown!r} is no field that is known here: {known}")


def _unknown(
    value: Mapping[object, object], fields: Mapping[str, object], kind: inspect.StructType
) -> Iterator[object]:
    return (
        name
        for name in value
        if name not in fields and not (name == "kind" and kind.tag is not None)
    )


def _seen(value: object) -> str:
    if value is None:
        return "found nothing"
    if isinstance(value, dict | list):
        return f"found {'an object' if isinstance(value, dict) else 'a list'}"
    shown = msgspec.json.encode(value).decode()
    return f"found {shown if len(shown) <= 80 else shown[:80] + '…'}"
