"""Decision tables as people draw them: for a terminal, as Markdown, as HTML.

    print(render_text(load_model(Path("scaling.yaml"))))

The letter of the hit policy stands in the corner, double lines part conditions from
conclusions and the head from the rules, and a rule that decided is marked.

Does not promise: that a drawing can be read back. `federlib.dmn.dump_yaml` is for that.
Hazards: a drawing shows what a cell says, not what it means. Two texts may mean the same.
"""

from __future__ import annotations

from federlib.dmn.render.document import Drawable, render_html, render_markdown, render_text
from federlib.dmn.render.sheet import Marks

__all__ = ["Drawable", "Marks", "render_html", "render_markdown", "render_text"]
