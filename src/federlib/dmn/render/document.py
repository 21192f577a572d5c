"""Whole models as documents: what is given, what is decided, and the boxes of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import TypeAlias

from federlib.dmn.model import (
    DecisionNode,
    DecisionService,
    Definitions,
    Expression,
    InputData,
    ItemDefinition,
    KnowledgeModel,
)
from federlib.dmn.render.html import draw_html, page
from federlib.dmn.render.markdown import draw_markdown, plain
from federlib.dmn.render.sheet import NO_MARKS, Marks, Sheet, sheet_of, visible
from federlib.dmn.render.text import draw_text

__all__ = ["Drawable", "render_html", "render_markdown", "render_text"]

Drawable: TypeAlias = Definitions | DecisionNode | KnowledgeModel | Expression
"""What can be drawn."""

_NO_MARKS: Mapping[str, Marks] = {}


def render_text(
    thing: Drawable, *, width: int = 100, marks: Mapping[str, Marks] = _NO_MARKS
) -> str:
    r"""Draw a model, a decision or a table for a terminal.

    Args:
        thing: What to draw.
        width: The most characters of a line, where that can be had.
        marks: What one evaluation did, by the name of the decision.
    Returns:
        Lines, without an end of line at the last. Control characters of the model are shown
        as `\x1b`, so that no cell can talk to the terminal.
    """
    if not isinstance(thing, Definitions):
        return "\n\n".join(draw_text(sheet, width=width) for sheet in _sheets(thing, marks))
    parts = [visible(_heading(thing))]
    if thing.description:
        parts.append(visible(thing.description))
    facts = [f"  {visible(f'{name}: {kind}' if kind else name)}" for name, kind in _given(thing)]
    if facts:
        parts.append("\n".join(["Given:", *facts]))
    parts += [draw_text(sheet, width=width) for sheet in _sheets(thing, marks)]
    return "\n\n".join(parts)


def render_markdown(
    thing: Drawable, *, level: int = 2, marks: Mapping[str, Marks] = _NO_MARKS
) -> str:
    """Write a model, a decision or a table as Markdown (tables as GitHub has them).

    Args:
        thing: What to write.
        level: Of its heading, from 1.
        marks: What one evaluation did, by the name of the decision.
    """
    if not isinstance(thing, Definitions):
        return "\n\n".join(draw_markdown(each, level=level) for each in _sheets(thing, marks))
    parts = [f"{'#' * level} {plain(_heading(thing))}"]
    if thing.description:
        parts.append(plain(thing.description))
    facts = [f"- {plain(name)}{f': {plain(kind)}' if kind else ''}" for name, kind in _given(thing)]
    if facts:
        parts.append("\n".join(["Given:", "", *facts]))
    for name, about, sheet in _elements(thing, marks):
        parts.append(f"{'#' * (level + 1)} {plain(name)}")
        if about:
            parts.append("\n".join(f"- {plain(line)}" for line in about))
        # The heading stands over it already; what lies within is named after it all the same.
        parts.append(draw_markdown(sheet, level=level + 1).split("\n\n", 1)[-1])
    return "\n\n".join(parts)


def render_html(thing: Drawable, *, marks: Mapping[str, Marks] = _NO_MARKS) -> str:
    """Write a model, a decision or a table as a page of HTML that needs nothing else."""
    if not isinstance(thing, Definitions):
        sheets = list(_sheets(thing, marks))
        return page(sheets[0].title or "Decision", "\n".join(draw_html(each) for each in sheets))
    parts = [f"<h1>{escape(_heading(thing))}</h1>"]
    if thing.description:
        parts.append(f"<p>{escape(thing.description)}</p>")
    facts = "".join(
        f"<li>{escape(name)}{f': <code>{escape(kind)}</code>' if kind else ''}</li>"
        for name, kind in _given(thing)
    )
    if facts:
        parts.append(f"<h2>Given</h2>\n<ul>{facts}</ul>")
    for name, about, sheet in _elements(thing, marks):
        parts.append(f"<h2>{escape(name)}</h2>")
        parts += [f"<p>{escape(line)}</p>" for line in about]
        parts.append(draw_html(Sheet("", sheet.head, sheet.body, sheet.doubles, sheet.chosen)))
    return page(_heading(thing), "\n".join(parts))


def _heading(model: Definitions) -> str:
    return f"{model.name} ({model.version})" if model.version else model.name


def _given(model: Definitions) -> Iterator[tuple[str, str]]:
    """Name what a model is given, each with its type; defined types are spelled out."""
    known = {each.name: each for each in model.item_definitions}
    for each in model.inputs:
        yield each.name, _kind(each.type_ref, known)


def _kind(type_ref: str, known: Mapping[str, ItemDefinition]) -> str:
    item = known.get(type_ref)
    if item is None or not (item.allowed or item.constraint):
        return type_ref
    return f"{type_ref} ({item.allowed or item.constraint})"


def _elements(
    model: Definitions, marks: Mapping[str, Marks]
) -> Iterator[tuple[str, list[str], Sheet]]:
    for decision in model.decisions:
        about = [decision.question] if decision.question else []
        if decision.description and decision.description != decision.question:
            about.append(decision.description)
        needs = (*decision.inputs, *decision.decisions, *decision.knowledge)
        names = _names(model)
        if needs:
            about.append("Needs " + ", ".join(names.get(each, each) for each in needs))
        (sheet,) = _sheets(decision, marks)
        yield decision.name, about, sheet
    for knowledge in model.knowledge_models:
        (sheet,) = _sheets(knowledge, marks)
        yield knowledge.name, [knowledge.description] if knowledge.description else [], sheet


def _names(model: Definitions) -> dict[str, str]:
    parts: list[InputData | DecisionNode | KnowledgeModel | DecisionService] = []
    parts += [*model.inputs, *model.decisions, *model.knowledge_models, *model.services]
    return {each.id: each.name for each in parts if each.id}


def _sheets(thing: Drawable, marks: Mapping[str, Marks]) -> Iterator[Sheet]:
    match thing:
        case Definitions():
            for _, _, sheet in _elements(thing, marks):
                yield sheet
        case DecisionNode():
            yield sheet_of(thing.logic, thing.name, marks.get(thing.name, NO_MARKS))
        case KnowledgeModel():
            yield sheet_of(thing.function, thing.name)
        case _:
            yield sheet_of(thing)
