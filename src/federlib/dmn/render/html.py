"""Sheets as HTML: one page that needs nothing else, light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from federlib.dmn.render.sheet import Cell, Sheet, visible

__all__ = ["STYLE", "draw_html", "page"]

STYLE = """\
.dmn { border-collapse: collapse; font: 14px/1.4 system-ui, sans-serif; }
.dmn caption { caption-side: top; text-align: left; font-weight: 600; padding: .3em 0; }
.dmn td, .dmn th { border: 1px solid currentColor; padding: .25em .6em; text-align: left;
  vertical-align: top; }
.dmn th { font-weight: 600; }
.dmn .code { font-family: ui-monospace, monospace; font-weight: 400; white-space: pre-wrap; }
.dmn .corner, .dmn .number { text-align: center; }
.dmn .note { font-style: italic; font-weight: 400; }
.dmn .double { border-left: 4px double; }
.dmn thead tr:last-child > * { border-bottom: 4px double; }
.dmn .chosen > * { background: #8fd18f44; }
.dmn .held::before { content: "✓ "; color: #1a7f37; }
.dmn .failed::before { content: "✗ "; color: #c0392b; }
"""
"""For tables of class `dmn`; a page of your own may bring another."""

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em; max-width: 75em; }}
main {{ overflow-x: auto; }}
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def draw_html(sheet: Sheet) -> str:
    """Write a sheet as one `<table class="dmn">`; boxes within it are tables in its cells."""
    return "\n".join(_table(sheet))


def page(title: str, body: str) -> str:
    """Make a page that stands alone; `body` is HTML already, the title is not."""
    return _PAGE.format(title=escape(title), style=STYLE, body=body)


def _table(sheet: Sheet) -> Iterator[str]:
    yield '<table class="dmn">'
    if sheet.title:
        yield f"<caption>{escape(sheet.title)}</caption>"
    if sheet.head:
        yield "<thead>"
        for row in sheet.head:
            yield from _row(sheet, row, "th", is_chosen=False)
        yield "</thead>"
    yield "<tbody>"
    for position, row in enumerate(sheet.body):
        yield from _row(sheet, row, "td", is_chosen=position in sheet.chosen)
    yield "</tbody>"
    yield "</table>"


def _row(sheet: Sheet, row: Sequence[Cell], tag: str, *, is_chosen: bool) -> Iterator[str]:
    yield '<tr class="chosen">' if is_chosen else "<tr>"
    column = 0
    for cell in row:
        classes: list[str] = [cell.kind]
        if column in sheet.doubles:
            classes.append("double")
        if cell.held is not None:
            classes.append("held" if cell.held else "failed")
        span = f' colspan="{cell.span}"' if cell.span > 1 else ""
        yield f'<{tag} class="{" ".join(classes)}"{span}>{_content(cell)}</{tag}>'
        column += cell.span
    yield "</tr>"


def _content(cell: Cell) -> str:
    if isinstance(cell.content, Sheet):
        return draw_html(cell.content)
    return escape(visible(cell.content)).replace("\n", "<br>")
