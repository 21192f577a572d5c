"""What the causal gate keeps in the store; `keys` says where.

Source: HA plan §5; issue of the causal gate.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, TypeVar

import msgspec

from federlib.errors import InvalidInput

__all__ = [
    "FORMAT",
    "MAX_COVARIATES",
    "MAX_NODES",
    "Design",
    "Direction",
    "Evidence",
    "ExpectedEffect",
    "Finding",
    "Hypothesis",
    "Identifier",
    "Measured",
    "Mode",
    "Result",
    "Ruling",
    "Stored",
    "TrackRecord",
    "Verdict",
    "checked",
    "digest",
    "encode",
]

MAX_NODES = 200
"""Of a stated graph: what people can draw and check, with room."""
MAX_COVARIATES = 16
"""Series that one measurement adjusts for."""
FORMAT = 1

Mode = Literal["off", "advisory", "enforced"]
"""Whether an action is asked for a hypothesis, and refused without a sound one."""

Ruling = Literal["passed", "advised", "refused"]
"""What the gate says of one command."""

Direction = Literal["decrease", "increase"]
Design = Literal["difference_in_differences", "before_after"]
Finding = Literal["supported", "refuted", "inconclusive"]
"""What an intervention made of the hypothesis behind it."""

_INT64 = 2**63 - 1
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Text = Annotated[str, msgspec.Meta(max_length=200)]
_Prose = Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
_Instant = Annotated[int, msgspec.Meta(ge=0, le=_INT64)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=_INT64)]
_Number = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
_Positive = Annotated[float, msgspec.Meta(gt=0, le=1e300)]
_Level = Annotated[float, msgspec.Meta(ge=0.5, lt=1)]
_Names = Annotated[tuple[_Name, ...], msgspec.Meta(max_length=MAX_NODES)]
_Few = Annotated[tuple[_Name, ...], msgspec.Meta(max_length=MAX_COVARIATES)]
_Reasons = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=500)], ...], msgspec.Meta(max_length=64)
]
_Graph = Annotated[dict[_Name, _Names], msgspec.Meta(min_length=2, max_length=MAX_NODES)]
Identifier = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,95}\Z")]

T = TypeVar("T", bound=msgspec.Struct)


class ExpectedEffect(msgspec.Struct, frozen=True, kw_only=True):
    """By how much the outcome should change, which way, and how soon.

    Attributes:
        direction: Which way.
        at_least: The smallest change worth the action; in `unit`, above 0.
        unit: Of the outcome, for example ``ms``.
        within_s: From the action to when it can be seen; seconds.
    """

    direction: Direction
    at_least: _Positive
    unit: _Name
    within_s: _Positive


class Hypothesis(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="hypothesis"):
    """Why an action should help: what acts on what, and what else could look like it.

    Attributes:
        hypothesis_id: Letters, digits and `._:-`, at most 96; what commands name as
            `causal_id`.
        action: The action of the commands that it speaks for.
        treatment: The node of the graph that the action sets.
        outcome: The node that should change.
        mechanism: How the one brings about the other, in words.
        through: The nodes between, in order; each acts on the next.
        graph: Each node with what acts on it directly.
        unobserved: Nodes that nobody measures.
        confounders: Common causes of treatment and outcome that were thought of.
        adjustment: Nodes whose part is taken out before treatment and outcome are compared.
        expected: The effect that would bear it out.
        rollback: How to undo the action where it does harm.
        author: Who states it.
        stated_at_ns: When; Unix nanoseconds.
        expires_at_ns: From this instant on it speaks for nothing; None: never.
        v: Schema version.
    """

    hypothesis_id: Identifier
    action: _Name
    treatment: _Name
    outcome: _Name
    mechanism: _Prose
    graph: _Graph
    expected: ExpectedEffect
    rollback: _Prose
    through: _Names = ()
    unobserved: _Names = ()
    confounders: _Names = ()
    adjustment: _Few = ()
    author: _Name = "unknown"
    stated_at_ns: _Instant = 0
    expires_at_ns: _Instant | None = None
    v: int = FORMAT


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """An effect as two stretches of time series show it.

    Attributes:
        design: Whether a control group was subtracted.
        effect: How much the outcome rose with the action; in the outcome's unit.
        low: Lower end of the interval.
        high: Upper end of it.
        level: How often such intervals hold the truth.
        before: Samples before the action.
        after: Samples after it.
        adjusted_for: What was taken out by regression.
        placebo_low: Lower end of the same interval for an action in the middle of the time
            before, when there was none; None where that cannot be told.
        placebo_high: Upper end of it.
    """

    design: Design
    effect: _Number
    low: _Number
    high: _Number
    level: _Level
    before: _Count
    after: _Count
    adjusted_for: _Few = ()
    placebo_low: _Number | None = None
    placebo_high: _Number | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="evidence"):
    """What speaks for a hypothesis before it is acted on.

    Attributes:
        hypothesis_id: The hypothesis.
        measured: The effect where the action was tried: on a canary, or in the past.
        source: Where the series come from, for people.
        observed_at_ns: Of the newest sample; Unix nanoseconds.
        recorded_at_ns: When this was recorded; Unix nanoseconds.
        author: Who recorded it.
        v: Schema version.
    """

    hypothesis_id: Identifier
    measured: Measured
    source: _Text
    observed_at_ns: _Instant
    recorded_at_ns: _Instant
    author: _Name
    v: int = FORMAT


class Result(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="result"):
    """What came of one command, against what its hypothesis expected.

    Attributes:
        hypothesis_id: The hypothesis.
        scope: The scope of the command.
        command_id: The command.
        expected: As the hypothesis states it.
        measured: The effect of this command.
        finding: Whether that bears the hypothesis out.
        recorded_at_ns: When this was recorded; Unix nanoseconds.
        author: Who recorded it.
        v: Schema version.
    """

    hypothesis_id: Identifier
    scope: _Name
    command_id: Identifier
    expected: ExpectedEffect
    measured: Measured
    finding: Finding
    recorded_at_ns: _Instant
    author: _Name
    v: int = FORMAT


class TrackRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="track"):
    """How often a hypothesis was borne out.

    Attributes:
        hypothesis_id: The hypothesis.
        supported: Commands after which the outcome was as expected.
        refuted: Commands after which it was not.
        inconclusive: Commands after which it cannot be told.
        last_command_id: The last of them.
        last_at_ns: When its result was recorded; Unix nanoseconds.
        v: Schema version.
    """

    hypothesis_id: Identifier
    supported: _Count = 0
    refuted: _Count = 0
    inconclusive: _Count = 0
    last_command_id: _Text = ""
    last_at_ns: _Instant = 0
    v: int = FORMAT


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate found about one disruptive command; kept in the command's record.

    Attributes:
        ruling: `advised`: something is wrong, and it passed because the mode is advisory.
        mode: In which mode it was judged.
        reasons: What is wrong, all of it.
        hypothesis_id: The hypothesis that the command named, if it named one.
        digest: SHA-256 of that hypothesis, in hex; empty without one.
        evidence: The newest evidence for it, as it was when the command was judged.
        track: Its track record at that time.
    """

    ruling: Ruling
    mode: Mode
    reasons: _Reasons = ()
    hypothesis_id: _Text | None = None
    digest: _Text = ""
    evidence: Evidence | None = None
    track: TrackRecord | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the command must not be issued."""
        return self.ruling == "refused"

    @property
    def reason(self) -> str:
        """All reasons in one line; empty where nothing is wrong."""
        return "; ".join(self.reasons)

    def encode(self) -> bytes:
        """Return it as JSON, for the record of the command."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes | msgspec.Raw) -> Verdict:
        """Read what `encode` wrote, as the field `causal` of a command holds it.

        Raises:
            InvalidInput: It is something else.
        """
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInput("verdict", expected=str(error), found=bytes(data)) from error


Stored = Hypothesis | Evidence | Result | TrackRecord


def encode(record: Stored) -> bytes:
    """Return the record as JSON, keys sorted."""
    return msgspec.json.encode(record, order="sorted")


def digest(hypothesis: Hypothesis) -> str:
    """Return the SHA-256 of a hypothesis, in hex: the same content, the same digest."""
    return hashlib.sha256(encode(hypothesis)).hexdigest()


def checked(record: T) -> T:
    """Return the record as a reader of the store will see it.

    Raises:
        InvalidInput: A field is of the wrong type or out of its range, or the record is of
            another version than this federlib reads.
    """
    kind = type(record)
    found = getattr(record, "v", FORMAT)
    if type(found) is not int or found != FORMAT:
        raise InvalidInput("v", expected=str(FORMAT), found=found)
    try:
        # One round trip checks every constraint that the annotations state. What is not
        # finite becomes null on the way, and is refused.
        return msgspec.json.decode(msgspec.json.encode(record), type=kind)
    except (TypeError, ValueError, RecursionError) as error:
        field = kind.__name__.lower()
        raise InvalidInput(
            field, expected=f"one that is well formed ({error})", found=record
        ) from error
