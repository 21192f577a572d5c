"""Chaos: fleets that are broken on purpose, and judged; the command `federlib chaos`.

Nothing is imported here: `federlib --help` comes through. The parts that are of use alone:

    from federlib.testing.chaos.proxy import FaultProxy             # before any server
    from federlib.testing.chaos.hindered_store import HinderedStore  # around any record store
    from federlib.testing.chaos.hindrance import Hindrance          # what stands in the way

Does not promise: that a run which passed would pass again; real processes are never scheduled
the same way twice. What the simulator finds comes again exactly.
Hazards: a run on a server leaves its records there, under an election `chaos-…`.
"""
