"""The documentation is true: links lead somewhere, code compiles, files parse."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import federlib
from federlib.dag import load_workflow
from federlib.dmn import compile_model, parse_model
from federlib.testing.sim import read_schedule

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(page for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if page.is_file())
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [body for name, body in found if name == language]


def anchors(page: Path) -> set[str]:
    """Name a page's headings as GitHub and MkDocs link to them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.lower()).strip().replace(" ", "-") for t in titles}


def written_files() -> list[Path]:
    """List what we wrote: text that a reader of the repository may open."""
    folders = ("src", "tests", "docs", "examples", "benchmarks", ".ci")
    # What test runners leave behind lies in folders with a dot, and is not ours.
    deep = [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(ROOT / folder).parts)
    ]
    flat = [*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("*.yml"), ROOT / "Makefile"]
    kinds = {".md", ".py", ".toml", ".yml", ".yaml", ".json", ""}
    return [path for path in [*deep, *flat] if path.is_file() and path.suffix in kinds]


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
def test_links_to_a_heading_find_it(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [link for link in LINK.findall(text) if "#" in link and "://" not in link]
    pages = [(target, *target.split("#")) for target in targets]
    missing = [
        link
        for link, file, anchor in pages
        if anchor not in anchors(page.parent / file if file else page)
    ]
    assert missing == []


def test_no_file_names_the_machine_it_was_written_on() -> None:
    places = "|".join(
        re.escape(f"{place}/") for place in (ROOT, Path.home()) if len(place.parts) > 1
    )
    here = re.compile(rf"(?<![\w.])(?:{places})")
    telling = [
        name(path) for path in written_files() if here.search(path.read_text(encoding="utf-8"))
    ]
    assert telling == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_page_is_in_the_navigation(page: Path) -> None:
    if page.parent == ROOT:
        return
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert str(page.relative_to(ROOT / "docs")) in listed


def test_every_package_has_its_page_in_the_reference() -> None:
    described = set(
        re.findall(
            r"^::: (\S+)",
            "".join(
                page.read_text(encoding="utf-8")
                for page in (ROOT / "docs/reference/api").glob("*.md")
            ),
            re.MULTILINE,
        )
    )
    public = {
        module.name
        for module in pkgutil.iter_modules(federlib.__path__, "federlib.")
        if not module.name.startswith("federlib._")
    }
    # The command line has a page of its own, and no API.
    assert public - {"federlib.cli"} <= described


def test_what_is_named_like_its_module_has_its_own_entry_in_the_reference() -> None:
    # The tool that makes the pages takes `federlib.lease.hold` for the module, and leaves it out.
    text = "".join(
        page.read_text(encoding="utf-8") for page in (ROOT / "docs/reference/api").glob("*.md")
    )
    described = set(re.findall(r"^::: (\S+)", text, re.MULTILINE))
    modules = [one for one in map(pkgutil.resolve_name, described) if isinstance(one, ModuleType)]
    hidden = {
        f"{module.__name__}.{public}.{public}"
        for module in modules
        for public in getattr(module, "__all__", ())
        if getattr(getattr(module, public), "__module__", "") == f"{module.__name__}.{public}"
    }
    assert "federlib.lease.hold.hold" in hidden
    assert hidden - described == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_in_the_pages_compiles(page: Path) -> None:
    for number, block in enumerate(blocks(page, "python")):
        compile(block, f"{page.name}:{number}", "exec")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_in_the_pages_load(page: Path) -> None:
    for block in blocks(page, "yaml"):
        if page.stem == "fault-schedules":
            assert read_schedule(block).faults
        elif "\ndecisions:" in block:
            assert compile_model(parse_model(block.encode(), "yaml")).tables()
        else:
            assert load_workflow(block.encode(), form="yaml").tasks


def test_the_program_of_the_readme_is_the_typed_one() -> None:
    readme = next(block for block in blocks(ROOT / "README.md", "python") if "fed.elect" in block)
    typed = (ROOT / "tests/typing/api.py").read_text(encoding="utf-8")
    lines = [line.split("#")[0].strip() for line in readme.splitlines()]
    known = {line.split("#")[0].strip() for line in typed.splitlines()}
    assert [line for line in lines if line and line not in known] == []
