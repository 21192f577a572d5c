"""Functions of contexts.

Source: DMN 1.5, 10.3.4.10.
"""

from __future__ import annotations

from federlib.dmn.feel.builtins.declare import ANY, CONTEXT, LIST, STRING, Kind, way
from federlib.dmn.feel.evaluation import Evaluation
from federlib.dmn.feel.values import Function, Value

__all__ = ["WAYS"]

_MAX_DEPTH = 200


def _get_value(_ev: Evaluation, context: dict[str, Value], key: str) -> Value:
    # A key that is not there is null without a problem: the table of the standard says so.
    return context.get(key)


def _get_entries(ev: Evaluation, context: dict[str, Value]) -> Value:
    ev.spend(len(context))
    return [{"key": key, "value": value} for key, value in context.items()]


def _context(ev: Evaluation, entries: list[Value]) -> Value:
    result: dict[str, Value] = {}
    for each in entries:
        ev.spend()
        if not isinstance(each, dict) or "value" not in each:
            return ev.fail("context: takes contexts with key and value")
        key = each.get("key")
        if not isinstance(key, str):
            return ev.fail("context: a key that is no string")
        if key in result:
            return ev.fail(f"context: {key[:60]!r} twice")
        result[key] = each["value"]
    return result


def _put(ev: Evaluation, context: dict[str, Value], keys: str | list[Value], value: Value) -> Value:
    if isinstance(keys, str):
        ev.spend(len(context))
        return {**context, keys: value}
    if not keys:
        return ev.fail("context put: no keys")
    if len(keys) > _MAX_DEPTH:
        return ev.fail(f"context put: more than {_MAX_DEPTH} keys")
    path: list[tuple[dict[str, Value], str]] = []
    inner: Value = context
    for key in keys:
        if not isinstance(key, str):
            return ev.fail("context put: a key that is no string")
        if not isinstance(inner, dict):
            return ev.fail(f"context put: there is no context for {key[:60]!r}")
        ev.spend(len(inner))
        path.append((inner, key))
        inner = inner.get(key)
    for outer, key in reversed(path):
        value = {**outer, key: value}
    return value


def _merge(ev: Evaluation, contexts: list[Value]) -> Value:
    result: dict[str, Value] = {}
    for each in contexts:
        if not isinstance(each, dict):
            return ev.fail("context merge: takes contexts")
        ev.spend(len(each))
        result.update(each)
    return result


_CONTEXT = ("context", CONTEXT)
_M = ("m", CONTEXT)
_VALUE = ("value", ANY)
# In order, the second argument may be either; by name it is one or the other.
_KEYS = ("keys", Kind("a string, or a list of strings", (str, list)))

WAYS: tuple[Function, ...] = (
    way("get value", [_M, ("key", STRING)], _get_value),
    way("get entries", [_M], _get_entries),
    way("context", [("entries", LIST)], _context),
    way("context put", [_CONTEXT, _KEYS, _VALUE], _put),
    way("context put", [_CONTEXT, ("key", STRING), _VALUE], _put),
    way("context merge", [("contexts", LIST)], _merge),
)
