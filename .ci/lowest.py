"""Print pip constraints that hold each declared dependency at its lowest version.

Only what users install: the base and the extras, not the groups for development.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def main() -> None:
    """Read the given pyproject.toml, and print one constraint a line."""
    project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        declared += extra
    for requirement in sorted(set(declared)):
        name, bound, lowest = requirement.partition(">=")
        if not bound or not lowest.replace(".", "").isdigit():
            sys.exit(f"{requirement!r}: declare it as name>=version, so that the bound is tested")
        print(f"{name}=={lowest}")


main()
