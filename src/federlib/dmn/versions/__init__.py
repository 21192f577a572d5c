"""Versions of models: their `history`, the `store` that keeps them, and `replaying` decisions."""
