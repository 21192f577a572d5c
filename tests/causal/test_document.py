"""A hypothesis as people write it down."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings

from causal.examples import SOUND
from federlib.causal import Hypothesis, read_hypothesis
from federlib.errors import InvalidInput
from federlib.testing import strategies as fed

YAML = b"""
hypothesis_id: leak-restart
action: restart_many
treatment: restart
outcome: latency
mechanism: a restart gives leaked memory back
through: [memory]
graph:
  load: []
  alarm: [load]
  restart: [alarm]
  memory: [restart]
  latency: [load, memory]
confounders: [load]
adjustment: [load]
expected: {direction: decrease, at_least: 5, unit: ms, within_s: 600}
rollback: none needed
author: ops
stated_at_ns: 1
"""


def test_yaml_and_json_give_the_same() -> None:
    assert read_hypothesis(YAML, form="yaml") == SOUND
    assert read_hypothesis(msgspec.json.encode(SOUND)) == SOUND


@settings(max_examples=40, deadline=None)
@given(fed.of(Hypothesis))
def test_what_is_written_as_json_is_read_again(hypothesis: Hypothesis) -> None:
    assert read_hypothesis(msgspec.json.encode(hypothesis)) == hypothesis


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (YAML.replace(b"mechanism:", b"mecanism:"), "mecanism"),
        (YAML.replace(b"outcome: latency", b""), "outcome"),
        (YAML.replace(b"at_least: 5", b"at_least: 0"), "at_least"),
        (YAML.replace(b"at_least: 5", b"at_least: .nan"), "at_least"),
        (YAML.replace(b"direction: decrease", b"direction: sideways"), "direction"),
        (YAML.replace(b"  alarm: [load]", b"  load: [alarm]"), "load"),
        (YAML + b"v: 2\n", "v: expected 1, found 2"),
        (YAML + b"author: dev\n", "^hypothesis: expected each key once"),
        (b"&a [*a]", "anchors"),
        (b"!!python/object:os.system {}", "tags"),
        (b"[1, 2", "YAML"),
        (b"just text", "object"),
        (b"x: 2026-01-01", "hypothesis"),
        (b"a: " + b"x" * 300_000, "at most"),
    ],
)
def test_what_is_wrong_with_a_document_is_told(data: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read_hypothesis(data, form="yaml")


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b'{"graph": {}, "graph": {}}', b"[" * 100_000]
)
def test_what_is_no_hypothesis_in_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_hypothesis(data)
