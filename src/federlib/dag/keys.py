"""Where the records of a run are; `records` says what they are."""

from __future__ import annotations

from federlib._prefixes import DAG_PREFIX
from federlib.errors import InvalidInput
from federlib.storage import segment

__all__ = ["RunKeys"]


class RunKeys:
    """The keys of one run.

    Raises:
        InvalidInput: The run id is empty, longer than 96 bytes, or not plain text.
    """

    def __init__(self, run_id: str) -> None:
        if not isinstance(run_id, str):
            raise InvalidInput("run_id", expected="text", found=run_id)
        self.run_id = run_id
        self.root: str = f"{DAG_PREFIX}{segment(run_id, field='run_id', max_bytes=96)}/"
        self.run: str = self.root + "run"
        self.epoch: str = self.root + "epoch"
        self.progress: str = self.root + "progress"
        self.snap_head: str = self.root + "snap-head"
        self.logs: str = self.root + "log/"
        self.plans: str = self.root + "plan/"
        self.workers: str = self.root + "worker/"
        self.dones: str = self.root + "done/"
        self.asks: str = self.root + "ask/"
        self.results: str = self.root + "result/"
        self.lease: str = f"dag/{run_id}/leader"

    def log(self, seq: int) -> str:
        """Key of log record `seq`."""
        return f"{self.logs}{seq:012d}"

    def plan(self, chunk: int) -> str:
        """Key of plan chunk `chunk`."""
        return f"{self.plans}{chunk:06d}"

    def result(self, seq: int) -> str:
        """Key of the results accepted by log record `seq`."""
        return f"{self.results}{seq:012d}"

    def snap(self, seq: int, part: int) -> str:
        """Key of one part of the snapshot at `seq`."""
        return f"{self.root}snap/{seq:012d}/{part:04d}"

    def worker(self, worker_id: str) -> str:
        """Key of a worker's record."""
        return self.workers + segment(worker_id, field="worker_id")

    def worker_lease(self, worker_id: str, incarnation: int) -> str:
        """Name of the lease that says this life of a worker goes on."""
        return f"dag/{self.run_id}/worker/{worker_id}.{incarnation}"

    def assign(self, worker_id: str) -> str:
        """Key of a worker's claims."""
        return f"{self.root}assign/{segment(worker_id, field='worker_id')}"

    def done(self, worker_id: str, incarnation: int, token: int, number: int) -> str:
        """Key of a worker's finishes.

        Tokens start again with each incarnation, whose lease has another name, so it takes
        both to keep two lives of a worker apart.
        """
        life = f"{incarnation:08d}.{token:012d}"
        return f"{self.done_by(worker_id)}{life}-{number:08d}"

    def done_by(self, worker_id: str) -> str:
        """Prefix of all finishes of a worker."""
        return f"{self.dones}{segment(worker_id, field='worker_id')}/"

    def ask(self, token: str) -> str:
        """Key of a request."""
        return self.asks + segment(token, field="ask")
