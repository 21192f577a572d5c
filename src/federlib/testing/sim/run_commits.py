"""What must hold of each commit that touches a run: small functions, each asked by name.

Source: design §5, dag; HA plan §4 (one writer of the log, by epoch).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from federlib.dag.records import (
    AssignRecord,
    DoneRecord,
    EpochRecord,
    ProgressRecord,
    ResultBatch,
    RunRecord,
    SnapshotHead,
    decode,
)
from federlib.dag.transitions import Epoch, LogBatch, Succeeded
from federlib.storage import Record
from federlib.testing.sim.run_book import RunBook

__all__ = ["AFTERWARDS", "COMMITS", "Act"]


@attrs.frozen(kw_only=True)
class Act:
    """One commit that touches a run.

    Attributes:
        book: The run before it.
        puts: What it wrote, by key.
        gone: What it deleted.
        log: The log record it appended, with its key; None without one.
        epoch: The epoch record it wrote.
        settled: Finishes that it deleted, as they lay there.
    """

    book: RunBook
    puts: Mapping[str, Record]
    gone: tuple[str, ...]
    log: tuple[str, LogBatch] | None
    epoch: EpochRecord | None
    settled: tuple[DoneRecord, ...]

    @property
    def present_epoch(self) -> int:
        """The stored one once this is committed."""
        return self.book.epoch if self.epoch is None else self.epoch.epoch

    def under(self, prefix: str) -> list[Record]:
        """List what it wrote under a prefix."""
        return [record for key, record in self.puts.items() if key.startswith(prefix)]


def epochs_rise(act: Act) -> str | None:
    """A leader's epoch is higher than all before it."""
    if act.epoch is None or act.epoch.epoch > act.book.epoch:
        return None
    return f"epoch {act.epoch.epoch} after {act.book.epoch}"


def who_takes_over_was_granted_the_lease(act: Act) -> str | None:
    """An epoch is the token of a lease, and its leader was granted that very one."""
    if act.epoch is None or (act.epoch.epoch, act.epoch.leader) in act.book.grants:
        return None
    return f"{act.epoch.leader} takes epoch {act.epoch.epoch}"


def a_takeover_is_the_first_word(act: Act) -> str | None:
    """Who takes over says so in the log, first, and nobody says it otherwise."""
    first = act.log[1].t[0] if act.log is not None and act.log[1].t else None
    said = first.epoch if isinstance(first, Epoch) else None
    expected = None if act.epoch is None else act.epoch.epoch
    return None if said == expected else f"the log says {said}, the record {expected}"


def only_the_present_epoch_appends(act: Act) -> str | None:
    """Nothing is appended but by the leader whose epoch is stored."""
    if act.log is None or act.log[1].epoch == act.present_epoch:
        return None
    return f"epoch {act.log[1].epoch} appends under {act.present_epoch}"


def the_log_has_no_gap(act: Act) -> str | None:
    """Log records are numbered one after the other, and stand as they are."""
    logs = [key for key in act.puts if key.startswith(act.book.keys.logs)]
    expected = [act.book.keys.log(act.book.seq + 1)] if logs else []
    return None if logs == expected else f"{', '.join(logs)} behind record {act.book.seq}"


def finishes_name_the_present_epoch(act: Act) -> str | None:
    """A worker's word is taken in only under the epoch that is stored."""
    for record in act.under(act.book.keys.dones):
        done = decode(DoneRecord, record)
        if done.epoch != act.present_epoch:
            return f"{record.key} is of epoch {done.epoch}, not {act.present_epoch}"
    return None


def the_log_is_cut_behind_its_snapshot(act: Act) -> str | None:
    """A snapshot is not ahead of the log, and only what one holds is cut."""
    keys = act.book.keys
    head = act.puts.get(keys.snap_head)
    if head is not None and decode(SnapshotHead, head).seq > act.book.seq:
        return f"a snapshot at {decode(SnapshotHead, head).seq}, the log ends at {act.book.seq}"
    for key in act.gone:
        if key.startswith(keys.logs) and int(key.rpartition("/")[2]) > act.book.snapped:
            return f"{key} was cut, the newest snapshot is at {act.book.snapped}"
    return None


def results_come_with_their_success(act: Act) -> str | None:
    """What a task hands on lies beside the record that accepted it."""
    if act.log is None:
        return None
    record = act.puts.get(act.book.keys.result(act.book.seq + 1))
    there = set() if record is None else set(decode(ResultBatch, record).results)
    said = {move.node for move in act.log[1].t if isinstance(move, Succeeded) and move.result}
    return None if said == there else f"of {sorted(said)}, found {sorted(there)}"


COMMITS: Mapping[str, Callable[[Act], str | None]] = {
    check.__name__: check
    for check in (
        epochs_rise,
        who_takes_over_was_granted_the_lease,
        a_takeover_is_the_first_word,
        only_the_present_epoch_appends,
        the_log_has_no_gap,
        finishes_name_the_present_epoch,
        the_log_is_cut_behind_its_snapshot,
        results_come_with_their_success,
    )
}
"""Asked of each commit, before it is taken in."""


# Of commits, once they are taken in: what other records say must agree with the log.


def the_record_says_how_it_stands(act: Act) -> str | None:
    """The run's record says what its log says."""
    record = act.puts.get(act.book.keys.run)
    if record is None:
        return None
    state = decode(RunRecord, record).state
    return None if state == act.book.outcome else f"{state}, the log: {act.book.outcome}"


def assignments_say_what_is_claimed(act: Act) -> str | None:
    """A worker is told exactly the claims that the log gives it."""
    keys = act.book.keys
    for record in act.under(f"{keys.root}assign/"):
        found = decode(AssignRecord, record)
        told = {(claim.node, claim.attempt, claim.epoch) for claim in found.claims}
        due = {
            (node, held.attempt, held.epoch)
            for node, held in act.book.claims.items()
            if keys.assign(held.life[0]) == record.key
            and held.life[1:] == (found.incarnation, found.token)
        }
        if told != due:
            return f"{record.key} says {sorted(told)}, the log {sorted(due)}"
    return None


def workers_keep_to_their_credit(act: Act) -> str | None:
    """Nobody has more claims at once than it has slots."""
    if act.log is None:
        return None
    for life in act.log[1].workers:
        slots, held = act.book.slots.get(life), len(act.book.held_by(life))
        if slots is not None and held > slots:
            return f"{life[0]} has {held} claims and {slots} slots"
    return None


def progress_counts_what_is(act: Act) -> str | None:
    """The view for people agrees with the log record that it is written with."""
    record = act.puts.get(act.book.keys.progress)
    if record is None or act.log is None:
        return None  # By itself it may come late.
    counts, book = decode(ProgressRecord, record).counts, act.book
    told = (counts["success"], counts["running"], counts["failed"])
    found = (len(book.accepted), len(book.claims), len(book.failed))
    return None if told == found else f"success, running, failed: {told}, the log: {found}"


AFTERWARDS: Mapping[str, Callable[[Act], str | None]] = {
    check.__name__: check
    for check in (
        the_record_says_how_it_stands,
        assignments_say_what_is_claimed,
        workers_keep_to_their_credit,
        progress_counts_what_is,
    )
}
"""Asked of each commit, once it is taken in."""
