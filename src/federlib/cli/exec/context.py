"""What a `call:` task may know of itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

__all__ = ["TaskContext"]


# A dataclass, not attrs: every `call:` task imports this, and attrs costs it 40 ms.
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """Passed to a called function that has a parameter named `task`.

    Attributes:
        run_id: The run.
        task_id: The task in it.
        attempt: Which attempt this is.
        epoch: The epoch of the leader that handed it out; the fencing token of its effects.
        idempotency_key: The same on every attempt: give it to what must happen once.
        inputs: The results of the tasks that this one needs, by their ids; read-only.
    """

    run_id: str
    task_id: str
    attempt: int
    epoch: int
    idempotency_key: str
    inputs: Mapping[str, object]

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> TaskContext:
        """Read the context from the variables that a worker sets.

        A missing text is "", a missing number 0: a function may be tried outside a run.

        Raises:
            ValueError: A number is not one, or the inputs are not a JSON object.
            OSError: The inputs cannot be read.
        """
        environ = os.environ if environ is None else environ
        where = environ.get("FEDERLIB_INPUTS", "")
        inputs = json.loads(Path(where).read_bytes()) if where else {}
        if not isinstance(inputs, dict):
            raise ValueError("FEDERLIB_INPUTS: expected a JSON object")  # noqa: TRY004
        return cls(
            run_id=environ.get("FEDERLIB_RUN_ID", ""),
            task_id=environ.get("FEDERLIB_TASK_ID", ""),
            attempt=int(environ.get("FEDERLIB_ATTEMPT", "0")),
            epoch=int(environ.get("FEDERLIB_EPOCH", "0")),
            idempotency_key=environ.get("FEDERLIB_IDEMPOTENCY_KEY", ""),
            inputs=MappingProxyType(inputs),
        )
