"""Strategies of inputs that have no class: what is legal is accepted, what is not is refused."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from federlib.dag.keys import RunKeys
from federlib.dag.workflow import check_workflow
from federlib.errors import InvalidInput
from federlib.fencing.records import command_prefix
from federlib.graph import is_legal_id
from federlib.identity import WorkerIdentity
from federlib.lease import Holder
from federlib.lease.records import lease_key, waiter_key
from federlib.lease.settings import check_ttl
from federlib.registry.records import check_kind, check_labels, member_key
from federlib.skewclock import check_hlc, hlc_from_text, hlc_text
from federlib.storage import Put, Transaction, check_key, segment, unsegment
from federlib.storage.keys import check_prefix
from federlib.storage.limits import check_transaction, check_transaction_id
from federlib.testing import strategies

MORE = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
AS_FOUND = settings(max_examples=5_000, database=None, phases=[Phase.generate])

LEGAL: dict[str, tuple[st.SearchStrategy[object], Callable[..., object]]] = {
    "command_ids": (strategies.command_ids(), lambda text: command_prefix("s", text)),
    "hlc_timestamps": (strategies.hlc_timestamps(), check_hlc),
    "hlc_texts": (strategies.hlc_timestamps(), lambda stamp: hlc_from_text(hlc_text(stamp))),
    "holder_ids": (strategies.holder_ids(), lambda text: waiter_key("n", Holder(text, "s"))),
    "host_ids": (strategies.host_ids(), lambda text: WorkerIdentity(text, 0)),
    "keys": (strategies.keys(), check_key),
    "labels": (strategies.labels(), check_labels),
    "member_kinds": (strategies.member_kinds(), check_kind),
    "names": (strategies.names(), lease_key),
    "prefixes": (strategies.prefixes(), check_prefix),
    "run_ids": (strategies.run_ids(), RunKeys),
    "transaction_ids": (strategies.transaction_ids(), check_transaction_id),
    "ttls": (strategies.ttls(), check_ttl),
    "values": (
        strategies.values(),
        lambda value: check_transaction(Transaction((Put("k", value),))),
    ),
    "worker_ids": (strategies.worker_ids(), member_key),
}

ILLEGAL: dict[str, tuple[st.SearchStrategy[object], Callable[..., object]]] = {
    "illegal_command_ids": (
        strategies.illegal_command_ids(),
        lambda text: command_prefix("s", text),
    ),
    "illegal_keys": (strategies.illegal_keys(), check_key),
    "illegal_labels": (strategies.illegal_labels(), check_labels),
    "illegal_names": (strategies.illegal_names(), lease_key),
    "illegal_ttls": (strategies.illegal_ttls(), check_ttl),
    "illegal_worker_ids": (strategies.illegal_worker_ids(), WorkerIdentity.parse),
    "illegal_workflows": (strategies.illegal_workflows(), check_workflow),
}


@pytest.mark.parametrize("name", LEGAL)
def test_what_is_legal_is_accepted(name: str) -> None:
    strategy, accept = LEGAL[name]

    @MORE
    @given(strategy)
    def check(value: object) -> None:
        assert accept(value) is not None

    check()


@pytest.mark.parametrize("name", ILLEGAL)
def test_what_is_illegal_is_refused_with_its_reason(name: str) -> None:
    strategy, refuse = ILLEGAL[name]

    @MORE
    @given(strategy)
    def check(value: object) -> None:
        with pytest.raises(InvalidInput):
            refuse(value)

    check()


@MORE
@given(strategies.task_ids(), strategies.illegal_task_ids())
def test_ids_of_tasks_are_told_apart(good: str, bad: str) -> None:
    assert is_legal_id(good)
    assert not is_legal_id(bad)


@MORE
@given(strategies.names())
def test_a_name_comes_back_from_its_key(name: str) -> None:
    assert unsegment(segment(name)) == name


@MORE
@given(strategies.json_values())
def test_json_values_are_the_same_after_encoding(value: object) -> None:
    assert msgspec.json.decode(msgspec.json.encode(value)) == value


@pytest.mark.parametrize(
    ("strategy", "length"),
    [
        (strategies.keys(), 512),
        (strategies.names(), 200),
        (strategies.task_ids(), 512),
        (strategies.command_ids(), 96),
        (strategies.transaction_ids(), 128),
    ],
    ids=["keys", "names", "task_ids", "command_ids", "transaction_ids"],
)
def test_the_longest_that_is_allowed_is_among_them(
    strategy: st.SearchStrategy[str], length: int
) -> None:
    longest = find(strategy, lambda text: len(text) == length, settings=AS_FOUND)
    assert len(longest.encode()) == length
