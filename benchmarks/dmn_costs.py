"""What tables cost beside time to answer, in a process of its own: prints JSON.

`python -m benchmarks.dmn_costs import`, or `compile RULES`, or `reloads ROUNDS`.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc

_POOLS = {1_000: 25, 100_000: 2_500}


def main() -> None:
    """Measure what is asked for."""
    what = sys.argv[1]
    if what == "import":
        found = {"s": statistics.median(_import_times(5))}
    elif what == "compile":
        found = _compile(int(sys.argv[2]))
    else:
        found = _reloads(int(sys.argv[2]))
    print(json.dumps(found))


_IMPORT = """
import time
began = time.process_time()
import federlib.dmn
print(time.process_time() - began)
"""


def _import_times(times: int) -> list[float]:
    """Import in processes of their own, from byte code as an installation has it."""
    with tempfile.TemporaryDirectory() as cache:
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        command = [sys.executable, "-c", _IMPORT]
        taken = [
            subprocess.check_output(command, env={**kept, "PYTHONPYCACHEPREFIX": cache})
            for _ in range(times + 1)
        ]
    # The first wrote the byte code.
    return [float(each) for each in taken[1:]]


def _compile(rules: int) -> dict[str, float]:
    """Compile cold, then again under the eye of the allocator."""
    from benchmarks.dmn_tables import as_model, rows_of
    from federlib.dmn import compile_model

    rows = rows_of(rules, _POOLS[rules])
    definitions = as_model(rows)
    began = time.perf_counter()
    compiled = compile_model(definitions)
    took = time.perf_counter() - began
    del compiled, definitions
    gc.collect()
    tracemalloc.start()
    # The texts and records of the model count too: it keeps them.
    kept = compile_model(as_model(rows))
    kept.decider()
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    return {"s": took, "bytes_a_rule": size / rules}


def _reloads(rounds: int) -> dict[str, float]:
    """Publish and replace a table of a thousand rules again and again."""
    import psutil

    from benchmarks.dmn_tables import as_model, facts_for, rows_of
    from federlib.dmn import compile_model

    process = psutil.Process()
    rows = rows_of(1_000, _POOLS[1_000])
    facts = facts_for(rows, 16)
    before = 0
    for number in range(rounds + 20):
        model = compile_model(as_model(rows))
        for each in facts:
            model.decide(each)
        if number == 20:
            # What the first rounds take stays for the others.
            gc.collect()
            before = process.memory_info().rss
    del model
    gc.collect()
    return {"grown_mb": (process.memory_info().rss - before) / 1e6}


if __name__ == "__main__":
    main()
