"""Judges a run of a fleet from outside: the audit of the simulator, and what is left behind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NoReturn

from federlib.dag.keys import RunKeys
from federlib.dag.plan import Plan
from federlib.dag.records import AssignRecord, WorkerRecord, decode
from federlib.storage import Batch, Event, Put, Record, Transaction
from federlib.testing.sim.run_audit import Beginning, RunAudit
from federlib.testing.sim.run_book import Effect

__all__ = ["RunBook", "Who"]

Who = tuple[str, int]
"""A process: its worker id and its incarnation."""


def _refuse(invariant: str, found: str) -> NoReturn:
    raise AssertionError(f"{invariant}: {found}")


class RunBook:
    """Everything that happened to one run, checked while it happens.

    Args:
        run_id: Which run.
        plan: Its tasks.

    Attributes:
        keys: Its records' places.
        known: What is known of it.
        state: Of the run's record; "" before it.
    """

    def __init__(self, run_id: str, plan: Plan) -> None:
        self.keys: RunKeys = RunKeys(run_id)
        self.plan: Plan = plan
        self.state = ""
        self._audit = RunAudit(run_id, plan.workflow(""), _refuse)
        self.known = self._audit.book

    @property
    def bereft(self) -> set[Who]:
        """Who has lost an attempt."""
        return {self.known.owners[lost][:2] for lost in self.known.lost}

    def begin(
        self,
        member: Who,
        node: int,
        attempt: int,
        *,
        inputs: Mapping[str, object],
        expected: Mapping[str, object],
    ) -> Effect:
        """Note that a handler was called."""
        begun = Beginning(
            book=self.known,
            member=member,
            node=node,
            attempt=attempt,
            inputs=inputs,
            expected=expected,
        )
        return self._audit.begin(begun, 0)

    def commit(self, transaction: Transaction, revision: int) -> None:
        """Take in a commit that took effect."""
        events = tuple(
            Event(
                write.key,
                Record(write.key, write.value, revision, revision)
                if isinstance(write, Put)
                else None,
            )
            for write in transaction.writes
        )
        self._audit.hear(Batch(revision, events))
        self.state = self.known.stated or self.state

    # At the end

    def check_end(self, killed: Collection[Who], *, is_rerun: bool = False) -> None:
        """Judge a run that is over: nothing lost, and no more work than was due.

        Args:
            killed: Who died on the way.
            is_rerun: A new leader starts again what runs.
        """
        known = self.known
        assert self.state == known.outcome == "success", f"the run is {self.state!r}"
        assert len(known.accepted) == len(self.plan.graph), "a task is lost"
        assert not known.claims, f"claims are left: {known.claims}"
        for node, attempt in known.lost:
            owner = known.owners[node, attempt][:2]
            assert is_rerun or owner in killed, (
                f"attempt {attempt} of node {node} is lost with no death"
            )

    def check_left(self, records: Collection[Record], gone: Collection[Who]) -> None:
        """Judge what lies in the store when all have left, those of `gone` without a word."""
        logs: list[int] = []
        for record in records:
            key = record.key
            assert not key.startswith(self.keys.dones), f"left behind: {key}"
            if key.startswith(f"{self.keys.root}assign/"):
                found = decode(AssignRecord, record)
                # A follower that leads now has its claims by hand: what an earlier leader
                # wrote for it stays, and its epoch says that it counts no more.
                is_old = found.epoch < self.known.epoch
                assert is_old or not found.claims, f"left behind in {key}: {found.claims}"
            elif key.startswith(self.keys.workers):
                worker = decode(WorkerRecord, record)
                assert (worker.worker_id, worker.incarnation) in gone, f"left behind: {key}"
            elif key.startswith(self.keys.logs):
                logs.append(int(key.rsplit("/", 1)[1]))
        seq = self.known.seq
        assert logs == list(range(seq + 1 - len(logs), seq + 1)), f"gaps: {logs}"
        assert seq - len(logs) <= self.known.snapped, "the log was cut beyond its snapshot"
