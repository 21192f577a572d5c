"""What can be said of a table without asking it: `gaps` of one, the `diff` of two versions.

Both ask a `grid`: which rules match in which of the `classes` of values that a column tells
apart. `changes` are what is written differently.
"""
