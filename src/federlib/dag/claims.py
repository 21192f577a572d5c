"""What a worker does about its claims: pure, level-triggered.

The assign record lists all claims that a worker has. Whatever is there and unknown is
started; whatever runs and is gone is stopped; whatever is finished and still there under a
newer epoch is presented again, without running it. That last rule is the whole answer to
`stale(current_claim)`: the current claim is what the record says.

Source: design §5, dag; HA plan §4.
"""

from __future__ import annotations

import msgspec

from federlib.dag.handover import Handout
from federlib.dag.records import AssignRecord, Claim, Finish

__all__ = ["Acknowledged", "ClaimBook", "Effect", "Present", "Start", "Stop"]

_Key = tuple[int, int]


class Start(msgspec.Struct, frozen=True):
    """Run this claim's task."""

    claim: Claim


class Stop(msgspec.Struct, frozen=True):
    """Kill the task: the claim is no longer ours."""

    node: int
    attempt: int


class Present(msgspec.Struct, frozen=True):
    """Write this finish under `epoch`."""

    finish: Finish
    epoch: int


class Acknowledged(msgspec.Struct, frozen=True):
    """The leader has settled this finish: accepted, or it is no longer ours to give."""

    node: int
    attempt: int


Effect = Start | Stop | Present | Acknowledged


class ClaimBook:
    """The claims of one worker, from the first assignment to the last finish."""

    def __init__(self) -> None:
        self._running: dict[_Key, int] = {}
        self._finished: dict[_Key, Finish] = {}
        self._presented: dict[_Key, int] = {}
        self._claims: dict[_Key, Claim] = {}
        self.epoch: int = 0

    @property
    def running(self) -> int:
        """How many tasks run."""
        return len(self._running)

    def assign(self, record: AssignRecord) -> tuple[Effect, ...]:
        """Take in the present claims; a record of an older epoch changes nothing."""
        if record.epoch < self.epoch:
            return ()
        self.epoch = record.epoch
        claims = {(claim.node, claim.attempt): claim for claim in record.claims}
        effects: list[Effect] = []
        for key in self._running.keys() - claims.keys():
            del self._running[key]
            effects.append(Stop(*key))
        for key in self._finished.keys() - claims.keys():
            del self._finished[key]
            self._presented.pop(key, None)
            effects.append(Acknowledged(*key))
        self._claims = claims
        for key, claim in claims.items():
            if key in self._finished:
                effects.extend(self._present(key))
            elif key not in self._running:
                effects.append(Start(claim))
            # The epoch a running task was adopted under matters only when it finishes.
            if key not in self._finished:
                self._running[key] = claim.epoch
        return tuple(effects)

    def hand(self, handout: Handout) -> tuple[Effect, ...]:
        """Take in what changed, from a leader in the same process."""
        self.epoch = max(self.epoch, handout.epoch)
        for key in handout.settled:
            self._claims.pop(key, None)
            self._finished.pop(key, None)
            self._presented.pop(key, None)
        for claim in handout.claims:
            key = (claim.node, claim.attempt)
            self._claims[key] = claim
            self._running[key] = claim.epoch
        return tuple(map(Start, handout.claims))

    def finish(self, finish: Finish) -> tuple[Effect, ...]:
        """Take in the end of a task; nothing if the claim is no longer ours."""
        key = (finish.node, finish.attempt)
        if self._running.pop(key, None) is None:
            return ()
        self._finished[key] = finish
        return self._present(key)

    def refused(self, epoch: int) -> tuple[Effect, ...]:
        """Take in that finishes under `epoch` were refused by the store: it has moved on.

        They stay finished; those whose claims have come with a newer epoch meanwhile are
        presented again now, the others when their claims come.
        """
        return tuple(
            effect
            for key in self._finished
            if self._claims[key].epoch > epoch
            for effect in self._present(key)
        )

    def _present(self, key: _Key) -> tuple[Effect, ...]:
        epoch = self._claims[key].epoch
        if self._presented.get(key) == epoch:
            return ()
        self._presented[key] = epoch
        return (Present(self._finished[key], epoch),)
