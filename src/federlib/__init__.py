"""federlib: an embeddable SDK for coordinating a fleet of processes.

    async with federlib.connect("sqlite:///fleet.db") as fed:
        async with fed.hold("nightly-report", ttl_s=15) as lease:
            await upload(data, fence=lease.token)

Nothing is imported until it is used: `import federlib` alone costs a few milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from federlib import blocking
    from federlib.errors import FederlibError
    from federlib.federation import Federation, connect

__all__ = ["Federation", "FederlibError", "__version__", "blocking", "connect"]

__version__ = "0.1.0"

_HOMES = {
    "Federation": "federlib.federation",
    "FederlibError": "federlib.errors",
    "connect": "federlib.federation",
}


def __getattr__(name: str) -> object:
    if name == "blocking":
        return importlib.import_module("federlib.blocking")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'federlib' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
