"""One who holds a lease, or waits for it: `python -m benchmarks.successors URL FOLDER NAME TTL`.

Told ``hold`` it says ``waiting``, and ``acquired INSTANT TOKEN`` once it has the lease, which
it keeps renewed. Told ``release`` it says ``released INSTANT``, the instant at which it began
to. Instants are of the monotonic clock, which is one for all processes of a machine.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import federlib.blocking
from benchmarks.talks import listen, tell
from federlib.identity import IdentityStore


def main(url: str, place: Path, name: str, ttl_s: float) -> None:
    """Do what is told."""
    identity = IdentityStore(place / "identities")
    with federlib.blocking.connect(url, identity=identity, ttl_s=ttl_s) as fed:
        fed.leases.inspect(name)  # opens what is opened once
        fed.identity()
        tell("ready")
        while listen(sys.stdin.readline) == "hold":
            tell("waiting")
            with fed.hold(name) as lease:
                tell(f"acquired {time.monotonic()} {lease.token}")
                if listen(sys.stdin.readline) != "release":
                    return
                began = time.monotonic()
            tell(f"released {began}")


if __name__ == "__main__":
    _, _url, _folder, _name, _ttl = sys.argv
    main(_url, Path(_folder), _name, float(_ttl))
