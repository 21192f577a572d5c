"""`Decision`: what was decided, from what, by which rules of which version, and why.

Source: HA plan §3 (explain output: matched rule ids, hash of the normalised inputs, version).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import cast

import msgspec

from federlib.dmn.documents.plain_json import jsonable, read_jsonable
from federlib.dmn.feel.convert import canonical
from federlib.dmn.feel.values import Value
from federlib.dmn.tables.trace import TableTrace
from federlib.errors import CorruptRecord, InvalidInput

__all__ = ["Decision", "DecisionSource", "hash_inputs", "read_decision", "write_decision"]


class DecisionSource(msgspec.Struct, frozen=True, omit_defaults=True):
    """What decided.

    Attributes:
        model: The name of the model.
        decision: The name of the decision.
        version: Of the model, as it says; may be empty.
        content_hash: SHA-256 of the content of the model, in hex: it tells versions apart.
        namespace: Of the model; may be empty.
        table: The id of the table that is the logic of the decision, or else the decision's own;
            may be empty.
    """

    model: str
    decision: str
    version: str
    content_hash: str
    namespace: str = ""
    table: str = ""


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """One decision: it can be stored, read, and decided again.

    Attributes:
        source: What decided.
        outputs: What was decided, as Python has it: of a table with several outputs a mapping.
        matched: The ids of the rules that match (under FIRST the first), in the order of the
            table; a rule without an id goes by its number from 1. Of a decision that is no table
            itself they are those of the last table that its logic asked.
        applied: The ids of the rules that the outputs are made of, in that order.
        inputs: The facts that were given for what the decision requires.
        inputs_hash: SHA-256, in hex, of those inputs in their one spelling: the same for 1, 1.0
            and 1e0, for any order of keys, and for an input that is null or was not given.
        problems: What the standard calls errors, in words; where there are any, what they are
            about is null.
        trace: Why, table by table in the order in which they were asked; None: not wanted.
        decided_at_ns: When; Unix nanoseconds; None: nobody said.
        v: The version of this record.
    """

    source: DecisionSource
    outputs: object
    matched: tuple[str, ...]
    applied: tuple[str, ...]
    inputs: dict[str, object]
    inputs_hash: str
    problems: tuple[str, ...] = ()
    trace: tuple[TableTrace, ...] | None = None
    decided_at_ns: int | None = None
    v: int = 1

    @property
    def version(self) -> str:
        """Of the model, as it says."""
        return self.source.version

    @property
    def content_hash(self) -> str:
        """Of the model."""
        return self.source.content_hash


def hash_inputs(inputs: Mapping[str, Value]) -> str:
    """Hash inputs.

    Args:
        inputs: By name, those that are required and null among them.
    Returns:
        SHA-256 in hex.
    Raises:
        InvalidInput: A function is among them.
    """
    return hashlib.sha256(canonical(dict(inputs))).hexdigest()


class _Stored(msgspec.Struct, frozen=True):
    """The record as JSON has it."""

    v: int
    source: DecisionSource
    outputs: object
    matched: tuple[str, ...]
    applied: tuple[str, ...]
    inputs: dict[str, object]
    inputs_hash: str
    problems: tuple[str, ...] = ()
    trace: list[object] | None = None
    decided_at_ns: int | None = None


_decoder = msgspec.json.Decoder(_Stored, float_hook=Decimal)


def write_decision(decision: Decision) -> bytes:
    """Write a decision as JSON: numbers with all digits, dates as `{"@": "2026-11-22"}`.

    Raises:
        InvalidInput: An input or output is nothing that FEEL has, or a text in it has half of
            a surrogate pair, which no JSON can hold.
    """
    trace = decision.trace
    stored = _Stored(
        v=decision.v,
        source=decision.source,
        outputs=jsonable(decision.outputs, where="outputs"),
        matched=decision.matched,
        applied=decision.applied,
        inputs=_jsonable_context(decision.inputs, "inputs"),
        inputs_hash=decision.inputs_hash,
        problems=decision.problems,
        trace=None if trace is None else [_jsonable_trace(each) for each in trace],
        decided_at_ns=decision.decided_at_ns,
    )
    try:
        return msgspec.json.encode(stored)
    except UnicodeEncodeError as error:
        raise InvalidInput("decision", expected="texts of Unicode", found=str(error)) from error


def _jsonable_context(values: Mapping[str, object], where: str) -> dict[str, object]:
    # Not as one value: a context whose only key is `@` would be wrapped.
    return {key: jsonable(value, where=f"{where}.{key}") for key, value in values.items()}


def _jsonable_trace(trace: TableTrace) -> dict[str, object]:
    plain = cast("dict[str, object]", msgspec.structs.asdict(trace))
    plain["value"] = jsonable(trace.value, where="trace")
    plain["rules"] = [
        {
            **msgspec.structs.asdict(rule),
            "outputs": None if rule.outputs is None else _jsonable_context(rule.outputs, "trace"),
        }
        for rule in trace.rules
    ]
    plain["values"] = [jsonable(value, where="trace") for value in trace.values]
    return plain


def read_decision(data: bytes, *, where: str = "decision") -> Decision:
    """Read what `write_decision` wrote.

    Args:
        data: JSON.
        where: What it is called in errors.
    Raises:
        CorruptRecord: It is no decision, or one of a later version of federlib.
        MissingExtra: It has a time zone, and neither the system nor tzdata knows one.
    """
    try:
        stored = _decoder.decode(data)
        if stored.v != 1:
            raise CorruptRecord(where, expected="field v = 1", found=stored.v)
        trace = stored.trace
        return Decision(
            source=stored.source,
            outputs=read_jsonable(stored.outputs, where="outputs"),
            matched=stored.matched,
            applied=stored.applied,
            inputs=_read_context(stored.inputs, "inputs"),
            inputs_hash=stored.inputs_hash,
            problems=stored.problems,
            trace=None if trace is None else tuple(map(_read_trace, trace)),
            decided_at_ns=stored.decided_at_ns,
        )
    except (msgspec.DecodeError, InvalidInput, RecursionError, UnicodeDecodeError) as error:
        raise CorruptRecord(where, expected=f"a decision ({error})", found=data) from error


def _read_context(values: Mapping[str, object], where: str) -> dict[str, object]:
    return {key: read_jsonable(value, where=f"{where}.{key}") for key, value in values.items()}


def _read_trace(plain: object) -> TableTrace:
    trace = msgspec.convert(plain, TableTrace)
    rules = tuple(
        rule
        if rule.outputs is None
        else msgspec.structs.replace(rule, outputs=_read_context(rule.outputs, "trace"))
        for rule in trace.rules
    )
    return msgspec.structs.replace(
        trace,
        rules=rules,
        value=read_jsonable(trace.value, where="trace"),
        values=tuple(read_jsonable(value, where="trace") for value in trace.values),
    )
