"""Versions: published once, pinned, rolled back, and never anything but what was published."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from federlib.dmn.documents.forms import content_hash
from federlib.dmn.model import DecisionNode, Definitions, LiteralExpression
from federlib.dmn.versions.history import MAX_CHANGES, History, pin, publish, roll_back, unpin
from federlib.dmn.versions.store import DirectoryShelf, MemoryShelf, Shelf, VersionStore
from federlib.errors import Conflict, CorruptRecord, InvalidInput


def model(text: str) -> Definitions:
    return Definitions(
        "Scaling", version=text, decisions=(DecisionNode("scale", LiteralExpression(text)),)
    )


@pytest.fixture(params=["memory", "directory"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    return MemoryShelf() if request.param == "memory" else DirectoryShelf(tmp_path / "policies")


@pytest.fixture
def store(shelf: Shelf) -> VersionStore:
    return VersionStore(shelf)


def test_what_is_published_last_decides(store: VersionStore) -> None:
    first = store.publish("scaling", model("1"), at_ns=10, by="ana", note="first")
    second = store.publish("scaling", model("2"), at_ns=20)
    assert (first.number, first.version, first.at_ns, first.by) == (1, "1", 10, "ana")
    assert first.content_hash == content_hash(model("1"))
    assert second.number == 2
    assert store.load("scaling") == model("2")
    assert store.load("scaling", 1) == model("1")
    assert store.names() == ["scaling"]


@pytest.mark.parametrize(
    "fields",
    [{"at_ns": -1}, {"at_ns": None}, {"at_ns": 2**63}, {"by": "x" * 501}, {"note": "\ud800"},
     {"by": None}],
)  # fmt: skip
def test_what_could_not_be_read_again_is_not_written(
    store: VersionStore, fields: dict[str, object]
) -> None:
    store.publish("scaling", model("1"), at_ns=10)
    before = store.history("scaling")
    with pytest.raises(InvalidInput, match="model scaling"):
        store.publish("scaling", model("2"), **{"at_ns": 20, **fields})  # type: ignore[arg-type]  # that is the case
    assert store.history("scaling") == before


@pytest.mark.parametrize(
    "wrong", [None, Definitions("m", version="\ud800"), Definitions("m", inputs=(5,))]  # type: ignore[arg-type]  # that is the case
)  # fmt: skip
def test_a_model_that_could_not_be_read_again_is_not_published(
    store: VersionStore, wrong: Definitions
) -> None:
    with pytest.raises(InvalidInput, match="can be read again"):
        store.publish("scaling", wrong, at_ns=10)
    assert store.names() == []


@pytest.mark.parametrize(
    ("there", "instead"),
    [(b'"active":2', b'"active":9'), (b'"active":2', b'"active":0'),
     (b'{"number":2', b'{"number":1'), (b'"before":[1]', b'"before":[7]')],
)  # fmt: skip
def test_a_history_that_names_other_versions_than_it_has_is_corrupt(
    shelf: Shelf, store: VersionStore, there: bytes, instead: bytes
) -> None:
    for text in ("1", "2"):
        store.publish("scaling", model(text), at_ns=10)
    data = shelf.read("scaling/history.json")
    assert data is not None
    assert there in data
    shelf.write("scaling/history.json", data.replace(there, instead, 1))
    with pytest.raises(CorruptRecord, match="versions"):
        store.load("scaling")


def test_the_same_content_is_not_published_twice(store: VersionStore) -> None:
    first = store.publish("scaling", model("1"), at_ns=10)
    assert store.publish("scaling", model("1"), at_ns=20) == first
    assert [change.kind for change in store.history("scaling").changes] == ["publish"]


def test_what_was_there_before_is_published_anew_after_something_else(store: VersionStore) -> None:
    for at_ns, text in enumerate(["1", "2", "1"]):
        store.publish("scaling", model(text), at_ns=at_ns)
    assert [each.version for each in store.history("scaling").versions] == ["1", "2", "1"]
    assert store.load("scaling") == model("1")


def test_a_pinned_version_decides_whatever_is_published(store: VersionStore) -> None:
    for number in (1, 2):
        store.publish("scaling", model(str(number)), at_ns=number)
    store.pin("scaling", 1, at_ns=3, by="ana", note="the second oscillates")
    store.publish("scaling", model("3"), at_ns=4)
    assert store.load("scaling") == model("1")
    assert store.unpin("scaling", at_ns=5).active == 3
    assert store.load("scaling") == model("3")
    kinds = [(each.kind, each.number) for each in store.history("scaling").changes]
    assert kinds == [("publish", 1), ("publish", 2), ("pin", 1), ("publish", 1), ("unpin", 3)]


def test_rolling_back_returns_to_what_decided_before_and_stays_there(store: VersionStore) -> None:
    for number in (1, 2, 3):
        store.publish("scaling", model(str(number)), at_ns=number)
    assert store.roll_back("scaling", at_ns=4).active == 2
    store.publish("scaling", model("4"), at_ns=5)
    assert store.load("scaling") == model("2")
    assert store.roll_back("scaling", at_ns=6).active == 1
    with pytest.raises(Conflict):
        store.roll_back("scaling", at_ns=7)


def test_rolling_back_after_unpinning_returns_to_what_was_pinned(store: VersionStore) -> None:
    for number in (1, 2):
        store.publish("scaling", model(str(number)), at_ns=number)
    store.pin("scaling", 1, at_ns=3)
    store.unpin("scaling", at_ns=4)
    assert store.roll_back("scaling", at_ns=5).active == 1


@pytest.mark.parametrize("number", [0, -1, 3, True])
def test_a_version_that_is_not_there_is_refused(store: VersionStore, number: int) -> None:
    store.publish("scaling", model("1"), at_ns=1)
    store.publish("scaling", model("2"), at_ns=1)
    with pytest.raises(InvalidInput, match="1 to 2"):
        store.pin("scaling", number, at_ns=2)
    with pytest.raises(InvalidInput):
        store.load("scaling", number)


def test_nothing_published_is_an_empty_history(store: VersionStore) -> None:
    assert store.history("scaling") == History(name="scaling")
    with pytest.raises(InvalidInput, match="nothing published yet"):
        store.load("scaling")
    with pytest.raises(Conflict):
        store.unpin("scaling", at_ns=1)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 97, "a\n", "é"])
def test_a_name_that_could_leave_the_directory_is_refused(store: VersionStore, name: str) -> None:
    with pytest.raises(InvalidInput):
        store.publish(name, model("1"), at_ns=1)
    with pytest.raises(InvalidInput):
        store.history(name)


def test_what_is_not_what_was_published_is_refused(shelf: Shelf) -> None:
    store = VersionStore(shelf)
    published = store.publish("scaling", model("1"), at_ns=1)
    key = f"scaling/{published.content_hash}.json"
    whole = shelf.read(key)
    assert whole is not None
    for content in (whole.replace(b'"1"', b'"2"'), whole[:-5], b"", b"{}"):
        shelf.write(key, content)
        with pytest.raises(CorruptRecord):
            store.load("scaling")
    shelf.write(key, whole)
    assert store.load("scaling") == model("1")


def test_a_torn_history_is_refused_and_stays_as_it_is(shelf: Shelf) -> None:
    store = VersionStore(shelf)
    store.publish("scaling", model("1"), at_ns=1)
    shelf.write("scaling/history.json", b'{"v": 1, "na')
    with pytest.raises(CorruptRecord):
        store.publish("scaling", model("2"), at_ns=2)
    assert shelf.read("scaling/history.json") == b'{"v": 1, "na'


class Crash(Exception):
    """The process dies here."""


class CrashingShelf(MemoryShelf):
    """Dies at the n-th write."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def write(self, key: str, content: bytes) -> None:
        if not self.left:
            raise Crash
        self.left -= 1
        super().write(key, content)


@pytest.mark.parametrize("writes", [0, 1])
def test_a_crash_while_publishing_leaves_what_was_there(writes: int) -> None:
    shelf = CrashingShelf(2)
    store = VersionStore(shelf)
    store.publish("scaling", model("1"), at_ns=1)
    shelf.left = writes
    with pytest.raises(Crash):
        store.publish("scaling", model("2"), at_ns=2)
    assert store.load("scaling") == model("1")
    shelf.left = 2
    assert store.publish("scaling", model("2"), at_ns=3).number == 2


def publish_some(root: Path, who: int) -> None:
    store = VersionStore(DirectoryShelf(root))
    for count in range(5):
        store.publish("scaling", model(f"{who}-{count}"), at_ns=1, by=str(who))


def test_processes_that_publish_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=publish_some, args=(tmp_path, who)) for who in (0, 1)]
    for each in others:
        each.start()
    publish_some(tmp_path, 2)
    for each in others:
        each.join()
        assert each.exitcode == 0
    versions = VersionStore(DirectoryShelf(tmp_path)).history("scaling").versions
    assert [each.number for each in versions] == list(range(1, 16))
    assert {each.version for each in versions} == {f"{w}-{c}" for w in range(3) for c in range(5)}


def test_a_history_keeps_all_versions_and_the_latest_changes() -> None:
    history = History(name="scaling")
    for number in range(MAX_CHANGES + 5):
        history = publish(history, f"{number:064x}", at_ns=number)
    assert len(history.versions) == MAX_CHANGES + 5
    assert len(history.changes) == MAX_CHANGES
    assert history.changes[-1].number == MAX_CHANGES + 5


class Histories(RuleBasedStateMachine):
    """Any order of changes: what decides is always there, and the record goes round."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History(name="scaling")
        self.decided: list[int] = []

    def _take(self, after: History) -> None:
        if after.active != self.history.active and self.history.active:
            self.decided.append(self.history.active)
        self.history = after

    @rule(content=st.integers(0, 3))
    def publish(self, content: int) -> None:
        before = self.history
        self._take(publish(before, f"{content:064x}", at_ns=1))
        if before.is_pinned:
            assert self.history.active == before.active

    @precondition(lambda self: self.history.versions)
    @rule(data=st.data())
    def pin(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, len(self.history.versions)))
        self._take(pin(self.history, number, at_ns=1))
        assert self.history.active == number

    @precondition(lambda self: self.history.is_pinned)
    @rule()
    def unpin(self) -> None:
        self._take(unpin(self.history, at_ns=1))
        assert self.history.active == len(self.history.versions)

    @precondition(lambda self: self.history.before)
    @rule()
    def roll_back(self) -> None:
        self.history = roll_back(self.history, at_ns=1)
        assert self.history.active == self.decided.pop()

    @invariant()
    def what_decides_is_there(self) -> None:
        if self.history.versions:
            assert self.history.find().number == self.history.active
        data = msgspec.json.encode(self.history)
        assert msgspec.json.decode(data, type=History) == self.history


TestHistories = Histories.TestCase
