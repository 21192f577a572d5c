"""`python -m federlib.cli`."""

from __future__ import annotations

from federlib.cli import main

main()
