"""Run a real server by hand: `python -m federlib.testing.servers etcd --members 3`.

Prints its URL and serves until Ctrl-C; its data goes with it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from federlib.errors import FederlibError
from federlib.testing.servers import etcd_server, postgres_server

__all__ = ["main"]


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m federlib.testing.servers", description=__doc__)
    parser.add_argument("server", choices=["postgres", "etcd"])
    parser.add_argument("--members", type=int, default=1, help="of etcd: 1, or 3 that survive one")
    options = parser.parse_args()
    if options.members < 1 or (options.server == "postgres" and options.members != 1):
        parser.error("--members: 1 or more of etcd")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    running = (
        postgres_server() if options.server == "postgres" else etcd_server(members=options.members)
    )
    try:
        with running as server:
            sys.stdout.write(f"{server.url}\n")
            sys.stdout.flush()
            stop.wait()
    except FederlibError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
