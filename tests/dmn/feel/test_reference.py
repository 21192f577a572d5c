"""The reference of FEEL: every function is in it as it is, and its examples are true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from federlib.dmn.feel import Function, evaluate
from federlib.dmn.feel.builtins import BUILTINS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "feel.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (`[a-z ]+\(.*) \| `(.*)` \|$", PAGE, re.MULTILINE)


def signatures() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give name and parameters of every function that the page names."""
    for heads, _ in ROWS:
        for name, inner in re.findall(r"`([a-z ]+)\(([^`]*)\)`", heads):
            inner = re.sub(r"(\w)1, \.\.\., \1N", r"\1s", inner)
            yield name, tuple(each.strip("?. ") for each in inner.split(",") if each)


def ways(name: str) -> list[Function]:
    found = BUILTINS[name]
    return [found] if isinstance(found, Function) else list(found.ways)


@pytest.mark.parametrize("example", [example for _, example in ROWS])
def test_an_example_is_true(example: str) -> None:
    assert evaluate(example, now_ns=0) is True


def test_every_function_is_there_and_none_else() -> None:
    assert {name for name, _ in signatures()} == set(BUILTINS)


@pytest.mark.parametrize(("name", "parameters"), list(signatures()))
def test_parameters_are_named_as_they_are(name: str, parameters: tuple[str, ...]) -> None:
    known = [way.parameters for way in ways(name)]
    if parameters in {("cs",), ("ns",), ("bs",)}:
        assert any(way.is_variadic for way in ways(name))
    else:
        assert any(parameters == each[: len(parameters)] for each in known)
