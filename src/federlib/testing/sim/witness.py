"""`Witness`: keeps what every process called and was answered, and has it judged at the end.

The audit looks at what the store does. The witness looks at what it tells: answers that no
store could have given in any order, and leases that were granted against their rules.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from federlib.fencing import Command, read_event
from federlib.fencing.records import COMMAND_PREFIX, Started
from federlib.lease import LeaseBackend
from federlib.storage import Batch, RecordStore
from federlib.testing.history import (
    History,
    Recorder,
    StoreModel,
    lease_safety,
    linearizability,
)

__all__ = ["Judgement", "Witness"]

_MAX_STEPS = 200_000
_OF_STORES = {"get", "commit"}


@attrs.frozen(kw_only=True)
class Judgement:
    """What the checkers found in a history.

    Attributes:
        operations: How many calls and accepted writes it has.
        undecided: How many keys were too much for the checker.
        faults: Of each fault its name and what was found, in words.
    """

    operations: int = 0
    undecided: int = 0
    faults: tuple[tuple[str, str], ...] = ()


class Witness:
    """Wraps the stores and lease backends of simulated processes; hears each commit.

    Attributes:
        recorder: What was recorded so far.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        """Begin with nothing; `now_ns` tells true time."""
        self.recorder: Recorder = Recorder(now_ns)
        self._issuers: dict[str, str] = {}

    def store(self, store: RecordStore, process: str) -> RecordStore:
        """Return a store whose calls are kept."""
        return self.recorder.store(store, process)

    def leases(self, backend: LeaseBackend, process: str) -> LeaseBackend:
        """Return a lease backend whose calls are kept."""
        return self.recorder.leases(backend, process)

    def hear(self, batch: Batch) -> None:
        """Note what a commit has accepted under a fencing token."""
        keys = {event.key for event in batch.events}
        for event in batch.events:
            if event.record is None or not event.key.startswith(COMMAND_PREFIX):
                continue
            log = read_event(event.record)
            found = log.record
            # A refused command is kept together with its outcome: it is no accepted one.
            is_refused = event.key.rpartition("/")[0] + "/outcome" in keys
            if isinstance(found, Command) and not is_refused:
                self._issuers[found.command_id] = found.issuer
                self.recorder.accepted(log.scope, found.issuer, found.leader_epoch)
            elif isinstance(found, Started):
                self.recorder.accepted(
                    log.scope, self._issuers.get(found.command_id, ""), found.epoch
                )

    def judge(self) -> Judgement:
        """Check everything that was kept, key by key."""
        history = self.recorder.history()
        calls = History(one for one in history if one.verb in _OF_STORES)
        verdict = linearizability.check(calls, StoreModel(), max_steps=_MAX_STEPS)
        report = lease_safety.check(history)
        return Judgement(
            operations=len(history),
            undecided=len(verdict.undecided),
            faults=(
                *(("answers_have_an_order", str(found)) for found in verdict.violations),
                *((f"leases_are_safe/{found.rule}", str(found)) for found in report.breaches),
            ),
        )
