"""Documents for the tests of workflows, and short ways to load them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from federlib.dag.workflow import (
    Workflow,
    check_workflow,
    load_workflow,
    plan_diff,
)
from federlib.errors import InvalidInput

EXAMPLE = """
name: nightly
tasks:
  - id: fetch
    run: curl -fsS https://example.org/data > data
    retries: 3
    timeout_s: 30
  - id: report
    needs: [fetch]
    call: reports.nightly:main
    args: {day: monday, deep: [1, 2.5, null]}
    cwd: /srv
    env: {MODE: fast}
  - id: nap
    sleep_s: 2
  - id: end
    needs: [report, nap]
"""


def load(document: object, **options: Any) -> Workflow:
    return load_workflow(json.dumps(document).encode(), **options)


def load_yaml(text: str) -> Workflow:
    return load_workflow(text.encode(), form="yaml")


def problems(document: object) -> tuple[str, ...]:
    with pytest.raises(InvalidInput) as caught:
        load(document)
    return caught.value.problems


def assert_sound(workflow: Workflow) -> None:
    assert check_workflow(workflow).ids == tuple(task.id for task in workflow.tasks)
    assert plan_diff(workflow, workflow) == []
