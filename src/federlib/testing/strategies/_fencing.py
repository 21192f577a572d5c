"""Commands and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from hypothesis import strategies as st

from federlib.fencing import (
    Actuation,
    Command,
    CommandFilter,
    CommandStatus,
    FenceMark,
    LogEvent,
    Outcome,
    Started,
)
from federlib.fencing.audit import What
from federlib.fencing.consumer import ActuationStatus
from federlib.fencing.records import MAX_DETAIL
from federlib.testing.strategies._plain import (
    any_text,
    counts,
    hlc_timestamps,
    raw_json,
    tokens,
)
from federlib.testing.strategies._storage import names

__all__ = ["STRATEGIES", "command_ids", "illegal_command_ids"]

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_MAX_ID = 96


def command_ids() -> st.SearchStrategy[str]:
    """Generate legal ids of commands: letters, digits and `._:-`, 1 to 96 of them."""
    rest = st.text(f"{_LETTERS}._:-", max_size=20) | st.just("z" * (_MAX_ID - 1))
    return st.builds(str.__add__, st.sampled_from(_LETTERS), rest)


def illegal_command_ids() -> st.SearchStrategy[str]:
    """Generate text that is refused as the id of a command."""
    first = st.builds(str.__add__, st.sampled_from("._:-"), command_ids())
    foreign = st.characters(exclude_categories=["Cs"]).filter(
        lambda c: not (c.isascii() and c.isalnum()) and c not in "._:-"
    )
    inside = st.builds(lambda a, bad: f"{a}{bad}", command_ids(), foreign)
    too_long = st.integers(_MAX_ID + 1, 3 * _MAX_ID).map(lambda size: "a" * size)
    return first | inside | too_long | st.just("")


_texts = any_text(max_size=200)
_words = any_text(min_size=1, max_size=200)
_hlc = st.none() | hlc_timestamps()
_maybe = st.none() | _texts
_status = st.sampled_from(get_args(CommandStatus))

_commands = st.builds(
    Command,
    command_id=command_ids(),
    scope=names(),
    action=_words,
    payload=raw_json(),
    leader_epoch=counts(),
    issuer=_words,
    issued_at_ns=counts(),
    deadline_ns=st.none() | counts(),
    decision_id=_maybe,
    dag_id=_maybe,
    dag_node=_maybe,
    causal_id=_maybe,
    traceparent=_maybe,
    causal=raw_json(),
    hlc=_hlc,
)
_started = st.builds(
    Started, command_id=command_ids(), epoch=tokens(), consumer=_words, at_ns=counts(), hlc=_hlc
)
_outcomes = st.builds(
    Outcome,
    command_id=command_ids(),
    status=_status,
    epoch=counts(),
    reason=_texts,
    detail=any_text(max_size=MAX_DETAIL) | st.just("d" * MAX_DETAIL),
    consumer=_words,
    at_ns=counts(),
    hlc=_hlc,
)


@st.composite
def _log_events(draw: st.DrawFn) -> LogEvent:
    what: What = draw(st.sampled_from(get_args(What)))
    record: Command | Started | Outcome
    scope = draw(names())
    if what == "issued":
        record = draw(_commands)
        scope = record.scope
    elif what == "started":
        record = draw(_started)
    else:
        record = draw(_outcomes)
    return LogEvent(
        revision=draw(counts(1)),
        what=what,
        scope=scope,
        command_id=record.command_id,
        record=record,
    )


STRATEGIES: Mapping[type, st.SearchStrategy[object]] = {
    Actuation: st.builds(
        Actuation, st.sampled_from(get_args(ActuationStatus)), any_text(max_size=MAX_DETAIL)
    ),
    Command: _commands,
    CommandFilter: st.builds(
        CommandFilter,
        scope=st.none() | names(),
        command_id=st.none() | command_ids(),
        action=st.none() | _words,
        decision_id=_maybe,
        dag_id=_maybe,
        dag_node=_maybe,
        causal_id=_maybe,
        epoch=st.none() | counts(),
        status=st.none() | _status | st.sampled_from(("pending", "rejected_*")),
    ),
    FenceMark: st.builds(FenceMark, resource=names(), high_water=tokens()),
    LogEvent: _log_events(),
    Outcome: _outcomes,
    Started: _started,
}
