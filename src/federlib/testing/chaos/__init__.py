"""Chaos: a fleet of real processes, or a simulated one, broken on purpose and then judged."""
