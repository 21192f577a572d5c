"""Histories of models, and what is told of decisions on request."""

from __future__ import annotations

from hypothesis import strategies as st

from federlib.dmn import Change, Decision, DecisionMade, EventMapping, History, Published
from federlib.dmn.versions.history import pin, publish, roll_back, unpin
from federlib.testing.strategies import _dmn
from federlib.testing.strategies._plain import counts, instants, plain_text

__all__ = ["STRATEGIES"]

_names = st.from_regex(r"[a-z][a-z0-9._-]{0,12}", fullmatch=True)
_words = plain_text(max_bytes=40)
_hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
_decisions = _dmn.STRATEGIES[Decision]


@st.composite
def _histories(draw: st.DrawFn) -> History:
    """Do any legal things in any order."""
    history = History(name=draw(_names))
    hashes = draw(st.lists(_hashes, min_size=1, max_size=3))
    for _ in range(draw(st.integers(0, 6))):
        does = ["publish"]
        does += ["pin"] if history.versions else []
        does += ["unpin"] if history.is_pinned else []
        does += ["roll_back"] if history.before else []
        what, at_ns, by, note = draw(st.sampled_from(does)), draw(instants()), draw(_words), ""
        if what == "publish":
            chosen = draw(st.sampled_from(hashes))
            history = publish(history, chosen, version=draw(_words), at_ns=at_ns, by=by, note=note)
        elif what == "pin":
            number = draw(st.integers(1, len(history.versions)))
            history = pin(history, number, at_ns=at_ns, by=by, note=note)
        elif what == "unpin":
            history = unpin(history, at_ns=at_ns, by=by, note=note)
        else:
            history = roll_back(history, at_ns=at_ns, by=by, note=note)
    return history


STRATEGIES: dict[type, st.SearchStrategy[object]] = {
    Change: st.builds(
        Change,
        kind=st.sampled_from(["publish", "pin", "unpin", "roll_back"]),
        number=counts(1),
        at_ns=instants(),
        by=_words,
        note=_words,
    ),
    DecisionMade: st.builds(
        DecisionMade,
        decision_id=_hashes.map(lambda text: f"dec-{text[:32]}"),
        request_event=_names,
        request_id=_words,
        decision=_decisions,
        leader_epoch=st.none() | counts(),
        traceparent=st.none() | _words,
    ),
    EventMapping: st.builds(
        EventMapping,
        event=_names,
        decision=_names,
        facts=st.dictionaries(_names, _names, max_size=4),
    ),
    History: _histories(),
    Published: st.builds(
        Published,
        number=counts(1),
        content_hash=_hashes,
        at_ns=instants(),
        version=_words,
        by=_words,
        note=_words,
    ),
}
