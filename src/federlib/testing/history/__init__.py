"""Histories of calls, and checkers that say whether they can have been: usable alone.

    recorder = Recorder(SystemClock().boot_ns)
    store = recorder.store(await open_store("sqlite:///fleet.db"), "w1")
    ...                                      # any program, on asyncio, trio or simulated
    verdict = linearizability.check(recorder.history(), StoreModel())
    assert verdict.is_linearizable, verdict  # else: which key, and which few calls contradict

Whatever is not federlib's, your program records with `Recorder.call`, and `Register` or a
`Model` of your own says what it should have done:

    with recorder.call("w1", "read", "x") as call:
        call.ok(await client.get("x"))

Leases and fencing tokens have a checker of their own: `lease_safety`.

Does not promise: that a right history means a right program; only that this run of it was.
Hazards: clocks of several machines differ by more than calls take, and then orders are seen
that were none: `History.widened`. Register values that come again hide faults: write each
value once, where you can.
"""

from __future__ import annotations

from federlib.testing.history import lease_safety, linearizability, samples
from federlib.testing.history.model import Model, Move, Part
from federlib.testing.history.recorder import (
    Call,
    RecordedLeases,
    RecordedStore,
    Recorder,
    value_word,
)
from federlib.testing.history.records import History, Operation, Outcome, Word
from federlib.testing.history.register import Register
from federlib.testing.history.store_model import StoreModel

__all__ = [
    "Call",
    "History",
    "Model",
    "Move",
    "Operation",
    "Outcome",
    "Part",
    "RecordedLeases",
    "RecordedStore",
    "Recorder",
    "Register",
    "StoreModel",
    "Word",
    "lease_safety",
    "linearizability",
    "samples",
    "value_word",
]
