"""Upkeep of a store: examine it, check it, copy it, export it to lines of JSON and import them.

    async with federlib.connect("sqlite:///fleet.db") as fed:
        report = await check_store(fed.store)
        await export_store(fed.store, Path("fleet.jsonl"))

Does not promise: that a copy follows its original, or that somebody who works on the old
store knows of the new one.
Hazards: whoever goes on with the old store beside a copy believes to hold leases that
others hold there; only a resource that compares tokens tells them apart.
"""

from __future__ import annotations

from federlib.upkeep.check import StoreReport, check_store
from federlib.upkeep.copying import Copied, copy_store
from federlib.upkeep.doctor import DoctorReport, examine
from federlib.upkeep.exporting import Exported, export_store, import_store

__all__ = [
    "Copied",
    "DoctorReport",
    "Exported",
    "StoreReport",
    "check_store",
    "copy_store",
    "examine",
    "export_store",
    "import_store",
]
