"""Where the records of the causal gate are, and how they are read; `records` says what they are.

    causal/hypothesis/<id>             Hypothesis: written once; a better one gets a new id
    causal/evidence/<id>/<instant>     Evidence: measured before the action, newest last
    causal/result/<scope>/<command>    Result: what came of one command, written once
    causal/record/<id>                 TrackRecord: the results of a hypothesis, counted

Decoding is strict: whatever is torn, foreign or newer raises `CorruptRecord` and is left as
it is.
"""

from __future__ import annotations

import msgspec

from federlib._json import RecordReader
from federlib._prefixes import CAUSAL_PREFIX
from federlib.causal.records import (
    FORMAT,
    Evidence,
    Hypothesis,
    Identifier,
    Result,
    Stored,
    TrackRecord,
)
from federlib.errors import CorruptRecord, InvalidInput
from federlib.storage import Record, segment

__all__ = [
    "HYPOTHESIS_PREFIX",
    "decode_causal",
    "evidence_key",
    "evidence_prefix",
    "hypothesis_key",
    "key_of",
    "result_key",
    "track_key",
]

HYPOTHESIS_PREFIX = f"{CAUSAL_PREFIX}hypothesis/"

_readers: dict[str, RecordReader[Stored]] = {
    "hypothesis": RecordReader(Hypothesis, FORMAT),
    "evidence": RecordReader(Evidence, FORMAT),
    "result": RecordReader(Result, FORMAT),
    "record": RecordReader(TrackRecord, FORMAT),
}


def hypothesis_key(hypothesis_id: str) -> str:
    """Return the key of a hypothesis.

    Raises:
        InvalidInput: It cannot be the id of one.
    """
    return HYPOTHESIS_PREFIX + _checked_id(hypothesis_id)


def evidence_prefix(hypothesis_id: str) -> str:
    """Return the prefix of the evidence for a hypothesis; keys below it sort by time.

    Raises:
        InvalidInput: It cannot be the id of one.
    """
    return f"{CAUSAL_PREFIX}evidence/{_checked_id(hypothesis_id)}/"


def evidence_key(evidence: Evidence) -> str:
    """Return the key of evidence: its instant, in sixteen hex digits."""
    return f"{evidence_prefix(evidence.hypothesis_id)}{evidence.recorded_at_ns:016x}"


def result_key(scope: str, command_id: str) -> str:
    """Return the key of what came of a command.

    Raises:
        InvalidInput: The scope or the id cannot be part of a key.
    """
    return f"{CAUSAL_PREFIX}result/{segment(scope, field='scope')}/{_checked_id(command_id)}"


def track_key(hypothesis_id: str) -> str:
    """Return the key of a track record.

    Raises:
        InvalidInput: It cannot be the id of a hypothesis.
    """
    return f"{CAUSAL_PREFIX}record/{_checked_id(hypothesis_id)}"


def decode_causal(record: Record) -> Stored:
    """Read any of the four kinds of records, as its key says.

    Raises:
        CorruptRecord: Not one of this format, or not the one that its key names.
    """
    kind = record.key.removeprefix(CAUSAL_PREFIX).partition("/")[0]
    reader = _readers.get(kind)
    if reader is None:
        raise CorruptRecord(record.key, expected="a record of the causal gate", found=kind)
    found = reader.read(record.key, record.value)
    try:
        key = key_of(found)
    except InvalidInput as error:
        raise CorruptRecord(record.key, expected=str(error), found=record.value) from error
    if key != record.key:
        raise CorruptRecord(record.key, expected="fields as in the key", found=key)
    return found


def key_of(record: Stored) -> str:
    """Return the key that a record belongs under.

    Raises:
        InvalidInput: One of its names cannot be part of a key.
    """
    match record:
        case Hypothesis():
            return hypothesis_key(record.hypothesis_id)
        case Evidence():
            return evidence_key(record)
        case Result():
            return result_key(record.scope, record.command_id)
        case TrackRecord():
            return track_key(record.hypothesis_id)


def _checked_id(text: str) -> str:
    try:
        return msgspec.convert(text, Identifier)
    except msgspec.ValidationError as error:
        raise InvalidInput("hypothesis_id", expected=str(error), found=text) from error
