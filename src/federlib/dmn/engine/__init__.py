"""Models, compiled and asked.

`compiled` has the `Model`. `nodes` are the elements of its requirement graph; `asking` makes one
of its decisions a `decider`, which is asked with facts; a `decision` is the record of what it
said.
"""
