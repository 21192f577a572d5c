"""Keys: what is legal, and names as one segment."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.storage.keys import MAX_KEY_BYTES, check_key, check_prefix, segment, unsegment

names = st.text(
    st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("/%.~\u0307\u0301\u0327FEe"),
    min_size=1,
    max_size=30,
).filter(lambda text: unicodedata.is_normalized("NFC", text))


@pytest.mark.parametrize(
    "key",
    [
        "a", " ", "a/b", "a/.b", ".a", "...", "..a", "a..", "%2F", "é", "日本/語", "😀", "\u2028",
        "~x", "\\", "k" * MAX_KEY_BYTES, "é" * 256, "a/" * 255 + "bb",
    ],
)  # fmt: skip
def test_a_legal_key_comes_back(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("", "at least one character"),
        ("/", "segment"), ("/a", "segment"), ("a/", "segment"), ("a//b", "segment"),
        (".", "segment"), ("..", "segment"), ("a/../b", "segment"), ("a/.", "segment"),
        ("a\0", "control"), ("\n", "control"), ("\x7f", "control"), ("é\x80", "control"),
        ("e\u0301", "NFC"), ("\u212b", "NFC"),
        ("\ud800", "UTF-8"),
        ("k" * 513, "512 bytes"), ("é" * 257, "512 bytes"), ("k" * 10_000_000, "512 bytes"),
    ],
)  # fmt: skip
def test_an_illegal_key_is_refused_with_the_rule_it_breaks(key: str, rule: str) -> None:
    with pytest.raises(InvalidInput, match=rule) as caught:
        check_key(key)
    assert caught.value.field == "key"
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("key", [None, b"a", 1, ["a"]])
def test_what_is_no_text_is_no_key(key: object) -> None:
    with pytest.raises(InvalidInput, match="text"):
        check_key(key)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("prefix", ["", "/", "a/", "a//", "a/.", ".."])
def test_a_prefix_may_end_anywhere(prefix: str) -> None:
    assert check_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["a\0", "e\u0301", "k" * 513, "\ud800"])
def test_a_prefix_that_no_key_can_begin_with_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_prefix(prefix)
    assert caught.value.field == "prefix"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("plain", "plain"), ("a/b", "a%2Fb"), ("50%", "50%25"), ("%2F", "%252F"), (".", "%2E"),
        ("..", "%2E."), (".hidden", "%2Ehidden"), ("~floor", "%7Efloor"), ("a.b~c", "a.b~c"),
        ("../../etc", "%2E.%2F..%2Fetc"), ("日本 語", "日本 語"),
        # An accent must not melt into the F of %2F or the E of %2E.
        ("/\u0307", "%2F%CC%87"), (".\u0301é", "%2E%CC%81é"),
    ],
)  # fmt: skip
def test_a_name_becomes_one_readable_segment(name: str, part: str) -> None:
    assert segment(name) == part
    assert unsegment(part) == name


@given(names)
def test_any_name_becomes_one_legal_segment_and_comes_back(name: str) -> None:
    part = segment(name, max_bytes=500)
    assert check_key(f"lease/{part}/x").count("/") == 2
    assert part[0] not in ".~"
    assert unsegment(part) == name


@given(names, names)
def test_two_names_never_share_a_segment(one: str, other: str) -> None:
    assert (segment(one, max_bytes=500) == segment(other, max_bytes=500)) == (one == other)


@pytest.mark.parametrize("name", ["", "a\0", "e\u0301", "x" * 201, "/" * 67, "\ud800", "x" * 9_999])
def test_a_name_that_cannot_be_a_segment_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        segment(name, field="election")
    assert caught.value.field == "election"


def test_the_longest_segment_is_taken() -> None:
    assert segment("x" * 200) == "x" * 200
    assert len(segment("/" * 66)) == 198
