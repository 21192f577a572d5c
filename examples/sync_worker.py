"""A synchronous worker: no event loop, threads that contend, an election and a run of plain functions."""

from __future__ import annotations

import threading

import federlib.blocking

reports: list[tuple[int, str]] = []


def upload(item: str, *, fence: int) -> None:
    """Stand in for a resource that refuses a token lower than the highest it has seen."""
    assert fence >= max((token for token, _ in reports), default=0)
    reports.append((fence, item))


def nightly_report(fed: federlib.blocking.Federation, name: str) -> None:
    with fed.hold("nightly-report", ttl_s=15) as lease:
        for item in ("sales", "stock"):
            lease.check()  # the body is never interrupted: ask before each effect
            upload(f"{item} by {name}", fence=lease.token)


with federlib.blocking.connect("sqlite:///fleet.db") as fed:
    # Any number of threads may use one federation.
    threads = [threading.Thread(target=nightly_report, args=(fed, f"worker {n}")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for token, item in reports:
        print(f"token {token}: {item}")
    tokens = [token for token, _ in reports]
    assert tokens == sorted(tokens)
    assert len(set(tokens)) == 4

    with fed.elect("coordinator") as seat:
        seat.lead(lambda epoch: print(f"led in epoch {epoch}"))

    run = fed.dag.submit({"fetch": [], "clean": ["fetch"], "report": ["clean"]})
    ended = fed.dag.work(run, handler=lambda task: f"{task.task_id} done")
    print(f"the run ended in {ended.state}")
    assert ended.state == "success"
