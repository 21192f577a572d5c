"""Decision tables, compiled and evaluated.

`compiler` makes a `table` of rules. Plain `cells` go into an `index` over the columns, which is
made of `masks`; the others become closures. `hit_policies` say what becomes of the rules that
match, `plain` asks a table with facts as they come, `trace` explains what it said.
"""
