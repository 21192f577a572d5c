"""How this package's files are kept."""

from __future__ import annotations

from federlib._files import PrivateFiles

__all__ = ["FILES"]

FILES = PrivateFiles(
    kind="identity file",
    root="identity root (OPAL_IDENTITY_ROOT)",
    way_out="let this user write there, or set OPAL_IDENTITY_ROOT",
)
