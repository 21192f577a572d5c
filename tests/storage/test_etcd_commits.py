"""What is read out of the answer to a commit."""

from __future__ import annotations

import msgspec
import pytest

from federlib.errors import CorruptRecord, InvalidInput, OutcomeUnknown
from federlib.storage import Absent, AtRevision, Committed, Conflicted, Mismatch, Put, Transaction
from federlib.storage.backends._blocking.commit_line import Attempt
from federlib.storage.backends.etcd import open_engine
from federlib.storage.backends.etcd._commits import Plan, Receipt
from federlib.storage.backends.etcd._keys import Layout, Place
from storage.etcd_lab import Gateway, answer

META = b'{"store_id":"x","format":1}'
PLACE = Place("etcd store a", Layout("federlib/"), 100, META)
META_KV = {"key": b"federlib/k/meta/store", "value": META, "create_revision": 101}


def lost(*found: list[dict[str, object]], revision: int = 150) -> bytes:
    """The answer to a transaction whose comparisons failed; what it found, in order."""
    ranges = [{"response_range": {"kvs": kvs} if kvs else {}} for kvs in found]
    return msgspec.json.encode({"header": {"revision": str(revision)}, "responses": ranges})


def kv(mod_revision: int, value: bytes = b"") -> dict[str, object]:
    return {"key": b"x", "mod_revision": str(mod_revision), "value": value}


def test_a_conflict_names_what_was_found() -> None:
    checks = (AtRevision("a", 7), Absent("b"), Absent("c"), AtRevision("d", 9))
    plan = Plan(PLACE, Transaction((), checks), 0)
    found = plan.decode(lost([META_KV], [kv(108)], [kv(103)], [], [kv(109)]))
    assert plan.read(found) == Conflicted((Mismatch("a", 7, 8), Mismatch("b", None, 3)))


@pytest.mark.parametrize(
    "meta",
    [[], [{**META_KV, "value": b"other"}], [{**META_KV, "create_revision": 120}]],
    ids=["gone", "another", "made again"],
)
def test_another_store_is_named_before_anything_else(meta: list[dict[str, object]]) -> None:
    plan = Plan(PLACE, Transaction((), (Absent("b"),)), 0)
    with pytest.raises(CorruptRecord, match="as it was opened"):
        plan.read(plan.decode(lost(meta, [kv(103)])))


def test_a_receipt_answers_for_the_first_try() -> None:
    plan = Plan(PLACE, Transaction((Put("a", b""),), (Absent("a"),), "t"), 0)
    mine = msgspec.json.encode(Receipt(plan.digest, 1))
    assert plan.read(plan.decode(lost([META_KV], [kv(120, mine)], [kv(120)]))) == Committed(20)
    other = msgspec.json.encode(Receipt(b"other", 1))
    with pytest.raises(InvalidInput, match="first committed"):
        plan.read(plan.decode(lost([META_KV], [kv(120, other)], [kv(120)])))
    with pytest.raises(CorruptRecord, match="receipt"):
        plan.read(plan.decode(lost([META_KV], [kv(120, b"torn")], [kv(120)])))


def test_comparisons_that_failed_though_all_of_them_hold_are_a_contradiction() -> None:
    plan = Plan(PLACE, Transaction((), (Absent("b"),)), 0)
    with pytest.raises(CorruptRecord, match="a failed comparison"):
        plan.read(plan.decode(lost([META_KV], [])))


@pytest.mark.parametrize("body", [lost(), lost([META_KV]), lost([META_KV], [], []), b"{}"])
def test_an_answer_of_another_shape_is_not_etcds(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        Plan(PLACE, Transaction((), (Absent("b"),)), 0).decode(body)


@pytest.mark.parametrize(
    ("check", "found", "is_final"),
    [
        (AtRevision("a", 7), [kv(108)], True),
        (AtRevision("a", 7), [], True),
        (Absent("a"), [kv(108)], False),
        (AtRevision("a", 51), [kv(108)], False),
        (AtRevision("a", 50), [kv(108)], True),
    ],
    ids=["overtaken", "deleted", "there, but may go", "not reached yet", "just passed"],
)
def test_only_what_cannot_come_true_again_rules_the_first_try_out(
    check: AtRevision | Absent, found: list[dict[str, object]], is_final: bool
) -> None:
    plan = Plan(PLACE, Transaction((Put("b", b""),), (check,), "t"), 0)
    told = plan.decode(lost([META_KV], [], found))
    conflict = plan.read(told)
    assert isinstance(conflict, Conflicted)
    assert plan.is_final(conflict, told) is is_final


@pytest.mark.parametrize(("check", "is_known"), [(AtRevision("a", 7), True), (Absent("a"), False)])
def test_a_conflict_after_a_lost_answer_is_told_only_if_the_first_try_cannot_come(
    check: AtRevision | Absent, is_known: bool
) -> None:
    meta = answer({"header": {"revision": "150"}, "kvs": [META_KV]})
    conflict = answer(lost([META_KV], [], [kv(108)]))
    with Gateway(meta, Gateway.CLOSE, conflict) as gateway:
        engine = open_engine(f"etcd://{gateway.endpoint}")
        try:
            attempt = Attempt(Transaction((Put("b", b""),), (check,), "t"), now_ns=0)
            if is_known:
                assert isinstance(engine.commit(attempt), Conflicted)
            else:
                with pytest.raises(OutcomeUnknown, match="may still come"):
                    engine.commit(attempt)
        finally:
            engine.close(1)
        assert gateway.requests[1] == gateway.requests[2]
