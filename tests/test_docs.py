"""The documentation is true: links lead somewhere, code compiles, files parse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from federlib.dag import load_workflow

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(page for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if page.is_file())
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [body for name, body in found if name == language]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_there_are_pages() -> None:
    assert {"README.md", "docs/hazards.md", "docs/glossary.md"} <= set(map(name, PAGES))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_lead_to_a_file(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [link.split("#")[0] for link in LINK.findall(text) if "://" not in link]
    missing = [t for t in targets if t and not (page.parent / t).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_in_the_pages_compiles(page: Path) -> None:
    for number, block in enumerate(blocks(page, "python")):
        compile(block, f"{page.name}:{number}", "exec")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_workflows_in_the_pages_load(page: Path) -> None:
    for block in blocks(page, "yaml"):
        assert load_workflow(block.encode(), form="yaml").tasks


def test_the_program_of_the_readme_is_the_typed_one() -> None:
    readme = next(block for block in blocks(ROOT / "README.md", "python") if "fed.elect" in block)
    typed = (ROOT / "tests/typing/api.py").read_text(encoding="utf-8")
    lines = [line.split("#")[0].strip() for line in readme.splitlines()]
    known = {line.split("#")[0].strip() for line in typed.splitlines()}
    assert [line for line in lines if line and line not in known] == []
