"""Sheets as tables of GitHub's Markdown, which every reader of a repository sees drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from federlib.dmn.render.sheet import Cell, Sheet, visible

__all__ = ["draw_markdown", "plain"]

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&#])|^([-+]|\d+(?=[.)]))")


def draw_markdown(sheet: Sheet, *, level: int = 3) -> str:
    """Write a sheet as a table; a box within it follows as a table of its own.

    Markdown has one line, below the first row. The double lines that stand upright are
    columns with ‖ in them.

    Args:
        sheet: What to write.
        level: Of the heading, 1 to 6; a sheet without a title has none.
    """
    parts: list[str] = []
    waiting = [(sheet.title, sheet)]
    while waiting:
        title, each = waiting.pop(0)
        inner: list[tuple[str, Sheet]] = []
        table = "\n".join(_table(each, title, inner))
        parts.append(f"{'#' * level} {plain(title)}\n\n{table}" if title else table)
        waiting = inner + waiting
    return "\n\n".join(parts)


def plain(text: str) -> str:
    """Escape what Markdown would take for its own; all on one line."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(visible(text).split()))


def _table(sheet: Sheet, title: str, inner: list[tuple[str, Sheet]]) -> Iterator[str]:
    if not sheet.columns:
        yield "(empty)"
        return
    rows = (*sheet.head, *sheet.body)
    first, rest = (rows[0], rows[1:]) if sheet.head else ((), rows)
    yield _line(sheet, first, title, inner, is_chosen=False)
    line = "|"
    for column in range(sheet.columns):
        line += ":-:|" if column in sheet.doubles else ""
        line += ":-:|" if _is_number(rows, column) else "---|"
    yield line
    chosen = {len(sheet.head) + position for position in sheet.chosen}
    for position, row in enumerate(rest, start=1 if sheet.head else 0):
        yield _line(sheet, row, title, inner, is_chosen=position in chosen)


def _is_number(rows: Sequence[Sequence[Cell]], column: int) -> bool:
    return column == 0 and any(row and row[0].kind == "number" for row in rows)


def _line(
    sheet: Sheet,
    row: Sequence[Cell],
    title: str,
    inner: list[tuple[str, Sheet]],
    *,
    is_chosen: bool,
) -> str:
    cells: list[str] = []
    for cell in row:
        cells.append(_cell(cell, title, row, inner, is_chosen=is_chosen))
        cells += [""] * (cell.span - 1)
    cells += [""] * (sheet.columns - len(cells))
    line = "|"
    for column, text in enumerate(cells):
        line += " ‖ |" if column in sheet.doubles else ""
        line += f" {text} |" if text else " |"
    return line


def _cell(
    cell: Cell,
    title: str,
    row: Sequence[Cell],
    inner: list[tuple[str, Sheet]],
    *,
    is_chosen: bool,
) -> str:
    if isinstance(cell.content, Sheet):
        beside = next((each.content for each in row if each.kind == "name"), None)
        place = beside if isinstance(beside, str) else str(len(inner) + 1)
        name = f"{title} / {place}" if title else place
        inner.append((name, cell.content))
        return f"→ {plain(name)}"
    mark = "" if cell.held is None else ("✓ " if cell.held else "✗ ")
    lines = [line for line in visible(cell.content).split("\n") if line.strip()]
    if cell.kind == "code":
        return mark + "<br>".join(_code(line.strip()) for line in lines)
    text = "<br>".join(plain(line) for line in lines)
    if cell.kind == "number" and is_chosen:
        return f"**▶ {text}**"
    return f"**{text}**" if text and cell.kind in {"corner", "name"} else text


def _code(text: str) -> str:
    """Write code; a fence of one more backtick than there are in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    room = " " if text.startswith("`") or text.endswith("`") else ""
    # A bar ends the cell even within code, unless it is escaped.
    return fence + room + text.replace("|", "\\|") + room + fence
