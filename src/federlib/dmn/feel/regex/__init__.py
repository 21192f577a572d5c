"""Regular expressions as XPath has them, matched in bounded time.

    pattern = compile_pattern("(an)+", "i")
    find(ev, pattern, "banana")

Python's `re` is neither: it has no subtraction of character classes and no Unicode categories,
and a pattern such as `(a+)+b` makes it run away, with no way to stop it. Here a state that has
failed is never tried again, so the work is at most the size of the pattern times the length of
the text (patterns that refer back to their groups excepted), and each step is counted by the
evaluation.

Does not promise: speed; it is meant for cells and short texts.
Hazards: none known.

Source: XQuery 1.0 and XPath 2.0 Functions and Operators, 7.6.1; XML Schema Part 2, appendix F;
DMN 1.5, 10.3.4.3.
"""

from __future__ import annotations

from federlib.dmn.feel.regex.matching import Match, find
from federlib.dmn.feel.regex.parsing import BadPattern, compile_pattern
from federlib.dmn.feel.regex.program import Pattern

__all__ = ["BadPattern", "Match", "Pattern", "compile_pattern", "find"]
