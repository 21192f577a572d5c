"""The first segments of the keys in a store: whose records lie where.

Here and not beside the records, so that nobody imports a part of federlib to know its prefix.
"""

from __future__ import annotations

__all__ = [
    "CAUSAL_PREFIX",
    "COMMAND_PREFIX",
    "DAG_PREFIX",
    "DECISION_PREFIX",
    "FENCE_PREFIX",
    "LEASE_PREFIX",
    "REGISTRY_PREFIX",
]

CAUSAL_PREFIX = "causal/"
COMMAND_PREFIX = "command/"
DAG_PREFIX = "dag/"
DECISION_PREFIX = "decision/"
FENCE_PREFIX = "fence/"
LEASE_PREFIX = "lease/"
REGISTRY_PREFIX = "registry/"
