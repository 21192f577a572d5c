"""What the tests of the simulated disk have in common."""

from __future__ import annotations

from federlib.testing import SimulatedDisk, every_choice

__all__ = ["NEW", "OLD", "every_disk", "synced"]

OLD, NEW = b"o" * 700, b"n" * 700


def every_disk(disk: SimulatedDisk, *, names_in_order: bool = False) -> list[dict[str, bytes]]:
    """Return each content that the loss of power may leave, the best first."""
    found: list[dict[str, bytes]] = []
    for choose in every_choice(limit=5_000):
        content = disk.cut_power(choose, names_in_order=names_in_order).contents()
        if content not in found:
            found.append(content)
    return found


def synced(data: bytes = OLD) -> SimulatedDisk:
    """Return a disk on which the file `f` lasts."""
    disk = SimulatedDisk()
    file = disk.open("f", create=True)
    file.append(data)
    file.sync()
    disk.sync_directory("")
    return disk
