"""What the identity directory remembers of stores."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federlib.errors import CorruptRecord, InvalidInput, Unavailable
from federlib.identity import IdentityStore
from federlib.identity._process_lock import ProcessLock


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    return IdentityStore(tmp_path)


def only_record(root: Path) -> Path:
    (path,) = root.glob("store-*.json")
    return path


def test_the_first_id_is_new_and_kept_whatever_comes_later(store: IdentityStore) -> None:
    assert store.remember_store("sqlite:///fleet.db", "one") is None
    assert store.remember_store("sqlite:///fleet.db", "one") == "one"
    assert store.remember_store("sqlite:///fleet.db", "two") == "one"
    assert store.remember_store("sqlite:///fleet.db", "two") == "one"


def test_replacing_is_deliberate_and_tells_the_old_id(store: IdentityStore) -> None:
    store.remember_store("k", "one")
    assert store.remember_store("k", "two", replace=True) == "one"
    assert store.remember_store("k", "one") == "two"
    assert store.remember_store("new", "x", replace=True) is None


def test_another_store_object_on_the_same_directory_remembers_it(tmp_path: Path) -> None:
    assert IdentityStore(tmp_path).remember_store("k", "one") is None
    assert IdentityStore(tmp_path).remember_store("k", "two") == "one"


def test_a_new_directory_has_seen_nothing(tmp_path: Path) -> None:
    IdentityStore(tmp_path / "a").remember_store("k", "one")
    assert IdentityStore(tmp_path / "b").remember_store("k", "two") is None


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.text(min_size=1, max_size=5)
            | st.sampled_from(["../x", "a/b", "A", "a", "\0", "host", "é", "e\u0301"]),
            st.sampled_from("12"),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_it_behaves_like_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[str, str, bool]]
) -> None:
    root = tmp_path_factory.mktemp("seen")
    store, model = IdentityStore(root), dict[str, str]()
    for key, store_id, replace in calls:
        assert store.remember_store(key, store_id, replace=replace) == model.get(key)
        if replace or key not in model:
            model[key] = store_id
    assert all(path.parent == root for path in root.rglob("*"))


@pytest.mark.parametrize("bad", ["", "x" * 3_000, "\ud800", None, 3, b"k"])
def test_a_key_or_id_that_no_file_can_hold_is_invalid(store: IdentityStore, bad: object) -> None:
    with pytest.raises(InvalidInput, match="key"):
        store.remember_store(bad, "1")  # type: ignore[arg-type]  # hostile on purpose
    with pytest.raises(InvalidInput, match="store_id"):
        store.remember_store("k", bad)  # type: ignore[arg-type]  # hostile on purpose
    assert not list(store.root.iterdir())


@pytest.mark.parametrize(
    "found",
    [b"", b"{", b'{"v":9}', b'{"key":"other","store_id":"1","seen_ns":1,"v":1}'],
    ids=["empty", "torn", "newer", "of another key"],
)
def test_a_record_that_cannot_be_trusted_is_named_and_left(
    tmp_path: Path, store: IdentityStore, found: bytes
) -> None:
    store.remember_store("k", "one")
    path = only_record(tmp_path)
    path.write_bytes(found)
    with pytest.raises(CorruptRecord, match=path.name):
        store.remember_store("k", "one", replace=True)
    assert path.read_bytes() == found


def test_two_who_replace_at_once_are_told_to_retry(tmp_path: Path, store: IdentityStore) -> None:
    store.remember_store("k", "one")
    rival = ProcessLock.attempt(only_record(tmp_path).with_suffix(".lock"))
    assert rival is not None
    with pytest.raises(Unavailable, match="another process"):
        store.remember_store("k", "two", replace=True)
    rival.release()
    assert store.remember_store("k", "two", replace=True) == "one"
