"""DBOS doing nothing, durably: `python -m benchmarks.dbos_peer URL`, told what to do in lines.

Told ``steps COUNT`` it runs so many steps in one workflow; told ``queue COUNT`` it enqueues so
many workflows and waits for all of them. It answers the seconds.
"""

from __future__ import annotations

import importlib
import sys
import time

from benchmarks.talks import listen, tell

_POLL_S = 0.05


def main(url: str) -> None:
    """Open, and do what is told."""
    dbos = importlib.import_module("dbos")
    DBOS = dbos.DBOS  # noqa: N806 (a class)
    DBOS(
        config={
            "name": "bench",
            "system_database_url": url,
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )

    @DBOS.step()  # type: ignore[untyped-decorator]
    def nothing() -> None:
        pass

    @DBOS.workflow()  # type: ignore[untyped-decorator]
    def steps(count: int) -> None:
        for _ in range(count):
            nothing()

    @DBOS.workflow()  # type: ignore[untyped-decorator]
    def task() -> None:
        pass

    DBOS.launch()
    try:
        # No limit on how many run at once, and looked at as often as makes it quickest.
        queue = DBOS.register_queue("bench", polling_interval_sec=_POLL_S)
        tell("ready")
        while (line := listen(sys.stdin.readline)) is not None:
            verb, count = line.split()
            began = time.perf_counter()
            if verb == "steps":
                steps(int(count))
            else:
                for handle in [queue.enqueue(task) for _ in range(int(count))]:
                    handle.get_result(polling_interval_sec=_POLL_S)
            tell(str(time.perf_counter() - began))
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    main(sys.argv[1])
