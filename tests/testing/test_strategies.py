"""The strategies: every public record has one, and what they generate is what they say."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import anyio
import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

import federlib
from federlib.causal import Evidence, Hypothesis, Result, TrackRecord
from federlib.causal.keys import decode_causal
from federlib.causal.keys import key_of as causal_key
from federlib.causal.records import Stored as CausalRecord
from federlib.causal.records import encode as encode_causal
from federlib.dag import RunRecord, TaskSpec, Workflow, load_workflow
from federlib.dag.columns import Columns
from federlib.dag.keys import RunKeys
from federlib.dag.plan import join_chunks, split_plan
from federlib.dag.records import SnapshotPart, Versioned, decode
from federlib.dag.records import encode as encode_versioned
from federlib.dag.transitions import Claimed, LogBatch
from federlib.dag.workflow import check_workflow
from federlib.errors import FederlibError, InvalidInput
from federlib.fencing import Command, FenceMark, LogEvent, Outcome, Started, read_event
from federlib.fencing.records import (
    checked_command,
    command_prefix,
    decode_command,
    decode_mark,
    decode_outcome,
    decode_started,
    fence_key,
)
from federlib.fencing.records import encode as encode_fencing
from federlib.identity import HostRecord, SeenStoreRecord, SlotRecord
from federlib.identity.records import decode_record, encode_record
from federlib.lease import Holder
from federlib.lease.records import (
    FloorRecord,
    LeaseRecord,
    QueueRecord,
    WaiterRecord,
    decode_floor,
    decode_lease,
    decode_queue,
    decode_waiter,
    lease_key,
    queue_key,
    waiter_key,
)
from federlib.lease.records import encode as encode_lease
from federlib.registry import MemberRecord
from federlib.registry.records import (
    check_kind,
    check_labels,
    decode_member,
    encode_member,
    member_key,
)
from federlib.storage import (
    META_KEY,
    Absent,
    Batch,
    Check,
    Committed,
    Conflicted,
    Page,
    Put,
    Record,
    Transaction,
    check_key,
)
from federlib.storage.backends.memory import MemoryStore
from federlib.storage.limits import check_transaction
from federlib.testing import ManualClock, strategies

A_FEW = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
MORE = settings(A_FEW, max_examples=50)

KINDS = strategies.known_kinds()

# Modules whose classes are stored or sent, whether or not a package exports them.
RECORD_MODULES = ("lines", "protocol", "records", "transitions")

# What has fields and is no record.
NOT_RECORDS = {
    "GateConfig": "settings of a process",
    "Intervention": "records of others, read together",
    "ScaleDown": "settings of a process",
    "Watched": "what somebody measured, on its way into a measurement",
    "Copied": "a report of federlib.upkeep, which only it makes",
    "Exported": "a report of federlib.upkeep, which only it makes",
    "Metric": "a declaration",
    "Stamps": "holds a clock",
    "StoreReport": "a report of federlib.upkeep, which only it makes",
    "ClockOffset": "what a driver tells the doctor",
    "DoctorReport": "a report of federlib.upkeep, which only it makes",
    "Examined": "what a driver tells the doctor, or a look at a hypothesis",
    "Reading": "a report of a trial of coordinates, which only it makes",
    "RttMatrix": "a table that a trial reads",
    "Trail": "a path through a graph, found by a question to it",
    "TrialResult": "a report of a trial of coordinates, which only it makes",
    "CompiledTable": "holds compiled code",
    "Difference": "a report of federlib.dmn, which only it makes",
    "Gap": "a report of federlib.dmn, which only it makes",
    "ModelChange": "a report of federlib.dmn, which only it makes",
    "ModelDiff": "a report of federlib.dmn, which only it makes",
    "Overlap": "a report of federlib.dmn, which only it makes",
    "Replay": "a report of federlib.dmn, which only it makes",
    "TableAnalysis": "a report of federlib.dmn, which only it makes",
    "TckReport": "a report of federlib.dmn, which only it makes",
    "Unreachable": "a report of federlib.dmn, which only it makes",
    "Finding": "what a driver tells the doctor",
    "EventsMissed": "what a slow reader of events is told",
    "Telemetry": "holds a logger and a sink",
    "Versioned": "what stored records of runs inherit from",
}


def named(kind: type) -> str:
    return f"{kind.__module__.removeprefix('federlib.')}.{kind.__name__}"


def has_fields(found: object) -> bool:
    return isinstance(found, type) and (issubclass(found, msgspec.Struct) or attrs.has(found))


def public_modules() -> Iterator[str]:
    """Name what users may import, and the modules that say what is stored."""
    for module in pkgutil.walk_packages(federlib.__path__, "federlib."):
        parts = module.name.split(".")[1:]
        if parts[0] in {"cli", "testing"} or any(part.startswith("_") for part in parts):
            continue
        if len(parts) == 1 or parts[-1] in RECORD_MODULES:
            yield module.name


def public_records() -> set[type]:
    found: set[type] = set()
    for name in public_modules():
        module = importlib.import_module(name)
        exported = [getattr(module, each) for each in module.__all__]
        found.update(each for each in exported if has_fields(each))
    return found


def test_every_public_record_has_a_strategy() -> None:
    known = set(KINDS) | {FederlibError}
    missing = {named(kind) for kind in public_records() - known if kind.__name__ not in NOT_RECORDS}
    assert missing == set(), "give each a strategy, or say in NOT_RECORDS why it is no record"


def test_no_exception_is_left_over() -> None:
    assert NOT_RECORDS.keys() == {kind.__name__ for kind in public_records() - set(KINDS)}


def test_a_class_without_a_strategy_is_told() -> None:
    with pytest.raises(InvalidInput, match="record class"):
        strategies.of(dict)


def test_without_hypothesis_the_extra_is_named() -> None:
    program = "import sys; sys.modules['hypothesis'] = None; import federlib.testing.strategies"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert 'federlib.testing.strategies needs an extra: pip install "federlib[testing]"' in (
        done.stderr
    )


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_what_is_generated_is_of_its_kind_and_is_the_same_after_encoding(kind: type) -> None:
    @A_FEW
    @given(strategies.of(kind))
    def check(value: object) -> None:
        assert type(value) is kind
        if isinstance(value, msgspec.Struct):
            again = msgspec.json.decode(msgspec.json.encode(value), type=kind)
            assert again == value
        else:
            assert attrs.has(kind)
            arguments = [each for each in attrs.fields(kind) if each.init]
            fields = {each.alias: getattr(value, each.name) for each in arguments}
            assert kind(**fields) == value

    check()


# The checks that federlib itself makes of what is stored.


def stored(key: str, value: bytes) -> Record:
    return Record(key, value, 1, 1)


def read_causal(record: CausalRecord) -> object:
    return decode_causal(stored(check_key(causal_key(record)), encode_causal(record)))


def read_lease(record: LeaseRecord) -> object:
    return decode_lease(lease_key(record.name), encode_lease(record))


def read_waiter(record: WaiterRecord) -> object:
    key = waiter_key(record.name, Holder(record.holder_id, record.session))
    return decode_waiter(check_key(key), encode_lease(record))


def read_queue(record: QueueRecord) -> object:
    return decode_queue(queue_key(record.name), encode_lease(record))


def read_floor(record: FloorRecord) -> object:
    return decode_floor(encode_lease(record))


def read_mark(record: FenceMark) -> object:
    key = fence_key(record.resource)
    return decode_mark(stored(check_key(key), encode_fencing(record)), record.resource)


def read_command(record: Command) -> object:
    assert checked_command(record) == record
    key = f"{command_prefix(record.scope, record.command_id)}issued"
    return decode_command(stored(check_key(key), encode_fencing(record)))


def read_started(record: Started) -> object:
    key = f"{command_prefix('scope', record.command_id)}started"
    return decode_started(stored(check_key(key), encode_fencing(record)))


def read_outcome(record: Outcome) -> object:
    key = f"{command_prefix('scope', record.command_id)}outcome"
    return decode_outcome(stored(check_key(key), encode_fencing(record)))


def read_log_event(event: LogEvent) -> object:
    name = "duplicate-1" if event.what == "duplicate" else event.what
    key = f"{command_prefix(event.scope, event.command_id)}{name}"
    value = encode_fencing(event.record)
    return read_event(Record(check_key(key), value, event.revision, event.revision))


def read_member(record: MemberRecord) -> object:
    check_kind(record.kind)
    check_labels(record.labels)
    return decode_member(check_key(member_key(record.worker_id)), encode_member(record))


def read_identity(record: HostRecord | SlotRecord | SeenStoreRecord) -> object:
    return decode_record(type(record), encode_record(record), where="a file")


def read_transaction(transaction: Transaction) -> object:
    return check_transaction(transaction)


def read_workflow(workflow: Workflow) -> object:
    check_workflow(workflow)
    document = msgspec.json.encode({"name": workflow.name, "tasks": workflow.tasks})
    return attrs.evolve(load_workflow(document, form="json"), time_scale=workflow.time_scale)


def read_part(part: SnapshotPart) -> object:
    Columns(0).append(part)
    return part


READERS: dict[type, Callable[..., object]] = {
    Command: read_command,
    Evidence: read_causal,
    FenceMark: read_mark,
    FloorRecord: read_floor,
    HostRecord: read_identity,
    Hypothesis: read_causal,
    LeaseRecord: read_lease,
    LogEvent: read_log_event,
    MemberRecord: read_member,
    Outcome: read_outcome,
    QueueRecord: read_queue,
    Result: read_causal,
    SeenStoreRecord: read_identity,
    SlotRecord: read_identity,
    SnapshotPart: read_part,
    Started: read_started,
    TrackRecord: read_causal,
    Transaction: read_transaction,
    WaiterRecord: read_waiter,
    Workflow: read_workflow,
}


@pytest.mark.parametrize("kind", READERS, ids=named)
def test_federlib_reads_what_is_generated_as_it_is(kind: type) -> None:
    @MORE
    @given(strategies.of(kind))
    def check(value: object) -> None:
        assert READERS[kind](value) == value

    check()


@pytest.mark.parametrize("kind", [k for k in KINDS if issubclass(k, Versioned)], ids=named)
def test_records_of_a_run_are_read_as_they_are(kind: type[Versioned]) -> None:
    @A_FEW
    @given(strategies.of(kind))
    def check(value: Versioned) -> None:
        assert decode(kind, stored("k", encode_versioned(value))) == value

    check()


@MORE
@given(strategies.of(RunRecord), strategies.workflows())
def test_a_run_and_its_plan_fit_together(run: RunRecord, workflow: Workflow) -> None:
    assert check_key(RunKeys(run.run_id).run)
    assert run.chunks <= run.tasks
    assert (run.state == "running") == (run.ended_ns == 0)
    chunks = split_plan(workflow)
    fitting = msgspec.structs.replace(run, chunks=len(chunks), tasks=len(workflow.tasks))
    ids = {task.id for task in workflow.tasks}
    assert set(join_chunks(chunks, fitting, where="the plan").ids) == ids


@MORE
@given(strategies.of(TaskSpec))
def test_a_task_alone_is_well_formed(task: TaskSpec) -> None:
    parents = tuple(TaskSpec(id=parent) for parent in task.needs)
    check_workflow(Workflow("w", (task, *parents)))


@MORE
@given(strategies.of(LogBatch))
def test_each_claim_of_a_batch_points_into_its_table(batch: LogBatch) -> None:
    claimed = [each.worker for each in batch.t if isinstance(each, Claimed)]
    assert all(0 <= worker < len(batch.workers) for worker in claimed)


@MORE
@given(strategies.of(Page), strategies.of(Batch))
def test_pages_and_batches_are_in_the_order_of_keys(page: Page, batch: Batch) -> None:
    for found in ([each.key for each in page.records], [each.key for each in batch.events]):
        assert [key.encode() for key in found] == sorted({key.encode() for key in found})
    assert all(record.created <= record.revision <= page.revision for record in page.records)
    assert all(event.record is None or event.record.key == event.key for event in batch.events)


@MORE
@given(strategies.of(Transaction))
def test_no_transaction_writes_the_record_of_the_store(transaction: Transaction) -> None:
    assert META_KEY not in {write.key for write in transaction.writes}
    assert all(isinstance(w.value, bytes) for w in transaction.writes if isinstance(w, Put))


def holds_in_a_new_store(check: Check) -> bool:
    is_there = check.key == META_KEY
    return not is_there if isinstance(check, Absent) else is_there and check.revision == 1


@A_FEW
@given(strategies.of(Transaction))
def test_a_store_takes_every_transaction(transaction: Transaction) -> None:
    async def commit() -> Committed | Conflicted:
        return await MemoryStore(ManualClock()).commit(transaction)

    done = anyio.run(commit)
    assert isinstance(done, Committed) == all(map(holds_in_a_new_store, transaction.checks))
