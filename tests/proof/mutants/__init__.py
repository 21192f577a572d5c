"""Mistakes that could be made, as diffs, and the hunt for each: a prover is proved by them."""
