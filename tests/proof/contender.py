"""Takes one lease as often as it can; run as `contender.py URL NAME DIRECTORY`.

In DIRECTORY it says `ready-NAME`, waits for `go`, and works until `stop`. `inside` is the
witness: only one process at a time can make it. `ledger` gets a line for each time inside.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import anyio

from federlib import connect


async def main(url: str, name: str, directory: Path) -> None:
    ledger = os.open(directory / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    async with connect(url, ttl_s=5) as fed:
        await fed.identity()
        (directory / f"ready-{name}").touch()
        while not (directory / "go").exists():
            await anyio.sleep(0.005)
        while not (directory / "stop").exists():
            async with fed.hold("prize") as lease:
                began_ns = time.monotonic_ns()
                witness = os.open(directory / "inside", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                os.close(witness)
                await anyio.sleep(0)
                lease.check()
                (directory / "inside").unlink()
                os.write(ledger, f"{lease.token} {name} {began_ns}\n".encode())


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], Path(sys.argv[3]))
