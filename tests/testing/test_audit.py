"""The audit of an election is shown commits that it must reject, and names what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
import pytest

from federlib.fencing.records import COMMAND_PREFIX, fence_key
from federlib.lease.records import lease_key, queue_key
from federlib.storage import Batch, Event, Record
from federlib.testing.sim import Fleet
from federlib.testing.sim.audit import INVARIANTS
from federlib.testing.sim.fleet import ELECTION


def written_again(fleet: Fleet, prefix: str) -> Record:
    """Return the first record under a prefix, as another commit would write it."""
    (record,) = fleet.store.look_through(prefix, None, 1).records
    return msgspec.structs.replace(record, revision=fleet.store.revision + 1)


def lowered(fleet: Fleet, key: str, field: bytes) -> Event:
    """Write a record again, with a number of it set to 1 wherever it stands."""
    record = written_again(fleet, key)
    value, count = re.subn(b'("%s":)[0-9]+' % field, rb"\g<1>1", record.value)
    assert count, record.value
    return Event(key, msgspec.structs.replace(record, value=value))


def gone(fleet: Fleet, prefix: str) -> Event:
    return Event(written_again(fleet, prefix).key, None)


def changed_command(fleet: Fleet) -> Event:
    record = written_again(fleet, COMMAND_PREFIX)
    return Event(record.key, record)


WRONG: dict[str, tuple[str, Callable[[Fleet], Event]]] = {
    "a lease that is gone": ("tokens_rise", lambda f: gone(f, lease_key(ELECTION))),
    "a lower token": (
        "tokens_rise",
        lambda f: lowered(f, lease_key(ELECTION), b"fencing_token"),
    ),
    "a mark that is gone": ("marks_rise", lambda f: gone(f, fence_key(ELECTION))),
    "a lower mark": ("marks_rise", lambda f: lowered(f, fence_key(ELECTION), b"high_water")),
    "a sign that is gone": ("whoever_waits_is_announced", lambda f: gone(f, queue_key(ELECTION))),
    "a command that was changed": ("records_of_commands_stand", changed_command),
    "a command that is gone": ("records_of_commands_stand", lambda f: gone(f, COMMAND_PREFIX)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_commit_that_must_not_be_is_named(name: str) -> None:
    invariant, make = WRONG[name]
    assert invariant in INVARIANTS
    with Fleet(seed=1) as fleet:
        fleet.run(25)
        assert len(fleet.ledger.reigns) > 1, "or no token and no mark could be lower"
        assert fleet.violations == []
        fleet.audit.hear(Batch(fleet.store.revision + 1, (make(fleet),)))
        assert invariant in {text.partition(":")[0] for text in fleet.violations}
