"""Hypothesis strategies for what users hand to federlib, and for every record that it keeps.

    from hypothesis import given
    from federlib.fencing import Command
    from federlib.testing import strategies as fed

    @given(fed.of(Command))
    def test_my_handler_takes_any_command(command): ...

    @given(fed.illegal_names())
    def test_my_tool_refuses_a_bad_name(name): ...

`of(kind)` gives any record or value by its class. What has no class of its own, a key or a
ttl, has a function; `illegal_…` gives what federlib refuses with `InvalidInput`. All that is
generated otherwise is legal: federlib's own checks accept it, and what is stored decodes to
the same.

Needs the extra `testing`.

Does not promise: large values. They are short, so that examples stay quick and shrink well;
only text is now and then as long as it may be.
"""

from __future__ import annotations

from importlib.util import find_spec

from federlib.errors import MissingExtra

if find_spec("hypothesis") is None:
    raise MissingExtra("testing", needed_for="federlib.testing.strategies")

from federlib.testing.strategies._fencing import command_ids, illegal_command_ids
from federlib.testing.strategies._fleet import (
    host_ids,
    illegal_labels,
    illegal_worker_ids,
    labels,
    member_kinds,
    worker_ids,
)
from federlib.testing.strategies._kinds import known_kinds, of
from federlib.testing.strategies._lease import holder_ids, illegal_ttls, ttls
from federlib.testing.strategies._plain import hlc_timestamps, json_values
from federlib.testing.strategies._schedules import faults, schedules, terms
from federlib.testing.strategies._storage import (
    illegal_keys,
    illegal_names,
    keys,
    names,
    prefixes,
    transaction_ids,
    values,
)
from federlib.testing.strategies._tasks import (
    illegal_task_ids,
    illegal_workflows,
    run_ids,
    task_ids,
    workflows,
)

__all__ = [
    "command_ids",
    "faults",
    "hlc_timestamps",
    "holder_ids",
    "host_ids",
    "illegal_command_ids",
    "illegal_keys",
    "illegal_labels",
    "illegal_names",
    "illegal_task_ids",
    "illegal_ttls",
    "illegal_worker_ids",
    "illegal_workflows",
    "json_values",
    "keys",
    "known_kinds",
    "labels",
    "member_kinds",
    "names",
    "of",
    "prefixes",
    "run_ids",
    "schedules",
    "task_ids",
    "terms",
    "transaction_ids",
    "ttls",
    "values",
    "worker_ids",
    "workflows",
]
