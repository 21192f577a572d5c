"""The console script where the extra `cli` is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest


def called_without(*modules: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({modules!r}))  # as if they were not installed\n"
        "sys.argv = ['federlib', '--version']\n"
        "from federlib.cli import main\n"
        "main()\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("missing", [("click",), ("rich",), ("yaml",), ("click", "rich", "yaml")])
def test_without_the_extra_one_line_says_what_to_install(missing: tuple[str, ...]) -> None:
    done = called_without(*missing)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        'federlib: the command line needs an extra: pip install "federlib[cli]"\n'
    )


def test_what_is_broken_otherwise_is_not_taken_for_a_missing_extra() -> None:
    done = called_without("rich.console")
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr
