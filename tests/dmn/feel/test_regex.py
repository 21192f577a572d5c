"""Regular expressions: XPath's syntax, and an end in bounded time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.dmn.feel.evaluation import DEFAULT_STEPS, Evaluation, Exhausted
from federlib.dmn.feel.regex import BadPattern, compile_pattern, find


def spans(pattern: str, text: str, flags: str = "") -> tuple[int, int] | None:
    match = find(Evaluation(), compile_pattern(pattern, flags), text)
    return None if match is None else (match.start, match.end)


ATOMS = st.sampled_from(["a", "b", "ab", ".", "[ab]", "[^a]", "(a|b)", "(ab|a)", "(b)", "^", "$"])
PIECES = st.tuples(
    ATOMS, st.sampled_from(["", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,2}?"])
)
PATTERNS = st.lists(PIECES, min_size=1, max_size=4).map(
    lambda pieces: "".join(atom + ("" if atom in "^$" else count) for atom, count in pieces)
)


@given(PATTERNS | st.tuples(PATTERNS, PATTERNS).map("|".join), st.text("abc", max_size=7))
def test_what_both_can_say_matches_as_in_python(pattern: str, text: str) -> None:
    # `\Z`, since a `$` of Python also holds before a line end.
    found = re.compile(pattern.replace("$", r"\Z")).search(text)
    assert spans(pattern, text) == (None if found is None else found.span())


@pytest.mark.parametrize(
    ("pattern", "flags", "texts", "others"),
    [
        ("[A-Z-[OI]]", "", ["A", "Z"], ["O", "I", "a"]),
        ("[A-Z-[OI]]", "i", ["a", "x"], ["o", "i", "O"]),
        ("[^Q]", "i", ["a"], ["q", "Q"]),
        ("[a-c\\d-]", "", ["b", "7", "-"], ["d"]),
        ("[^\\s]", "", ["a"], [" ", "\n"]),
        ("[\\^\\]\\n]", "", ["^", "]", "\n"], ["n"]),
        ("[a-z-[aeiou-[e]]]", "", ["b", "e"], ["a", "u"]),
        ("\\p{Lu}", "", ["Ä"], ["ä", "1"]),
        ("\\P{L}", "", ["1"], ["a"]),
        ("\\p{IsGreek}", "", ["α"], ["a"]),
        ("\\P{IsBasicLatin}", "", ["α"], ["a"]),
        ("\\d", "", ["5", "٣"], ["x"]),
        ("\\D\\W\\S\\I\\C", "", ["x-y-!"], ["5"]),
        ("\\i\\c*", "", ["_a-1"], ["-"]),
        ("\\w", "", ["a", "5"], ["-", " "]),
        (".", "", ["a"], ["\n", "\r"]),
        (".", "s", ["\n", "\r"], []),
        ("^b", "m", ["a\nb"], ["ab"]),
        ("^b", "", ["b"], ["a\nb"]),
        ("a$", "m", ["a\nb"], ["ab"]),
        ("a$", "", ["ba"], ["a\nb"]),
        ("\\n^$", "m", ["a\n\nb"], ["a\n"]),
        ("k", "i", ["K", "\u212a"], ["c"]),
        ("\u212a", "i", ["k", "K"], []),
        ("a b", "x", ["ab"], ["a b"]),
        ("a[ ]b", "x", ["a b"], ["ab"]),
        ("a\\ sb", "x", ["a b"], ["asb"]),
        ("\\p{ L u }", "x", ["A"], ["a"]),
        ("(a)(b)?\\2c", "", ["ac", "abbc"], ["abc"[1:]]),
        ("(a)\\1", "i", ["aA"], ["ab", "a"]),
        ("(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)\\10", "", ["abcdefghijj"], ["abcdefghija"]),
        ("(a)\\10", "", ["aa0"], ["a"]),
        ("(?:ab)+c", "", ["ababc"], ["c"]),
        ("a{0}b", "", ["b"], ["a"]),
        ("a{2,}b", "", ["aaab"], ["ab"]),
        ("a\\|b\\.\\?\\*\\+\\(\\)\\{\\}\\[\\]\\$\\^\\-\\\\", "", ["a|b.?*+(){}[]$^-\\"], ["ab"]),
        ("\\t\\r\\n", "", ["\t\r\n"], ["trn"]),
    ],
)
def test_the_syntax_of_xpath(pattern: str, flags: str, texts: list[str], others: list[str]) -> None:
    for text in texts:
        assert spans(pattern, text, flags) is not None, text
    for text in others:
        assert spans(pattern, text, flags) is None, text


@pytest.mark.parametrize(
    ("pattern", "flags"),
    [
        ("a", "p"),
        ("a", " "),
        ("a", "X"),
        ("(a", ""),
        ("a)", ""),
        ("[a", ""),
        ("[]", ""),
        ("[^]", ""),
        ("[a[b]", ""),
        ("[b-a]", ""),
        ("[a-\\d]", ""),
        ("[a-[b]c]", ""),
        ("[\\1]", ""),
        ("*a", ""),
        ("a**", ""),
        ("a{", ""),
        ("a{x}", ""),
        ("a{2,1}", ""),
        ("a{1,x}", ""),
        ("a{99999999}", ""),
        ("}", ""),
        ("]", ""),
        ("\\", ""),
        ("\\e", ""),
        ("\\0", ""),
        ("\\1", ""),
        ("(a\\1)", ""),
        ("(.)\\2", ""),
        ("\\p", ""),
        ("\\p{L", ""),
        ("\\p{Xx}", ""),
        ("\\p{IsNowhere}", ""),
        ("\\p{ Lu}", ""),
        ("(?=a)", ""),
        ("a{5000}{5}", ""),
        ("(a{200}){200}", ""),
        ("((a{0,100}){0,100}){0,9}", ""),
        ("(" * 200 + ")" * 200, ""),
        ("[a-" * 200, ""),
        ("a{9000}b{9000}c{9000}", ""),
        ("a" * 6000, ""),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str, flags: str) -> None:
    with pytest.raises(BadPattern):
        compile_pattern(pattern, flags)


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+b", "(a*)*b", "(a|aa)+b", "(a|a)*b", "(.*)*b", "a*a*a*a*a*b", "((a?){5}a{5})*b", "()*b"],
)
def test_patterns_that_make_others_run_away_take_steps_in_proportion(pattern: str) -> None:
    compiled = compile_pattern(pattern)
    taken: list[int] = []
    for size in (200, 400):
        ev = Evaluation()
        assert find(ev, compiled, "a" * size) is None
        taken.append(DEFAULT_STEPS - ev.steps)
    assert taken[1] < 2.2 * taken[0]
    assert taken[1] < 400 * 4 * len(compiled.steps)


def test_back_references_that_run_away_end_by_the_steps_of_the_evaluation() -> None:
    begun = time.perf_counter()
    with pytest.raises(Exhausted):
        find(Evaluation(steps=100_000), compile_pattern("(a*)(a*)(a*)(a*)\\1\\2\\3\\4b"), "a" * 100)
    assert time.perf_counter() - begun < 5
