"""The work of the demo: measure the Python files of this repository."""

from __future__ import annotations

import ast
import hashlib
import time
from pathlib import Path
from typing import Any


def measure(path: str) -> dict[str, Any]:
    """Parse one file; its numbers are the task's result."""
    source = Path(path).read_bytes()
    tree = ast.parse(source)
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    longest = max(functions, key=_length, default=None)
    time.sleep(0.05)  # a file is read faster than an eye can follow
    return {
        "path": path,
        "lines": source.count(b"\n"),
        "functions": len(functions),
        "longest": longest.name if longest else "",
        "longest_lines": _length(longest) if longest else 0,
        "sha256": hashlib.sha256(source).hexdigest(),
    }


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def summarise(package: str, *, task: Any) -> dict[str, Any]:
    """Add up the files of one package; the results of the parents come with the task."""
    files = list(task.inputs.values())
    longest = max(files, key=lambda file: file["longest_lines"])
    return {
        "package": package,
        "files": len(files),
        "lines": sum(file["lines"] for file in files),
        "functions": sum(file["functions"] for file in files),
        "longest": f"{longest['longest']} ({longest['longest_lines']} lines)",
    }


def write_report(path: str, *, task: Any) -> dict[str, Any]:
    """Write the table that the demo ends with."""
    rows = sorted(task.inputs.values(), key=lambda row: -row["lines"])
    width = max(len(row["package"]) for row in rows)
    lines = [f"{'package':{width}}  files  lines  functions  longest function"]
    lines += [
        f"{row['package']:{width}}  {row['files']:5}  {row['lines']:5}  {row['functions']:9}  "
        f"{row['longest']}"
        for row in rows
    ]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"packages": len(rows), "lines": sum(row["lines"] for row in rows)}
