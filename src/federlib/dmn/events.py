"""From an event that asks for a decision to the event that tells it, with its trace.

    decisions = EventDecisions(model, load_mapping("scaling"))
    made = decisions.answer(payload, now_ns=now_ns)       # of scaling.decision.requested
    publish("decision.made", encode_made(made))
    await fed.commands.issue("scale", outputs, gate=seat, decision_id=made.decision_id)

The id of a decision is made of what decided and of what it was asked, so who is asked twice,
or by two leaders, says the same under the same id; it stands in the records of the commands
that follow, and there leads back to the trace.

Source: HA plan, phase 0 (`decision_id` in commands) and §3 (adapter from current event
payloads; a trace on every `decision.made`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from federlib.dmn.engine.compiled import Model
from federlib.dmn.engine.decision import Decision, read_decision, write_decision
from federlib.errors import CorruptRecord, InvalidInput
from federlib.telemetry import SILENT, Metric, Telemetry

__all__ = [
    "DECISIONS",
    "DECISION_MADE",
    "DecisionMade",
    "EventDecisions",
    "EventMapping",
    "decode_made",
    "encode_made",
    "facts_of",
]

DECISION_MADE = "decision.made"
"""The event that tells a decision."""

DECISIONS = Metric(
    name="federlib_dmn_decisions_total",
    kind="counter",
    help="Decisions made on request of an event",
    labels=("decision", "has_problems"),
)

FORMAT = 1
_MISSING = object()


class EventMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the payload of an event becomes the facts of a decision.

    Attributes:
        event: The name of the event.
        decision: The decision that it asks.
        facts: Where each fact is in the payload: keys with points between, such as `pool.cpu`.
        request_id: Where the id of the request is.
        leader_epoch: Where the epoch is in which it was asked.
        traceparent: Where the W3C trace context is.
    """

    event: str
    decision: str
    facts: dict[str, str]
    request_id: str = "request_id"
    leader_epoch: str = "leader_epoch"
    traceparent: str = "traceparent"


class DecisionMade(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of `decision.made`.

    Attributes:
        decision_id: For the records of commands; made of the request and what decided.
        request_event: The event that asked.
        request_id: Its id; empty where it had none.
        leader_epoch: The epoch in which it was asked; None where it did not say.
        traceparent: W3C trace context, handed on; None where there was none.
        decision: What was decided, from what, by which rules of which version, and why.
        event: Always `decision.made`.
        v: Schema version.
    """

    decision_id: str
    request_event: str
    request_id: str
    decision: Decision
    leader_epoch: int | None = None
    traceparent: str | None = None
    event: str = DECISION_MADE
    v: int = FORMAT


def facts_of(payload: Mapping[str, object], mapping: EventMapping) -> dict[str, object]:
    """Find the facts of a decision in the payload of an event.

    What is not there is left out: then it is null, and a problem of the decision.

    Args:
        payload: Of the event, as decoded from JSON.
        mapping: Where the facts are.
    Raises:
        InvalidInput: The payload is no mapping.
    """
    found = {name: _at(payload, path, mapping.event) for name, path in mapping.facts.items()}
    return {name: value for name, value in found.items() if value is not _MISSING}


class EventDecisions:
    """Answers the events that ask one decision. Safe to share between threads.

    Args:
        model: What decides.
        mapping: Which event, which decision, and where the facts are.
        telemetry: Decisions are counted and logged there.
    Raises:
        InvalidInput: The model has no such decision.
    """

    def __init__(
        self, model: Model, mapping: EventMapping, *, telemetry: Telemetry = SILENT
    ) -> None:
        names = [each.name for each in model.definitions.decisions]
        if mapping.decision not in names:
            raise InvalidInput(
                "decision", expected=f"one of {', '.join(names) or 'none'}", found=mapping.decision
            )
        self._model = model
        self._mapping = mapping
        self._telemetry = telemetry

    def answer(self, payload: Mapping[str, object], *, now_ns: int) -> DecisionMade:
        """Decide what an event asks.

        Args:
            payload: Of the event, as decoded from JSON.
            now_ns: When it is decided; Unix nanoseconds.
        Returns:
            The payload of `decision.made`, with the trace of every table that was asked.
        Raises:
            InvalidInput: The payload is no mapping, a fact is nothing that FEEL has, or what
                stands for the request's id, epoch or trace context is something else.
        """
        mapping = self._mapping
        facts = facts_of(payload, mapping)
        request_id = _at(payload, mapping.request_id, mapping.event)
        epoch = _at(payload, mapping.leader_epoch, mapping.event)
        traceparent = _at(payload, mapping.traceparent, mapping.event)
        decision = self._model.decide(facts, mapping.decision, trace=True, now_ns=now_ns)
        made = DecisionMade(
            decision_id=_decision_id(mapping, _text(request_id, "request_id") or "", decision),
            request_event=mapping.event,
            request_id=_text(request_id, "request_id") or "",
            leader_epoch=_epoch(epoch),
            traceparent=_text(traceparent, "traceparent"),
            decision=decision,
        )
        self._tell(made)
        return made

    def _tell(self, made: DecisionMade) -> None:
        decision = made.decision
        self._telemetry.emit(
            DECISIONS,
            decision=decision.source.decision,
            has_problems="yes" if decision.problems else "no",
        )
        self._telemetry.log(
            "warning" if decision.problems else "info",
            DECISION_MADE,
            decision_id=made.decision_id,
            request_id=made.request_id,
            decision=decision.source.decision,
            version=decision.source.version,
            content_hash=decision.source.content_hash,
            inputs_hash=decision.inputs_hash,
            rules=", ".join(decision.matched),
            problems="; ".join(decision.problems),
        )


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """The payload as JSON has it."""

    event: str
    decision_id: str
    request_event: str
    request_id: str
    decision: msgspec.Raw
    leader_epoch: int | None = None
    traceparent: str | None = None
    v: int = FORMAT


def encode_made(made: DecisionMade) -> bytes:
    """Write the payload of `decision.made` as JSON; the decision as `write_decision` does."""
    return msgspec.json.encode(
        _Stored(
            event=made.event,
            decision_id=made.decision_id,
            request_event=made.request_event,
            request_id=made.request_id,
            decision=msgspec.Raw(write_decision(made.decision)),
            leader_epoch=made.leader_epoch,
            traceparent=made.traceparent,
            v=made.v,
        )
    )


def decode_made(data: bytes, *, where: str = DECISION_MADE) -> DecisionMade:
    """Read what `encode_made` wrote.

    Args:
        data: JSON.
        where: What it is called in errors.
    Raises:
        CorruptRecord: It is something else, or of a later version of federlib.
    """
    try:
        stored = msgspec.json.decode(data, type=_Stored)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptRecord(where, expected=f"a {DECISION_MADE} ({error})", found=data) from error
    if (stored.event, stored.v) != (DECISION_MADE, FORMAT):
        found = f"{stored.event}, v = {stored.v}"
        raise CorruptRecord(where, expected=f"{DECISION_MADE}, v = {FORMAT}", found=found)
    return DecisionMade(
        decision_id=stored.decision_id,
        request_event=stored.request_event,
        request_id=stored.request_id,
        leader_epoch=stored.leader_epoch,
        traceparent=stored.traceparent,
        decision=read_decision(bytes(stored.decision), where=where),
    )


def _at(payload: Mapping[str, object], path: str, event: str) -> object:
    if not isinstance(payload, Mapping):
        raise InvalidInput(f"payload of {event}", expected="a mapping", found=payload)
    found: object = payload
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return _MISSING
        found = found[part]
    return found


def _text(found: object, name: str) -> str | None:
    if found is _MISSING or found is None:
        return None
    # What goes into the records of commands is bounded there too.
    if not isinstance(found, str) or len(found) > 200:
        raise InvalidInput(name, expected="a text of at most 200 characters", found=found)
    try:
        found.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(name, expected="a text of Unicode", found=found) from error
    return found


def _epoch(found: object) -> int | None:
    if found is _MISSING or found is None:
        return None
    # `type`, because True is an int too.
    if type(found) is not int or not 0 <= found < 2**63:
        raise InvalidInput("leader_epoch", expected="an integer from 0 to 2**63 - 1", found=found)
    return found


def _decision_id(mapping: EventMapping, request_id: str, decision: Decision) -> str:
    # JSON, so that no part can run into the next.
    parts = (mapping.event, request_id, decision.source.decision, decision.content_hash)
    told = msgspec.json.encode((*parts, decision.inputs_hash))
    return "dec-" + hashlib.sha256(told).hexdigest()[:32]
