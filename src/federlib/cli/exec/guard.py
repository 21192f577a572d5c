"""The guard: a small program that starts a worker's tasks and outlives the worker just long
enough to kill them.

Run as ``python -I -S guard.py WORKER_PID SCRATCH`` in a session of its own, with a socket to
the worker as descriptor 0. Frames both ways are a length of 4 bytes, big-endian, and JSON.

    worker → guard   start {id, argv, cwd, env, log, cap, mark, timeout_s, grace_s} · kill {id}
    guard → worker   ready {} · started {id, pid} · ended {id, outcome, ...} · crashed {why}

It is single-threaded and uses the standard library only, so it starts quickly and may fork.
Each task leads a session of its own. When the worker goes, however it goes, the socket (or a
pidfd of the worker, should a forked child keep the socket open) says so, and every descendant
is killed. On Linux the guard is a subreaper: a daemon that left its session becomes the
guard's child, and is known to a task by its ancestors, its session or the mark in its
environment. A daemon with none of the three is killed when no running task is old enough to
have started it. If the guard itself is killed, PR_SET_PDEATHSIG kills the tasks' main
processes; what they started is left to the worker, which sweeps by mark.

Does not promise: on other systems than Linux there is no subreaper, no pidfd and no
PR_SET_PDEATHSIG: groups are killed, what left its group is not, nor anything if the guard is
killed. Nowhere can a process be killed that changed to a user this one may not signal.
Hazards: a guard and a worker killed in the same instant leave grandchildren and the private
directory in the place for temporary files; a guard stopped by SIGSTOP does nothing until it
goes on; a setuid program clears PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Serve one worker, then leave nothing behind."""
    _stand_alone()
    from federlib.cli.exec._link import Link
    from federlib.cli.exec._task import IGNORED
    from federlib.cli.exec._watch import Guard

    worker, scratch = int(sys.argv[1]), sys.argv[2]
    for signum in IGNORED:
        signal.signal(signum, signal.SIG_IGN)
    link = Link(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir("/")
    guard = Guard(link, worker)
    try:
        if os.getppid() == worker:
            guard.run()
    except Exception as error:  # the worker is told; its tasks must not outlive this
        link.send(ev="crashed", why=f"{type(error).__name__}: {error}")
    finally:
        guard.end_all()
        import shutil  # costs 15 ms that only the end pays

        shutil.rmtree(scratch, ignore_errors=True)


def _stand_alone() -> None:
    """Let the files beside this one be imported without the packages above them.

    They keep their names, and their compiled form, but `federlib` itself, with all that it
    imports, never loads: it may not even be on the path of an isolated interpreter.
    """
    package = type(sys)("federlib.cli.exec")
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120
    sys.modules.setdefault(package.__name__, package)


if __name__ == "__main__":
    main()
