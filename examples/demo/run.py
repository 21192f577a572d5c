"""The demo: measure this repository with three workers, and kill their leader half-way.

Run it with `make demo`, or from the root of the repository with
`python examples/demo/run.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCE = ROOT / "src" / "federlib"


def make_workflow(report: Path) -> dict[str, object]:
    """One task a folder, one a package, and one that needs them all."""
    folders: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        inside = path.relative_to(SOURCE)
        # A module that lies in no package is one.
        name = inside.parent.as_posix() if len(inside.parts) > 1 else inside.stem
        folders.setdefault(name, []).append(str(path))
    packages: dict[str, list[str]] = {}
    for name in folders:
        packages.setdefault(name.split("/", maxsplit=1)[0], []).append(name)
    tasks: list[dict[str, object]] = [
        {"id": name, "call": "demo_tasks:measure", "args": {"paths": paths}, "retries": 1}
        for name, paths in folders.items()
    ]
    tasks += [
        {"id": f"sum {package}", "needs": needs, "call": "demo_tasks:summarise",
         "args": {"package": package}}
        for package, needs in packages.items()
    ]  # fmt: skip
    tasks.append(
        {"id": "report", "needs": [f"sum {package}" for package in packages],
         "call": "demo_tasks:write_report", "args": {"path": str(report)}}
    )  # fmt: skip
    for task in tasks:
        task["cwd"] = str(HERE)
    tasks.append({"id": "say so", "needs": ["report"], "run": f"cat '{report}'"})
    return {"name": "measure this repository", "tasks": tasks}


def main() -> int:
    """Run the workflow with a leader kill, and show what came out."""
    with tempfile.TemporaryDirectory(prefix="federlib-demo-") as scratch:
        place = Path(scratch)
        workflow, table, report = place / "flow.json", place / "table.txt", place / "report.json"
        workflow.write_text(json.dumps(make_workflow(table)), encoding="utf-8")
        command = [
            sys.executable, "-m", "federlib.cli", "run", str(workflow),
            "--workers", "3", "--slots", "1", "--ttl", "2", "--run-id", "demo",
            "--chaos", "kill-leader@2s", "--report", str(report),
        ]  # fmt: skip
        environment = {
            **os.environ,
            "FEDERLIB_STORE": f"sqlite:///{place}/store.db",
            "OPAL_IDENTITY_ROOT": str(place / "identities"),
        }
        code = subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode
        if code == 0:
            print(f"\nWhat the last task wrote:\n\n{table.read_text(encoding='utf-8')}")
        return code


if __name__ == "__main__":
    sys.exit(main())
